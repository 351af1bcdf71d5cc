//! Offers: the same bytes to many sockets, in batches of one system call each.
//!
//! Every send of a batch is tried once, inside the call that submits it (`MSG_DONTWAIT`), and is
//! silent if the socket took all of it. With `MSG_WAITALL` a send that was cut short completes with
//! the bytes it got rid of. So when the call returns the kernel refers to nothing of ours any more.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use smallvec::SmallVec;

use super::tag::{Operation, tag_of};
use crate::{Member, Piece};

/// Sends of one batch. Larger ones gain nothing; smaller ones give up the call's share.
pub(super) const BATCH: usize = 128;
/// Sends of a turn that are made at once, each by its own call: the first receiver does not wait
/// until a batch is prepared.
pub(super) const BATCH_FIRST: usize = 2;
/// Below this a call for each send is cheaper than a batch.
pub(super) const BATCH_MIN: usize = 8;

const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
/// Pieces of a span that go in one send; the rest is a short offer, which goes on by `send`.
const VECTORS_MAX: usize = 1024;

// The library has two types for a file, by descriptor and by place, and no name for "either".
macro_rules! send {
    ($file:expr, $bytes:expr) => {{
        let bytes = $bytes;
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        opcode::Send::new($file, bytes.as_ptr(), len).flags(SEND_FLAGS).build()
    }};
}
macro_rules! send_vectors {
    ($file:expr, $header:expr) => {
        opcode::SendMsg::new($file, &raw const $header).flags(SEND_FLAGS.cast_unsigned()).build()
    };
}

/// A member waiting for its share of a span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) member: Member,
    /// Which offer, in the words of who made it.
    pub(super) offer: u32,
    /// Place in [`Offers::spans`].
    pub(super) span: u32,
}

/// The bytes of one offer, pinned until it has ended.
pub(super) struct Span {
    pub(super) pieces: SmallVec<[Piece; 2]>,
    vectors: SmallVec<[libc::iovec; 2]>,
    header: libc::msghdr,
}

/// What was offered since the last `settle` and has not been sent.
#[derive(Default)]
pub(super) struct Offers {
    pub(super) spans: Vec<Span>,
    pub(super) queue: Vec<Queued>,
    /// Whether a batch has left since the last `settle`.
    pub(super) has_begun: bool,
}

impl std::fmt::Debug for Offers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offers").field("queued", &self.queue.len()).finish_non_exhaustive()
    }
}

impl Span {
    pub(super) fn new(pieces: &[Piece]) -> Self {
        let vectors = match pieces {
            [_] => SmallVec::new(),
            _ => pieces.iter().take(VECTORS_MAX).map(vector).collect(),
        };
        // SAFETY: an all-zero `msghdr` is a valid one: null pointers with zero lengths.
        let header = unsafe { MaybeUninit::zeroed().assume_init() };
        Self { pieces: pieces.into(), vectors, header }
    }

    /// Points the header at the vectors where they are now.
    pub(super) fn settle_down(&mut self) {
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.vectors.len() as _;
    }

    /// The send of one member. It refers to the pieces and, if there are several, to the header:
    /// the span must stay where it is until the operation has completed.
    pub(super) fn entry(&self, to: Target, place: usize) -> squeue::Entry {
        // `build` marks the entry if the file is a registered one, so flags are only added to.
        let entry = match (self.pieces.as_slice(), to) {
            ([only], Target::File(file)) => send!(types::Fixed(file), only.bytes()),
            ([only], Target::Descriptor(fd)) => send!(types::Fd(fd), only.bytes()),
            (_, Target::File(file)) => send_vectors!(types::Fixed(file), self.header),
            (_, Target::Descriptor(fd)) => send_vectors!(types::Fd(fd), self.header),
        };
        entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag_of(Operation::Offer, place))
    }
}

/// How the kernel finds the socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// By its place in the table of registered files.
    File(u32),
    /// By its descriptor.
    Descriptor(RawFd),
}

fn vector(piece: &Piece) -> libc::iovec {
    let bytes = piece.bytes();
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}
