// A real IGNIS server, run by Bun, with the handlers of core/examples/conformance:
//   bun real_server.mjs REDIS_PORT
// Prints `READY <port>` once it accepts connections on 127.0.0.1.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { RedisHelper, WebSocketServerHelper } = require("@venizia/ignis-helpers");

const redis = new RedisHelper({ name: "ignis", host: "127.0.0.1", port: process.argv[2], password: undefined });
let helper;

async function authenticateFn({ token, ms = 300 }) {
  if (token === "throw") throw new Error("the authenticator failed");
  if (token === "slow") await Bun.sleep(ms);
  if (typeof token !== "string" || token.startsWith("bad")) return null;
  return token === "anon" ? {} : { userId: `user-${token}`, metadata: { role: "x" } };
}

const handlers = {
  echo: ({ clientId, message }) =>
    helper.sendToClient({ clientId, event: "echo:response", data: { original: message.data, id: message.id } }),
  chat: ({ userId, message: { data } }) =>
    helper.send({ destination: data.room, payload: { topic: "chat", data: { from: userId, text: data.text } } }),
  announce: ({ message }) => helper.send({ payload: { topic: "announce", data: message.data } }),
  "to-user": ({ message: { data } }) => helper.sendToUser({ userId: data.userId, event: "note", data: data.text }),
  rooms: ({ clientId }) =>
    helper.sendToClient({ clientId, event: "rooms", data: [...helper.getClients({ id: clientId }).rooms] }),
};

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    if (new URL(request.url).pathname !== "/ws") return new Response("not here", { status: 404 });
    const accepted = server.upgrade(request, { data: { clientId: crypto.randomUUID() } });
    return accepted ? undefined : new Response("WebSocket upgrade failed", { status: 500 });
  },
  websocket: {
    open: socket => helper.getBunWebSocketHandler().open(socket),
    message: (socket, message) => helper.getBunWebSocketHandler().message(socket, message),
    close: (socket, code, reason) => helper.getBunWebSocketHandler().close(socket, code, reason),
    drain: socket => helper.getBunWebSocketHandler().drain(socket),
  },
});

helper = new WebSocketServerHelper({
  identifier: "ignis",
  path: "/ws",
  redisConnection: redis,
  server,
  authTimeout: 600_000,
  authenticateFn,
  validateRoomFn: ({ rooms }) => rooms.filter(room => !room.startsWith("private")),
  messageHandler: call => handlers[call.message.event]?.(call),
});
await helper.configure();
console.log(`READY ${server.port}`);
