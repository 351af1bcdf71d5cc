// Clients that agree on a key and decrypt what they are sent: one written with Web Crypto alone, one
// with the IGNIS package's own ECDH class: node ignis/sealed.mjs CONFORMANCE
import assert from "node:assert/strict";
import { once } from "node:events";
import { main, within } from "../support.mjs";
import { fulmar, next, open, PATIENCE, require } from "./nodes.mjs";

const { subtle } = globalThis.crypto;
const { ECDH } = require("@venizia/ignis-helpers");
const address = await fulmar("--encryption", "required");
const seenFrames = [];

const fromBase64 = text => {
  const bytes = Buffer.from(text, "base64");
  assert.equal(bytes.toString("base64"), text, "standard alphabet, with padding");
  return bytes;
};

/** Keys by Web Crypto, as the specification has it. */
async function byHand() {
  const curve = { name: "ECDH", namedCurve: "P-256" };
  const pair = await subtle.generateKey(curve, false, ["deriveBits"]);
  const publicKey = Buffer.from(await subtle.exportKey("raw", pair.publicKey)).toString("base64");
  return {
    publicKey,
    async agree({ serverPublicKey, salt }) {
      const peer = await subtle.importKey("raw", fromBase64(serverPublicKey), curve, false, []);
      const shared = await subtle.deriveBits({ name: "ECDH", public: peer }, pair.privateKey, 256);
      const ikm = await subtle.importKey("raw", shared, "HKDF", false, ["deriveKey"]);
      const info = new TextEncoder().encode("ignis-ecdh-p256-aes-256-gcm-v1");
      const derivation = { name: "HKDF", hash: "SHA-256", salt: fromBase64(salt), info };
      const key = await subtle.deriveKey(derivation, ikm, { name: "AES-GCM", length: 256 }, false, ["decrypt"]);
      return async ({ iv, ct }) => {
        assert.equal(fromBase64(iv).length, 12);
        const plain = await subtle.decrypt({ name: "AES-GCM", iv: fromBase64(iv) }, key, fromBase64(ct));
        return new TextDecoder("utf-8", { fatal: true }).decode(plain);
      };
    },
  };
}

/** Keys by the package. */
async function byPackage() {
  const ecdh = ECDH.withAlgorithm();
  const { keyPair, publicKeyB64 } = await ecdh.generateKeyPair();
  return {
    publicKey: publicKeyB64,
    async agree({ serverPublicKey, salt }) {
      const peerPublicKey = await ecdh.importPublicKey({ rawKeyB64: serverPublicKey });
      const { key } = await ecdh.deriveAESKey({ privateKey: keyPair.privateKey, peerPublicKey, salt });
      return message => ecdh.decrypt({ message, secret: key });
    },
  };
}

async function login(token, keys) {
  const socket = await open(address);
  const { publicKey, agree } = await keys();
  socket.say("authenticate", { token, publicKey });
  const { event, data } = JSON.parse(await next(socket));
  assert.equal(event, "connected", "the one frame that is plain");
  assert.deepEqual(Object.keys(data), ["id", "userId", "time", "serverPublicKey", "salt"]);
  assert.equal(fromBase64(data.serverPublicKey).length, 65);
  assert.equal(fromBase64(data.salt).length, 32);
  socket.id = data.id;
  socket.keys = [data.serverPublicKey, data.salt];
  socket.decrypt = await agree(data);
  return socket;
}

/** The next message, which must be encrypted, decrypted. */
async function opened(socket) {
  const raw = await next(socket);
  seenFrames.push(raw);
  const frame = JSON.parse(raw);
  assert.equal(raw, JSON.stringify({ event: "encrypted", data: { iv: frame.data.iv, ct: frame.data.ct } }));
  return socket.decrypt(frame.data);
}

const is = async (socket, frame) => assert.equal(await opened(socket), JSON.stringify(frame));

/** What a client is told that offers `data`, and how it is closed. */
async function refused(data) {
  const socket = await open(address);
  const closed = once(socket, "close");
  socket.say("authenticate", data);
  const [code, reason] = await within(PATIENCE, "the close", closed);
  return [...socket.raw.map(text => JSON.parse(text).data.message), code, reason.toString()];
}

