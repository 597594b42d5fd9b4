// What the web page runs in the browser, through connect-web, against a server on another origin.
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { MyAppService } from "./gen/vention/app/v1/app_pb";
import { story } from "./story";
import { watch } from "./streaming";

const common = { baseUrl: "http://localhost:8000" };

Object.assign(globalThis, {
  run: async () => ({
    story: await story(),
    connect: await watch(createClient(MyAppService, createConnectTransport(common))),
    grpcWeb: await watch(createClient(MyAppService, createGrpcWebTransport(common))),
  }),
});
