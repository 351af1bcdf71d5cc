//! Everybody who can be addressed: clients, users, rooms, all of them, on this node and on others.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fulmar_dialect::event::names;
use fulmar_dialect::{Ask, Description, Payload, Promise};
use serde::Serialize;

use crate::directory;
use crate::mailbox::Mail;
use crate::node::{Node, payload_of};
use crate::output::ConnectionId;
use crate::room::{PublishError, Room, published};
use crate::timer::Timer;

/// The way to everybody, usable from any thread, cheap to clone: in handlers as an argument, from
/// outside by [`Running::hub`](crate::Running::hub).
///
/// Clients are found by id where their protocol has ids: `event`, and `rpc`, whose clients hear
/// only what they asked for. Users, and all authenticated clients together, are rooms:
/// [`user`](Self::user), [`all`](Self::all).
#[derive(Clone)]
pub struct Hub(Arc<Node>);

/// How long a shard may take to tell of its clients before it is left out.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

impl Hub {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self(node)
    }

    /// Lets what runs outside handlers wait, too.
    #[must_use]
    pub fn timer(&self) -> Timer {
        self.0.timer.clone()
    }

    /// The UUID under which other nodes know this process; another one after every start.
    #[must_use]
    pub fn server_id(&self) -> &str {
        &self.0.cluster.server_id
    }

    /// The room of this name. What is published reaches its members on every node; with
    /// [`Room::here`] on this one only.
    #[must_use]
    pub fn room(&self, name: &str) -> Room {
        Room::new(name, self.0.clone())
    }

    /// All sessions of a user, as a room.
    #[must_use]
    pub fn user(&self, user: &str) -> Room {
        self.room(&names::user_room(user))
    }

    /// All authenticated clients, as a room.
    #[must_use]
    pub fn all(&self) -> Room {
        self.room(names::BROADCAST_ROOM)
    }

    /// Says something to one client of this node, in whatever state it is; `false` if there is none
    /// of this id here.
    ///
    /// # Errors
    /// [`PublishError::Payload`] if the payload's `Serialize` fails.
    pub fn to_client(
        &self,
        id: &str,
        event: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<bool, PublishError> {
        Ok(self.0.send_to(id, event, &payload_of(published(payload)?)))
    }

    /// Says something to whatever the destination names, wherever it is: nothing or `""` is
    /// everybody; the id of a client; the name of a room. A client or room that is not on this node
    /// is looked for on the others. A payload that serialises to nothing (`()`) is not sent.
    ///
    /// # Errors
    /// As [`Room::publish`].
    pub fn send(
        &self,
        destination: Option<&str>,
        event: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), PublishError> {
        let payload = published(payload)?;
        if event.is_empty() || matches!(payload, Payload::Undefined) {
            return Ok(());
        }
        let room = match destination.filter(|destination| !destination.is_empty()) {
            None => self.all(),
            Some(destination) => {
                let is_client = self.0.directory.find(destination).is_some();
                if is_client {
                    let payload = payload_of(payload);
                    self.0.send_to(destination, event, &payload);
                    self.0.cluster.to_client(destination, event, payload);
                    return Ok(());
                }
                self.room(destination)
            }
        };
        room.publish_payload(event, payload)
    }

    /// Makes a client of this node a member of a room, without the checks that its own wish would
    /// go through. `false` if there is none of this id here.
    pub fn join(&self, id: &str, room: &str) -> bool {
        let (settler, _unwatched) = Promise::<()>::pair();
        self.ask(id, Ask::Join { room: room.into(), import: None, settler })
    }

    /// Ends a membership of a client of this node. `false` if there is none of this id here.
    pub fn leave(&self, id: &str, room: &str) -> bool {
        self.ask(id, Ask::Leave { room: room.into() })
    }

    /// Closes a client of this node, after everything it was sent before. `false` if there is none
    /// of this id here.
    pub fn close(&self, id: &str, code: u16, reason: &str) -> bool {
        self.ask(id, Ask::Close { code, reason: reason.into() })
    }

    /// The client of this id, if it is on this node. Like the following ones it asks the shards and
    /// waits for their next turn: not for handlers that run [`inline`](crate::inline), which would
    /// wait for themselves.
    #[must_use]
    pub fn client(&self, id: &str) -> Option<Client> {
        let connection = self.0.directory.find(id)?;
        self.told(Some(connection.shard), &Of::One(connection)).pop()
    }

    /// All clients of this node that have ids.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        self.told(None, &Of::All)
    }

    /// A user's clients on this node.
    #[must_use]
    pub fn clients_of(&self, user: &str) -> Vec<Client> {
        self.told(None, &Of::Room(names::user_room(user).into()))
    }

    /// A room's members on this node, of those that have ids. A client's own id is a room with it
    /// alone.
    #[must_use]
    pub fn clients_in(&self, room: &str) -> Vec<Client> {
        let mut clients = self.told(None, &Of::Room(room.into()));
        if directory::parse(room).is_some() && !clients.iter().any(|client| *client.id == *room) {
            clients.extend(self.client(room));
        }
        clients
    }

    fn ask(&self, id: &str, ask: Ask) -> bool {
        let connection = self.0.directory.find(id);
        connection.map(|connection| self.0.ask(connection, ask)).is_some()
    }

    fn told(&self, shard: Option<u32>, of: &Of) -> Vec<Client> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let of_shard = |index: usize| shard.is_none_or(|shard| shard as usize == index);
        let posts = self.0.posts.iter().enumerate().filter(|(index, _)| of_shard(*index));
        let asked = posts
            .filter(|(_, post)| {
                let mail = Mail::Describe { of: of.clone(), to: sender.clone() };
                post.post(mail).is_ok()
            })
            .count();
        drop(sender);
        let next = |_| receiver.recv_timeout(TOLD_WITHIN).ok();
        (0..asked).filter_map(next).flatten().collect()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("server_id", &self.server_id()).finish_non_exhaustive()
    }
}

