// expect: TS2345
import type { Client } from "./routes.js";

declare const chat: Client;
await chat.add(1, "2");
