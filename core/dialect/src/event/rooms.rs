//! The rooms of one client, and what it may ask for about them.
use std::{collections::BTreeSet, sync::Arc};

use super::{
    options::JoinPolicy,
    session::{EventSession, State, TAG},
    wire,
};
use crate::{Args, Delivery, Effect, Gate, Host, Identity, On, Order, Payload, Reply, uuid_text};

/// Names of rooms in the order in which they were joined. Most clients are in few rooms, but
/// nothing here takes quadratic time for those in thousands.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    list: Vec<Arc<str>>,
    index: Option<Box<Index>>,
}

/// The same names in order, once there are many.
#[derive(Debug, Default)]
struct Index(BTreeSet<Arc<str>>);

/// With more rooms than this there is an index.
const FEW: usize = 16;

impl Rooms {
    /// All names.
    pub(super) fn list(&self) -> &[Arc<str>] {
        &self.list
    }

    /// Room for so many names.
    pub(super) fn reserve(&mut self, more: usize) {
        self.list.reserve_exact(more);
    }

    /// Whether it is one of them.
    pub(super) fn contains(&self, name: &str) -> bool {
        match &self.index {
            Some(index) => index.0.contains(name),
            None => self.list.iter().any(|known| **known == *name),
        }
    }

    /// Adds a name that is not there.
    pub(super) fn add(&mut self, name: Arc<str>) {
        if let Some(index) = &mut self.index {
            index.0.insert(name.clone());
        }
        self.list.push(name);
        if self.index.is_none() && self.list.len() > FEW {
            self.index = Some(Box::new(Index(self.list.iter().cloned().collect())));
        }
    }

    /// Removes names and tells which of them were there.
    pub(super) fn remove<S: AsRef<str>>(&mut self, names: &[S], mut removed: impl FnMut(&str)) {
        let Some(index) = &mut self.index else {
            for name in names.iter().map(AsRef::as_ref) {
                if let Some(position) = self.list.iter().position(|known| **known == *name) {
                    removed(&self.list.remove(position));
                }
            }
            return;
        };
        let taken: Vec<_> =
            names.iter().filter_map(|name| index.0.take::<str>(name.as_ref())).collect();
        taken.iter().for_each(|name| removed(name));
        match &taken[..] {
            [] => {}
            // Without a look at any name: who leaves one room after the other pays little.
            [one] => self.list.retain(|known| !Arc::ptr_eq(known, one)),
            _ => self.list.retain(|known| index.0.contains(known)),
        }
        if self.list.len() <= FEW / 2 {
            self.index = None;
        }
    }
}

/// What clients and handlers do to rooms. The room that is called like the connection itself is not
/// a room: the host finds connections by their ids. Only the list says whether it is there.
impl EventSession {
    /// Whether the endpoint is asked about rooms.
    pub(super) fn joins_by_call(&self) -> bool {
        matches!(self.options.join, JoinPolicy::Ask)
    }

    /// The client wants to join.
    pub(super) fn join_asked(&mut self, data: Option<&str>, host: &mut dyn Host) {
        if matches!(self.options.join, JoinPolicy::Nobody) {
            return;
        }
        let names = wire::rooms(data);
        if names.is_empty() {
            return;
        }
        let options = self.options.clone();
        match &options.join {
            JoinPolicy::Nobody => {}
            JoinPolicy::Anybody => names.iter().for_each(|name| self.join(name, host)),
            JoinPolicy::Patterns(filter) => {
                let anonymous = Identity::default();
                let identity = self.identity.as_deref().unwrap_or(&anonymous);
                let allowed = names.iter().filter(|name| filter.allows(name, identity));
                let allowed: Vec<_> = allowed.collect();
                allowed.into_iter().for_each(|name| self.join(name, host));
            }
            JoinPolicy::Ask => {
                // Texts always have JSON.
                let Ok(json) = sonic_rs::to_string(&names) else { return };
                let Some(call) = self.expect_rooms() else { return };
                host.effect(Effect::Call {
                    call,
                    on: On::Gate(Gate::Join),
                    member: "",
                    get: false,
                    args: Args::One(Payload::Json(json.into())),
                    order: Order::Strict,
                });
            }
        }
    }

    /// The endpoint has decided.
    pub(super) fn join_answered(&mut self, reply: &Reply<'_>, host: &mut dyn Host) {
        match reply {
            Reply::Value(rooms) => {
                wire::texts(rooms).iter().for_each(|name| self.join(name, host));
            }
            Reply::Room(room) => self.join(&room.room, host),
            // Nothing is joined and nothing said: the host logs it.
            Reply::Item(_) | Reply::End | Reply::Verdict(_) | Reply::Error(_) | Reply::Missing => {}
        }
    }

    /// The client leaves.
    pub(super) fn leave_asked(&mut self, data: Option<&str>, host: &mut dyn Host) {
        let names = wire::rooms(data);
        self.leave(&names, host);
    }

    /// Becomes a member; whoever is one stays one.
    pub(super) fn join(&mut self, name: &str, host: &mut dyn Host) {
        if self.is_own_id(name) {
            self.lists_own_id = true;
        } else if !self.rooms.contains(name) {
            host.effect(Effect::Join { room: name, tag: TAG, delivery: Delivery::Shared });
            // Now that it has a member there is a name to share.
            self.rooms.add(host.room_name(name));
        }
    }

    /// Ends memberships; others are ignored.
    pub(super) fn leave<S: AsRef<str>>(&mut self, names: &[S], host: &mut dyn Host) {
        if self.lists_own_id && names.iter().any(|name| self.is_own_id(name.as_ref())) {
            self.lists_own_id = false;
        }
        self.rooms.remove(names, |room| host.effect(Effect::Leave { room, tag: TAG }));
    }

    /// All rooms as the protocol counts them.
    pub(super) fn listed_rooms(&self) -> Vec<Arc<str>> {
        let is_listed = self.lists_own_id && self.state == State::Authenticated;
        let own = is_listed.then(|| uuid_text(self.id()).into());
        own.into_iter().chain(self.rooms.list().iter().cloned()).collect()
    }

    fn is_own_id(&self, name: &str) -> bool {
        name.len() == UUID_TEXT && name == uuid_text(self.id())
    }
}

/// Bytes of a UUID's text.
const UUID_TEXT: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_many_rooms_in_order() {
        let name = |number: usize| format!("room {number}");
        let mut rooms = Rooms::default();
        for number in 0..1000 {
            assert!(!rooms.contains(&name(number)));
            rooms.add(name(number).into());
            assert_eq!(rooms.index.is_some(), number >= FEW, "{number}");
        }
        let mut left = Vec::new();
        rooms.remove(&[name(3)], |name| left.push(name.to_owned()));
        rooms.remove(&[name(3)], |name| left.push(name.to_owned()));
        rooms.remove(&[name(5), name(1), "other".into()], |name| left.push(name.to_owned()));
        assert_eq!(left, [name(3), name(5), name(1)]);
        assert!(!rooms.contains(&name(3)) && rooms.contains(&name(4)));
        assert_eq!(*rooms.list()[1], *name(2));
        assert_eq!(*rooms.list()[2], *name(4));
        let most: Vec<_> = (0..992).map(name).collect();
        rooms.remove(&most, |_| {});
        assert!(rooms.index.is_none());
        assert_eq!((rooms.list().len(), rooms.contains(&name(999))), (8, true));
        rooms.remove(&[name(999)], |_| {});
        assert!(!rooms.contains(&name(999)) && rooms.contains(&name(998)));
    }
}
