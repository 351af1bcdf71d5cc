// expect: TS2345
import type { Client } from "./routes.js";

declare const chat: Client;
await chat.sum(1, "2");
