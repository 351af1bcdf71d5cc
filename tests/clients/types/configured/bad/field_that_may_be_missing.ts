// expect: TS2532
import type { Client } from "./routes.js";

declare const shop: Client;
(await shop.orders.get("7", true)).note.length;
