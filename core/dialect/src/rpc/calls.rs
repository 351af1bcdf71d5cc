//! The calls of one client that are pending, by their numbers and by the client's ids.
use std::{collections::BTreeMap, sync::Arc};

use crate::{CallId, Tag};

/// A client's id for a call, as the client wrote it.
///
/// Two that are written differently are two ids, though JSON has them equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id {
    /// Written in at most 19 digits and nothing else, without leading zeros, as real clients do.
    Number(u64),
    /// Any other JSON.
    Other(Arc<str>),
}

/// Longer ids are refused, in bytes: each is kept for as long as its call is pending.
pub(super) const ID_BYTES_MAX: usize = 256;

impl Id {
    pub(super) fn from_raw(raw: &str) -> Self {
        // Digits that cannot overflow; JSON has no others with a sign or zeros in front.
        let digit = |number: u64, byte: u8| {
            byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
        };
        let is_short = (1..=19).contains(&raw.len()) && (raw.len() == 1 || !raw.starts_with('0'));
        let number = if is_short { raw.bytes().try_fold(0, digit) } else { None };
        number.map_or_else(|| Self::Other(raw.into()), Self::Number)
    }

    /// Appends it as the client wrote it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            Self::Other(raw) => out.extend_from_slice(raw.as_bytes()),
        }
    }
}

/// A call with an id.
#[derive(Debug)]
pub(super) struct Pending {
    call: u64,
    pub(super) id: Id,
    pub(super) state: State,
}

/// How far a call is.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing came of it yet.
    Waiting,
    /// Items came, and more may come.
    Streaming,
    /// It is a membership in this room.
    Room(Arc<str>),
    /// It was answered. Only within the table: what is over stays until it pays to close the gaps.
    Over,
}

impl Pending {
    pub(super) fn call(&self) -> CallId {
        CallId(self.call)
    }

    pub(super) fn room(&self) -> Option<&Arc<str>> {
        match &self.state {
            State::Room(room) => Some(room),
            State::Waiting | State::Streaming | State::Over => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

/// The table. Requests take no time in proportion to the calls that are pending.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// In ascending order of their numbers, with gaps of calls that are over.
    entries: Vec<Pending>,
    /// Numbers by id, once there are many.
    index: Option<Box<Index>>,
    /// The number that was given last.
    last: u64,
    live: u32,
    subscriptions: u32,
}

#[derive(Debug)]
struct Index(BTreeMap<Id, u64>);

// An idle client costs the table itself, and where it has called before, a few entries.
const _: () = assert!(size_of::<Calls>() <= 48 && size_of::<Pending>() <= 48);

/// With more calls than this there is an index.
const FEW: usize = 16;

/// Space for so many calls may stay.
const KEPT: usize = 8;

impl Calls {
    /// The number of the next call.
    pub(super) fn number(&mut self) -> CallId {
        self.last += 1;
        CallId(self.last)
    }

    /// Notes the latest call, whose id no pending one has.
    pub(super) fn note(&mut self, call: CallId, id: Id) {
        debug_assert!(self.entries.last().is_none_or(|latest| latest.call < call.0));
        if let Some(index) = &mut self.index {
            index.0.insert(id.clone(), call.0);
        }
        self.entries.push(Pending { call: call.0, id, state: State::Waiting });
        self.live += 1;
        if self.index.is_none() && self.len() > FEW {
            let live = self.live().map(|pending| (pending.id.clone(), pending.call));
            self.index = Some(Box::new(Index(live.collect())));
        }
    }

    /// How many are pending.
    pub(super) fn len(&self) -> usize {
        self.live as usize
    }

    /// How many of them are rooms.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions as usize
    }

    /// The pending call of this id.
    pub(super) fn find(&self, id: &Id) -> Option<CallId> {
        let call = match &self.index {
            Some(index) => index.0.get(id).copied(),
            None => self.live().find(|pending| pending.id == *id).map(|pending| pending.call),
        };
        call.map(CallId)
    }

    pub(super) fn get(&self, call: CallId) -> Option<&Pending> {
        self.position(call).map(|position| &self.entries[position])
    }

    /// Notes that items come.
    pub(super) fn set_streaming(&mut self, call: CallId) {
        if let Some(position) = self.position(call) {
            self.entries[position].state = State::Streaming;
        }
    }

    /// Notes that a call, which is not one yet, is a membership.
    pub(super) fn set_room(&mut self, call: CallId, room: Arc<str>) {
        if let Some(position) = self.position(call) {
            self.entries[position].state = State::Room(room);
            self.subscriptions += 1;
        }
    }

    /// The membership of this tag.
    pub(super) fn tagged(&self, tag: Tag) -> Option<&Pending> {
        let is_it = |pending: &&Pending| pending.room().is_some() && tag_of(pending.call()) == tag;
        // Nearly always the latest call with these lower bits.
        let guess = self.last & !u64::from(u32::MAX) | u64::from(tag.0);
        let guess = if guess > self.last { guess.wrapping_sub(1 << 32) } else { guess };
        let guessed = self.get(CallId(guess)).filter(is_it);
        guessed.or_else(|| self.live().find(is_it))
    }

    /// The memberships in a room.
    pub(super) fn in_room(&self, room: &str) -> impl Iterator<Item = CallId> {
        let is_in = |pending: &&Pending| pending.room().is_some_and(|known| **known == *room);
        let entries = if self.subscriptions == 0 { &[][..] } else { &self.entries };
        entries.iter().filter(is_in).map(Pending::call)
    }

    /// What is pending, in the order in which it was called.
    pub(super) fn live(&self) -> impl Iterator<Item = &Pending> {
        self.entries.iter().filter(|pending| !pending.is_over())
    }

    /// A call is over.
    pub(super) fn end(&mut self, call: CallId) -> Option<Pending> {
        let position = self.position(call)?;
        let over = Pending { call: call.0, id: Id::Number(0), state: State::Over };
        let pending = std::mem::replace(&mut self.entries[position], over);
        self.live -= 1;
        self.subscriptions -= u32::from(pending.room().is_some());
        if let Some(index) = &mut self.index {
            index.0.remove(&pending.id);
        }
        self.close_gaps();
        Some(pending)
    }

    /// Nothing is pending any more.
    pub(super) fn clear(&mut self) -> Vec<Pending> {
        (self.index, self.live, self.subscriptions) = (None, 0, 0);
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|pending| !pending.is_over());
        entries
    }

