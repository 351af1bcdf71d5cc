//! What a connection's memberships are, and how few bytes they take: nearly every connection is in
//! one room or none, and stands in a run there.

use super::limits::Policy;
use super::{Slot, narrow};

/// Where a membership stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its group's array, at this index; the position is the run's.
    InRun(u32),
    /// With a cursor of its own: its key among [`Asides`](super::asides::Asides).
    Aside(u32),
}

/// A connection in a room.
#[derive(Debug)]
pub struct Membership {
    /// The room's key on this shard.
    pub room: u32,
    /// The envelope's variable part; 0 if there is none.
    pub tag: u32,
    /// A [`Place`] in four bytes.
    place: u32,
    /// Index of the group in the room.
    pub group: u8,
    /// When the connection is too slow for the room.
    pub policy: Policy,
    /// Whether the frames handed over are told.
    pub is_counted: bool,
}

/// In a place's four bytes: what follows is the key of a cursor.
const ASIDE: u32 = 1 << 31;

impl Membership {
    /// A membership that stands at `place`.
    pub fn new(room: u32, group: u8, tag: u32, policy: Policy, place: Place) -> Self {
        let mut membership = Self { room, tag, place: 0, group, policy, is_counted: false };
        membership.stand(place);
        membership
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        if self.place & ASIDE == 0 {
            Place::InRun(self.place)
        } else {
            Place::Aside(self.place & !ASIDE)
        }
    }

    /// Its cursor's key, if it stands aside.
    pub fn aside(&self) -> Option<u32> {
        match self.place() {
            Place::Aside(key) => Some(key),
            Place::InRun(_) => None,
        }
    }

    /// Stands somewhere else from now on.
    pub fn stand(&mut self, place: Place) {
        self.place = match place {
            Place::InRun(index) => index & !ASIDE,
            Place::Aside(key) => key | ASIDE,
        };
    }
}

/// The memberships of one connection by [`Slot`]; slots are used again.
#[derive(Debug, Default)]
pub enum Memberships {
    /// None.
    #[default]
    None,
    /// One, in slot 0.
    One(Membership),
    /// Any number. Boxed, because every idle connection would be as large as the vector.
    Many(Box<Vec<Option<Membership>>>),
}

const _: () = assert!(size_of::<Memberships>() == 16);

impl Memberships {
    /// One more than the highest slot in use.
    pub fn slots(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(slots) => slots.len(),
        }
    }

    /// The membership in `slot`.
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&Membership> {
        match self {
            Self::One(membership) if slot == 0 => Some(membership),
            Self::Many(slots) => slots.get(slot as usize)?.as_ref(),
            Self::None | Self::One(_) => None,
        }
    }

    /// The membership in `slot`, to change.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Membership> {
        match self {
            Self::One(membership) if slot == 0 => Some(membership),
            Self::Many(slots) => slots.get_mut(slot as usize)?.as_mut(),
            Self::None | Self::One(_) => None,
        }
    }

    /// All of them with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Membership)> {
        (0..narrow(self.slots())).filter_map(|slot| Some((slot, self.get(slot)?)))
    }

    /// Adds one and returns its slot.
    pub fn add(&mut self, membership: Membership) -> Slot {
        match std::mem::take(self) {
            Self::None => {
                *self = Self::One(membership);
                0
            }
            Self::One(first) => {
                *self = Self::Many(Box::new(vec![Some(first), Some(membership)]));
                1
            }
            Self::Many(mut slots) => {
                let free = slots.iter().position(Option::is_none).unwrap_or(slots.len());
                match slots.get_mut(free) {
                    Some(place) => *place = Some(membership),
                    None => slots.push(Some(membership)),
                }
                *self = Self::Many(slots);
                narrow(free)
            }
        }
    }

    /// Takes one out.
    pub fn take(&mut self, slot: Slot) -> Option<Membership> {
        match std::mem::take(self) {
            Self::None => None,
            Self::One(membership) if slot == 0 => Some(membership),
            Self::One(membership) => {
                *self = Self::One(membership);
                None
            }
            Self::Many(mut slots) => {
                let membership = slots.get_mut(slot as usize).and_then(Option::take);
                while slots.last().is_some_and(Option::is_none) {
                    slots.pop();
                }
                *self = match slots.pop() {
                    Some(Some(first)) if slots.is_empty() => Self::One(first),
                    Some(last) => {
                        slots.push(last);
                        Self::Many(slots)
                    }
                    None => Self::None,
                };
                membership
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(room: u32) -> Membership {
        Membership::new(room, 0, 0, Policy::Skip, Place::InRun(7))
    }

    fn rooms(memberships: &Memberships) -> Vec<(Slot, u32)> {
        memberships.iter().map(|(slot, membership)| (slot, membership.room)).collect()
    }

    #[test]
    fn slots_are_used_again_and_the_table_shrinks() {
        let mut memberships = Memberships::default();
        assert_eq!((0..3).map(|room| memberships.add(membership(room))).max(), Some(2));
        assert!(memberships.take(0).is_some() && memberships.take(0).is_none());
        assert_eq!(memberships.add(membership(9)), 0);
        assert!(memberships.take(2).is_some() && memberships.take(1).is_some());
        assert!(matches!(memberships, Memberships::One(_)) && memberships.take(1).is_none());
        assert_eq!(rooms(&memberships), [(0, 9)]);
        assert!(memberships.take(0).is_some() && matches!(memberships, Memberships::None));
    }

    #[test]
    fn a_membership_keeps_its_slot_when_those_before_it_go() {
        let mut memberships = Memberships::default();
        (0..3).for_each(|room| assert_eq!(memberships.add(membership(room)), room));
        assert!(memberships.take(0).is_some() && memberships.take(1).is_some());
        assert_eq!((rooms(&memberships), memberships.slots()), (vec![(2, 2)], 3));
        assert!(memberships.take(2).is_some() && memberships.slots() == 0);
    }

    #[test]
    fn places_are_told_apart() {
        let mut membership = membership(1);
        assert_eq!(membership.place(), Place::InRun(7));
        membership.stand(Place::Aside(0));
        assert_eq!((membership.place(), membership.aside()), (Place::Aside(0), Some(0)));
        membership.stand(Place::InRun(0));
        assert_eq!((membership.place(), membership.aside()), (Place::InRun(0), None));
    }
}
