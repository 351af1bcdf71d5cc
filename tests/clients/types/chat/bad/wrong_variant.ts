// expect: TS2367
import type { Client } from "./routes.js";

declare const chat: Client;
for await (const happening of chat.watch("harbour")) happening.type === "gone";
