// Bun's own server and its native publish.
const ROOM = 3; // where the room's name begins in "/r/NAME" and "/p/NAME"
const BACKPRESSURE_BYTES = 64 << 20; // nothing is dropped in these measurements

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const { url } = request;
    const path = url.slice(url.indexOf("/", "http://".length));
    const data = { kind: path[1], room: path.slice(ROOM) };
    if (!server.upgrade(request, { data })) return new Response(null, { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    sendPings: false,
    idleTimeout: 0,
    backpressureLimit: BACKPRESSURE_BYTES,
    open(socket) {
      if (socket.data.kind === "r") socket.subscribe(socket.data.room);
    },
    message(socket, message) {
      const { kind, room } = socket.data;
      if (kind === "e") socket.send(message, false);
      else if (kind === "p") server.publish(room, message, false);
    },
  },
});
console.log(`ready 127.0.0.1:${server.port}`);
