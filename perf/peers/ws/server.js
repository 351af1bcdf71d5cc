// The `ws` package on node. It has no publish of its own: each member is sent each message, and
// what one tick writes to a socket leaves together.
//
// With --by-hand rooms go round the library instead: a message is framed once, and the frames of a
// tick go to all members' sockets as one buffer. That is no use of `ws` any more, but shows what an
// application can do on node.
const { Sender, WebSocketServer } = require("ws");

const BY_HAND = process.argv.includes("--by-hand");
const PAYLOAD_BYTES_MAX = 1 << 20;
const TEXT = 1;
const BINARY = 2;

const rooms = new Map(); // name -> { members: Map of stream to socket, frames: of this tick }

function roomOf(name) {
  let room = rooms.get(name);
  if (!room) rooms.set(name, (room = { members: new Map(), frames: [] }));
  return room;
}

// Holds what is written to a stream back until the tick's end.
function corkForTick(stream) {
  if (stream.writableCorked > 0) return;
  stream.cork();
  process.nextTick(uncork, stream);
}

function publish(room, message, isBinary) {
  const options = { binary: isBinary };
  for (const [stream, socket] of room.members) {
    corkForTick(stream);
    socket.send(message, options);
  }
}

function publishByHand(room, message, isBinary) {
  const opcode = isBinary ? BINARY : TEXT;
  const frame = { fin: true, rsv1: false, opcode, mask: false, readOnly: true };
  if (room.frames.length === 0) process.nextTick(flush, room);
  room.frames.push(Buffer.concat(Sender.frame(message, frame)));
}

function flush(room) {
  const batch = room.frames.length === 1 ? room.frames[0] : Buffer.concat(room.frames);
  room.frames = [];
  for (const stream of room.members.keys()) stream.write(batch);
}

function uncork(stream) {
  stream.uncork();
}

function echo(socket, stream) {
  socket.on("message", (message, isBinary) => {
    corkForTick(stream);
    socket.send(message, { binary: isBinary });
  });
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  backlog: 4096,
  perMessageDeflate: false,
  clientTracking: false,
  maxPayload: PAYLOAD_BYTES_MAX,
});

server.on("connection", (socket, request) => {
  const stream = request.socket;
  const [, kind, name] = request.url.split("/");
  socket.on("error", () => socket.terminate());
  if (kind === "echo") {
    echo(socket, stream);
    return;
  }
  const room = roomOf(name);
  if (kind === "p") {
    const toAll = BY_HAND ? publishByHand : publish;
    socket.on("message", (message, isBinary) => toAll(room, message, isBinary));
    return;
  }
  room.members.set(stream, socket);
  socket.on("close", () => room.members.delete(stream));
});
server.on("listening", () => console.log(`ready 127.0.0.1:${server.address().port}`));
