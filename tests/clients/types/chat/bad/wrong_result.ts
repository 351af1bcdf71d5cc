// expect: TS2322
import type { Client } from "./routes.js";

declare const chat: Client;
const total: string = await chat.add(1, 2);
total;
