//! What crosses nodes: publications on their way out and in, and who may be interested here.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use fulmar_dialect::event::names::{self, channel};
use fulmar_dialect::{Ask, Payload};

use crate::fabric::{Fabric, Inbox, Kind, Letter, Parcel, Received, Topic};
use crate::mailbox::{Mail, Post};
use crate::node::{Node, connection_id};
use crate::output::{
    ConnectionId, Exclude, Excluded, Messages, PayloadBytes, Publication, Reach, RoomMail, Upward,
    home_of,
};

/// The other nodes, if there are any, and how this one is known to them.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Names this process: a UUID.
    pub(crate) server_id: Box<str>,
    fabric: OnceLock<Arc<dyn Fabric>>,
}

impl Cluster {
    /// A node that is alone so far.
    pub(crate) fn new(server_id: String) -> Self {
        Self { server_id: server_id.into(), fabric: OnceLock::new() }
    }

    /// Gives the node its fabric, before its shards begin.
    pub(crate) fn connect(&self, fabric: Arc<dyn Fabric>) {
        let _first_counts = self.fabric.set(fabric);
    }

    /// The node ends.
    pub(crate) fn disconnect(&self) {
        if let Some(fabric) = self.fabric() {
            fabric.stop();
        }
    }

    /// The way to other nodes.
    pub(crate) fn fabric(&self) -> Option<&Arc<dyn Fabric>> {
        self.fabric.get()
    }

    /// Passes on what a shard's rooms have to tell other nodes.
    pub(crate) fn tell(&self, upward: Upward) {
        let Some(fabric) = self.fabric() else { return };
        match upward {
            Upward::Messages(messages) => fabric.publish(Box::new(Shipment(messages))),
            Upward::Interest(room, is_wanted) => {
                let Some(topic) = topic(&room) else { return };
                if is_wanted { fabric.subscribe(topic) } else { fabric.unsubscribe(topic) }
            }
        }
    }

    /// A client came: what is said to it elsewhere must arrive here.
    pub(crate) fn client(&self, id: u128, is_here: bool) {
        let Some(fabric) = self.fabric() else { return };
        let topic = Topic::Client(fulmar_dialect::uuid_text(id).into());
        if is_here { fabric.subscribe(topic) } else { fabric.unsubscribe(topic) }
    }

    /// Says something to a client of another node.
    pub(crate) fn to_client(&self, id: &str, event: &str, payload: PayloadBytes) {
        let Some(fabric) = self.fabric() else { return };
        fabric.publish(Box::new(Note { id: id.into(), event: event.into(), payload }));
    }
}

/// Where a room's publications travel; those for everybody reach every node anyway.
fn topic(room: &Arc<str>) -> Option<Topic> {
    if **room == *names::BROADCAST_ROOM {
        return None;
    }
    Some(match room.strip_prefix(channel::USER_PREFIX) {
        Some(user) => Topic::User(user.into()),
        None => Topic::Room(room.clone()),
    })
}

/// What was said in one room in one turn.
struct Shipment(Messages);

impl Shipment {
    fn publications(&self) -> impl Iterator<Item = &Publication> {
        let all = self.0.iter().map(|message| &message.publication);
        all.filter(|publication| publication.reach == Reach::Cluster)
    }
}

impl Parcel for Shipment {
    fn letters(&self) -> usize {
        self.publications().count()
    }

    fn bytes(&self) -> usize {
        self.publications().map(|publication| publication.payload.len()).sum()
    }

    fn unpack(self: Box<Self>, each: &mut dyn FnMut(&Letter<'_>)) {
        for publication in self.publications() {
            let room = &*publication.room;
            let (kind, target) = match room.strip_prefix(channel::USER_PREFIX) {
                Some(user) => (Kind::User, user),
                None if *room == *names::BROADCAST_ROOM => (Kind::Broadcast, ""),
                None => (Kind::Room, room),
            };
            let data = json(&publication.payload);
            each(&Letter {
                kind,
                target,
                event: worded(&publication.event),
                data: data.as_deref(),
                exclude: publication.exclude.ids(),
            });
        }
    }
}

/// What is said to one client.
struct Note {
    id: Box<str>,
    event: Box<str>,
    payload: PayloadBytes,
}

impl Parcel for Note {
    fn letters(&self) -> usize {
        1
    }

    fn bytes(&self) -> usize {
        self.payload.len()
    }

