// A server stream: the state that was published last comes at once, each later one as it is published.
import type { Client } from "@connectrpc/connect";
import type { MyAppService } from "./gen/vention/app/v1/app_pb";

export async function watch(client: Client<typeof MyAppService>): Promise<number[]> {
  const speeds: number[] = [];
  const stop = new AbortController(); // leaving the loop alone would keep the connection open
  await client.setSpeed({ speed: 0.25 });
  for await (const state of client.watchState({}, { signal: stop.signal })) {
    speeds.push(state.speed);
    if (speeds.length === 3) {
      break;
    }
    await client.setSpeed({ speed: state.speed + 0.5 });
  }
  stop.abort();
  return speeds;
}
