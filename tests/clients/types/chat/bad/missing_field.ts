// expect: TS2741
import type { Client } from "./routes.js";

declare const chat: Client;
await chat.send({ room: "harbour" });