/// Whom to tell of.
#[derive(Clone, Debug)]
pub(crate) enum Of {
    One(ConnectionId),
    Room(Arc<str>),
    All,
}

/// What is known of a client; a copy of what was so a moment ago.
#[derive(Clone, Debug)]
pub struct Client {
    /// UUID of its connection.
    pub id: Box<str>,
    /// Where its protocol's state machine stands: `unauthorized`, `authenticating`,
    /// `authenticated`.
    pub state: &'static str,
    /// The user it acts for.
    pub user: Option<Box<str>>,
    /// What else its authenticator told, a JSON object; empty for nothing.
    pub claims: Box<str>,
    /// Its rooms in the order in which it joined them.
    pub rooms: Vec<Arc<str>>,
    /// The other end of its socket.
    pub address: SocketAddr,
    /// When it connected, in milliseconds since 1970.
    pub connected_at: u64,
    /// When something was last received from it, in milliseconds since 1970.
    pub last_activity: u64,
    /// Whether it has more waiting than its endpoint allows.
    pub is_backpressured: bool,
    /// Whether what it is sent is encrypted.
    pub is_encrypted: bool,
    /// What it was told of our key, if so.
    pub public_key: Option<Box<str>>,
    /// What both derived the key with.
    pub salt: Option<Box<str>>,
}

impl Client {
    /// What a session tells, with what its connection knows.
    pub(crate) fn new(description: Description, facts: Facts) -> Self {
        let Description { state, user, claims, rooms, is_encrypted, public_key, salt } =
            description;
        let Facts { id, address, connected_at, last_activity, is_backpressured } = facts;
        Self {
            id: id.into(),
            state,
            user,
            claims,
            rooms,
            address,
            connected_at,
            last_activity,
            is_backpressured,
            is_encrypted,
            public_key,
            salt,
        }
    }
}

/// What a shard knows of a connection.
pub(crate) struct Facts {
    pub(crate) id: String,
    pub(crate) address: SocketAddr,
    pub(crate) connected_at: u64,
    pub(crate) last_activity: u64,
    pub(crate) is_backpressured: bool,
}
