//! A group: the members of a room on a shard whose bytes are made the same way, and their tape.

use std::sync::Arc;

use fulmar_driver::Ledger;

use super::encode::{BodyPart, Encoding, Encodings, Form, Gap};
use super::limits::Limits;
use super::members::Members;
use super::tape::Tape;
use super::{Number, Ordinal, Slot};

/// How a membership's bytes relate to the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The tape's frames as they are.
    Shared,
    /// The tape holds bodies; each member has a short head and tail around each.
    Enveloped(BodyPart),
}

/// Whether the kernel gets the tape's bytes or bytes of the connection's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The bytes as they are: members can share a cast.
    Plain,
    /// Each message passes through the connection's own seal.
    Sealed,
}

/// What decides which group a membership belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupKey {
    /// Dialect and compression.
    pub encoding: Encoding,
    /// Shared or enveloped.
    pub delivery: Delivery,
    /// Plain or sealed.
    pub transport: Transport,
}

impl GroupKey {
    /// Whether the same bytes can be offered to all members.
    pub fn is_castable(self) -> bool {
        self.form() == Form::Frame
    }

    /// Whether each member has an envelope of its own.
    pub fn is_enveloped(self) -> bool {
        self.delivery != Delivery::Shared
    }

    /// Whether each message passes through the member's seal.
    pub fn is_sealed(self) -> bool {
        self.transport == Transport::Sealed
    }

    /// Whether the tape holds bodies instead of frames.
    pub fn holds_bodies(self) -> bool {
        self.form() != Form::Frame
    }

    /// What the tape holds.
    pub fn form(self) -> Form {
        match (self.delivery, self.transport) {
            (Delivery::Enveloped(part), _) => Form::Body(part),
            (Delivery::Shared, Transport::Sealed) => Form::Body(BodyPart::Whole),
            (Delivery::Shared, Transport::Plain) => Form::Frame,
        }
    }
}

/// What became of a group's messages, in members: plain counters, bumped once per pass or per event
/// out of the ordinary. A room's cost and a publication's receipt are differences of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages put on the tape.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Members handed everything there was, in one go.
    pub written: u64,
    /// Members set aside with something left to get.
    pub queued: u64,
    /// Times a member lost messages to a policy; it gets a marker or a close.
    pub dropped: u64,
    /// Messages kept off the tape because the group was overloaded, or refused by a mailbox.
    pub missed: u64,
}

/// Members, tape, and what the shard's phases note about them.
#[derive(Debug)]
pub struct Group {
    /// What the members have in common.
    pub key: GroupKey,
    /// The log.
    pub tape: Tape,
    /// Members without a cursor.
    pub members: Members,
    /// Members with one, in no order.
    pub aside: Vec<(u32, Slot)>,
    /// The tail when the members aside were last gone through.
    pub scanned: Ordinal,
    /// Whether the group is in the shard's list of groups to go through.
    pub touched: bool,
    /// Whether the group is in the shard's round of groups to serve.
    pub active: bool,
    /// First number not on the tape although it should be; a marker will follow.
    pub missing: Option<Number>,
    /// What became of its messages.
    pub tally: Tally,
}

// One per room, encoding, delivery and transport with members.
const _: () = assert!(size_of::<Group>() <= 256);

/// Who writes markers on a tape, and in what words.
#[derive(Clone, Copy, Debug)]
pub struct Marking<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The room's epoch.
    pub epoch: u32,
    /// For the words.
    pub encodings: &'a Encodings,
    /// Bounds.
    pub limits: &'a Limits,
}

impl Group {
    /// A group without members whose tape begins at number `next`.
    pub fn new(key: GroupKey, next: Number, ledger: &Ledger) -> Self {
        Self {
            key,
            tape: Tape::new(next, ledger),
            members: Members::default(),
            aside: Vec::new(),
            scanned: 0,
            touched: false,
            active: false,
            missing: None,
            tally: Tally::default(),
        }
    }

    /// Whether anybody is in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.aside.is_empty()
    }

    /// Puts message `number` on the tape, behind the marker for what is missing before it. If there
    /// is no room it is missing too. Says whether it is on the tape.
    pub fn append(
        &mut self,
        number: Number,
        frame: &[u8],
        shared: Option<&Arc<[u8]>>,
        marking: Marking<'_>,
    ) -> bool {
        let limits = marking.limits;
        let mut fits = self.has_room_for(frame.len(), limits);
        if let Some(from) = self.missing.filter(|_| fits) {
            let marker = self.marker(from, number, marking);
            fits = self.has_room_for(marker.len() + frame.len(), limits);
            if fits {
                self.missing = None;
                self.tape.append_gap(number, marker);
            }
        }
        if !fits {
            self.miss(number + 1);
            return false;
        }
        self.tape.append(number, frame, shared, limits);
        self.tally.messages += 1;
        self.tally.bytes += frame.len() as u64;
        true
    }

    /// Notes that the numbers up to `to` will not be on the tape.
    pub fn miss(&mut self, to: Number) {
        let next = self.tape.next_number();
        if next < to {
            self.missing.get_or_insert(next);
            self.tally.missed += 1;
        }
    }

    /// Puts the marker for what is missing up to `to` on the tape, if there is room; says whether
    /// it did.
    pub fn mark_missing(&mut self, to: Number, marking: Marking<'_>) -> bool {
        let Some(from) = self.missing else {
            return false;
        };
        let marker = self.marker(from, to, marking);
        if !self.has_room_for(marker.len(), marking.limits) {
            return false;
        }
        self.missing = None;
        self.tape.append_gap(to, marker);
        true
    }

    /// Frees what neither runs nor cursors need.
    pub fn trim(&mut self) {
        self.tape.trim(self.oldest());
    }

    /// Whether a wave has something to do.
    pub fn is_pending(&self) -> bool {
        self.members.oldest().is_some_and(|oldest| oldest < self.tape.tail())
            || self.missing.is_some()
    }

    /// Whether the tape may take `bytes` more: what runs still need, and what came this turn, is
    /// bounded.
    fn has_room_for(&self, bytes: usize, limits: &Limits) -> bool {
        let held = self.tape.bytes_between(self.oldest(), self.tape.tail());
        held + bytes as u64 <= limits.retain_bytes_max
    }

    fn oldest(&self) -> Ordinal {
        self.members.oldest().unwrap_or_else(|| self.tape.tail()).min(self.scanned)
    }

    fn marker(&self, from: Number, to: Number, marking: Marking<'_>) -> Arc<[u8]> {
        let gap = Gap { room: marking.room, epoch: marking.epoch, from, to };
        let mut bytes = Vec::new();
        let at = marking.encodings.render_gap(self.key, &gap, &mut bytes);
        Arc::from(bytes.get(at..).unwrap_or(&[]))
    }
}
