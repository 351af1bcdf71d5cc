//! What the threads of a server share: endpoints and pages, ways into the shards, the pool.
//!
//! All of it is immutable but the mailboxes, the job queue, and the counts by which connections are
//! admitted, which are touched when a connection comes or goes and never by a message.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use fulmar_dialect::{Ask, Dialect, Gate, Object, Outbox};
use fulmar_driver::SocketId;
use fulmar_proto::ws::MessageLimits;

use crate::cluster::Cluster;
use crate::config::Config;
use crate::directory::Directory;
use crate::entropy::Entropy;
use crate::mailbox::{Mail, Post};
use crate::output::{
    ConnectionId, Encoding, Encodings, PayloadBytes, Policy, ProfileId, Publication,
};
use crate::page::Page;
use crate::path::PathPattern;
use crate::reason::Reason;
use crate::room::{PublishError, Rooms, Route};
use crate::timer::Timer;
use crate::worker::Pool;

/// Shards of one node at most: a connection's number has eight bits for its shard.
pub(crate) const SHARDS_MAX: usize = 256;

/// Everything the threads of a server share.
pub(crate) struct Node {
    pub(crate) config: Config,
    /// Those without parameters come first, so that they win.
    pub(crate) endpoints: Vec<Mounted>,
    pub(crate) pages: Vec<Page>,
    pub(crate) posts: Vec<Post>,
    pub(crate) pool: Pool,
    /// Wakes handlers that wait.
    pub(crate) timer: Timer,
    pub(crate) encodings: Encodings,
    pub(crate) profiles: Vec<crate::output::Profile>,
    /// Decides which shard is home of which room.
    pub(crate) home_seed: u64,
    /// Rooms' epochs begin here.
    pub(crate) epoch: u32,
    pub(crate) admission: Admission,
    /// Clients by id.
    pub(crate) directory: Directory,
    /// Other nodes.
    pub(crate) cluster: Cluster,
    /// Random bytes for workers.
    pub(crate) entropy: Box<dyn Fn() -> Box<dyn Entropy> + Send + Sync>,
}

/// An endpoint as shards see it: without the type of its state.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) pattern: PathPattern,
    pub(crate) dialects: Vec<(Arc<dyn Dialect>, Encoding)>,
    /// Its routes.
    pub(crate) main: Object,
    /// Its hooks, by name.
    pub(crate) hooks: Object,
    pub(crate) gates: Vec<Gate>,
    /// Whether anything of it can call a handler.
    pub(crate) has_handlers: bool,
    pub(crate) limits: MessageLimits,
    pub(crate) profile: ProfileId,
    pub(crate) policy: Policy,
    /// Bytes a connection may have queued before it is not read any more.
    pub(crate) pause_bytes: u64,
    pub(crate) idle: Option<Duration>,
    pub(crate) ping_interval: Option<Duration>,
    /// Allowed origins (RFC 6454); empty for any.
    pub(crate) origins: Vec<Box<str>>,
    pub(crate) subprotocols: Vec<Box<str>>,
    pub(crate) deflate: bool,
}

impl Mounted {
    /// Whether connections that speak this dialect of it are found by id.
    pub(crate) fn is_addressable(&self, dialect: usize) -> bool {
        self.dialects.get(dialect).is_some_and(|(dialect, _)| dialect.is_addressable())
    }

