//! A room on one shard: its groups, and what is known of its home.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use fulmar_driver::SocketId;
use smallvec::SmallVec;

use super::aside::Voice;
use super::group::{Group, GroupKey};
use super::mail::Position;
use super::{Slot, narrow};

/// A join that waits for the home's answer, because its acknowledgement tells the position.
#[derive(Clone, Copy, Debug)]
pub struct PendingJoin {
    /// Whose.
    pub socket: SocketId,
    /// Which membership.
    pub slot: Slot,
    /// Its tag.
    pub tag: u32,
}

/// Members of a room on this shard.
#[derive(Debug)]
pub struct Room {
    /// Its name.
    pub name: Arc<str>,
    /// This spell of having members here; letters of another spell are ignored.
    pub interest: u32,
    /// Epoch and next number, once the home has answered.
    pub position: Option<Position>,
    /// By encoding, delivery and transport; at most 96. Nearly always one.
    pub groups: SmallVec<[Box<Group>; 1]>,
    /// Memberships in all groups.
    pub members: u32,
    /// Joins to be told of when the home has answered.
    pub pending: Vec<PendingJoin>,
}

impl Room {
    /// What frames for one of its members depend on.
    pub fn voice(&self, key: GroupKey, socket: SocketId, tag: u32) -> Voice<'_> {
        let epoch = self.position.map_or(0, |position| position.epoch);
        Voice { room: &self.name, epoch, key, socket, tag }
    }
}

/// The shard's rooms by key; keys are indexes that are used again.
#[derive(Debug)]
pub struct Rooms {
    table: Vec<Option<Box<Room>>>,
    free: Vec<u32>,
    by_name: HashMap<Arc<str>, u32, RandomState>,
}

impl Rooms {
    /// No rooms.
    pub fn new(hash: RandomState) -> Self {
        Self { table: Vec::new(), free: Vec::new(), by_name: HashMap::with_hasher(hash) }
    }

    /// The key of a room by name.
    pub fn key(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Adds a room.
    pub fn insert(&mut self, room: Room) -> u32 {
        let key = self.free.pop().unwrap_or_else(|| narrow(self.table.len()));
        self.by_name.insert(room.name.clone(), key);
        if key as usize == self.table.len() {
            self.table.push(None);
        }
        if let Some(place) = self.table.get_mut(key as usize) {
            *place = Some(Box::new(room));
        }
        key
    }

    /// Removes a room with everything it holds.
    pub fn remove(&mut self, key: u32) {
        let Some(room) = self.table.get_mut(key as usize).and_then(Option::take) else {
            return;
        };
        self.by_name.remove(&room.name);
        self.free.push(key);
        if self.by_name.capacity() > 64 && self.by_name.len() < self.by_name.capacity() / 8 {
            self.by_name.shrink_to(self.by_name.len() * 2);
        }
    }

    /// The room of a key.
    pub fn get(&self, key: u32) -> Option<&Room> {
        self.table.get(key as usize)?.as_deref()
    }

    /// The room of a key, to change.
    pub fn get_mut(&mut self, key: u32) -> Option<&mut Room> {
        self.table.get_mut(key as usize)?.as_deref_mut()
    }

    /// A group.
    pub fn group(&self, key: u32, group: u8) -> Option<&Group> {
        self.get(key)?.groups.get(usize::from(group)).map(|group| &**group)
    }

    /// A group, to change.
    pub fn group_mut(&mut self, key: u32, group: u8) -> Option<&mut Group> {
        self.get_mut(key)?.groups.get_mut(usize::from(group)).map(|group| &mut **group)
    }

    /// All rooms, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Room> {
        self.table.iter().filter_map(Option::as_deref)
    }

    /// How many rooms.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
