//! The home of a room: one writer that numbers its messages and knows which shards have members.
//!
//! Numbers are given while letters are handled, in their order; deliveries leave once per turn, one
//! per room and shard. Each shard's entry says from which number its spell of interest began, so
//! that a delivery batched over a turn in which the shard came (or left and came back) gives it
//! neither more nor less than its due.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use ahash::RandomState;
use smallvec::SmallVec;

use super::Number;
use super::mail::{Broadcast, Messages, Position, Posts, Publication, Reach, RoomMail};

/// The shard that is home of `room`, the same wherever it is asked on a node of `shards` shards.
/// The
/// `seed` is the node's own, so that nobody outside can aim rooms at one shard.
pub fn home_of(room: &str, shards: u32, seed: u64) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(room.as_bytes());
    let shard = hasher.finish() % u64::from(shards.max(1));
    u32::try_from(shard).unwrap_or(0)
}

/// Places for messages that a room keeps from one turn to the next.
const BATCH_KEPT: usize = 32;

#[derive(Debug)]
struct Interest {
    shard: u32,
    interest: u32,
    /// First number of this spell.
    from: Number,
    /// Whether the shard's mailbox refused something it has not been told of since.
    is_owed: bool,
}

#[derive(Debug)]
struct HomeRoom {
    next: Position,
    interests: SmallVec<[Interest; 1]>,
    batch: Vec<Broadcast>,
    is_listed: bool,
    /// When it was last gone through; a room that went and came back may be listed twice.
    posted: u64,
}

/// A message as it was numbered: room, position, event. What a journal or a fabric would get.
pub type Numbered = (Arc<str>, Position, Box<str>);

/// The rooms this shard is home of.
#[derive(Debug)]
pub struct Home {
    /// Boxed, because a third of a hash table's places are empty.
    rooms: HashMap<Arc<str>, Box<HomeRoom>, RandomState>,
    /// Rooms with something to post: a batch, or a refused delivery to make known.
    listed: Vec<Arc<str>>,
    answers: Vec<(u32, RoomMail)>,
    epoch: u32,
    turn: u64,
    unheard: u64,
    journal: Option<Vec<Numbered>>,
    /// What other nodes are to know; `None` if there are none.
    uplink: Option<Uplink>,
}

/// What the rest of a cluster learns of a node's rooms.
#[derive(Clone, Debug)]
pub enum Upward {
    /// The room has members on this node from now on, or no more.
    Interest(Arc<str>, bool),
    /// Was said to one room in one turn; not all of it need be for other nodes.
    Messages(Messages),
}

#[derive(Debug, Default)]
struct Uplink {
    ready: Vec<Upward>,
    /// For rooms without members here, in order.
    strays: Vec<Broadcast>,
}

impl Uplink {
    /// What is said to nobody here may be heard elsewhere.
    fn stray(&mut self, message: Broadcast) {
        if message.publication.reach == Reach::Cluster {
            self.strays.push(message);
        }
    }
}

impl Home {
    /// Home of no room. The first room's epoch is one more than `epoch`.
    pub fn new(hash: RandomState, epoch: u32) -> Self {
        Self {
            rooms: HashMap::with_hasher(hash),
            listed: Vec::new(),
            answers: Vec::new(),
            epoch,
            turn: 0,
            unheard: 0,
            journal: None,
            uplink: None,
        }
    }

    /// Has everything noted that other nodes are to know.
    pub fn join_cluster(&mut self) {
        self.uplink.get_or_insert_default();
    }

    /// Hands over what other nodes are to know, in order.
    pub fn take_upward(&mut self, mut each: impl FnMut(Upward)) {
        if let Some(uplink) = &mut self.uplink {
            uplink.ready.drain(..).for_each(&mut each);
        }
    }

