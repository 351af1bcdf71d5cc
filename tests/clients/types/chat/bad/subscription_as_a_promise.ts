// expect: TS2339
import type { Client } from "./routes.js";

declare const chat: Client;
(await chat.watch("harbour")).type;
