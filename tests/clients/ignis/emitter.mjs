// The real WebSocketEmitter of IGNIS, under node, reaches clients of two Fulmar nodes, each exactly
// once: node ignis/emitter.mjs CONFORMANCE
import { main } from "../support.mjs";
import { fulmar, hears, member, open, redis, require, subscribed } from "./nodes.mjs";

const { RedisHelper, WebSocketEmitter } = require("@venizia/ignis-helpers");

const port = await redis();
const url = `redis://127.0.0.1:${port}`;
const [one, two] = await Promise.all([fulmar("--redis", url), fulmar("--redis", url)]);
const clients = {
  alice1: await member(one, "alice", "lobby"),
  alice2: await member(two, "alice", "lobby"),
  bob1: await member(one, "bob", "lobby"),
  bob2: await member(two, "bob"),
  anon2: await member(two, "anon", "lobby"),
  nobody1: await open(one),
  nobody2: await open(two),
};
const connection = new RedisHelper({ name: "emitter", host: "127.0.0.1", port, password: undefined });
const emitter = new WebSocketEmitter({ redisConnection: connection });

/** Expects `frame` at exactly these clients. */
const reaches = (names, frame, act) => hears(clients, Object.fromEntries(names.map(name => [name, [frame]])), act);
const members = ["alice1", "alice2", "bob1", "anon2"];
const everybody = [...members, "bob2"];

await main("emitter", {
  "is configured": async () => {
    await emitter.configure();
    const ids = Object.values(clients).filter(client => client.id).map(client => `ws:client:${client.id}`);
    await subscribed(port, "ws:broadcast", "ws:room:lobby", "ws:room:ws-default", "ws:user:user-alice", ...ids);
  },
  "reaches a client on either node": async () => {
    for (const name of ["alice1", "bob2"]) {
      await reaches([name], { event: "direct", data: { to: name } }, () =>
        emitter.toClient({ clientId: clients[name].id, event: "direct", data: { to: name } }),
      );
    }
  },
  "reaches a user's sessions on both nodes": () =>
    reaches(["alice1", "alice2"], { event: "note", data: "hello" }, () =>
      emitter.toUser({ userId: "user-alice", event: "note", data: "hello" }),
    ),
  "reaches a room on both nodes": () =>
    reaches(members, { event: "alert", data: [1, null, "wörld 🐦"] }, () =>
      emitter.toRoom({ room: "lobby", event: "alert", data: [1, null, "wörld 🐦"] }),
    ),
  "leaves out whom it excludes, on both nodes": () =>
    reaches(["alice2", "bob1"], { event: "alert", data: 2 }, () =>
      emitter.toRoom({ room: "lobby", event: "alert", data: 2, exclude: [clients.alice1.id, clients.anon2.id] }),
    ),
  "reaches the rooms everybody is in": () =>
    reaches(everybody, { event: "alert", data: 3 }, () =>
      emitter.toRoom({ room: "ws-default", event: "alert", data: 3 }),
    ),
  "reaches a client by its id as a room": () =>
    reaches(["anon2"], { event: "x", data: 4 }, () =>
      emitter.toRoom({ room: clients.anon2.id, event: "x", data: 4 }),
    ),
  "reaches everyone who is authenticated": () =>
    reaches(everybody, { event: "news", data: { n: 5 } }, () =>
      emitter.broadcast({ event: "news", data: { n: 5 } }),
    ),
  "sends events without data as such": () =>
    reaches(everybody, { event: "bare" }, () => emitter.broadcast({ event: "bare", data: undefined })),
  "sends null as null": () =>
    reaches(everybody, { event: "nothing", data: null }, () => emitter.broadcast({ event: "nothing", data: null })),
  "reaches nobody where nobody is": () =>
    reaches([], {}, async () => {
      await emitter.toClient({ clientId: crypto.randomUUID(), event: "x", data: 6 });
      await emitter.toUser({ userId: "user-nobody", event: "x", data: 6 });
      await emitter.toRoom({ room: "nowhere", event: "x", data: 6 });
    }),
  "keeps the order of a thousand messages": () => {
    const frames = Array.from({ length: 1000 }, (_, n) => ({ event: "n", data: n }));
    return hears(clients, Object.fromEntries(members.map(name => [name, frames])), async () => {
      for (const { event, data } of frames) await emitter.toRoom({ room: "lobby", event, data });
    });
  },
  "says goodbye": () => emitter.shutdown(),
});
