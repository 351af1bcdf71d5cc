//! The tape: a room's messages in one encoding on one shard, as a log of complete frames in chunks.
//!
//! Frames are addressed by [`Ordinal`]; bytes are found through the chunks' index of frame ends, by
//! bisection, never by walking frames. A frame never straddles two chunks. Within a chunk numbers
//! are contiguous, so `number_at` needs no entry per message beyond the 4 bytes of its end.
//!
//! Freeing: a chunk at the front goes when no run stands before its end and no cursor stands in it
//! (`readers`). Sends in flight hold the chunk's block by themselves and do not keep it on the
//! tape.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fulmar_driver::{Block, Ledger, Piece};

use super::limits::Limits;
use super::{Number, Ordinal, narrow, size};

/// Places for chunks that an idle tape keeps.
const SPARE_CHUNKS: usize = 4;

#[derive(Debug)]
struct Chunk {
    block: Rc<Block>,
    /// Ordinal of the first frame.
    first: Ordinal,
    /// Number of the first frame.
    number: Number,
    /// Bytes appended to the tape before this chunk.
    base: u64,
    /// End of each frame within the block.
    ends: Vec<u32>,
    /// Cursors that stand on a frame of this chunk.
    readers: u32,
}

impl Chunk {
    fn end(&self) -> Ordinal {
        self.first + self.ends.len() as u64
    }

    /// Where the frame with index `index` starts; for the index one past the last, where the chunk
    /// ends.
    fn start(&self, index: usize) -> u32 {
        index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }
}

/// The log.
#[derive(Debug)]
pub struct Tape {
    chunks: VecDeque<Chunk>,
    tail: Ordinal,
    tail_bytes: u64,
    next: Number,
    ledger: Ledger,
    /// Bytes appended when everybody had caught up last.
    begun_at: u64,
    /// Bytes of a recent wave, and a quarter: the larger of the last one and half of before.
    wave_bytes: u32,
}

impl Tape {
    /// An empty tape whose first message will have the number `next`. It holds no memory.
    pub fn new(next: Number, ledger: &Ledger) -> Self {
        Self {
            chunks: VecDeque::new(),
            tail: 0,
            tail_bytes: 0,
            next,
            ledger: ledger.clone(),
            begun_at: 0,
            wave_bytes: 0,
        }
    }

    /// Sets the number of the first message, before there is any.
    pub fn begin_at(&mut self, next: Number) {
        debug_assert!(self.tail == 0, "numbers are known before the first message");
        self.next = next;
    }

    /// Appends the frame of message `number`, which is the next one. If it is too large to be
    /// copied it is referenced, through `shared` if the same bytes are shared already.
    pub fn append(
        &mut self,
        number: Number,
        frame: &[u8],
        shared: Option<&Arc<[u8]>>,
        limits: &Limits,
    ) {
        debug_assert!(number == self.next, "numbers are contiguous");
        let contiguous = |chunk: &&mut Chunk| chunk.number + chunk.ends.len() as u64 == number;
        let fits = frame.len() <= limits.inline_bytes_max
            && self
                .chunks
                .back_mut()
                .filter(contiguous)
                .is_some_and(|chunk| chunk.block.append(frame));
        if !fits {
            let block = self.open_chunk(frame, shared, limits);
            self.push_chunk(block, number);
        }
        self.finish(frame.len(), number + 1);
    }

    /// Appends a marker that stands for every number from the next one up to `to`. It is empty if
    /// the dialect has no words for it, but takes its ordinal all the same.
    pub fn append_gap(&mut self, to: Number, marker: Arc<[u8]>) {
        debug_assert!(to > self.next, "a gap has a length");
        let len = marker.len();
        let block = Block::whole(marker, &self.ledger);
        self.push_chunk(block, self.next);
        self.finish(len, to);
    }

    fn open_chunk(&self, frame: &[u8], shared: Option<&Arc<[u8]>>, limits: &Limits) -> Rc<Block> {
        if frame.len() > limits.inline_bytes_max {
            let whole = shared.cloned().unwrap_or_else(|| Arc::from(frame));
            return Block::whole(whole, &self.ledger);
        }
        // After everybody has caught up, as large as a wave was lately: one piece is one plain send
        // for each member. Later four times the last one if that was filled; small again after a
        // frame that stands alone.
        let wanted = match self.chunks.back() {
            None => self.wave_bytes as usize,
            Some(chunk) if chunk.ends.len() > 1 => chunk.block.size() * 4,
            Some(_) => 0,
        };
        let size = wanted.clamp(limits.chunk_bytes_first, limits.chunk_bytes_max).max(frame.len());
        let block = Block::growing(size, &self.ledger);
        block.append(frame);
        block
    }

    fn push_chunk(&mut self, block: Rc<Block>, number: Number) {
        self.chunks.push_back(Chunk {
            block,
            first: self.tail,
            number,
            base: self.tail_bytes,
            ends: Vec::new(),
            readers: 0,
        });
    }

    fn finish(&mut self, len: usize, next: Number) {
        if let Some(chunk) = self.chunks.back_mut() {
            let end = chunk.start(chunk.ends.len()).saturating_add(narrow(len));
            chunk.ends.push(end);
        }
        self.tail += 1;
        self.tail_bytes += len as u64;
        self.next = next;
    }

