//! Joining, leaving and publishing.

use std::sync::Arc;

use fulmar_driver::{Member, SocketId};
use smallvec::SmallVec;

use crate::output::aside::Aside;
use crate::output::connection::{Connection, SEALED};
use crate::output::encode::Encoding;
use crate::output::group::{Delivery, Group, GroupKey, Transport};
use crate::output::limits::Policy;
use crate::output::mail::{Position, Publication, RoomMail};
use crate::output::membership::{Membership, Place};
use crate::output::room::{PendingJoin, Room};
use crate::output::{Slot, narrow};

use super::{Output, Refused};

/// What a client asks when it joins.
#[derive(Clone, Copy, Debug)]
pub struct JoinRequest<'a> {
    /// Which room.
    pub room: &'a str,
    /// Which encoding.
    pub encoding: Encoding,
    /// Shared or enveloped.
    pub delivery: Delivery,
    /// The envelope's variable part; 0 when shared. One connection may be in a room several times
    /// under different tags.
    pub tag: u32,
    /// Whether the acknowledgement must tell epoch and number.
    pub is_positioned: bool,
    /// Whether [`Delivered`](super::Notice::Delivered) should tell how many frames were handed
    /// over. Only for envelopes.
    pub is_counted: bool,
    /// When the connection is too slow for the room.
    pub policy: Policy,
}

/// A join that was accepted. Its acknowledgement is the caller's, to be queued at once, or when the
/// position is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Messages begin exactly here.
    At(Position),
    /// The position is not known yet, and was not asked for.
    Somewhere,
    /// The position is not known yet; [`Joined`](super::Notice::Joined) will tell.
    Pending,
}

/// About what a publication takes beyond its payload, numbered and rendered.
const PUBLICATION_BYTES: usize = 256;

impl Output {
    /// The members of a room on this shard, each once.
    pub fn members_in(&self, room: &str) -> Vec<SocketId> {
        let Some(key) = self.rooms.key(room) else { return Vec::new() };
        let Some(room) = self.rooms.get(key) else { return Vec::new() };
        let mut members = Vec::with_capacity(room.members as usize);
        for group in &room.groups {
            members.extend(
                group.members.between(0, narrow(group.members.len())).iter().map(|m| m.socket),
            );
            members.extend(group.aside.iter().map(|(index, _)| self.connections.id(*index)));
        }
        members.sort_unstable_by_key(|socket| (socket.index, socket.generation));
        members.dedup();
        members
    }

    /// A join. Either way the stream begins here and now: with what is appended after this call.
    ///
    /// # Errors
    /// [`Refused::Gone`], [`Refused::Duplicate`], [`Refused::TooManyRooms`].
    pub fn join(&mut self, socket: SocketId, request: &JoinRequest<'_>) -> Result<Joined, Refused> {
        let connection = self.connections.of(socket).filter(|c| !c.is_over_with());
        let connection = connection.ok_or(Refused::Gone)?;
        if connection.memberships.slots() >= self.limits.memberships_max {
            return Err(Refused::TooManyRooms);
        }
        if self.find(connection, request.room, request.tag).is_some() {
            return Err(Refused::Duplicate);
        }
        let key = group_key(connection, request.encoding, request.delivery);
        let room = self.rooms.key(request.room).unwrap_or_else(|| self.open_room(request.room));
        let group = self.group_for(room, key);
        let tail = self.rooms.group(room, group).map_or(0, |group| group.tape.tail());
        let connection = self.connections.of_mut(socket).ok_or(Refused::Gone)?;
        let place = Place::Aside(self.asides.insert(Aside::at(tail)));
        let mut membership = Membership::new(room, group, request.tag, request.policy, place);
        membership.is_counted = request.is_counted;
        let slot = connection.memberships.add(membership);
        self.memberships += 1;
        self.list(socket.index, slot);
        self.settle_place(socket.index, slot);
        let Some(room) = self.rooms.get_mut(room) else {
            return Ok(Joined::Somewhere);
        };
        room.members += 1;
        Ok(match room.position {
            Some(position) => Joined::At(position),
            None if request.is_positioned => {
                room.pending.push(PendingJoin { socket, slot, tag: request.tag });
                Joined::Pending
            }
            None => Joined::Somewhere,
        })
    }

    /// A leave; says whether there was anything to leave. Nothing of the room is handed over after
    /// this call: an acknowledgement queued now is the last that is heard of it.
    pub fn leave(&mut self, socket: SocketId, room: &str, tag: u32) -> bool {
        let Some(connection) = self.connections.of(socket) else {
            return false;
        };
        let Some(slot) = self.find(connection, room, tag) else {
            return false;
        };
        self.drop_membership(socket.index, slot);
        true
    }

    /// Whether a connection is in a room under `tag`.
    pub fn is_member(&self, socket: SocketId, room: &str, tag: u32) -> bool {
        let connection = self.connections.of(socket);
        connection.is_some_and(|connection| self.find(connection, room, tag).is_some())
    }

    /// A publication, by a connection of this shard, which hears of a refusal, or (with `None`) by
    /// anybody else.
    pub fn publish(&mut self, publisher: Option<SocketId>, publication: Publication) {
        self.outbound_bytes += PUBLICATION_BYTES + publication.payload.len();
        self.outbound.push((publisher, RoomMail::Publish(publication)));
    }

