// expect: TS2554
import type { Client } from "./routes.js";

declare const chat: Client;
await chat.typing("harbour", { signal: new AbortController().signal });
