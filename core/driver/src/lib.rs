//! The seam between the server's logic and the kernel: commands in, completions out.
//!
//! A [`Driver`] owns every socket of one shard and all operations in flight on them. It speaks
//! *completion*, not readiness: epoll is fitted to it with one bit per direction, io_uring as it
//! is, and a seeded simulation with nothing at all. No type of the operating system appears in the
//! trait.
//!
//! | module | what |
//! |---|---|
//! | [`socket`] | [`SocketId`], [`CloseCause`], [`Member`] |
//! | [`batch`] | [`Block`], [`Piece`], [`SendBatch`]: bytes on their way out |
//! | [`listener`] | listening sockets, one per shard on one port |
//! | [`epoll`] | the driver over epoll |
//! | [`uring`] | the driver over io_uring |
//! | `sim` | the seeded network (feature `sim`) |
//!
//! # Contract
//!
//! Each line is a test in `tests/contract.rs`, run against every driver.
//!
//! - Bytes arrive in order, each once; what is sent leaves in order, each byte once.
//! - At most one batch is in flight per socket. [`Driver::send`] says [`Sending::Done`] or
//!   [`Event::Sent`] follows, in both cases only when the *whole* batch is taken by the kernel.
//! - Between two calls of [`Driver::settle`] a socket is offered at most one span, and none while a
//!   batch is in flight on it. When `settle` returns every offer has ended.
//! - After [`Driver::close`], or an error, exactly one [`Event::Closed`] follows, and nothing of
//!   that socket after it; also when a batch was in flight.
//! - Commands on a stale [`SocketId`] do nothing.
//! - After [`Driver::stop_recv`] what the driver had already taken from the kernel may still be
//!   delivered; then nothing is, and nothing is lost.
//!
//! # Not promised
//!
//! - That a batch leaves in one segment, or that `Received` brings what the peer sent in one call.
//! - Any order between events of different sockets.
//! - A graceful end. Flush, [`Driver::shutdown`], wait for [`Event::Ended`], then `close`: unread
//!   input would otherwise turn into a reset that eats a close frame still under way.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod batch;
pub mod epoll;
pub mod listener;
#[cfg(feature = "sim")]
pub mod sim;
pub mod socket;
mod stream;
mod system;
pub mod uring;

use std::{fmt, io, net::SocketAddr, time::Duration};

pub use batch::{Block, Ledger, Part, Piece, SendBatch};
pub use socket::{CloseCause, Member, SocketId};

/// What the kernel has done since the last poll.
#[derive(Debug)]
pub enum Event<'a> {
    /// A peer connected. The socket is idle until [`Driver::start_recv`] or [`Driver::close`].
    Accepted {
        /// The new socket.
        socket: SocketId,
        /// Who connected; unspecified (`0.0.0.0:0`) if they have gone again already.
        peer: SocketAddr,
    },
    /// A connection begun by [`Driver::connect`](epoll::EpollDriver::connect) is established.
    Connected {
        /// The socket, idle until `start_recv` or `send`.
        socket: SocketId,
    },
    /// Bytes arrived. The buffer is lent for this call only and may be modified.
    Received {
        /// From whom.
        socket: SocketId,
        /// What; never empty.
        bytes: &'a mut [u8],
    },
    /// The whole batch was taken by the kernel; its container returns for reuse.
    Sent {
        /// To whom.
        socket: SocketId,
        /// The batch as it was given.
        batch: SendBatch,
    },
    /// The peer finished writing. Sending is still allowed.
    Ended {
        /// Who.
        socket: SocketId,
    },
    /// The last event of a socket. The index is free for reuse when this returns.
    Closed {
        /// Which one.
        socket: SocketId,
        /// Why.
        cause: CloseCause,
    },
    /// A listener could not accept for a reason other than the peer: out of descriptors or memory.
    /// The driver goes on accepting when a socket has been closed, or a moment later.
    AcceptFailed {
        /// What the kernel said.
        kind: io::ErrorKind,
    },
    /// Another thread called [`Wake::wake`].
    Woken,
}

/// Receives the events of one poll, in order. It cannot call the driver: a shard only marks what is
/// to be done, its flush phase submits.
pub trait EventHandler {
    /// One event.
    fn on_event(&mut self, event: Event<'_>);
}

/// Interrupts a blocked [`Driver::poll`] from any thread.
pub trait Wake: Clone + fmt::Debug + Send + Sync + 'static {
    /// Makes the current or the next poll return with [`Event::Woken`].
    fn wake(&self);
}

/// What became of a send.
#[derive(Debug)]
#[must_use]
pub enum Sending {
    /// The kernel took all of it at once; the container returns for reuse. No event follows.
    Done(SendBatch),
    /// [`Event::Sent`] or [`Event::Closed`] follows.
    Pending,
}

/// How much of an offer a socket took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// The first so many bytes, fewer than offered; 0 for a full socket.
    Bytes(u64),
    /// The socket is dead; [`Event::Closed`] follows.
    Dead,
}

/// A member that did not take all of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Which offer, in the words of who made it.
    pub offer: u32,
    /// Who.
    pub member: Member,
    /// How much.
    pub took: Took,
}

/// Owns every socket of one shard and all operations in flight on them. See the [crate] for the
/// contract.
pub trait Driver {
    /// Interrupts this driver's poll.
    type Waker: Wake;

    /// A handle that interrupts [`poll`](Self::poll) from any thread.
    fn waker(&self) -> Self::Waker;
    /// Begins or resumes receiving.
    fn start_recv(&mut self, socket: SocketId);
    /// Stops receiving; the kernel's window then fills and the peer has to wait.
    fn stop_recv(&mut self, socket: SocketId);
    /// Sends the whole batch, however long it takes.
    fn send(&mut self, socket: SocketId, batch: SendBatch) -> Sending;
    /// Sends the whole batch and our FIN after it, as [`send`](Self::send) and then
    /// [`shutdown`](Self::shutdown) would; in one segment where the kernel can.
    fn send_last(&mut self, socket: SocketId, batch: SendBatch) -> Sending {
        let sending = self.send(socket, batch);
        self.shutdown(socket);
        sending
    }
    /// Offers the same bytes, the concatenation of `pieces`, to each of `members`.
    fn offer(&mut self, offer: u32, members: &[Member], pieces: &[Piece]);
    /// Ends all offers made since the last call and reports those that were not taken whole.
    fn settle(&mut self, shorts: &mut Vec<Short>);
    /// Sends our FIN when everything before it is sent; receiving goes on.
    fn shutdown(&mut self, socket: SocketId);
    /// Ends the socket at once; [`Event::Closed`] follows.
    fn close(&mut self, socket: SocketId);
    /// Stops accepting and closes the listeners.
    fn stop_listening(&mut self);
    /// Waits for events, at most `timeout` (`None`: for ever), and hands them over.
    ///
    /// # Errors
    /// Only what makes the driver itself unusable; a socket's errors are its `Closed` event.
    fn poll(
        &mut self,
        timeout: Option<Duration>,
        handler: &mut impl EventHandler,
    ) -> io::Result<()>;
}
