//! A member that stands aside: it has a cursor of its own and is served by ordinary sends.
//!
//! Members come here for one of five reasons, all alike afterwards: their connection had a send in
//! flight, or something of its own to say, when the wave came by; a cast to them was short; a
//! message excludes them; their messages are sealed one by one; or no run stands where they do.
//! They return to the runs when they have caught up.

use std::collections::VecDeque;

use fulmar_driver::{Piece, SocketId};

use super::encode::{BODY_BINARY, Encodings, Envelopes, Gap};
use super::group::GroupKey;
use super::tape::Tape;
use super::wire::{Outgoing, data_opcode};
use super::{Number, Ordinal};

/// A cursor. Always at the start of a frame: the rest of a frame begun is owned by the connection.
#[derive(Debug, Default)]
pub struct Aside {
    /// The next frame to hand over.
    pub cursor: Ordinal,
    /// The tail when the lag was last counted: new messages begin here.
    pub seen: Ordinal,
    /// `DropNewest`: nothing from here on is wanted until the cursor arrives here.
    pub fence: Option<Ordinal>,
    /// Messages from this number up to the cursor were skipped and the member was not told yet.
    pub gap: Option<Number>,
    /// Frames this member is excluded from, ascending, all at or after the cursor.
    pub skips: VecDeque<Ordinal>,
    /// This membership's part of the connection's lag, in bytes.
    pub lag: u64,
    /// Index in the group's list of those aside.
    pub listed: u32,
    /// Whether it is in the connection's round of rooms with something to send.
    pub waiting: bool,
    /// The chunk in which the cursor is counted, by its first ordinal.
    pub reader: Option<Ordinal>,
}

// It exists for each member of a stalled crowd.
const _: () = assert!(size_of::<Aside>() <= 128);

/// What a member's bytes depend on beside the tape.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// The room, for markers.
    pub room: &'a str,
    /// The room's epoch, for markers.
    pub epoch: u32,
    /// Encoding, delivery and transport.
    pub key: GroupKey,
    /// Whose.
    pub socket: SocketId,
    /// The envelope's variable part.
    pub tag: u32,
}

impl Aside {
    /// A cursor at `cursor`.
    pub fn at(cursor: Ordinal) -> Self {
        Self { cursor, seen: cursor, ..Self::default() }
    }

    /// Up to where it wants frames.
    pub fn limit(&self, tape: &Tape) -> Ordinal {
        self.fence.unwrap_or_else(|| tape.tail())
    }

    /// Whether there is anything to hand over, or a marker owed.
    pub fn is_pending(&self, tape: &Tape) -> bool {
        self.gap.is_some() || self.fence.is_some() || self.cursor < tape.tail()
    }

    /// The number it has not got yet, or been told to be missing.
    pub fn number(&self, tape: &Tape) -> Number {
        self.gap.unwrap_or_else(|| tape.number_at(self.cursor))
    }

    /// Leaves out everything pending; the member is told by one marker before its next message.
    pub fn skip_ahead(&mut self, tape: &Tape) {
        if self.cursor < tape.tail() {
            let first = tape.number_at(self.cursor);
            self.gap.get_or_insert(first);
            self.cursor = tape.tail();
            self.skips.clear();
        }
        self.fence = None;
    }

    /// Stops wanting what comes from `fence` on, until the cursor gets there; then the member is
    /// told and goes on with what is new by then.
    pub fn drop_from(&mut self, fence: Ordinal, tape: &Tape) {
        self.fence = Some(fence.clamp(self.cursor, tape.tail()));
    }

    /// Moves frames out, about `budget` bytes, at least one frame if `must`. True if nothing is
    /// left.
    pub fn take(
        &mut self,
        tape: &Tape,
        voice: &Voice<'_>,
        budget: usize,
        must: bool,
        out: &mut Outlet<'_>,
    ) -> bool {
        let start = out.len();
        loop {
            let left = (start + budget).saturating_sub(out.len());
            if left == 0 && !(must && out.len() == start) {
                return !self.is_pending(tape);
            }
            if let Some(from) = self.gap.take() {
                out.gap(voice, from, tape.number_at(self.cursor));
                continue;
            }
            if self.skips.front() == Some(&self.cursor) {
                self.skips.pop_front();
                self.cursor += 1;
                continue;
            }
            let limit = self.limit(tape);
            if self.cursor < limit {
                let stop = self.skips.front().map_or(limit, |skip| limit.min(*skip));
                let reached = out.frames(tape, voice, self.cursor, stop, left);
                debug_assert!(reached > self.cursor, "a frame of the tape is found");
                self.cursor = reached;
                if self.cursor < stop {
                    return false;
                }
            } else if self.fence.is_some() {
                self.skip_ahead(tape);
            } else {
                return true;
            }
        }
    }
}

