 = { type: "joined"; who: string } | Message & { type: "said" } | { type: "closed" };

export type Kind = "plain" | "notice";

/** A message. */
export type Message = {
  /** Who wrote it. */
  from: string;
  kind: Kind;
  replies: Array<Message>;
  tags: Array<string>;
  text: string;
};

/** A message. */
export type MessageInput = {
  /** Who wrote it. */
  from: string;
  kind: Kind;
  replies: Array<MessageInput>;
  tags?: Array<string>;
  text: string;
};

/** All routes as functions. */
export interface Client {
  "a b"(options?: RequestOptions): Promise<void>;
  /** Adds two numbers. */
  add(a: number, b: number, options?: RequestOptions): Promise<number>;
  log(default_: string): Promise<void>;
  send(arg0: MessageInput, arg1: number | null, options?: RequestOptions): Promise<Message>;
  sum(...arg1: [boolean, ...Array<number>] | [boolean, ...Array<number>, RequestOptions]): Promise<number>;
  watch(arg0: string, options?: RequestOptions): Subscription<Event>;
  admin: {
    stats(options?: RequestOptions): Promise<{ [key: string]: number }>;
    "users.drop"(options: number, options_?: RequestOptions): Promise<void>;
  };
  "new": {
    delete(options?: RequestOptions): Promise<void>;
  };
}

export declare const admin: {
  stats: Route<"r", (options?: RequestOptions) => Promise<{ [key: string]: number }>>;
  "users.drop": Route<"r", (options: number, options_?: RequestOptions) => Promise<void>>;
};

declare const routes: {
  "a b": Route<"r", (options?: RequestOptions) => Promise<void>>;
  /** Adds two numbers. */
  add: Route<"r", (a: number, b: number, options?: RequestOptions) => Promise<number>>;
  log: Route<"n", (default_: string) => Promise<void>>;
  send: Route<"r", (arg0: MessageInput, arg1: number | null, options?: RequestOptions) => Promise<Message>>;
  sum: Route<"r", (...arg1: [boolean, ...Array<number>] | [boolean, ...Array<number>, RequestOptions]) => Promise<number>>;
  watch: Route<"s", (arg0: string, options?: RequestOptions) => Subscription<Event>>;
  admin: typeof admin;
  "new": {
    delete: Route<"r", (options?: RequestOptions) => Promise<void>>;
  };
};
export default routes;
