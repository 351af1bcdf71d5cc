//! Every key once: name, type, default, meaning. Reading, unknown-key suggestions,
//! `fulmar configdoc`, `fulmar genconfig` and `docs/CONFIG.md` all follow from this table.

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// The full name; `endpoint[].` stands before the keys of an `[[endpoint]]` table.
    pub(crate) name: &'static str,
    /// What may be typed.
    pub(crate) kind: Kind,
    /// What holds where nothing is typed.
    pub(crate) fallback: Fallback,
    /// One sentence.
    pub(crate) doc: &'static str,
    /// Whether a running server takes a new value at `SIGHUP`.
    pub(crate) reloadable: bool,
}

/// The type of a key's value; ranges include both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// An address and a port.
    Address,
    /// A whole number.
    Number {
        /// The least value.
        least: u64,
        /// The greatest value.
        most: u64,
    },
    /// `true` or `false`.
    Switch,
    /// A duration with a unit.
    Duration {
        /// The least value in milliseconds.
        least: u64,
        /// Whether `"off"` (or `"0s"`) is accepted.
        off: bool,
    },
    /// A size in bytes or with a unit.
    Size {
        /// The least value in bytes.
        least: u64,
        /// The greatest value in bytes.
        most: u64,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list of a few words, each at most once.
    Choices(&'static [&'static str]),
    /// A text.
    Text,
    /// A list of texts.
    TextList,
    /// A JSON Schema, as a table.
    Schema,
    /// A list of JSON Schemas.
    SchemaList,
}

/// The longest duration any key takes, in milliseconds: a day.
pub(crate) const DURATION_MOST: u64 = 24 * 3_600_000;

