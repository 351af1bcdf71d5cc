//! Configuration files for those who come from another server.

/// What `fulmar genconfig --profile ignis` prints: the defaults of IGNIS's WebSocket helper.
pub(crate) const IGNIS: &str = r#"# Fulmar with the defaults of IGNIS's WebSocket helper.
# Behind each key stands the name of IGNIS's own constant; docs/protocols/ignis.md tells what is the
# same and what is not.

[limits]
sealing_max = 10                  # ENCRYPTED_BATCH_LIMIT = 10

# Who clients are. Without a method, whoever sends `authenticate` is let in anonymously.
[auth]
#methods = ["callback"]           # authenticateFn, as an HTTP service
#callback.url = "http://127.0.0.1:3000/websocket/authenticate"
#callback.rooms_url = "http://127.0.0.1:3000/websocket/rooms"   # validateRoomFn

# The Redis that nodes and emitters share. IGNIS needs one; without it this node is alone.
[fabric]
#urls = ["redis://127.0.0.1:6379"]
subscriptions = "patterns"        # ws:room:*, ws:client:*, ws:user:*
start = "wait"
start_timeout = "30s"

[[endpoint]]
path = "/ws"                      # PATH = "/ws"
dialect = "event"
message_bytes_max = 131072        # MAX_PAYLOAD_LENGTH = 131072
idle = "60s"                      # IDLE_TIMEOUT = 60
ping_interval = "25s"             # SEND_PINGS = true
# PUBLISH_TO_SELF = false: a client of this binary publishes nothing itself; whoever emits names the
# clients to leave out.

[endpoint.backpressure]
bytes_max = 1048576               # BACKPRESSURE_LIMIT = 1048576
policy = "drop_newest"

[endpoint.event]
auth_timeout = "5s"               # AUTH_TIMEOUT = 5000
heartbeat_interval = "30s"        # HEARTBEAT_INTERVAL = 30000
heartbeat_timeout = "90s"         # HEARTBEAT_TIMEOUT = 90000
default_rooms = [
    "ws-default",                 # ROOM = "ws-default"
    "ws-notification",            # NOTIFICATION_ROOM = "ws-notification"
]
encryption = "off"                # requireEncryption = false
"#;

/// What `fulmar genconfig --profile rpc` prints: an endpoint for alien-rpc's client.
pub(crate) const RPC: &str = r#"# Fulmar for alien-rpc's client.
# Behind a key stands the name of alien-rpc's own option, where it has one.

[limits]
connections_max = 100000          # maxConnections

[timeouts]
handshake = "10s"                 # handshakeTimeout

[deflate]
enabled = false                   # compression

# Who clients are, shown with the upgrade request: a token in a header, the query or a cookie.
[auth]
#methods = ["jwt"]
#jwt.jwks_url = "https://issuer.example/.well-known/jwks.json"

[[endpoint]]
path = "/ws"                      # the client connects to prefixUrl + "/ws"
dialect = "rpc"                   # "auto" also serves clients of dialect "event"
message_bytes_max = 1048576       # maxMessageSize
#join = ["chat:*"]                # the rooms that routes may name
idle = "2m"
ping_interval = "25s"

[endpoint.rpc]
calls_max = 65536
subscriptions_max = 1000

# The HTTP services behind routes with `http`.
[endpoint.upstream]
timeout = "5s"
concurrency_max = 16
#authorization_file = "/run/secrets/upstream"
#headers = ["cookie"]

# A request that is answered with its parameter: for a first try.
[[endpoint.route]]
name = "echo"
echo = true
params = [{ type = "string" }]
result = { type = "string" }

# Two clients that talk: one subscribes to a room, the other publishes to it.
[[endpoint.route]]
name = "chat.messages"
room = "chat:{params.0}"
params = [{ title = "room", type = "string" }]
result = { type = "string" }

[[endpoint.route]]
name = "chat.send"
room = "chat:{params.0}"
action = "publish"
params = [{ title = "room", type = "string" }, { title = "text", type = "string" }]

# A request that an application answers: POST {"method":...,"params":[...],"connection":{...}}.
#[[endpoint.route]]
#name = "users.get"
#http = "http://127.0.0.1:3000/rpc/users.get"
#params = [{ title = "id", type = "string" }]
#result = { type = "object" }
"#;
