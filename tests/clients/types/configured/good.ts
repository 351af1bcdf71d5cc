// What callers may do.
import type { Client } from "./routes.js";

declare const shop: Client;

const order = await shop.orders.get("7", null);
const sum: number = order.items.reduce((all, one) => all + one, 0);
const note: string = order.note ?? `${sum}`;
await shop.orders.get(order.id, true, { signal: new AbortController().signal });
for await (const { text } of shop.news.watch("sport")) text.length;
const told: Promise<void> = shop.news.say("weather", note);
await told;