    /// About how many bytes this turn's publications hold. They are all in memory until the turn
    /// ends, and a short one takes much more than its payload.
    pub fn outbound_bytes(&self) -> usize {
        self.outbound_bytes
    }

    /// Leaves every room: the connection ends.
    pub(super) fn leave_all(&mut self, index: u32) {
        // From the end, because the table of memberships shrinks from there.
        while let Some(slot) = self.last_slot(index) {
            self.drop_membership(index, slot);
        }
        self.retire_if_idle(index);
    }

    /// Moves a connection's memberships to the groups of its present transport, where they go on
    /// after a marker for what they had not got yet.
    pub(super) fn reseat_all(&mut self, index: u32) {
        let count = self.connections.get(index).map_or(0, |c| c.memberships.slots());
        for slot in 0..narrow(count) {
            self.reseat(index, slot);
        }
    }

    /// The member entry of a membership.
    pub(super) fn member(&self, index: u32, slot: Slot) -> Option<Member> {
        let connection = self.connections.get(index)?;
        let socket = SocketId { index, generation: connection.generation };
        Some(Member { socket, slot, tag: connection.memberships.get(slot)?.tag })
    }

    fn find(&self, connection: &Connection, room: &str, tag: u32) -> Option<Slot> {
        let key = self.rooms.key(room)?;
        let has_tag = |slot: &Slot| connection.memberships.get(*slot).is_some_and(|m| m.tag == tag);
        connection.slots_in(key).find(has_tag)
    }

    fn last_slot(&self, index: u32) -> Option<Slot> {
        let count = self.connections.get(index)?.memberships.slots();
        Some(narrow(count.checked_sub(1)?))
    }

    fn drop_membership(&mut self, index: u32, slot: Slot) {
        let Some(room) = self.remove_membership(index, slot) else {
            return;
        };
        self.memberships -= 1;
        let Some(left) = self.rooms.get_mut(room) else {
            return;
        };
        left.members -= 1;
        left.pending.retain(|pending| pending.socket.index != index || pending.slot != slot);
        if left.members == 0 {
            let (room_name, interest) = (left.name.clone(), left.interest);
            self.rooms.remove(room);
            let mail = RoomMail::Leave { room: room_name, shard: self.shard, interest };
            self.outbound.push((None, mail));
        }
    }

    fn open_room(&mut self, name: &str) -> u32 {
        self.interests = self.interests.wrapping_add(1);
        let (name, interest): (Arc<str>, u32) = (name.into(), self.interests);
        let mail = RoomMail::Join { room: name.clone(), shard: self.shard, interest };
        self.outbound.push((None, mail));
        self.rooms.insert(Room {
            name,
            interest,
            position: None,
            groups: SmallVec::new(),
            members: 0,
            pending: Vec::new(),
        })
    }

    /// The room's group for `key`, made or begun anew if nobody is in it.
    fn group_for(&mut self, room: u32, key: GroupKey) -> u8 {
        let Some(room) = self.rooms.get_mut(room) else {
            return 0;
        };
        let next = room.position.map_or(0, |position| position.number);
        let found = room.groups.iter().position(|group| group.key == key);
        let index = found.unwrap_or(room.groups.len());
        match room.groups.get_mut(index) {
            Some(group) if group.is_empty() => {
                let (touched, active) = (group.touched, group.active);
                **group = Group { touched, active, ..Group::new(key, next, &self.ledger) };
            }
            Some(_) => {}
            None => room.groups.push(Box::new(Group::new(key, next, &self.ledger))),
        }
        u8::try_from(index).unwrap_or(u8::MAX)
    }

    fn reseat(&mut self, index: u32, slot: Slot) {
        let Some(membership) = self.connections.membership(index, slot) else {
            return;
        };
        let room = membership.room;
        let Some(group) = self.rooms.group(room, membership.group) else {
            return;
        };
        let number = match membership.place() {
            Place::InRun(index) => {
                group.members.position(index).map_or(0, |at| group.tape.number_at(at))
            }
            Place::Aside(key) => self.asides.get(key).map_or(0, |aside| aside.number(&group.tape)),
        };
        let (encoding, delivery) = (group.key.encoding, group.key.delivery);
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        let key = group_key(connection, encoding, delivery);
        if key == group.key {
            return;
        }
        self.displace(index, slot);
        let group = self.group_for(room, key);
        let Some(tape) = self.rooms.group(room, group).map(|group| &group.tape) else {
            return;
        };
        let mut aside = Aside::at(tape.tail());
        aside.gap = Some(number).filter(|number| *number < tape.next_number());
        if let Some(membership) = self.connections.membership_mut(index, slot) {
            membership.group = group;
            membership.stand(Place::Aside(self.asides.insert(aside)));
        }
        self.list(index, slot);
        self.settle_place(index, slot);
        self.wait(index, slot);
    }
}

fn group_key(connection: &Connection, encoding: Encoding, delivery: Delivery) -> GroupKey {
    let transport = if connection.flags.has(SEALED) { Transport::Sealed } else { Transport::Plain };
    GroupKey { encoding, delivery, transport }
}
