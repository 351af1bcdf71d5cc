// expect: TS2554
import type { Client } from "./routes.js";

declare const shop: Client;
await shop.orders.get("7");
