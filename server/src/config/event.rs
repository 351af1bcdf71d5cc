//! `endpoint[].event`: how an endpoint with dialect `event` speaks.

use super::read::{Reader, Scope};
use fulmar::event::Encryption;
use std::time::Duration;

/// The longest message of an event endpoint where nothing else is typed, in bytes: that of IGNIS.
pub(crate) const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// The longest name of a room, in UTF-16 units: what the dialect accepts from clients.
const ROOM_UNITS_MAX: usize = 256;

/// `endpoint[].event`; none is off.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Events {
    /// For a client to say who it is.
    pub(crate) auth_timeout: Option<Duration>,
    /// Between two looks at whether a client is alive.
    pub(crate) heartbeat_interval: Option<Duration>,
    /// Of silence before a client is closed.
    pub(crate) heartbeat_timeout: Option<Duration>,
    /// Joined by everybody.
    pub(crate) default_rooms: Vec<String>,
    /// Whether clients are sent encrypted messages.
    pub(crate) encryption: Encryption,
}

const KEYS: [&str; 5] = [
    "endpoint[].event.auth_timeout",
    "endpoint[].event.heartbeat_interval",
    "endpoint[].event.heartbeat_timeout",
    "endpoint[].event.default_rooms",
    "endpoint[].event.encryption",
];

/// Reads `endpoint[].event`.
pub(crate) fn resolve(reader: &mut Reader, scope: Scope<'_>) -> Events {
    let default_rooms = reader.text_list(scope, "endpoint[].event.default_rooms");
    for (index, room) in default_rooms.iter().enumerate() {
        let message = if room.is_empty() || room.encode_utf16().count() > ROOM_UNITS_MAX {
            format!("the name of a room has 1 to {ROOM_UNITS_MAX} characters")
        } else if room.starts_with("ws:") {
            format!("'{room}' begins with 'ws:', which is kept for the server's own rooms")
        } else {
            continue;
        };
        reader.report_item(scope, "endpoint[].event.default_rooms", index, message);
    }
    let encryption = [Encryption::Off, Encryption::Offered, Encryption::Required];
    Events {
        auth_timeout: reader.optional_duration(scope, "endpoint[].event.auth_timeout"),
        heartbeat_interval: reader.optional_duration(scope, "endpoint[].event.heartbeat_interval"),
        heartbeat_timeout: reader.optional_duration(scope, "endpoint[].event.heartbeat_timeout"),
        default_rooms,
        encryption: reader.choice(scope, "endpoint[].event.encryption", &encryption),
    }
}

/// Reports keys of an endpoint that speaks something else.
pub(crate) fn report_unused(reader: &mut Reader, scope: Scope<'_>) {
    for name in KEYS {
        if scope.find(name).is_some() {
            let message = "this key applies only with dialect = \"event\" or \"auto\"".to_owned();
            reader.report(scope, name, message);
        }
    }
}
