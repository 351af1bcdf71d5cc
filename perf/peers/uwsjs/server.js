// uWebSockets.js and its native publish.
const uws = require("uwebsockets");

const PAYLOAD_BYTES_MAX = 1 << 20;
const BACKPRESSURE_BYTES = 64 << 20; // nothing is dropped in these measurements

const options = {
  compression: uws.DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  maxPayloadLength: PAYLOAD_BYTES_MAX,
  maxBackpressure: BACKPRESSURE_BYTES,
};

// Keeps the room's name beside the socket.
function upgrade(response, request, context) {
  response.upgrade(
    { room: request.getParameter(0) },
    request.getHeader("sec-websocket-key"),
    request.getHeader("sec-websocket-protocol"),
    request.getHeader("sec-websocket-extensions"),
    context,
  );
}

const app = uws
  .App()
  .ws("/echo", {
    ...options,
    message(socket, message, isBinary) {
      socket.send(message, isBinary, false);
    },
  })
  .ws("/r/:room", {
    ...options,
    upgrade,
    open(socket) {
      socket.subscribe(socket.room);
    },
  })
  .ws("/p/:room", {
    ...options,
    upgrade,
    message(socket, message, isBinary) {
      app.publish(socket.room, message, isBinary, false);
    },
  })
  .listen("127.0.0.1", 0, (listener) => {
    if (!listener) process.exit(1);
    console.log(`ready 127.0.0.1:${uws.us_socket_local_port(listener)}`);
  });
