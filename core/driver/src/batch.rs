//! Bytes on their way out: blocks that a shard appends to while the kernel reads, pieces of them,
//! and batches.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

/// Counts the bytes of all blocks alive on a shard, so that memory can be held against its bound.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Rc<Cell<usize>>);

impl Ledger {
    /// Bytes of all blocks that still exist.
    pub fn live(&self) -> usize {
        self.0.get()
    }
}

/// An allocation that only grows at its end and never moves.
///
/// Sends hold `Rc<Block>` and a range below the length at the time; appending never touches those
/// bytes. So the kernel may read below the mark while the shard writes above it.
pub struct Block {
    bytes: Bytes,
    ledger: Ledger,
}

enum Bytes {
    Growing { cells: Box<[UnsafeCell<MaybeUninit<u8>>]>, len: Cell<usize> },
    Whole(Arc<[u8]>),
}

impl Block {
    /// An empty block that takes up to `size` bytes.
    pub fn growing(size: usize, ledger: &Ledger) -> Rc<Self> {
        let cells: Box<[MaybeUninit<u8>]> = Box::new_uninit_slice(size);
        let cells = Box::into_raw(cells) as *mut [UnsafeCell<MaybeUninit<u8>>];
        // SAFETY: `UnsafeCell<T>` has the layout of `T`, and the pointer was just made from a box.
        let cells = unsafe { Box::from_raw(cells) };
        Self::counted(Bytes::Growing { cells, len: Cell::new(0) }, ledger)
    }

    /// A block that refers to bytes encoded elsewhere.
    pub fn whole(bytes: Arc<[u8]>, ledger: &Ledger) -> Rc<Self> {
        Self::counted(Bytes::Whole(bytes), ledger)
    }

    fn counted(bytes: Bytes, ledger: &Ledger) -> Rc<Self> {
        let block = Self { bytes, ledger: ledger.clone() };
        ledger.0.set(ledger.0.get() + block.size());
        Rc::new(block)
    }

    /// Appends `bytes` if they fit; says whether they did.
    pub fn append(&self, bytes: &[u8]) -> bool {
        let Bytes::Growing { cells, len } = &self.bytes else {
            return false;
        };
        let start = len.get();
        let Some(room) = cells.get(start..).filter(|room| room.len() >= bytes.len()) else {
            return false;
        };
        let target = room.as_ptr() as *mut u8;
        // SAFETY: `target` points at `room.len() >= bytes.len()` bytes inside `UnsafeCell`s, which
        // makes writing through a shared reference allowed. Nothing reads them: readers only see
        // ranges below `len`, which this method alone advances, after the write. The type is not
        // `Sync`, so there is no other writer. `bytes` cannot overlap: no reference to bytes above
        // the mark ever exists.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
        len.set(start + bytes.len());
        true
    }

    /// Bytes appended so far.
    pub fn len(&self) -> usize {
        match &self.bytes {
            Bytes::Growing { len, .. } => len.get(),
            Bytes::Whole(bytes) => bytes.len(),
        }
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes this block takes of memory, used or not.
    pub fn size(&self) -> usize {
        match &self.bytes {
            Bytes::Growing { cells, .. } => cells.len(),
            Bytes::Whole(bytes) => bytes.len(),
        }
    }

    /// The bytes of `range`, empty if it reaches past what was appended.
    pub fn bytes(&self, range: Range<u32>) -> &[u8] {
        let range = range.start as usize..range.end as usize;
        match &self.bytes {
            Bytes::Growing { cells, len } => {
                let Some(cells) = cells.get(..len.get()).and_then(|filled| filled.get(range))
                else {
                    return &[];
                };
                // SAFETY: `append` initialised everything below `len` and never writes there again,
                // so these bytes are initialised and immutable as long as the block lives.
                unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<u8>(), cells.len()) }
            }
            Bytes::Whole(bytes) => bytes.get(range).unwrap_or(&[]),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.ledger.0.set(self.ledger.0.get() - self.size());
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("len", &self.len()).field("size", &self.size()).finish()
    }
}

/// A stretch of one block. Cloning it costs one non-atomic count.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where the bytes are.
    pub block: Rc<Block>,
    /// Which of them.
    pub range: Range<u32>,
}

impl Piece {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.block.bytes(self.range.clone())
    }
}

/// A part of a send: private bytes, or a shared piece that stays pinned until the send is done.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes of this connection alone.
    Owned(Vec<u8>),
    /// Bytes of a tape.
    Shared(Piece),
}

impl Part {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(piece) => piece.bytes(),
        }
    }
}

/// What one [`send`](crate::Driver::send) carries, in wire order.
#[derive(Clone, Debug, Default)]
pub struct SendBatch {
    parts: SmallVec<[Part; 1]>,
    len: usize,
}

impl SendBatch {
    /// A batch of private bytes; the vector is the container that returns.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let len = bytes.len();
        let mut parts = SmallVec::new();
        if len > 0 {
            parts.push(Part::Owned(bytes));
        }
        Self { parts, len }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The parts in wire order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Appends private bytes, merging them with private bytes before.
    pub fn push(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(Part::Owned(last)) = self.parts.last_mut() {
            last.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            self.parts.push(Part::Owned(bytes.to_vec()));
        }
    }

    /// Appends private bytes without copying them.
    pub fn push_owned(&mut self, bytes: Vec<u8>) {
        self.len += bytes.len();
        if !bytes.is_empty() {
            self.parts.push(Part::Owned(bytes));
        }
    }

    /// Appends a piece: copied if it has at most `copy_bytes_max` bytes, pinned otherwise.
    pub fn push_piece(&mut self, piece: Piece, copy_bytes_max: usize) {
        if piece.len() <= copy_bytes_max {
            self.push(piece.bytes());
        } else {
            self.len += piece.len();
            self.parts.push(Part::Shared(piece));
        }
    }

    /// Takes the first private buffer for reuse, emptied.
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        self.parts.into_iter().find_map(|part| match part {
            Part::Owned(mut bytes) => {
                bytes.clear();
                Some(bytes)
            }
            Part::Shared(_) => None,
        })
    }

    /// The bytes as one run; for transports and tests that need them so.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        for part in &self.parts {
            bytes.extend_from_slice(part.bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_block_never_moves_what_a_piece_shows() {
        let ledger = Ledger::default();
        let block = Block::growing(8, &ledger);
        assert!(block.append(b"abcd"));
        let piece = Piece { block: block.clone(), range: 0..4 };
        let before = piece.bytes().as_ptr();
        assert!(block.append(b"efgh"));
        assert!(!block.append(b"i"), "full");
        assert_eq!((piece.bytes(), piece.bytes().as_ptr()), (&b"abcd"[..], before));
        assert_eq!(block.bytes(4..8), b"efgh");
        assert_eq!(block.bytes(4..9), b"", "past what was appended");
        assert_eq!(ledger.live(), 8);
        drop((block, piece));
        assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn a_batch_merges_private_bytes_and_pins_large_pieces() {
        let ledger = Ledger::default();
        let block = Block::whole(Arc::from(&b"0123456789"[..]), &ledger);
        let mut batch = SendBatch::default();
        batch.push(b"ab");
        batch.push_piece(Piece { block: block.clone(), range: 0..3 }, 4);
        batch.push_piece(Piece { block, range: 3..10 }, 4);
        batch.push(b"z");
        assert_eq!((batch.parts().len(), batch.len()), (3, 13));
        assert_eq!(batch.to_bytes(), b"ab0123456789z");
    }
}
