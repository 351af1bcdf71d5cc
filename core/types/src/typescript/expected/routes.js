// Written by Fulmar from the types of its routes: changes to this file get lost.
import websocket from "@alien-rpc/client/protocols/websocket";

export const admin = {
  stats: { protocol: websocket, pattern: "r" },
  "users.drop": { protocol: websocket, pattern: "r" },
};

export default {
  "a b": { protocol: websocket, pattern: "r" },
  add: { protocol: websocket, pattern: "r" },
  log: { protocol: websocket, pattern: "n" },
  send: { protocol: websocket, pattern: "r" },
  sum: { protocol: websocket, pattern: "r" },
  watch: { protocol: websocket, pattern: "s" },
  admin,
  new: {
    delete: { protocol: websocket, pattern: "r" },
  },
};