    /// Handles a letter to a home; letters from homes are ignored.
    pub fn on_mail(&mut self, mail: RoomMail) {
        match mail {
            RoomMail::Join { room, shard, interest } => self.join(room, shard, interest),
            RoomMail::Leave { room, shard, interest } => self.leave(&room, shard, interest),
            RoomMail::Publish(publication) => self.publish(publication),
            RoomMail::Subscribed { .. } | RoomMail::Deliver { .. } | RoomMail::Missed { .. } => {}
        }
    }

    /// Posts the turn's answers and deliveries. What a mailbox refuses is tried again as a `Missed`
    /// (or found out by the next delivery's number), so that a loss is never silent.
    pub fn post(&mut self, posts: &mut impl Posts) {
        for (shard, answer) in self.answers.drain(..) {
            let _never_refused = posts.post(shard, answer);
        }
        self.turn += 1;
        if let Some(uplink) = &mut self.uplink
            && !uplink.strays.is_empty()
        {
            // Before what was said to the same rooms once they had members.
            let strays = Messages::from_iter(uplink.strays.drain(..));
            uplink.ready.push(Upward::Messages(strays));
        }
        let uplink = &mut self.uplink;
        self.listed.retain(|name| {
            let Some(room) = self.rooms.get_mut(name) else {
                return false;
            };
            if std::mem::replace(&mut room.posted, self.turn) == self.turn {
                return false;
            }
            let messages: Messages = room.batch.drain(..).collect();
            room.batch.shrink_to(BATCH_KEPT);
            if let Some(uplink) = uplink
                && messages.iter().any(|message| message.publication.reach == Reach::Cluster)
            {
                uplink.ready.push(Upward::Messages(messages.clone()));
            }
            for interest in &mut room.interests {
                interest.post(name, room.next.number, &messages, posts);
            }
            room.is_listed = room.interests.iter().any(|interest| interest.is_owed);
            room.is_listed
        });
    }

    /// Whether a turn is due even if no letter comes.
    pub fn is_pending(&self) -> bool {
        let has_strays = self.uplink.as_ref().is_some_and(|uplink| !uplink.strays.is_empty());
        !self.listed.is_empty() || !self.answers.is_empty() || has_strays
    }

    /// How many rooms have members anywhere.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no room has members.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Epoch and next number of a room.
    pub fn position(&self, room: &str) -> Option<Position> {
        self.rooms.get(room).map(|room| room.next)
    }

    /// Publications to rooms without members.
    pub fn unheard(&self) -> u64 {
        self.unheard
    }

    /// What was numbered since this was last called, in order. Recording begins with the first
    /// call.
    pub fn take_journal(&mut self) -> Vec<Numbered> {
        self.journal.replace(Vec::new()).unwrap_or_default()
    }

    fn join(&mut self, name: Arc<str>, shard: u32, interest: u32) {
        let (epoch, uplink) = (&mut self.epoch, &mut self.uplink);
        let room = self.rooms.entry(name.clone()).or_insert_with(|| {
            *epoch = epoch.wrapping_add(1);
            if let Some(uplink) = uplink {
                uplink.ready.push(Upward::Interest(name.clone(), true));
            }
            Box::new(HomeRoom {
                next: Position { epoch: *epoch, number: 0 },
                interests: SmallVec::new(),
                batch: Vec::new(),
                is_listed: false,
                posted: 0,
            })
        });
        room.interests.retain(|known| known.shard != shard);
        let from = room.next.number;
        room.interests.push(Interest { shard, interest, from, is_owed: false });
        self.answers.push((shard, RoomMail::Subscribed { room: name, interest, next: room.next }));
    }