let alice, bob, carol;

await main("sealed", {
  "agrees on keys": async () => {
    alice = await login("alice", byHand);
    bob = await login("bob", byPackage);
    carol = await login("carol", byHand);
    assert.equal(new Set([alice, bob, carol].flatMap(client => client.keys)).size, 6, "keys and salts of their own");
  },
  "answers are encrypted": async () => {
    alice.say("echo", { secret: "héllo" });
    await is(alice, { event: "echo:response", data: { original: { secret: "héllo" } } });
    bob.say("echo", "x".repeat(100_000));
    await is(bob, { event: "echo:response", data: { original: "x".repeat(100_000) } });
    bob.say("echo", "");
    await is(bob, { event: "echo:response", data: { original: "" } });
  },
  "errors are encrypted": async () => {
    alice.send("nope");
    await is(alice, { event: "error", data: { message: "Invalid message format" } });
    bob.say("authenticate", {});
    await is(bob, { event: "error", data: { message: "Already authenticated" } });
  },
  "a room's messages are encrypted for each member": async () => {
    for (const client of [alice, bob]) {
      client.say("join", { rooms: ["room"] });
      client.say("rooms");
      await is(client, { event: "rooms", data: [client.id, "ws-default", "ws-notification", "room"] });
    }
    alice.say("chat", { room: "room", text: "room text" });
    for (const client of [alice, bob]) await is(client, { event: "chat", data: { from: "user-alice", text: "room text" } });
    alice.say("room-except-me", { room: "room", text: "not to me" });
    await is(bob, { event: "chat", data: "not to me" });
  },
  "direct messages are encrypted": async () => {
    alice.say("chat", { room: bob.id, text: "psst" });
    await is(bob, { event: "chat", data: { from: "user-alice", text: "psst" } });
    alice.say("to-user", { userId: "user-carol", text: "note" });
    await is(carol, { event: "note", data: "note" });
    carol.say("null-data");
    await is(carol, { event: "nothing", data: null });
    carol.say("undef-data");
    await is(carol, { event: "undef" });
  },
  "everybody's messages are encrypted": async () => {
    carol.say("announce", "to all");
    for (const client of [alice, bob, carol]) await is(client, { event: "announce", data: "to all" });
  },
  "a thousand messages stay in order": async () => {
    for (let n = 0; n < 1000; n++) alice.say("chat", { room: "room", text: n });
    for (let n = 0; n < 1000; n++) {
      for (const client of [alice, bob]) await is(client, { event: "chat", data: { from: "user-alice", text: n } });
    }
  },
  "no two messages have one initialisation vector": () => {
    const ivs = seenFrames.map(raw => JSON.parse(raw).data.iv);
    assert.ok(ivs.length > 2000);
    assert.equal(new Set(ivs).size, ivs.length);
  },
  "another's messages cannot be read": async () => {
    alice.say("echo", "mine");
    const { data } = JSON.parse(await next(alice));
    await assert.rejects(bob.decrypt(data));
    await assert.rejects(alice.decrypt({ ...data, ct: `A${data.ct.slice(1)}A`.slice(0, data.ct.length) }));
  },
  "clients without keys are refused": async () => {
    const { publicKey } = await byHand();
    const required = ["Encryption handshake failed", 4004, "Encryption required"];
    const failed = ["Authentication error", 4003, "Authentication failed"];
    assert.deepEqual(await refused({ token: "eve" }), required);
    assert.deepEqual(await refused({ token: "eve", publicKey: "not base64!" }), failed);
    assert.deepEqual(await refused({ token: "eve", publicKey: Buffer.alloc(65, 4).toString("base64") }), failed);
    assert.deepEqual(await refused({ token: "eve", publicKey: publicKey.slice(0, 84) }), failed);
    assert.deepEqual(await refused({ token: "bad", publicKey }), ["Authentication failed", 4003, "Authentication failed"]);
  },
  "nothing else came": () => {
    for (const client of [alice, bob, carol]) {
      assert.deepEqual(client.raw, []);
      assert.equal(client.readyState, client.OPEN);
    }
  },
});
