// expect: TS2322
import type { Client } from "./routes.js";

declare const shop: Client;
const id: number = (await shop.orders.get("7", true)).id;
id;
