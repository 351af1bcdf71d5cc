// expect: TS2339
import type { Client } from "./routes.js";

declare const shop: Client;
await shop.orders.drop("7");
