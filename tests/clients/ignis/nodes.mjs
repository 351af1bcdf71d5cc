// What the scripts of this folder share: processes, clients, and that nothing comes twice.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { within } from "../support.mjs";

export const PATIENCE = 15_000;
/** The binary of core/examples/conformance. */
const conformance = resolve(process.argv[2] ?? "");
/** Loads packages that are CommonJS. */
export const require = createRequire(import.meta.url);

/** Where children write what they write, the logs of the IGNIS helpers among them. */
const folder = mkdtempSync(join(tmpdir(), "fulmar-ignis-"));
process.chdir(folder);
const children = new Set();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  process.chdir("/");
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

function start(command, ...parameters) {
  const child = spawn(command, parameters, { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  child.on("exit", () => children.delete(child));
  child.on("error", error => {
    console.error(`${command}: ${error.message}`);
    process.exit(1);
  });
  return child;
}

/** Starts a server that prints `READY <port>`; where it listens. */
async function ready(command, ...parameters) {
  const child = start(command, ...parameters);
  const port = new Promise((resolve, reject) => {
    let text = "";
    child.stdout.setEncoding("utf8").on("data", part => {
      text += part;
      const found = /^READY (\d+)$/m.exec(text);
      if (found) resolve(Number(found[1]));
    });
    child.on("exit", code => reject(new Error(`${command} ended with ${code}: ${text}`)));
  });
  return `127.0.0.1:${await within(PATIENCE, `${command} to be ready`, port)}`;
}

/** A Fulmar node, with these flags: its address. Clients need not say soon who they are. */
export const fulmar = (...flags) => ready(conformance, "--port", "0", "--auth-timeout", "600000", ...flags);

/** A node of IGNIS itself, run by Bun: its address. */
export function ignis(redisPort) {
  const bun = require.resolve("bun/package.json").replace(/package\.json$/, "bin/bun.exe");
  return ready(bun, fileURLToPath(new URL("real_server.mjs", import.meta.url)), String(redisPort));
}

/** A Redis of our own: its port. */
export async function redis() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  const child = start("redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "");
  child.stdout.resume();
  child.on("exit", code => console.error(`redis-server ended with ${code}`));
  for (let end = Date.now() + PATIENCE; Date.now() < end; await sleep(20)) {
    const socket = connect(port, "127.0.0.1");
    if (await new Promise(done => socket.on("connect", () => done(true)).on("error", () => done(false)))) {
      socket.destroy();
      return port;
    }
  }
  throw new Error("redis-server is not ready");
}

/** A client of a node: connected, keeps what it receives. */
export async function open(address) {
  const socket = new WebSocket(`ws://${address}/ws`, { perMessageDeflate: false });
  socket.raw = [];
  socket.on("message", data => {
    socket.raw.push(data.toString());
    socket.emit("arrived");
  });
  socket.say = (event, data) => socket.send(JSON.stringify({ event, data }));
  await within(PATIENCE, `connecting to ${address}`, once(socket, "open"));
  return socket;
}

/** The next text, as it came. */
export async function next(socket) {
  while (socket.raw.length === 0) await within(PATIENCE, "a message", once(socket, "arrived"));
  return socket.raw.shift();
}

/** An authenticated client in these rooms, as the handlers of both kinds of node do it. */
export async function member(address, token, ...rooms) {
  const socket = await open(address);
  socket.say("authenticate", { token });
  const { event, data } = JSON.parse(await next(socket));
  assert.equal(event, "connected");
  socket.id = data.id;
  if (rooms.length > 0) socket.say("join", { rooms });
  for (let known = []; !rooms.every(room => known.includes(room));) {
    socket.say("rooms");
    known = JSON.parse(await next(socket)).data;
  }
  return socket;
}

/**
 * Does something, and asserts who of `clients` hears what: `heard` has a list of frames for each
 * that hears anything. Each exactly once, and nobody anything else.
 */
export async function hears(clients, heard, act) {
  await act();
  for (const [name, socket] of Object.entries(clients)) {
    const expected = heard[name] ?? [];
    const got = [];
    while (got.length < expected.length) got.push(await next(socket));
    assert.deepEqual(got, expected.map(frame => JSON.stringify(frame)), name);
  }
  // What came twice would be on its way: everybody is asked something, and time passes.
  const pongs = Object.values(clients).map(socket => once(socket, "pong"));
  Object.values(clients).forEach(socket => socket.ping());
  await within(PATIENCE, "pongs", Promise.all(pongs));
  await sleep(150);
  for (const [name, socket] of Object.entries(clients)) assert.deepEqual(socket.raw, [], `${name} hears no more`);
}

/** Waits until somebody is subscribed to each of these channels, so that nothing is missed. */
export async function subscribed(port, ...channels) {
  const { RedisHelper } = require("@venizia/ignis-helpers");
  const client = new RedisHelper({ name: "watch", host: "127.0.0.1", port, password: undefined }).getClient();
  for (const channel of channels) {
    for (let end = Date.now() + PATIENCE; (await client.pubsub("NUMSUB", channel))[1] === 0; await sleep(10)) {
      assert.ok(Date.now() < end, `nobody subscribes to ${channel}`);
    }
  }
  client.disconnect();
}
