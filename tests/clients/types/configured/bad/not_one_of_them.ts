// expect: TS2345
import type { Client } from "./routes.js";

declare const shop: Client;
for await (const item of shop.news.watch("politics")) item;
