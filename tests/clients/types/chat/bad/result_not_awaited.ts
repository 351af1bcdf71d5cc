// expect: TS2322
import type { Client } from "./routes.js";

declare const chat: Client;
const total: number = chat.add(1, 2);
total;
