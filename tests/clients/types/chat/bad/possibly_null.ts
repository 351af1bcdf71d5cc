// expect: TS2531
import type { Client } from "./routes.js";

declare const chat: Client;
(await chat.send({ room: "harbour", text: "Ahoy" })).replyTo.toFixed();
