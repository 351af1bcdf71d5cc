// What callers may do.
import routes, { admin } from "./routes.js";
import type { Client, Draft, Happening, Posted } from "./routes.js";

declare const chat: Client;

const total: number = await chat.add(1, 2);
const later: Promise<number> = chat.add(1, 2, { signal: new AbortController().signal });
const draft: Draft = { room: "harbour", text: `${total} ${await later}` };
const posted: Posted = await chat.send(draft);
await chat.send({ ...draft, mentions: ["Ada"], reply_to: posted.number });
const number: number = posted.number + (posted.replyTo ?? 0);
const told: Promise<void> = chat.typing("harbour");
await told;

for await (const happening of chat.watch("harbour", {})) {
  const happened: Happening = happening;
  switch (happened.type) {
    case "joined":
      happened.who.length;
      break;
    case "said":
      happened.text.length;
      break;
    default: {
      const rest: "left" | "typing" = happened.type;
      rest.length;
    }
  }
}
const reader = chat.watch("harbour").getReader();
const { value } = await reader.read();
value?.type;

await chat.sum();
await chat.sum(1, 2, number);
await chat.sum(1, 2, { signal: new AbortController().signal });
const rooms: number = (await chat.admin.stats()).rooms;
rooms.toFixed();

// The routes themselves: how they are called is part of their type.
const asked: "r" = routes.add.pattern;
const told_: "n" = routes.typing.pattern;
const watched: "s" = routes.watch.pattern;
const same: typeof admin = routes.admin;
[asked, told_, watched, same.stats.pattern];

// Any client that takes routes by their type gives the functions of `Client`.
type Called<R> = {
  [K in keyof R]: R[K] extends { callee: infer F extends (...args: any) => any } ? F : Called<R[K]>;
};
declare function define<R>(routes: R): Called<R>;
const defined: Client = define(routes);
defined.add(1, 2);