    /// Drops the chunks that nobody needs: everything before `oldest` where no cursor stands.
    pub fn trim(&mut self, oldest: Ordinal) {
        while self.chunks.front().is_some_and(|chunk| chunk.readers == 0 && chunk.end() <= oldest) {
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            self.end_wave();
        }
    }

    /// Everybody has everything.
    fn end_wave(&mut self) {
        let bytes = self.tail_bytes - std::mem::replace(&mut self.begun_at, self.tail_bytes);
        if bytes > 0 {
            let room = u32::try_from(bytes + bytes / 4).unwrap_or(u32::MAX);
            self.wave_bytes = room.max(self.wave_bytes / 2);
        }
        if self.chunks.capacity() > SPARE_CHUNKS {
            self.chunks = VecDeque::new();
        }
    }

    /// Moves a cursor's count from the chunk it was in to the one that holds `to`. `reader` is the
    /// cursor's own note of where it is counted: the first ordinal of that chunk. At the tail a
    /// cursor is counted nowhere.
    pub fn move_reader(&mut self, reader: &mut Option<Ordinal>, to: Option<Ordinal>) {
        let target = to.and_then(|to| self.chunk_of(to)).map(|chunk| chunk.first);
        if *reader == target {
            return;
        }
        if let Some(chunk) = reader.and_then(|first| self.chunk_mut(first)) {
            chunk.readers = chunk.readers.saturating_sub(1);
        }
        if let Some(chunk) = target.and_then(|first| self.chunk_mut(first)) {
            chunk.readers += 1;
        }
        *reader = target;
    }

    /// One past the last frame.
    pub fn tail(&self) -> Ordinal {
        self.tail
    }

    /// The number the next message will have.
    pub fn next_number(&self) -> Number {
        self.next
    }

    /// Number of the message at `ordinal`; at the tail the next one.
    pub fn number_at(&self, ordinal: Ordinal) -> Number {
        self.chunk_of(ordinal).map_or(self.next, |chunk| chunk.number + (ordinal - chunk.first))
    }

    /// Bytes from the start of `from` to the start of `to`.
    pub fn bytes_between(&self, from: Ordinal, to: Ordinal) -> u64 {
        self.bytes_at(to).saturating_sub(self.bytes_at(from))
    }

    fn bytes_at(&self, ordinal: Ordinal) -> u64 {
        self.chunk_of(ordinal).map_or(self.tail_bytes, |chunk| {
            chunk.base + u64::from(chunk.start(size(ordinal - chunk.first)))
        })
    }

    /// Where `bytes` bytes from the start of frame `from` lead: the frame, and how much of it is
    /// gone.
    pub fn locate(&self, from: Ordinal, bytes: u64) -> (Ordinal, u32) {
        let target = self.bytes_at(from) + bytes;
        let after = self.chunks.partition_point(|chunk| chunk.base <= target);
        let Some(chunk) = after.checked_sub(1).and_then(|index| self.chunks.get(index)) else {
            return (self.tail, 0);
        };
        let within = narrow(size(target - chunk.base));
        let index = chunk.ends.partition_point(|end| *end <= within);
        (chunk.first + index as u64, within - chunk.start(index))
    }

    /// What is left of frame `ordinal` after its first `gone` bytes.
    pub fn rest_of(&self, ordinal: Ordinal, gone: u32) -> Option<Piece> {
        let chunk = self.chunk_of(ordinal)?;
        let index = size(ordinal - chunk.first);
        let range = chunk.start(index) + gone..chunk.start(index + 1);
        Some(Piece { block: chunk.block.clone(), range })
    }

    /// The frames from `from` on, whole, at most to `to`, at most `budget` bytes but at least one
    /// frame; one piece per chunk. Returns the ordinal reached.
    pub fn span(&self, from: Ordinal, to: Ordinal, budget: usize, out: &mut Vec<Piece>) -> Ordinal {
        let (mut at, mut budget) = (from, budget as u64);
        while at < to {
            let Some(chunk) = self.chunk_of(at) else {
                break;
            };
            let index = size(at - chunk.first);
            let start = chunk.start(index);
            let stop = size(to.min(chunk.end()) - chunk.first);
            let room = budget.saturating_add(u64::from(start));
            let mut last = chunk.ends.partition_point(|end| u64::from(*end) <= room).min(stop);
            if last <= index {
                if at > from {
                    break;
                }
                last = index + 1;
            }
            let range = start..chunk.start(last);
            budget = budget.saturating_sub(range.len() as u64);
            if !range.is_empty() {
                out.push(Piece { block: chunk.block.clone(), range });
            }
            at = chunk.first + last as u64;
            if last < stop {
                break;
            }
        }
        at
    }

    /// Bytes of memory the tape's chunks take, used or not.
    pub fn memory(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.block.size()).sum()
    }

    fn chunk_of(&self, ordinal: Ordinal) -> Option<&Chunk> {
        let after = self.chunks.partition_point(|chunk| chunk.first <= ordinal);
        self.chunks.get(after.checked_sub(1)?).filter(|chunk| ordinal < chunk.end())
    }

    fn chunk_mut(&mut self, first: Ordinal) -> Option<&mut Chunk> {
        let index = self.chunks.partition_point(|chunk| chunk.first < first);
        self.chunks.get_mut(index)
    }
}