    fn leave(&mut self, name: &str, shard: u32, interest: u32) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        room.interests.retain(|known| known.shard != shard || known.interest != interest);
        if room.interests.is_empty()
            && let Some((name, room)) = self.rooms.remove_entry(name)
            && let Some(uplink) = &mut self.uplink
        {
            room.batch.into_iter().for_each(|message| uplink.stray(message));
            uplink.ready.push(Upward::Interest(name, false));
        }
    }

    fn publish(&mut self, publication: Publication) {
        let Some(room) = self.rooms.get_mut(&publication.room) else {
            self.unheard += 1;
            if let Some(uplink) = &mut self.uplink {
                uplink.stray(Broadcast::new(publication, Position::default()));
            }
            return;
        };
        if let Some(journal) = &mut self.journal {
            journal.push((publication.room.clone(), room.next, publication.event.clone()));
        }
        if !room.is_listed {
            room.is_listed = true;
            self.listed.push(publication.room.clone());
        }
        room.batch.push(Broadcast::new(publication, room.next));
        room.next.number += 1;
    }
}

impl Interest {
    fn post(&mut self, room: &Arc<str>, next: Number, messages: &Messages, posts: &mut impl Posts) {
        let (room, interest) = (room.clone(), self.interest);
        let mail = match messages.last().filter(|last| last.position.number >= self.from) {
            Some(_) => {
                let messages = messages.clone();
                RoomMail::Deliver { room, interest, from: self.from, messages }
            }
            None if self.is_owed => RoomMail::Missed { room, interest, next },
            None => return,
        };
        self.is_owed = posts.post(self.shard, mail).is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::mail::{Exclude, PayloadBytes};

    struct Nowhere;
    impl Posts for Nowhere {
        fn post(&mut self, _: u32, _: RoomMail) -> Result<(), RoomMail> {
            Ok(())
        }
    }

    /// What other nodes learn of a turn: `+room`, `-room`, and messages.
    fn upward(home: &mut Home) -> Vec<String> {
        home.post(&mut Nowhere);
        let mut told = Vec::new();
        home.take_upward(|upward| match upward {
            Upward::Interest(room, true) => told.push(format!("+{room}")),
            Upward::Interest(room, false) => told.push(format!("-{room}")),
            Upward::Messages(messages) => {
                let events = messages.iter().map(|m| m.publication.event.to_string());
                told.extend(events);
            }
        });
        told
    }

    fn say(home: &mut Home, event: &str, reach: Reach) {
        home.on_mail(RoomMail::Publish(Publication {
            room: "r".into(),
            event: event.into(),
            payload: PayloadBytes::Undefined,
            exclude: Exclude::Nobody,
            reach,
        }));
    }

    #[test]
    fn other_nodes_hear_of_a_room_in_order_whether_it_has_members_here_or_not() {
        let mut home = Home::new(RandomState::with_seeds(1, 2, 3, 4), 0);
        home.join_cluster();
        let member = |interest| RoomMail::Join { room: "r".into(), shard: 0, interest };
        say(&mut home, "1", Reach::Cluster);
        home.on_mail(member(1));
        say(&mut home, "2", Reach::Cluster);
        say(&mut home, "here", Reach::Node);
        home.on_mail(RoomMail::Leave { room: "r".into(), shard: 0, interest: 1 });
        say(&mut home, "3", Reach::Cluster);
        assert!(home.is_pending());
        assert_eq!(upward(&mut home), ["+r", "-r", "1", "2", "3"]);
        home.on_mail(member(2));
        say(&mut home, "4", Reach::Cluster);
        assert_eq!(upward(&mut home), ["+r", "4"]);
        say(&mut home, "here", Reach::Node);
        assert!(upward(&mut home).is_empty() && !home.is_pending());
    }

    #[test]
    fn a_node_that_is_alone_notes_nothing_for_others() {
        let mut home = Home::new(RandomState::with_seeds(1, 2, 3, 4), 0);
        say(&mut home, "1", Reach::Cluster);
        assert!(upward(&mut home).is_empty() && !home.is_pending());
    }

    #[test]
    fn rooms_spread_over_homes_and_stay_where_they_are() {
        let mut counts = [0; 4];
        for room in 0..4_000 {
            let name = format!("room-{room}");
            let home = home_of(&name, 4, 7);
            assert_eq!(home, home_of(&name, 4, 7));
            counts[home as usize] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        assert_eq!(home_of("any", 1, 7), 0);
    }
}
