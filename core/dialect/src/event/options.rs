//! What an endpoint that speaks events may decide.
use std::{fmt, sync::Arc, time::Duration};

use super::names::default;
use crate::{Identity, Seal};

/// How an endpoint speaks events. The defaults are IGNIS's.
#[derive(Clone, Debug)]
pub struct EventOptions {
    /// Time for a client to say who it is; finding that out may then take three times as long.
    /// Default: 5 seconds. Zero: for ever.
    pub auth_timeout: Duration,
    /// Time between two looks at whether an authenticated client is alive. Default: 30 seconds.
    /// Zero: nobody looks.
    pub heartbeat_interval: Duration,
    /// A client that said nothing for so long is closed at the next look. Pings and pongs of the
    /// WebSocket protocol do not count. Default: 90 seconds. Zero: never.
    pub heartbeat_timeout: Duration,
    /// Rooms that everybody is put into when authenticated. Default: `ws-default` and
    /// `ws-notification`.
    pub default_rooms: Vec<Arc<str>>,
    /// Which rooms a client may join when it asks. Default: [`JoinPolicy::Nobody`].
    pub join: JoinPolicy,
    /// Who decides about clients. Default: [`Authentication::Ask`].
    pub authentication: Authentication,
    /// Whether clients are sent encrypted messages. Default: [`Encryption::Off`].
    pub encryption: Encryption,
    /// Makes what rewrites the messages to one client. Where there was a key exchange its
    /// encryption goes before this. Default: none.
    pub transformer: Option<Arc<dyn Transformer>>,
    /// Whether a client is told with a `gap` event that it missed messages of a room because it
    /// read too slowly. IGNIS has no such event. Default: no.
    pub gaps: bool,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            auth_timeout: default::AUTH_TIMEOUT,
            heartbeat_interval: default::HEARTBEAT_INTERVAL,
            heartbeat_timeout: default::HEARTBEAT_TIMEOUT,
            default_rooms: vec![default::ROOM.into(), default::NOTIFICATION_ROOM.into()],
            join: JoinPolicy::default(),
            authentication: Authentication::default(),
            encryption: Encryption::default(),
            transformer: None,
            gaps: false,
        }
    }
}

/// Which rooms a client may join when it asks. The server itself may put it into any.
///
/// Before this is asked, names are sorted out that are empty, longer than 256 UTF-16 units or
/// begin with `ws:`.
#[derive(Clone, Debug, Default)]
pub enum JoinPolicy {
    /// None.
    #[default]
    Nobody,
    /// All.
    Anybody,
    /// Those that [`Gate::Join`](crate::Gate::Join) answers with: a list of names. They are joined
    /// as they are, whatever the client asked for.
    Ask,
    /// Those that this allows.
    Patterns(Arc<dyn RoomFilter>),
}

/// Who decides about clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// [`Gate::Authenticate`](crate::Gate::Authenticate). Without one those are accepted whom the
    /// upgrade's guard knew, and nobody else.
    #[default]
    Ask,
    /// Nobody: whoever sends `authenticate` is accepted, as whom the upgrade's guard knew or
    /// anonymously.
    Anybody,
}

/// Whether clients are sent encrypted messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// No.
    #[default]
    Off,
    /// Those are that sent a `publicKey` when they authenticated, where the endpoint has a
    /// [`Gate::Handshake`](crate::Gate::Handshake).
    Offered,
    /// All. Clients without a key exchange are closed.
    Required,
}

/// Decides at once and without waiting which rooms a client may join.
pub trait RoomFilter: fmt::Debug + Send + Sync {
    /// Whether it may join this one.
    fn allows(&self, room: &str, identity: &Identity) -> bool;
}

/// Makes what rewrites the messages to one client.
pub trait Transformer: fmt::Debug + Send + Sync {
    /// For the client of this id, which has just been told that it is connected; `None` leaves its
    /// messages alone. Called on the connection's thread: it must not wait.
    fn seal_for(&self, id: &str, identity: &Identity) -> Option<Arc<dyn Seal>>;
}
