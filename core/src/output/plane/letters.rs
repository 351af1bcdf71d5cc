//! Letters: from homes to rooms, and what leaves for homes and other shards.

use std::sync::Arc;

use crate::output::group::Marking;
use crate::output::home::{Upward, home_of};
use crate::output::mail::{Broadcast, ConnectionId, Position, Posts, RoomMail};
use crate::output::{Number, Slot};

use super::{GroupRef, Notice, Output};

/// Places for letters that are kept from one turn to the next.
const OUTBOUND_KEPT: usize = 256;

impl Output {
    /// A letter of another shard, or of this one.
    pub fn on_mail(&mut self, mail: RoomMail) {
        match mail {
            RoomMail::Join { .. } | RoomMail::Leave { .. } | RoomMail::Publish(_) => {
                self.home.on_mail(mail);
            }
            RoomMail::Subscribed { room, interest, next } => {
                self.on_subscribed(&room, interest, next);
            }
            RoomMail::Deliver { room, interest, from, messages } => {
                let Some(key) = self.room_of(&room, interest) else {
                    return;
                };
                for message in messages.iter().filter(|m| m.position.number >= from) {
                    self.append(key, message);
                }
            }
            RoomMail::Missed { room, interest, next } => {
                let Some(key) = self.room_of(&room, interest) else {
                    return;
                };
                self.miss(key, next);
            }
        }
    }

    /// Posts everything for other shards, in the order it happened; then what this shard's homes
    /// have to say.
    ///
    /// `drained` says whether the mailbox was emptied in this turn. If it was not, what is meant
    /// for this shard's own homes must queue up in the mailbox like everybody's: going straight to
    /// the home it would overtake a join that waits there although its acknowledgement was seen by
    /// whoever publishes.
    pub fn post(&mut self, posts: &mut impl Posts, drained: bool) {
        let mut outbound = std::mem::take(&mut self.outbound);
        for (publisher, mail) in outbound.drain(..) {
            let home = home_of(mail.room(), self.shards, self.home_seed);
            if home == self.shard && drained {
                self.home.on_mail(mail);
            } else if let (Err(_), Some(socket)) = (posts.post(home, mail), publisher) {
                self.notices.push(Notice::Refused(socket));
            }
        }
        outbound.shrink_to(OUTBOUND_KEPT);
        self.outbound = outbound;
        self.outbound_bytes = 0;
        let mut split = Split { own: self.shard, kept: Vec::new(), posts };
        self.home.post(&mut split);
        for mail in split.kept {
            self.on_mail(mail);
        }
    }

    /// Has everything noted that other nodes are to know.
    pub fn join_cluster(&mut self) {
        self.home.join_cluster();
    }

    /// Hands over what other nodes are to know, in order.
    pub fn take_upward(&mut self, each: impl FnMut(Upward)) {
        self.home.take_upward(each);
    }

    fn on_subscribed(&mut self, name: &str, interest: u32, next: Position) {
        let Some(key) = self.room_of(name, interest) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        if room.position.is_some() {
            return; // a second answer to one spell
        }
        room.position = Some(next);
        for group in &mut room.groups {
            group.tape.begin_at(next.number);
        }
        for pending in std::mem::take(&mut room.pending) {
            let (socket, tag) = (pending.socket, pending.tag);
            self.notices.push(Notice::Joined { socket, room: room.name.clone(), tag, next });
        }
    }

    /// The key of a room, if `interest` is its present spell.
    fn room_of(&self, name: &str, interest: u32) -> Option<u32> {
        let key = self.rooms.key(name)?;
        self.rooms.get(key).filter(|room| room.interest == interest).map(|_| key)
    }

