// Every protocol and format that Node's transports speak over HTTP/1.1, against the server at argv[2].
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { MyAppService } from "./gen/vention/app/v1/app_pb";
import { watch } from "./streaming";

const common = { baseUrl: process.argv[2] ?? "", httpVersion: "1.1" } as const;
const transports = {
  "connect, proto": createConnectTransport({ ...common, useBinaryFormat: true }),
  "connect, json": createConnectTransport({ ...common, useBinaryFormat: false }),
  "grpc-web, proto": createGrpcWebTransport({ ...common, useBinaryFormat: true }),
  "grpc-web, json": createGrpcWebTransport({ ...common, useBinaryFormat: false }),
};

const results: Record<string, unknown> = {};
for (const [name, transport] of Object.entries(transports)) {
  const client = createClient(MyAppService, transport);
  const { record } = await client.usersCreateRecord({ record: { name, email: "node@example.com" } });
  let code = "ok";
  try {
    await client.usersGetRecord({ recordId: 1_000_000 });
  } catch (error) {
    code = Code[ConnectError.from(error).code];
  }
  results[name] = { name: record?.name, missing: code, speeds: await watch(client) };
}
console.log(JSON.stringify(results));