/// What holds where nothing is typed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fallback {
    /// This value, in TOML.
    Value(&'static str),
    /// The number of cores.
    Cores,
    /// True exactly where no endpoint is configured.
    WithoutEndpoints,
    /// The server-wide key of this name.
    Inherited(&'static str),
    /// What the rest of the configuration makes of it, in words.
    Depends(&'static str),
    /// Nothing: the key must be typed.
    Required,
}

use Fallback::{Cores, Depends, Inherited, Required, Value, WithoutEndpoints};
use Kind::{
    Address, Choice, Choices, Duration, Number, Schema, SchemaList, Size, Switch, Text, TextList,
};

const fn key(name: &'static str, kind: Kind, fallback: Fallback, doc: &'static str) -> Key {
    Key { name, kind, fallback, doc, reloadable: false }
}

const fn number(least: u64, most: u64) -> Kind {
    Number { least, most }
}

const MEBI: u64 = 1 << 20;
const METHODS: &[&str] = &["anonymous", "tokens", "jwt", "callback"];
const ALGORITHMS: &[&str] = &["HS256", "RS256", "ES256", "EdDSA"];
const POLICIES: &[&str] = &["drop_newest", "skip", "close"];
const BUFFER: Kind = Size { least: 4096, most: 1 << 30 };
const MESSAGE: Kind = Size { least: 1, most: 1 << 30 };
const OR_OFF: Kind = Duration { least: 10, off: true };
const AT_LEAST_A_BIT: Kind = Duration { least: 10, off: false };

/// All keys, in the order of the documentation.
#[rustfmt::skip] // One key, one paragraph: a table that is read as one.
pub(crate) const KEYS: &[Key] = &[
    key("listen", Address, Value("\"127.0.0.1:9000\""),
        "The address and port to accept connections on; port 0 takes a free one."),
    key("shards", number(1, 1024), Cores,
        "The number of event loops, each on a thread of its own."),
    key("workers", number(1, 1024), Cores,
        "The number of threads that run handlers which may block."),
    key("io", Choice(&["auto", "epoll", "io_uring"]), Value("\"auto\""),
        "The kernel interface of the event loops; `auto` is io_uring where it can be used (Linux \
         6.1 or later, not forbidden by a container), else epoll."),
    key("busy_poll", Duration { least: 1, off: true }, Value("\"off\""),
        "How long an event loop looks for work before it sleeps: lower latency after a pause, for \
         a core that never rests."),
    key("pin", Switch, Value("true"),
        "Pins each shard to a core where there is one core per shard."),
    key("demo", Switch, WithoutEndpoints,
        "Serves the demo page at `/`, which uses the endpoints `/echo` and `/rooms/:room`."),
    key("log", Choice(&["auto", "text", "json"]), Value("\"auto\""),
        "The form of log lines on standard error; `auto` is text on a terminal and JSON \
         elsewhere."),
    key("log_level", Choice(&["error", "warn", "info", "debug", "trace"]), Value("\"info\""),
        "The least important lines that are still logged."),

    key("limits.connections_max", number(1, 16 * MEBI), Value("100000"),
        "The most connections at once; further ones are refused with status 503."),
    key("limits.connections_per_address_max", number(0, 16 * MEBI), Value("0"),
        "The most connections at once from one client address; 0 means no limit."),
    key("limits.connections_pending_max", number(1, 16 * MEBI), Value("16384"),
        "The most connections at once whose handshake is not finished."),
    key("limits.head_bytes_max", Size { least: 512, most: MEBI }, Value("\"8KiB\""),
        "The longest request head; longer ones are answered with status 431."),
    key("limits.headers_max", number(8, 1024), Value("64"),
        "The most header fields in a request; more are answered with status 431."),
    key("limits.target_bytes_max", Size { least: 256, most: MEBI }, Value("\"4KiB\""),
        "The longest request target (path and query); longer ones are answered with status 414."),
    key("limits.message_bytes_max", MESSAGE, Value("\"1MiB\""),
        "The longest message a client may send, after decompression; longer ones close the \
         connection with code 1009."),
    key("limits.fragments_max", number(1, 16 * MEBI), Value("1048576"),
        "The most frames one message may be split into."),
    key("limits.rooms_per_connection_max", number(0, MEBI), Value("1024"),
        "The most rooms one connection may be in at once."),
    key("limits.calls_in_flight_max", number(1, 65_536), Value("32"),
        "The most handler calls of one connection that run at once."),
    key("limits.calls_queued_max", number(0, MEBI), Value("128"),
        "The most handler calls of one connection that wait for their turn; further ones are \
         refused."),
    key("limits.mailbox_max", number(16, 16 * MEBI), Value("65536"),
        "The most messages that wait between two shards."),
    key("limits.sealing_max", number(1, 65_536), Value("10"),
        "The most messages that are encrypted at once; further ones wait in order."),

    key("timeouts.handshake", AT_LEAST_A_BIT, Value("\"10s\""),
        "How long a client may take for its whole request head."),
    key("timeouts.idle", OR_OFF, Value("\"2m\""),
        "Closes a connection that has sent nothing for this long; pongs count as something."),
    key("timeouts.ping_interval", OR_OFF, Value("\"25s\""),
        "Sends a ping to a connection that has been silent for this long."),
    key("timeouts.pong", OR_OFF, Value("\"20s\""),
        "Closes a connection that answers a ping with nothing for this long."),
    key("timeouts.close", AT_LEAST_A_BIT, Value("\"5s\""),
        "How long a client may take to answer a close before its socket is closed."),
    key("timeouts.stop", Duration { least: 0, off: false }, Value("\"10s\""),
        "The window of a graceful stop; what remains after it is cut. So long what a client said \
         before its end may be handled, too."),

    key("backpressure.bytes_max", BUFFER, Value("\"1MiB\""),
        "The most bytes that wait for one slow client before the policy applies."),
    key("backpressure.low_bytes", Size { least: 0, most: 1 << 30 }, Value("\"256KiB\""),
        "A slow client counts as recovered once no more than this waits for it."),
    key("backpressure.policy", Choice(POLICIES), Value("\"drop_newest\""),
        "What happens to a slow client: `drop_newest` keeps what waits and drops new room \
         messages, `skip` drops what waits and jumps to the newest, `close` closes with a reason."),

    key("deflate.enabled", Switch, Value("false"),
        "Offers compression of messages (RFC 7692); it costs memory and time per connection."),
    key("deflate.min_bytes", Size { least: 0, most: 1 << 30 }, Value("512"),
        "The shortest message that is compressed."),
    key("deflate.context_takeover", Switch, Value("false"),
        "Keeps the compression window between messages: smaller messages for more memory."),
    key("deflate.window_bits", number(9, 15), Value("15"),
        "The size of the compression window, as a power of two."),
    key("deflate.level", number(1, 9), Value("1"),
        "The effort of compression; 1 is the fastest, 9 the smallest."),

    key("auth.methods", Choices(METHODS), Value("[]"),
        "How clients may prove who they are, tried in this order; `callback` must be the last, and \
         `anonymous` lets in clients that show no token."),
    key("auth.token_bytes_max", Size { least: 64, most: 65_536 }, Value("\"8KiB\""),
        "The longest token; longer ones are refused without being looked at."),
    key("auth.query", Text, Value("\"token\""),
        "The query parameter that may carry a token; an empty text is none. Logs of proxies have \
         it: for short-lived tokens."),
    key("auth.cookie", Text, Value("\"\""),
        "The cookie that may carry a token; an empty text is none. Browsers send cookies from any \
         page: set `origins` too."),
    key("auth.tokens", TextList, Value("[]"),
        "The tokens of the method `tokens`, each as `TOKEN=USER` or `sha256:HEX=USER` with the \
         digest of the token."),

    key("auth.jwt.secret", Text, Value("\"\""),
        "The secret of HS256, at least 32 bytes. One of the five sources of keys must be set for \
         the method `jwt`."),
    key("auth.jwt.secret_file", Text, Value("\"\""),
        "A file that holds the secret of HS256; a line end at its end does not count."),
    key("auth.jwt.public_key_file", Text, Value("\"\""),
        "A file with a public key in PEM: RSA (RS256), EC P-256 (ES256) or Ed25519 (EdDSA)."),
    key("auth.jwt.jwks_file", Text, Value("\"\""),
        "A file with a JSON Web Key Set (RFC 7517)."),
    key("auth.jwt.jwks_url", Text, Value("\"\""),
        "Where a JSON Web Key Set is fetched: https, or http on this machine. The last good set \
         stays in use while it cannot be fetched."),
    key("auth.jwt.refresh", Duration { least: 1000, off: false }, Value("\"10m\""),
        "How often the set at `jwks_url` is fetched again; an unknown key id has it fetched \
         sooner, at most every 30 seconds."),
    key("auth.jwt.algorithms", Choices(ALGORITHMS), Value("[]"),
        "The signature algorithms that are accepted; an empty list is those of the keys. `none` is \
         never accepted."),
    key("auth.jwt.issuer", Text, Value("\"\""),
        "What the claim `iss` must be; an empty text does not look at it."),
    key("auth.jwt.audience", TextList, Value("[]"),
        "What the claim `aud` must have one of; with an empty list, tokens that have an `aud` are \
         refused."),
    key("auth.jwt.leeway", Duration { least: 0, off: false }, Value("\"30s\""),
        "How far the clock of the issuer may be off, at most 10 minutes."),
    key("auth.jwt.user_claim", Text, Value("\"sub\""),
        "The claim that names the user."),
    key("auth.jwt.require_expiry", Switch, Value("true"),
        "Whether tokens must have an end (`exp`)."),

    key("auth.callback.url", Text, Value("\"\""),
        "The HTTP service of the method `callback`, which is asked who a client is; http is for \
         private networks, since tokens go over it."),
    key("auth.callback.rooms_url", Text, Value("\"\""),
        "The HTTP service that is asked which rooms a client may join, at endpoints with dialect \
         `event` and without `join`."),
    key("auth.callback.timeout", Duration { least: 10, off: false }, Value("\"2s\""),
        "From the question to the end of its answer, waiting included."),
    key("auth.callback.concurrency_max", number(1, 256), Value("16"),
        "The most questions under way at once, each on a thread."),
    key("auth.callback.queue_max", number(1, MEBI), Value("1024"),
        "The most questions that wait; further ones are refused as `busy`."),
    key("auth.callback.authorization", Text, Value("\"\""),
        "The header `authorization` of every question, such as `Bearer SECRET`."),
    key("auth.callback.authorization_file", Text, Value("\"\""),
        "A file that holds that header; a line end at its end does not count."),
    key("auth.callback.headers", TextList, Value("[]"),
        "The names of header fields of the upgrade request that are passed on, such as `cookie`."),

    key("fabric.urls", TextList, Value("[]"),
        "The Redis that connects this node with others, as `redis://[USER:PASSWORD@]HOST[:PORT]`; \
         several are nodes of one Redis Cluster, or addresses of one server. An empty list is a \
         node alone."),
    key("fabric.name", Text, Value("\"fulmar\""),
        "The name of the connections to Redis: `NAME-pub` and `NAME-sub`."),
    key("fabric.subscriptions", Choice(&["interest", "patterns"]), Value("\"interest\""),
        "What is subscribed: with `interest` the rooms, users and clients of this node, with \
         `patterns` everything."),
    key("fabric.linger", Duration { least: 0, off: false }, Value("\"10s\""),
        "How long a subscription stays after the last member has left."),
    key("fabric.start", Choice(&["wait", "serve"]), Value("\"wait\""),
        "What happens while Redis is away at the start: `wait` and then fail, or `serve` alone \
         until it is there."),
    key("fabric.start_timeout", AT_LEAST_A_BIT, Value("\"30s\""),
        "How long the start waits for Redis with `start = \"wait\"`."),
    key("fabric.queue_max", number(1, 16 * MEBI), Value("65536"),
        "The most messages that wait for Redis; further ones are dropped and counted."),
    key("fabric.message_bytes_max", Size { least: 1024, most: 512 * MEBI }, Value("\"1MiB\""),
        "The longest message between nodes, envelope included; longer ones are dropped and \
         counted."),
    key("fabric.ping_interval", AT_LEAST_A_BIT, Value("\"5s\""),
        "How often an idle connection to Redis is tried."),

    key("endpoint[].path", Text, Required,
        "The path clients connect to; a segment `:name` matches any one segment."),
    key("endpoint[].dialect", Choice(&["text", "event", "rpc", "auto"]), Value("\"text\""),
        "The protocol spoken on top of WebSocket messages: `text` passes messages as they are, \
         `event` is the protocol of IGNIS, `rpc` that of alien-rpc; `auto` is both of these, as \
         the first message of each client has it."),
    key("endpoint[].auth", Choice(&["off", "optional", "required"]),
        Depends("`required` where `auth.methods` has any, else `off`"),
        "Whether clients must prove who they are: `optional` lets in those without a token as \
         nobody in particular."),
    key("endpoint[].join", TextList, Depends("all rooms with dialect `text`; with `event` those \
         that `auth.callback.rooms_url` allows, else none; for routes those that they name"),
        "The rooms that clients may be in, as patterns: `chat:*`, `user:{user_id}`, \
         `team:{claim.team}`."),
    key("endpoint[].mode", Choice(&["echo", "room"]), Value("\"echo\""),
        "What happens to a message with dialect `text`: `echo` sends it back, `room` publishes it \
         to a room."),
    key("endpoint[].room", Text, Value("\"{room}\""),
        "The room's name in mode `room`; `{name}` is the path segment `:name`, `{query.name}` a \
         query parameter."),
    key("endpoint[].role", Choice(&["both", "member", "publisher"]), Value("\"both\""),
        "What a client is in mode `room`: a `member` only receives, a `publisher` only sends."),
    key("endpoint[].echo_to_self", Switch, Value("false"),
        "Whether a client in mode `room` also receives what it has sent."),
    key("endpoint[].origins", TextList, Value("[]"),
        "The origins that browsers may connect from, such as `https://example.com`; an empty list \
         allows any."),
    key("endpoint[].subprotocols", TextList, Value("[]"),
        "The subprotocols (`Sec-WebSocket-Protocol`) that are accepted, best first."),
    key("endpoint[].message_bytes_max", MESSAGE, Inherited("limits.message_bytes_max"),
        "Overrides the limit for this endpoint. With dialect `event` or `auto` it is 128KiB unless \
         the server's is lower."),
    key("endpoint[].idle", OR_OFF, Inherited("timeouts.idle"),
        "Overrides the timeout for this endpoint."),
    key("endpoint[].ping_interval", OR_OFF, Inherited("timeouts.ping_interval"),
        "Overrides the interval for this endpoint."),
    key("endpoint[].backpressure.bytes_max", BUFFER, Inherited("backpressure.bytes_max"),
        "Overrides the limit for this endpoint."),
    key("endpoint[].backpressure.low_bytes", Size { least: 0, most: 1 << 30 },
        Inherited("backpressure.low_bytes"),
        "Overrides the mark for this endpoint."),
    key("endpoint[].backpressure.policy", Choice(POLICIES), Inherited("backpressure.policy"),
        "Overrides the policy for this endpoint."),

    key("endpoint[].event.auth_timeout", OR_OFF, Value("\"5s\""),
        "How long a client may take to send `authenticate`; finding out who it is may take three \
         times as long."),
    key("endpoint[].event.heartbeat_interval", OR_OFF, Value("\"30s\""),
        "How often it is looked at whether a client is alive."),
    key("endpoint[].event.heartbeat_timeout", OR_OFF, Value("\"90s\""),
        "A client that has sent no message for this long is closed at the next look; pongs do not \
         count."),
    key("endpoint[].event.default_rooms", TextList,
        Value("[\"ws-default\", \"ws-notification\"]"),
        "The rooms that every client is put into once it is authenticated."),
    key("endpoint[].event.encryption", Choice(&["off", "offered", "required"]), Value("\"off\""),
        "Whether what clients are sent is encrypted: to those that send a `publicKey`, or to all, \
         closing the others."),

    key("endpoint[].rpc.calls_max", number(1, MEBI), Value("65536"),
        "The most calls of one client that are pending, subscriptions among them; further ones are \
         answered with code 503. How many run at once is `limits.calls_in_flight_max`."),
    key("endpoint[].rpc.subscriptions_max", number(0, MEBI), Value("1000"),
        "The most subscriptions of rooms that one client has, at most \
         `limits.rooms_per_connection_max`; further ones are answered with code 503."),

    key("endpoint[].upstream.timeout", AT_LEAST_A_BIT, Value("\"5s\""),
        "From a call to the end of the service's answer, waiting included; longer ones are \
         answered with code 504."),
    key("endpoint[].upstream.concurrency_max", number(1, 256), Value("16"),
        "The most calls under way at once, each on a thread, for all routes of the endpoint."),
    key("endpoint[].upstream.queue_max", number(1, MEBI), Value("1024"),
        "The most calls that wait; further ones are answered with code 503."),
    key("endpoint[].upstream.answer_bytes_max", Size { least: 64, most: 1 << 30 },
        Value("\"1MiB\""),
        "The longest answer of a service; longer ones are code 502."),
    key("endpoint[].upstream.authorization", Text, Value("\"\""),
        "The header `authorization` of every call to a service, such as `Bearer SECRET`."),
    key("endpoint[].upstream.authorization_file", Text, Value("\"\""),
        "A file that holds that header; a line end at its end does not count."),
    key("endpoint[].upstream.headers", TextList, Value("[]"),
        "The names of header fields of the upgrade request that are passed on, such as `cookie`."),

    key("endpoint[].route[].name", Text, Required,
        "The name that clients call, such as `chat.send`. With dialect `auto` an event of this \
         name is a call too, with its data as the only parameter."),
    key("endpoint[].route[].room", Text, Value("\"\""),
        "The route is about this room: `{params.0}` is the call's first parameter, `{params.0.id}` \
         a member of it, `{user_id}` the user, `{claim.NAME}` a claim, `{name}` a path segment, \
         `{query.name}` a query parameter. One of `room`, `http` and `echo` must be set."),
    key("endpoint[].route[].action", Choice(&["subscribe", "publish"]), Value("\"subscribe\""),
        "What is done with the room: `subscribe` answers with each of its messages, `publish` \
         publishes the parameters that its name does not use, a single one as it is."),
    key("endpoint[].route[].event", Text, Depends("the route's name"),
        "The event that clients with dialect `event` see of what is published."),
    key("endpoint[].route[].echo_to_self", Switch, Value("false"),
        "Whether a client also receives what it has published."),
    key("endpoint[].route[].http", Text, Value("\"\""),
        "The HTTP service that answers calls; http is for private networks."),
    key("endpoint[].route[].echo", Switch, Value("false"),
        "Whether calls are answered with their first parameter."),
    key("endpoint[].route[].timeout", OR_OFF, Value("\"off\""),
        "How long a call may take to be answered from when it starts; later ones are stopped and \
         answered with code 504. What waits for a service has `upstream.timeout` besides."),
    key("endpoint[].route[].rate", Text, Value("\"\""),
        "How often each client may call it, such as `100/60s`; other calls are answered with code \
         429."),
    key("endpoint[].route[].rate_kind", Choice(&["window", "bucket"]), Value("\"window\""),
        "`window`: so many calls in each stretch of time; `bucket`: so many at once, and one more \
         whenever that part of the time has passed."),
    key("endpoint[].route[].params", SchemaList, Depends("any parameters"),
        "The parameters, each as a JSON Schema such as `{ type = \"string\" }`; calls with others \
         are answered with code 400."),
    key("endpoint[].route[].result", Schema, Depends("anything"),
        "What is answered, as a JSON Schema: for generated clients, not checked."),
    key("endpoint[].route[].pattern", Choice(&["n", "r", "s"]),
        Depends("`s` with `action = \"subscribe\"`, else `r`"),
        "How generated clients call it: a notification, a request or a subscription."),
];

/// The most `[[endpoint]]` tables in one configuration.
pub(crate) const ENDPOINTS_MAX: usize = 1024;

/// The key of a full name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether a full name is that of a table which holds keys, such as `limits`.
pub(crate) fn is_section(name: &str) -> bool {
    let under = |key: &Key| {
        let rest = key.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
    };
    KEYS.iter().any(under)
}

/// Whether what stands under this name may be a secret, so that no message may show it. Unknown
/// names count by what they look like: those are what messages are about.
pub(crate) fn is_sensitive(name: &str) -> bool {
    const SECRETS: [&str; 9] = [
        "auth.tokens",
        "auth.jwt.secret",
        "auth.jwt.jwks_url",
        "auth.callback.url",
        "auth.callback.rooms_url",
        "auth.callback.authorization",
        "fabric.urls",
        "endpoint[].upstream.authorization",
        "endpoint[].route[].http",
    ];
    const SECTIONS: [&str; 2] = ["auth", "fabric"];
    const WORDS: [&str; 4] = ["token", "secret", "authorization", "password"];
    if find(name).is_some() {
        return SECRETS.contains(&name);
    }
    // A whole table in one line.
    let is_above = |secret: &&&str| {
        let rest = secret.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
    };
    if SECRETS.iter().any(|secret| is_above(&secret)) {
        return true;
    }
    let name = name.to_ascii_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    SECTIONS.contains(&first) || WORDS.iter().any(|word| name.contains(word))
}

impl Key {
    /// The name of the environment variable, or none for a key of an endpoint.
    pub(crate) fn variable(&self) -> Option<String> {
        let name = self.name;
        let single = !name.contains("[]");
        single.then(|| format!("FULMAR_{}", name.replace('.', "__").to_uppercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_documented() {
        let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
        for key in KEYS {
            assert!(key.doc.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn inherited_keys_exist() {
        for key in KEYS {
            if let Inherited(name) = key.fallback {
                assert!(find(name).is_some(), "{}", key.name);
            }
        }
    }

    #[test]
    fn knows_sections_and_variables() {
        assert!(is_section("limits") && is_section("endpoint") && is_section("deflate"));
        assert!(is_section("endpoint[].backpressure"));
        assert!(!is_section("limit") && !is_section("listen"));
        let variable = find("limits.connections_max").and_then(Key::variable);
        assert_eq!(variable.as_deref(), Some("FULMAR_LIMITS__CONNECTIONS_MAX"));
        assert!(find("endpoint[].path").unwrap().variable().is_none());
    }
}