/// A message on its way to a seal.
#[derive(Debug)]
pub struct Unsealed {
    /// Whether it is binary.
    pub is_binary: bool,
    /// Its payload, without a WebSocket frame.
    pub bytes: Vec<u8>,
}

/// Buffers that outlast the call.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Pieces of a span.
    pub pieces: Vec<Piece>,
    /// Messages to be sealed.
    pub sealing: Vec<Unsealed>,
    /// A rendered publication or marker.
    pub bytes: Vec<u8>,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// Where frames go on their way into a send or to a seal.
pub struct Outlet<'a> {
    /// The send being made.
    pub batch: &'a mut Outgoing,
    /// Buffers.
    pub scratch: &'a mut Scratch,
    /// For markers.
    pub encodings: &'a Encodings,
    /// For members with envelopes.
    pub envelopes: &'a mut dyn Envelopes,
    /// From this size on pieces are pinned instead of copied.
    pub copy_bytes_max: usize,
    /// Bytes on their way to a seal.
    pub sealed_bytes: usize,
    /// Frames handed over, markers included.
    pub frames: u64,
}

enum Body<'a> {
    Piece(Piece),
    Bytes(&'a [u8]),
}

impl Body<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Piece(piece) => piece.bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Outlet<'_> {
    /// Bytes so far; a message for a seal counts something even if it is empty.
    pub fn len(&self) -> usize {
        self.batch.len() + self.sealed_bytes
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frames from `from` to `stop`, as they are or each in its envelope; about `budget` bytes, at
    /// least one frame. Returns the ordinal reached.
    pub fn frames(
        &mut self,
        tape: &Tape,
        voice: &Voice<'_>,
        from: Ordinal,
        stop: Ordinal,
        budget: usize,
    ) -> Ordinal {
        if !voice.key.holds_bodies() {
            self.scratch.pieces.clear();
            let reached = tape.span(from, stop, budget, &mut self.scratch.pieces);
            for piece in self.scratch.pieces.drain(..) {
                self.batch.push_piece(piece, self.copy_bytes_max);
            }
            self.frames += reached - from;
            return reached;
        }
        let full = self.len() + budget;
        let mut at = from;
        while at < stop && (self.len() < full || at == from) {
            let Some(entry) = tape.rest_of(at, 0) else {
                break;
            };
            at += 1;
            // An empty entry is a marker in a dialect without words for it.
            let Some(kind) = entry.bytes().first().copied() else {
                continue;
            };
            let body = Piece { range: entry.range.start + 1..entry.range.end, block: entry.block };
            self.message(voice, kind & BODY_BINARY != 0, &Body::Piece(body));
        }
        at
    }

    /// A marker for one member.
    fn gap(&mut self, voice: &Voice<'_>, from: Number, to: Number) {
        let gap = Gap { room: voice.room, epoch: voice.epoch, from, to };
        let mut words = std::mem::take(&mut self.scratch.bytes);
        words.clear();
        if let Some(is_binary) = self.encodings.gap(voice.key.encoding, &gap, &mut words) {
            self.message(voice, is_binary, &Body::Bytes(&words));
        }
        self.scratch.bytes = words;
    }

    /// One message of its own: in its envelope if it has one, then to its seal or into a frame.
    fn message(&mut self, voice: &Voice<'_>, is_binary: bool, body: &Body<'_>) {
        let body_len = body.bytes().len();
        let (mut head, mut tail) =
            (std::mem::take(&mut self.scratch.head), std::mem::take(&mut self.scratch.tail));
        if voice.key.is_enveloped() {
            self.envelopes.envelope(voice.socket, voice.tag, body_len, &mut head, &mut tail);
        }
        let len = head.len() + body_len + tail.len();
        self.frames += 1;
        if voice.key.is_sealed() {
            let mut bytes = Vec::with_capacity(len);
            for part in [&head, body.bytes(), &tail] {
                bytes.extend_from_slice(part);
            }
            self.sealed_bytes += len + super::reserved::ENTRY_BYTES;
            self.scratch.sealing.push(Unsealed { is_binary, bytes });
        } else {
            self.batch.push_head(data_opcode(is_binary), len);
            self.batch.push(&head);
            match body {
                Body::Piece(piece) => self.batch.push_piece(piece.clone(), self.copy_bytes_max),
                Body::Bytes(bytes) => self.batch.push(bytes),
            }
            self.batch.push(&tail);
        }
        head.clear();
        tail.clear();
        (self.scratch.head, self.scratch.tail) = (head, tail);
    }
}

impl std::fmt::Debug for Outlet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("len", &self.len()).finish_non_exhaustive()
    }
}
