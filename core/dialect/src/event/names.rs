//! Every name that the protocol fixes.
//!
//! They are IGNIS's, as clients and other nodes on the same Redis write them.
use std::time::Duration;

/// Rooms whose names begin so are the server's own: clients cannot ask for them. Case matters.
pub const RESERVED: &str = "ws:";

/// The room of everybody who is authenticated.
pub const BROADCAST_ROOM: &str = "ws:internal:broadcast";

/// The room of all connections of one user.
#[must_use]
pub fn user_room(user: &str) -> String {
    channel::for_user(user)
}

macro_rules! words {
    ($(#[$outer:meta])* $module:ident { $($(#[$inner:meta])* $name:ident = $text:literal;)* }) => {
        $(#[$outer])*
        pub mod $module {
            $($(#[$inner])* pub const $name: &str = $text;)*

            /// All of them.
            pub const ALL: [&str; [$($text),*].len()] = [$($text),*];

            /// Whether it is one of them.
            #[must_use]
            pub fn is_valid(name: &str) -> bool {
                ALL.contains(&name)
            }
        }
    };
}

words! {
    /// Where a connection stands.
    state {
        /// It has not said who it is.
        UNAUTHORIZED = "unauthorized";
        /// It is being found out.
        AUTHENTICATING = "authenticating";
        /// It is known.
        AUTHENTICATED = "authenticated";
        /// It is gone, or about to be.
        DISCONNECTED = "disconnected";
    }
}

words! {
    /// Events with a meaning of their own. All others are the application's.
    event {
        /// From the client: who it is.
        AUTHENTICATE = "authenticate";
        /// To the client: it is authenticated.
        CONNECTED = "connected";
        /// Part of the vocabulary; the server gives it no meaning.
        DISCONNECT = "disconnect";
        /// From the client: rooms it wants to be in.
        JOIN = "join";
        /// From the client: rooms it wants to be out of.
        LEAVE = "leave";
        /// To the client: what was wrong.
        ERROR = "error";
        /// From the client: it is alive.
        HEARTBEAT = "heartbeat";
        /// To the client: another event, encrypted.
        ENCRYPTED = "encrypted";
    }
}

words! {
    /// To whom a message between nodes goes.
    message {
        /// One connection.
        CLIENT = "client";
        /// All connections of a user.
        USER = "user";
        /// All members of a room.
        ROOM = "room";
        /// Everybody who is authenticated.
        BROADCAST = "broadcast";
    }
}

/// Redis channels between nodes.
pub mod channel {
    /// To everybody.
    pub const BROADCAST: &str = "ws:broadcast";
    /// To a room: its name follows.
    pub const ROOM_PREFIX: &str = "ws:room:";
    /// To a connection: its id follows.
    pub const CLIENT_PREFIX: &str = "ws:client:";
    /// To a user: the name follows.
    pub const USER_PREFIX: &str = "ws:user:";

    /// The channel and the prefixes of the others.
    pub const ALL: [&str; 4] = [BROADCAST, ROOM_PREFIX, CLIENT_PREFIX, USER_PREFIX];

    /// Whether it is a channel of the protocol's.
    #[must_use]
    pub fn is_valid(channel: &str) -> bool {
        channel == BROADCAST
            || [ROOM_PREFIX, CLIENT_PREFIX, USER_PREFIX]
                .iter()
                .any(|prefix| channel.len() > prefix.len() && channel.starts_with(prefix))
    }

    /// The channel of a room.
    #[must_use]
    pub fn for_room(room: &str) -> String {
        [ROOM_PREFIX, room].concat()
    }

    /// The channel of a connection.
    #[must_use]
    pub fn for_client(id: &str) -> String {
        [CLIENT_PREFIX, id].concat()
    }

    /// The channel of a user.
    #[must_use]
    pub fn for_user(user: &str) -> String {
        [USER_PREFIX, user].concat()
    }

    /// Matches the channels of all rooms, as `PSUBSCRIBE` wants it.
    pub const ROOM_PATTERN: &str = "ws:room:*";
    /// Matches the channels of all connections.
    pub const CLIENT_PATTERN: &str = "ws:client:*";
    /// Matches the channels of all users.
    pub const USER_PATTERN: &str = "ws:user:*";
}

/// What holds unless somebody says otherwise.
pub mod default {
    use super::Duration;

    /// Path of the endpoint.
    pub const PATH: &str = "/ws";
    /// A room that everybody is put into.
    pub const ROOM: &str = "ws-default";
    /// Another one.
    pub const NOTIFICATION_ROOM: &str = "ws-notification";
    /// Largest message that a client may send, in bytes.
    pub const MAX_PAYLOAD_LENGTH: usize = 131_072;
    /// A connection that is silent for so long, also to pings, is dropped.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
    /// Bytes that may wait for one client.
    pub const BACKPRESSURE_LIMIT: usize = 1_048_576;
    /// Whether the server pings.
    pub const SEND_PINGS: bool = true;
    /// Whether a publisher hears itself.
    pub const PUBLISH_TO_SELF: bool = false;
    /// Time to say who one is.
    pub const AUTH_TIMEOUT: Duration = Duration::from_secs(5);
    /// Time between two looks at whether a client is alive.
    pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
    /// Silence after which a client is not alive.
    pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(90);
    /// Messages that are encrypted at the same time, of one publication.
    pub const ENCRYPTED_BATCH_LIMIT: usize = 10;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_protocols() {
        let states = ["unauthorized", "authenticating", "authenticated", "disconnected"];
        assert_eq!(state::ALL, states);
        assert!(states.into_iter().all(state::is_valid));
        assert!(!state::is_valid("Authenticated") && !state::is_valid(""));
        let events = [
            "authenticate",
            "connected",
            "disconnect",
            "join",
            "leave",
            "error",
            "heartbeat",
            "encrypted",
        ];
        assert_eq!(event::ALL, events);
        assert!(event::is_valid(event::ENCRYPTED) && !event::is_valid("chat"));
        assert_eq!(message::ALL, ["client", "user", "room", "broadcast"]);
        assert!(message::is_valid("room") && !message::is_valid("rooms"));
    }

    #[test]
    fn channels_are_prefixes_and_what_they_are_for() {
        assert_eq!(channel::ALL, ["ws:broadcast", "ws:room:", "ws:client:", "ws:user:"]);
        assert_eq!(channel::for_room("a"), "ws:room:a");
        assert_eq!(channel::for_client("b"), "ws:client:b");
        assert_eq!(channel::for_user("c"), "ws:user:c");
        assert_eq!(user_room("c"), "ws:user:c");
        for (pattern, prefix) in [
            (channel::ROOM_PATTERN, channel::ROOM_PREFIX),
            (channel::CLIENT_PATTERN, channel::CLIENT_PREFIX),
            (channel::USER_PATTERN, channel::USER_PREFIX),
        ] {
            assert_eq!(pattern, format!("{prefix}*"));
            assert!(!channel::is_valid(prefix) && channel::is_valid(&format!("{prefix}x")));
        }
        assert!(channel::is_valid("ws:broadcast") && !channel::is_valid("ws:broadcasts"));
        assert!(BROADCAST_ROOM.starts_with(RESERVED) && user_room("x").starts_with(RESERVED));
        assert!(!default::ROOM.starts_with(RESERVED));
    }
}
