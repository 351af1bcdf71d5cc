// expect: TS2339
import type { Client } from "./routes.js";

declare const chat: Client;
await chat.subtract(1, 2);
