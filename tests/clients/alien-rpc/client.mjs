// A client of alien-rpc's protocol against the example that has its routes:
// node alien-rpc/client.mjs CONFORMANCE
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { main, within } from "../support.mjs";
import { CallFailed, Client, ConnectionLost } from "./rpc.mjs";

const PATIENCE = 15_000;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

let process_;
process.on("exit", () => process_?.kill("SIGKILL"));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Starts the example, at the port it had before. */
async function serve(port = 0) {
  process_ = spawn(resolve(process.argv[2] ?? ""), ["--port", String(port)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  process_.on("error", error => {
    console.error(error.message);
    process.exit(1);
  });
  let text = "";
  for await (const part of process_.stdout.setEncoding("utf8")) {
    text += part;
    const found = /^READY (\d+)$/m.exec(text);
    if (found) return Number(found[1]);
  }
  throw new Error(`no READY: ${text}`);
}

async function kill() {
  const ended = once(process_, "exit");
  process_.kill("SIGKILL");
  await within(PATIENCE, "the end of the server", ended);
}

const port = await serve();
const url = path => `ws://127.0.0.1:${port}${path}`;
const client = new Client(url("/alien/ws"));

const fails = (promise, code, message, data) =>
  assert.rejects(promise, error => {
    assert.ok(error instanceof CallFailed, String(error));
    assert.deepEqual([error.code, error.message, error.data], [code, message, data]);
    return true;
  });

async function list(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

/** How the calls of `slow` ended, as the server remembers it. */
const ends = async () => (await client.call("seenEvents")).filter(([event]) => event === "defer").map(([, end]) => end);

async function eventually(what, condition) {
  const end = Date.now() + PATIENCE;
  while (!(await condition())) {
    assert.ok(Date.now() < end, what);
    await sleep(10);
  }
}

await main("alien", {
  "a notification is handled and not answered": async () => {
    await client.notify("logEvent", "user_action", { userId: 123, action: "click" });
    await eventually("it is seen", async () => (await client.call("seenEvents")).length === 1);
    assert.deepEqual(await client.call("seenEvents"), [["user_action", { userId: 123, action: "click" }]]);
    assert.equal(client.log[0], '> {"method":"logEvent","params":["user_action",{"userId":123,"action":"click"}]}');
  },
  "requests have results": async () => {
    assert.deepEqual(await client.call("getUserData", ["123"]), { id: "123", name: "User 123" });
    assert.equal(await client.call("noArgs"), "ok");
    assert.deepEqual([await client.call("add", [2, 3]), await client.call("add", [0.1, 0.2])], [5, 0.1 + 0.2]);
    assert.equal(client.log.at(-3), '< {"id":' + JSON.parse(client.log.at(-3).slice(2)).id + ',"result":5}');
  },
  "nothing is a result, too": async () => {
    assert.equal(await client.call("returnsUndefined", ["x"]), undefined);
    assert.match(client.log.at(-1), /^< \{"id":\d+\}$/);
  },
  "scopes have dots": async () => assert.deepEqual(await client.call("admin.stats"), { up: true }),
  "what is not there is not found": async () => {
    await fails(client.call("missing", ["x"]), 404, "Not Found");
    await fails(client.call("__proto__"), 404, "Not Found");
  },
  "errors are what was thrown": async () => {
    await fails(client.call("throwError", ["kaput"]), 500, "kaput");
    await fails(client.call("throwString"), 500, "just a string");
    await fails(client.call("throwBad"), 4711, "bad input", { field: "x" });
    await fails(client.call("throwUnauthorized"), 401, "");
    await fails(client.call("throwJson"), 418, "teapot", { hint: 1 });
  },
  "what does not fit is told where": async () => {
    const misfit = (params, path, value) =>
      assert.rejects(client.call("add", params), error => {
        assert.deepEqual([error.code, error.data.path, error.data.value], [400, path, value]);
        return true;
      });
    await misfit([1, "2"], "/1", "2");
    await misfit([1], "", [1]);
    await misfit([1, 2, 3], "", [1, 2, 3]);
  },
  "a stream has items and an end": async () => {
    assert.deepEqual(await list(client.subscribe("count", 3, 5)), [{ number: 0 }, { number: 1 }, { number: 2 }]);
    assert.match(client.log.at(-1), /^< \{"id":\d+,"close":true\}$/);
    assert.deepEqual(await list(client.subscribe("count", 0, 0)), []);
  },
  "items may be undefined and null": async () =>
    assert.deepEqual(await list(client.subscribe("undefStream")), [undefined, null, "x"]),
  "a stream that fails says so after its items": async () => {
    const seen = [];
    const reading = (async () => {
      for await (const item of client.subscribe("countFail", 2)) seen.push(item);
    })();
    await fails(reading, 500, "stream broke");
    assert.deepEqual(seen, [0, 1]);
  },
  "answers come as they are ready": async () => {
    const order = [];
    const calls = [["slow", [200]], ["add", [1, 1]], ["slow", [50]]];
    await Promise.all(calls.map(async ([method, params]) => order.push(await client.call(method, params))));
    assert.deepEqual(order, [2, "slept 50", "slept 200"]);
  },
  "handlers know the connection": async () => {
    const other = new Client(url("/alien/ws"), { headers: { "x-test": "1", "user-agent": "test" } });
    const [first, again, elsewhere] = [await client.call("whoami"), await client.call("whoami"), await other.call("whoami")];
    assert.match(first.id, UUID);
    assert.deepEqual(first, again);
    assert.notEqual(first.id, elsewhere.id);
    assert.deepEqual([elsewhere.ip, elsewhere.hasHeaders, elsewhere.ua, elsewhere.x], ["127.0.0.1", true, "test", "1"]);
    assert.equal(await other.close(), 1005);
  },
  "a call that is aborted is stopped": async () => {
    const before = (await ends()).length;
    const aborting = new AbortController();
    const call = client.call("slow", [60_000], { signal: aborting.signal });
    await sleep(30);
    aborting.abort();
    await assert.rejects(call, { name: "AbortError" });
    await eventually("it is stopped", async () => (await ends()).length > before);
    assert.equal((await ends()).at(-1), "cancelled");
  },
  "a call that is done tells that, too": async () => {
    await client.call("slow", [1]);
    await eventually("it is told", async () => (await ends()).at(-1) === null);
  },
  "who leaves a loop hears no more of its stream": async () => {
    for await (const { number } of client.subscribe("count", 1e9, 1)) if (number === 3) break;
    await client.call("noArgs");
    const length = client.log.length;
    await sleep(100);
    assert.deepEqual(client.log.slice(length), []);
  },
  "notifications that fail or go nowhere do no harm": async () => {
    await client.notify("boomNotify");
    await client.notify("unknownNotify", "a");
    await client.notify("logEvent", 1);
    await client.notify("count", 1e9, 1);
    assert.equal(await client.call("noArgs"), "ok");
  },
  "what is no call does no harm": async () => {
    const socket = await client.socket();
    for (const text of ["{nope", "null", "[]", '[{"method":"noArgs","params":[],"id":1}]', '{"id":{}}']) socket.send(text);
    socket.send(Buffer.from('{"method":"logEvent","params":["binary",1]}'));
    await eventually("it is seen", async () => (await client.call("seenEvents")).some(([event]) => event === "binary"));
  },
  "who waits in silence pings": async () => {
    const patient = new Client(url("/alien/ws"), { ping: 50 });
    assert.equal(await patient.call("slow", [400]), "slept 400");
    assert.ok(patient.pongs >= 2, `${patient.pongs} pongs`);
    await patient.close();
  },
  "ids begin at 1 on every connection": async () => {
    assert.equal(await client.close(), 1005);
    await client.call("noArgs");
    assert.deepEqual(client.log.slice(-2), ['> {"method":"noArgs","params":[],"id":1}', '< {"id":1,"result":"ok"}']);
  },
  "the first frame decides where both protocols are spoken": async () => {
    const both = new Client(url("/ws"));
    assert.equal(await both.call("add", [1, 2]), 3);
    assert.deepEqual(await list(both.subscribe("count", 2, 0)), [{ number: 0 }, { number: 1 }]);
    await both.close();
  },
  "a thousand calls and a hundred streams at once": async () => {
    const sums = Promise.all(Array.from({ length: 1000 }, (_, n) => client.call("slow", [n % 50])));
    const streams = Promise.all(Array.from({ length: 100 }, () => list(client.subscribe("count", 20, 1))));
    assert.deepEqual(await sums, Array.from({ length: 1000 }, (_, n) => `slept ${n % 50}`));
    const numbers = Array.from({ length: 20 }, (_, number) => ({ number }));
    for (const stream of await streams) assert.deepEqual(stream, numbers);
  },
  "who is cut off learns it, and goes on once the server is back": async () => {
    const pending = assert.rejects(client.call("slow", [60_000]), ConnectionLost);
    await client.call("noArgs");
    await kill();
    await pending;
    assert.equal(await serve(port), port);
    assert.equal(await client.call("noArgs"), "ok");
  },
  "a server that stops answers what is pending": async () => {
    const pending = client.call("slow", [60_000]);
    const stream = list(client.subscribe("count", 2, 60_000));
    await client.call("noArgs");
    const closed = once(await client.socket(), "close");
    const stopping = new Client(url("/ignis/ws"));
    const socket = await stopping.socket();
    socket.send('{"event":"authenticate","data":{"token":"alice"}}');
    await eventually("it is known", () => stopping.log.length > 0);
    socket.send('{"event":"shutdown"}');
    await fails(pending, 503, "Connection closing");
    await fails(stream, 503, "Connection closing");
    assert.equal((await within(PATIENCE, "the close", closed))[0], 1001);
  },
});