    /// Gives back space, if it is not in use.
    pub(super) fn release(&mut self) {
        if self.entries.is_empty() {
            self.entries = Vec::new();
        }
    }

    fn position(&self, call: CallId) -> Option<usize> {
        let position = self.entries.binary_search_by_key(&call.0, |pending| pending.call).ok()?;
        (!self.entries[position].is_over()).then_some(position)
    }

    fn close_gaps(&mut self) {
        while self.entries.last().is_some_and(Pending::is_over) {
            self.entries.pop();
        }
        if self.entries.len() > 2 * self.len() + FEW {
            self.entries.retain(|pending| !pending.is_over());
        }
        let used = self.entries.len().max(KEPT);
        if self.entries.capacity() > 8 * used {
            self.entries.shrink_to(2 * used);
        }
        if self.len() <= FEW / 2 {
            self.index = None;
        }
    }
}

/// The tag of the membership that a call became.
pub(super) fn tag_of(call: CallId) -> Tag {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    Tag(call.0 as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(calls: &mut Calls, id: Id) -> CallId {
        let call = calls.number();
        calls.note(call, id);
        call
    }

    #[test]
    fn ids_are_kept_as_they_were_written() {
        let numbers = ["0", "7", "10", "9007199254740993", "9999999999999999999"];
        let others = ["18446744073709551615", "00", "01", "-1", "1.0", "1e3", "\"7\"", "null"];
        for raw in numbers.iter().chain(&others) {
            let id = Id::from_raw(raw);
            assert_eq!(matches!(id, Id::Number(_)), numbers.contains(raw), "{raw}");
            let mut out = Vec::new();
            id.write(&mut out);
            assert_eq!(out, raw.as_bytes());
        }
        assert_eq!(size_of::<Id>(), 16);
    }

    #[test]
    fn many_calls_are_found_and_forgotten_in_any_order() {
        let mut calls = Calls::default();
        let id = |number: u64| match number % 2 {
            0 => Id::Number(number),
            _ => Id::from_raw(&format!("\"{number}\"")),
        };
        let mut begun: Vec<_> =
            (0..5000).map(|number| (number, begin(&mut calls, id(number)))).collect();
        assert_eq!((calls.len(), calls.index.is_some()), (5000, true));
        let mut state = 7_u64;
        while !begun.is_empty() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(state >> 33).unwrap() % begun.len();
            let (number, call) = begun.swap_remove(at);
            assert_eq!(calls.find(&id(number)), Some(call));
            assert_eq!(calls.end(call).unwrap().id, id(number));
            assert!(calls.end(call).is_none() && calls.get(call).is_none());
            assert_eq!((calls.find(&id(number)), calls.len()), (None, begun.len()));
            assert!(calls.entries.len() <= 2 * calls.len() + FEW);
        }
        assert!(calls.index.is_none() && calls.entries.capacity() <= 8 * KEPT);
        calls.release();
        assert_eq!(calls.entries.capacity(), 0);
    }

    #[test]
    fn a_pending_call_does_not_keep_those_that_came_after_it() {
        let mut calls = Calls::default();
        let first = begin(&mut calls, Id::Number(0));
        for number in 1..100_000 {
            let call = begin(&mut calls, Id::Number(number));
            calls.end(call);
        }
        assert!(calls.entries.capacity() <= 8 * KEPT);
        assert_eq!(calls.find(&Id::Number(0)), Some(first));
        assert_eq!(calls.clear().len(), 1);
        assert_eq!((calls.len(), calls.find(&Id::Number(0))), (0, None));
    }

    #[test]
    fn a_membership_is_found_by_its_tag_after_four_billion_calls() {
        let mut calls = Calls::default();
        let first = begin(&mut calls, Id::Number(1));
        calls.set_room(first, "r".into());
        calls.last += 1 << 32;
        let second = begin(&mut calls, Id::Number(2));
        calls.set_room(second, "r".into());
        assert_eq!(calls.tagged(tag_of(first)).map(Pending::call), Some(first));
        assert_eq!(calls.tagged(tag_of(second)).map(Pending::call), Some(second));
        calls.last += (1 << 32) - 2;
        assert_eq!(calls.tagged(tag_of(second)).map(Pending::call), Some(second));
        assert_eq!(calls.in_room("r").collect::<Vec<_>>(), [first, second]);
        assert_eq!(calls.in_room("q").next(), None);
        assert_eq!(calls.subscriptions(), 2);
        calls.end(first);
        assert!(calls.tagged(tag_of(first)).is_none());
        assert_eq!(calls.in_room("r").collect::<Vec<_>>(), [second]);
        assert_eq!(calls.subscriptions(), 1);
    }
}