    pub(crate) fn has_gate(&self, gate: Gate) -> bool {
        self.gates.contains(&gate)
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Node {
    /// The endpoint of a path, with the values of its parameters.
    pub(crate) fn endpoint<'a>(
        &'a self,
        path: &'a str,
    ) -> Option<(usize, crate::path::Parameters<'a>)> {
        self.endpoints
            .iter()
            .enumerate()
            .find_map(|(index, endpoint)| Some((index, endpoint.pattern.matches(path)?)))
    }
}

impl Rooms for Node {
    fn publish(
        &self,
        publication: fulmar_dialect::Publication,
        route: Route<'_>,
    ) -> Result<(), PublishError> {
        let fulmar_dialect::Publication { room, event, payload } = publication;
        let payload = payload_of(payload);
        let exclude = self.exclude(route.except, route.except_ids);
        if let Some(client) = self.named_like(&room, &exclude) {
            self.say(client, &event, &payload);
        }
        let publication = Publication { room, event, payload, exclude, reach: route.reach };
        match route.via.map(connection_id) {
            Some(id) => {
                let post = self.posts.get(id.shard as usize).ok_or(PublishError::Busy)?;
                post.post(Mail::Publish { publication }).map_err(|_| PublishError::Busy)
            }
            None => self.publish_at_home(publication).map_err(|_| PublishError::Busy),
        }
    }
}

impl Outbox for Node {
    fn post(&self, connection: u64, ask: Ask) {
        self.ask(connection_id(connection), ask);
    }
}

/// A connection's number on the node: 8 bits shard, 24 bits index, 32 bits generation.
pub(crate) fn connection_number(shard: u32, socket: SocketId) -> u64 {
    u64::from(shard) << 56 | u64::from(socket.index) << 32 | u64::from(socket.generation)
}

/// The reverse of [`connection_number`].
pub(crate) fn connection_id(number: u64) -> ConnectionId {
    let [shard, a, b, c, d, e, f, g] = number.to_be_bytes();
    let index = u32::from_be_bytes([0, a, b, c]);
    let generation = u32::from_be_bytes([d, e, f, g]);
    ConnectionId { shard: u32::from(shard), socket: SocketId { index, generation } }
}

/// Copies what is borrowed; the one copy on the way to a room.
pub(crate) fn payload_of(payload: fulmar_dialect::Payload<'_>) -> PayloadBytes {
    use fulmar_dialect::Payload;
    match payload {
        Payload::Undefined => PayloadBytes::Undefined,
        Payload::Text(text) => PayloadBytes::Text(text.into()),
        Payload::Json(text) => PayloadBytes::Json(text.into()),
        Payload::Binary(bytes) => PayloadBytes::Binary(bytes.into()),
        Payload::Rich(value) => PayloadBytes::Opaque(Arc::new(value)),
    }
}

/// Counts connections against the server's limits.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    connections: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, u32, RandomState>>,
}

/// Connections beyond the limit that may wait for their refusal; more are cut at once.
const REFUSALS_MAX: usize = 1024;

/// Whether a connection may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    Yes,
    /// It is told why not.
    Refuse(Reason),
    /// There are too many to even tell.
    Cut(Reason),
}

impl Admission {
    /// Counts a connection in. Whatever the answer, [`leave`](Self::leave) must follow.
    pub(crate) fn enter(&self, address: IpAddr, config: &Config) -> Admitted {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let most = config.limits.connections_max;
        let per_address = config.limits.connections_per_address_max;
        let of_address = if per_address == 0 { 0 } else { self.count(address, 1) };
        if before >= most + REFUSALS_MAX {
            Admitted::Cut(Reason::ConnectionsMax)
        } else if before >= most {
            Admitted::Refuse(Reason::ConnectionsMax)
        } else if of_address > per_address + REFUSALS_MAX {
            Admitted::Cut(Reason::AddressConnectionsMax)
        } else if of_address > per_address {
            Admitted::Refuse(Reason::AddressConnectionsMax)
        } else {
            Admitted::Yes
        }
    }

    /// Counts a connection out.
    pub(crate) fn leave(&self, address: Option<IpAddr>) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = address {
            self.count(address, -1);
        }
    }

    fn count(&self, address: IpAddr, by: i32) -> usize {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        *count = count.saturating_add_signed(by);
        let now = *count;
        if now == 0 {
            addresses.remove(&address);
        }
        now as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connections_number_holds_shard_index_and_generation() {
        let socket = SocketId { index: 0x00ab_cdef, generation: 0xfedc_ba98 };
        let id = connection_id(connection_number(200, socket));
        assert_eq!((id.shard, id.socket), (200, socket));
    }

    #[test]
    fn connections_beyond_a_limit_are_told_and_counted_out() {
        let mut config = Config::default();
        config.limits.connections_max = 3;
        config.limits.connections_per_address_max = 2;
        let admission = Admission::default();
        let address = |last| IpAddr::from([127, 0, 0, last]);
        assert_eq!(admission.enter(address(1), &config), Admitted::Yes);
        assert_eq!(admission.enter(address(1), &config), Admitted::Yes);
        let third = admission.enter(address(1), &config);
        assert_eq!(third, Admitted::Refuse(Reason::AddressConnectionsMax));
        let fourth = admission.enter(address(2), &config);
        assert_eq!(fourth, Admitted::Refuse(Reason::ConnectionsMax));
        admission.leave(Some(address(1)));
        admission.leave(Some(address(2)));
        admission.leave(Some(address(1)));
        assert_eq!(admission.enter(address(1), &config), Admitted::Yes);
    }
}
