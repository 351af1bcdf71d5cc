// The npm package `ws` against a fulmar with its default endpoints: node ws.mjs host:port
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import WebSocket from "ws";
import { address, main, within } from "./support.mjs";

const PATIENCE = 10_000;
const open = new Set();

async function connect(path, options = {}) {
  const socket = new WebSocket(`ws://${address}${path}`, { perMessageDeflate: false, ...options });
  // Kept from the first moment: a message may come in the same segment as the handshake.
  socket.inbox = [];
  socket.on("message", (data, isBinary) => {
    socket.inbox.push([data, isBinary]);
    socket.emit("arrived");
  });
  open.add(socket);
  await within(PATIENCE, `connecting to ${path}`, once(socket, "open"));
  return socket;
}

async function receive(socket, count = 1) {
  while (socket.inbox.length < count) {
    await within(PATIENCE, `${count} messages, got ${socket.inbox.length}`, once(socket, "arrived"));
  }
  return socket.inbox.splice(0, count);
}

/** Closes, and says with which code and reason the server did. */
async function closed(socket, act) {
  const event = once(socket, "close");
  act();
  const [code, reason] = await within(PATIENCE, "the close", event);
  open.delete(socket);
  return [code, reason.toString()];
}

async function echoes(socket, data, isBinary) {
  socket.send(data, { binary: isBinary });
  const [[back, wasBinary]] = await receive(socket);
  assert.equal(wasBinary, isBinary);
  assert.ok(Buffer.from(data).equals(back), `${data.length} bytes come back as they were`);
}

async function echoesEverything(options) {
  const socket = await connect("/echo", options);
  await echoes(socket, "", false);
  await echoes(socket, "hello, wörld 🐦", false);
  await echoes(socket, Buffer.from([0, 255, 1, 254]), true);
  await echoes(socket, Buffer.alloc(70_000, 7), true);
  await echoes(socket, randomBytes(1 << 20), true);
  await echoes(socket, "fulmar ".repeat(100_000), false);
  for (let number = 0; number < 500; number++) socket.send(`message ${number}`);
  const all = await receive(socket, 500);
  all.forEach(([data], number) => assert.equal(data.toString(), `message ${number}`));
  const extensions = socket.extensions;
  assert.deepEqual(await closed(socket, () => socket.close(1000, "done")), [1000, ""]);
  return extensions;
}

async function rooms(options) {
  const name = `/rooms/${randomBytes(6).toString("hex")}`;
  const members = await Promise.all(Array.from({ length: 20 }, () => connect(name, options)));
  const stranger = await connect(`${name}-another`, options);
  members.forEach((member, number) => member.send(`from ${number} ${"x".repeat(600)}`));
  const seen = await Promise.all(members.map(member => receive(member, 20)));
  const texts = seen.map(messages => messages.map(([data]) => data.toString()));
  // Everyone sees all of them, in one order.
  assert.equal(new Set(texts[0]).size, 20);
  texts.forEach(text => assert.deepEqual(text, texts[0]));
  assert.equal(stranger.inbox.length, 0);
  const codes = await Promise.all([...members, stranger].map(one => closed(one, () => one.close(1000))));
  codes.forEach(([code]) => assert.equal(code, 1000));
}

await main("ws", {
  "echoes text, binary, 1 MiB and many in a row": async () => {
    assert.equal(await echoesEverything({}), "");
  },
  "echoes the same over permessage-deflate": async () => {
    const extensions = await echoesEverything({ perMessageDeflate: { threshold: 0 } });
    assert.match(extensions, /permessage-deflate/);
  },
  "echoes over permessage-deflate with small windows and no takeover": async () => {
    await echoesEverything({
      perMessageDeflate: {
        threshold: 0,
        serverNoContextTakeover: true,
        clientNoContextTakeover: true,
        serverMaxWindowBits: 9,
        clientMaxWindowBits: 9,
      },
    });
  },
  "answers pings": async () => {
    const socket = await connect("/echo");
    for (const payload of ["", "ping", "x".repeat(125)]) {
      const pong = once(socket, "pong");
      socket.ping(payload);
      const [data] = await within(PATIENCE, "the pong", pong);
      assert.equal(data.toString(), payload);
    }
    await closed(socket, () => socket.close());
  },
  "twenty clients share a room": () => rooms({}),
  "twenty clients share a room over permessage-deflate": () =>
    rooms({ perMessageDeflate: { threshold: 0 } }),
  "answers a close with its code": async () => {
    for (const code of [1000, 1001, 3000, 4999]) {
      const socket = await connect("/echo");
      assert.equal((await closed(socket, () => socket.close(code)))[0], code);
    }
    const socket = await connect("/echo");
    assert.equal((await closed(socket, () => socket.close()))[0], 1005, "none for none");
  },
  "closes with 1009 when a message is too long": async () => {
    const socket = await connect("/echo");
    const [code] = await closed(socket, () => socket.send(Buffer.alloc((1 << 20) + 1)));
    assert.equal(code, 1009);
  },
  "closes with 1007 when text is not UTF-8": async () => {
    const socket = await connect("/echo");
    const [code] = await closed(socket, () => socket.send(Buffer.from([0xff, 0xfe]), { binary: false }));
    assert.equal(code, 1007);
  },
  "answers 404 where nothing is": async () => {
    const socket = new WebSocket(`ws://${address}/nothing`);
    const [, response] = await within(PATIENCE, "the answer", once(socket, "unexpected-response"));
    assert.equal(response.statusCode, 404);
    response.resume();
  },
  "leaves no connection behind": async () => assert.equal(open.size, 0),
});
