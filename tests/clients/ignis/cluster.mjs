// A real IGNIS server under Bun and a Fulmar node share one Redis; their clients hear each other,
// everything exactly once: node ignis/cluster.mjs CONFORMANCE
import assert from "node:assert/strict";
import { main } from "../support.mjs";
import { fulmar, hears, ignis, member, open, redis, require, subscribed } from "./nodes.mjs";

const { RedisHelper, WebSocketEmitter } = require("@venizia/ignis-helpers");

const port = await redis();
const [theirs, ours] = await Promise.all([ignis(port), fulmar("--redis", `redis://127.0.0.1:${port}`)]);
const clients = {
  aliceThere: await member(theirs, "alice", "lobby"),
  bobThere: await member(theirs, "bob", "only-there"),
  aliceHere: await member(ours, "alice", "lobby"),
  bobHere: await member(ours, "bob", "only-here"),
  nobodyThere: await open(theirs),
  nobodyHere: await open(ours),
};
const connection = new RedisHelper({ name: "emitter", host: "127.0.0.1", port, password: undefined });
const emitter = new WebSocketEmitter({ redisConnection: connection });

const authenticated = ["aliceThere", "bobThere", "aliceHere", "bobHere"];
const reaches = (names, frame, act) => hears(clients, Object.fromEntries(names.map(name => [name, [frame]])), act);
const chat = (from, room, text) => () => clients[from].say("chat", { room, text });
const said = (user, text) => ({ event: "chat", data: { from: `user-${user}`, text } });

await main("cluster", {
  "both are subscribed": async () => {
    await emitter.configure();
    const { aliceHere, bobHere } = clients;
    const ids = [aliceHere, bobHere].map(client => `ws:client:${client.id}`);
    await subscribed(port, "ws:broadcast", "ws:room:lobby", "ws:room:only-here", "ws:user:user-alice", ...ids);
  },
  "a room on both, said there": () =>
    reaches(["aliceThere", "aliceHere"], said("alice", "from there"), chat("aliceThere", "lobby", "from there")),
  "a room on both, said here": () =>
    reaches(["aliceThere", "aliceHere"], said("alice", "from here"), chat("aliceHere", "lobby", "from here")),
  "a room that is only here, said there": () =>
    reaches(["bobHere"], said("bob", "to here"), chat("bobThere", "only-here", "to here")),
  "a room that is only there, said here": () =>
    reaches(["bobThere"], said("bob", "to there"), chat("bobHere", "only-there", "to there")),
  "a client here, by one there": () =>
    reaches(["bobHere"], said("alice", "direct"), chat("aliceThere", clients.bobHere.id, "direct")),
  "a client there, by one here": () =>
    reaches(["bobThere"], said("alice", "direct"), chat("aliceHere", clients.bobThere.id, "direct")),
  "a client of one's own node": async () => {
    await reaches(["bobThere"], said("alice", "own"), chat("aliceThere", clients.bobThere.id, "own"));
    await reaches(["bobHere"], said("alice", "own"), chat("aliceHere", clients.bobHere.id, "own"));
  },
  "everybody, said there": () =>
    reaches(authenticated, { event: "announce", data: { by: "them" } }, () =>
      clients.bobThere.say("announce", { by: "them" }),
    ),
  "everybody, said here": () =>
    reaches(authenticated, { event: "announce", data: { by: "us" } }, () =>
      clients.bobHere.say("announce", { by: "us" }),
    ),
  "a user by its nodes, which stays on each": async () => {
    const toAlice = { userId: "user-alice", text: "local" };
    const note = { event: "note", data: "local" };
    await reaches(["aliceThere"], note, () => clients.bobThere.say("to-user", toAlice));
    await reaches(["aliceHere"], note, () => clients.bobHere.say("to-user", toAlice));
  },
  "a user by the emitter": () =>
    reaches(["aliceThere", "aliceHere"], { event: "note", data: "both" }, () =>
      emitter.toUser({ userId: "user-alice", event: "note", data: "both" }),
    ),
  "a room by the emitter, without those excluded": async () => {
    const { aliceThere, aliceHere } = clients;
    const alert = n => ({ event: "alert", data: n });
    const send = (n, ...exclude) => () => emitter.toRoom({ room: "lobby", event: "alert", data: n, exclude });
    await reaches(["aliceThere"], alert(1), send(1, aliceHere.id));
    await reaches(["aliceHere"], alert(2), send(2, aliceThere.id));
    await reaches(["aliceThere", "aliceHere"], alert(3), send(3));
  },
  "data of every kind, both ways": async () => {
    const all = [null, true, -1.5, 1e21, "wörld 🐦\u0000\"\\", [], {}, [[{ a: { b: [null] } }]], "x".repeat(50_000)];
    for (const text of all) {
      for (const from of ["aliceThere", "aliceHere"]) {
        await reaches(["aliceThere", "aliceHere"], said("alice", text), chat(from, "lobby", text));
      }
    }
  },
  "a thousand messages each way, in order": async () => {
    const texts = Array.from({ length: 1000 }, (_, n) => n);
    for (const from of ["aliceThere", "aliceHere"]) {
      const frames = texts.map(n => said("alice", n));
      await hears(clients, { aliceThere: frames, aliceHere: frames }, () => texts.forEach(n => chat(from, "lobby", n)()));
    }
  },
  "both nodes are well": async () => {
    for (const client of Object.values(clients)) assert.equal(client.readyState, client.OPEN);
    await emitter.shutdown();
  },
});
