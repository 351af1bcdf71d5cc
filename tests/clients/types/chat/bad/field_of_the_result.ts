// expect: TS2551
import type { Client } from "./routes.js";

declare const chat: Client;
(await chat.send({ room: "harbour", text: "Ahoy" })).reply_to;