    fn unpack(self: Box<Self>, each: &mut dyn FnMut(&Letter<'_>)) {
        let data = json(&self.payload);
        let (target, event) = (&*self.id, worded(&self.event));
        each(&Letter { kind: Kind::Client, target, event, data: data.as_deref(), exclude: &[] });
    }
}

/// What publishers without events say, as other nodes' clients are told.
const MESSAGE: &str = "message";

fn worded(event: &str) -> &str {
    if event.is_empty() { MESSAGE } else { event }
}

fn json(payload: &PayloadBytes) -> Option<Cow<'_, str>> {
    match payload {
        PayloadBytes::Undefined => None,
        PayloadBytes::Json(json) => Some(Cow::Borrowed(json)),
        other => {
            let mut text = Vec::new();
            let written = crate::encoding::lent(other).write_json(&mut text);
            let text = written.ok().and_then(|()| String::from_utf8(text).ok());
            Some(text.map_or(Cow::Borrowed("null"), Cow::Owned))
        }
    }
}

/// A string that was published as text elsewhere is text here too.
fn unquoted(json: Option<Box<str>>) -> PayloadBytes {
    match json {
        None => PayloadBytes::Undefined,
        Some(json) if json.starts_with('"') => match Payload::json(&json).decode::<String>() {
            Ok(text) => PayloadBytes::Text(text.into()),
            Err(_) => PayloadBytes::Json(json),
        },
        Some(json) => PayloadBytes::Json(json),
    }
}

impl Inbox for Node {
    fn receive(&self, received: Received) -> bool {
        let Received { kind, target, event, data, exclude } = received;
        let payload = unquoted(data);
        let room = match kind {
            Kind::Client => return self.pass_to(self.directory.find(&target), &event, &payload),
            Kind::Room => target,
            Kind::User => names::user_room(&target).into(),
            Kind::Broadcast => names::BROADCAST_ROOM.into(),
        };
        let exclude = self.exclude(&[], &exclude);
        let is_passed = self.pass_to(self.named_like(&room, &exclude), &event, &payload);
        let room = Arc::from(room);
        let publication = Publication { room, event, payload, exclude, reach: Reach::Node };
        self.publish_at_home(publication).is_ok() && is_passed
    }
}

impl Node {
    /// Says something to the client with this id; `false` if it is not on this node.
    pub(crate) fn send_to(&self, id: &str, event: &str, payload: &PayloadBytes) -> bool {
        let client = self.directory.find(id);
        client.map(|client| self.say(client, event, payload)).is_some()
    }

    /// What another node says to a client, if that is here. `false`: its shard has no room for it.
    fn pass_to(&self, client: Option<ConnectionId>, event: &str, payload: &PayloadBytes) -> bool {
        let Some(client) = client else { return true };
        let shard = self.posts.get(client.shard as usize);
        if shard.is_none_or(Post::is_full) {
            return false;
        }
        self.say(client, event, payload);
        true
    }

    /// The client whose own room this is, unless it is left out.
    pub(crate) fn named_like(&self, room: &str, exclude: &Exclude) -> Option<ConnectionId> {
        let client = self.directory.find(room)?;
        (!exclude.connections().contains(&client)).then_some(client)
    }

    /// Says something to one connection.
    pub(crate) fn say(&self, connection: ConnectionId, event: &str, payload: &PayloadBytes) {
        let payload = crate::encoding::lent(payload).into_owned();
        self.ask(connection, Ask::Send { event: event.into(), payload, receipt: None });
    }

    /// Hands an ask to a connection's session.
    pub(crate) fn ask(&self, connection: ConnectionId, ask: Ask) {
        if let Some(post) = self.posts.get(connection.shard as usize) {
            // Asks are never refused; a shard that is gone needs none.
            let _gone = post.post(Mail::Ask { socket: connection.socket, ask });
        }
    }

    /// Publishes where the room's order is made.
    pub(crate) fn publish_at_home(&self, publication: Publication) -> Result<(), Mail> {
        let shards = u32::try_from(self.posts.len()).unwrap_or(1);
        let home = home_of(&publication.room, shards, self.home_seed);
        let mail = Mail::Room(RoomMail::Publish(publication));
        match self.posts.get(home as usize) {
            Some(post) => post.post(mail),
            None => Err(mail),
        }
    }

    /// Who is left out: connections by their handles, clients by their ids, here and elsewhere.
    pub(crate) fn exclude(&self, connections: &[u64], ids: &[Box<str>]) -> Exclude {
        match (connections, ids) {
            ([], []) => Exclude::Nobody,
            ([connection], []) => Exclude::One(connection_id(*connection)),
            _ => {
                let by_id = ids.iter().filter_map(|id| self.directory.find(id));
                let connections = connections.iter().map(|number| connection_id(*number));
                let connections = connections.chain(by_id).collect();
                Exclude::Several(Arc::new(Excluded { connections, ids: ids.into() }))
            }
        }
    }
}