    /// Appends a message to the tape of every group with members: once per encoding, whatever the
    /// number of members.
    fn append(&mut self, key: u32, message: &Broadcast) {
        let Position { epoch, number } = message.position;
        self.miss(key, number);
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        let expected = room.position.map_or(0, |position| position.number);
        if number < expected {
            return; // there is no second delivery of a spell; a tape's numbers only grow
        }
        room.position = Some(Position { epoch, number: number + 1 });
        let (name, interest) = (room.name.clone(), room.interest);
        let (encodings, limits) = (&self.encodings, &self.limits);
        let marking = Marking { room: &name, epoch, encodings, limits };
        let groups = room.groups.iter_mut().enumerate();
        for (index, group) in groups.filter(|(_, group)| !group.is_empty()) {
            let (encoding, form) = (group.key.encoding, group.key.form());
            let scratch = &mut self.scratch.bytes;
            // With one shard nobody shares the bytes, so they need no allocation of their own.
            let appended = if self.shards == 1 {
                let publication = &message.publication;
                let at = encodings.render(encoding, form, publication, message.position, scratch);
                group.append(number, scratch.get(at..).unwrap_or(&[]), None, marking)
            } else {
                let shared: Arc<[u8]> = message.rendered(encodings, encoding, form, scratch);
                group.append(number, &shared, Some(&shared), marking)
            };
            self.counts.appended += u64::from(appended);
            self.counts.refused += u64::from(!appended);
            if !std::mem::replace(&mut group.touched, true) {
                self.touched.push_back(group_ref(key, interest, index));
            }
        }
        for excluded in message.publication.exclude.connections() {
            if excluded.shard == self.shard {
                self.skip_excluded(key, *excluded, number);
            }
        }
    }

    /// Notes in every group that the numbers before `next` were not delivered to this shard.
    fn miss(&mut self, key: u32, next: Number) {
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        let Some(expected) = room.position.filter(|position| position.number < next) else {
            return;
        };
        room.position = Some(Position { number: next, ..expected });
        let interest = room.interest;
        let groups = room.groups.iter_mut().enumerate();
        for (index, group) in groups.filter(|(_, group)| !group.is_empty()) {
            group.miss(next);
            if !std::mem::replace(&mut group.touched, true) {
                self.touched.push_back(group_ref(key, interest, index));
            }
        }
    }

    /// Sets the excluded connection's memberships aside, where their runs stand, and has their
    /// cursors pass over the message just appended (if it was: an overloaded group refuses it).
    fn skip_excluded(&mut self, key: u32, excluded: ConnectionId, number: Number) {
        let index = excluded.socket.index;
        for slot in self.excluded_slots(key, excluded) {
            let Some(group) = self.connections.membership(index, slot).map(|m| m.group) else {
                continue;
            };
            let Some(tape) = self.rooms.group(key, group).map(|group| &group.tape) else {
                continue;
            };
            let last = tape.tail().checked_sub(1);
            let Some(last) = last.filter(|last| tape.number_at(*last) == number) else {
                continue;
            };
            self.take_aside(index, slot);
            if let Some(aside) = self.aside_mut(index, slot) {
                aside.skips.push_back(last);
            }
        }
    }

    /// Almost always none or one; an allocation only if there is one.
    fn excluded_slots(&self, key: u32, excluded: ConnectionId) -> Vec<Slot> {
        let connection = self.connections.of(excluded.socket);
        connection.map(|connection| connection.slots_in(key).collect()).unwrap_or_default()
    }
}

fn group_ref(room: u32, interest: u32, group: usize) -> GroupRef {
    GroupRef { room, interest, group: u8::try_from(group).unwrap_or(u8::MAX) }
}

/// Keeps letters to this shard itself instead of posting them.
struct Split<'a, P> {
    own: u32,
    kept: Vec<RoomMail>,
    posts: &'a mut P,
}

impl<P: Posts> Posts for Split<'_, P> {
    fn post(&mut self, shard: u32, mail: RoomMail) -> Result<(), RoomMail> {
        if shard == self.own {
            self.kept.push(mail);
            return Ok(());
        }
        self.posts.post(shard, mail)
    }
}
