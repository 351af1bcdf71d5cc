// expect: TS2504
import type { Client } from "./routes.js";

declare const chat: Client;
for await (const total of chat.add(1, 2)) total;
