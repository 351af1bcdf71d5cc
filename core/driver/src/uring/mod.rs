//! Completions as the kernel gives them: io_uring, one ring per shard.
//!
//! | what | how |
//! |---|---|
//! | accept | one multishot operation per listener |
//! | receive | one multishot operation per socket, into buffers that all share |
//! | offers | up to 128 sends in one system call, to registered files, silent if whole |
//! | a batch of one socket | a plain `send`, cheaper outside the ring |
//! | a full socket | a poll for room, then a plain `send` |
//! | close | cancel, wait for the last completion, then close |
//!
//! Between calls the kernel refers to no memory of ours but the receive buffers: whatever happens
//! to a connection, nothing has to be kept for an operation still under way.
//!
//! Needs Linux 6.1 (`SINGLE_ISSUER`, `DEFER_TASKRUN`); containers often forbid io_uring altogether.
//! [`probe`] tells.

mod buffers;
mod files;
mod offers;
mod receive;
mod ring;
mod socket;
mod span;
mod tag;
mod wake;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{cqueue, opcode, squeue, types};
use slab::Slab;
use socket2::SockRef;

use self::buffers::Buffers;
use self::files::Files;
use self::receive::Hungry;
use self::ring::{Completion, Ring};
use self::socket::{Reading, Socket};
use self::span::Offers;
use self::tag::{Operation, SOCKETS_MAX, parse, tag, tag_of};
pub use self::wake::UringWaker;
use crate::stream::Advance;
use crate::{
    CloseCause, Driver, Event, EventHandler, Member, Piece, SendBatch, Sending, Short, SocketId,
};

/// Bounds of the driver. [`UringOptions::default`] suits a server.
#[derive(Clone, Copy, Debug)]
pub struct UringOptions {
    /// Buffers that all sockets receive into; a power of two. All of them together are the most
    /// that is received in one poll. Default 4.
    pub receive_buffers: u16,
    /// Bytes of each. What a peer has sent ahead arrives in one piece up to this size. Default
    /// 128 KiB.
    pub receive_buffer_bytes: u32,
}

impl Default for UringOptions {
    fn default() -> Self {
        Self { receive_buffers: 4, receive_buffer_bytes: 128 << 10 }
    }
}

/// Whether this process may use io_uring as the driver needs it.
///
/// # Errors
/// Why not: `ENOSYS` or `EPERM` where it is forbidden, `EINVAL` on a kernel before Linux 6.1.
pub fn probe() -> io::Result<()> {
    // On a thread of its own: while a ring goes away the kernel interrupts the calls of the thread
    // that made it, and the caller's other code need not expect that.
    let probe = || {
        let options = UringOptions { receive_buffers: 1, receive_buffer_bytes: 4096 };
        UringDriver::new(options).map(drop)
    };
    let thread = std::thread::Builder::new().name("fulmar-probe".to_owned()).spawn(probe)?;
    thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// The driver over io_uring. It stays on the thread that made it.
#[derive(Debug)]
pub struct UringDriver {
    ring: Ring,
    buffers: Buffers,
    files: Files,
    waker: UringWaker,
    listeners: Vec<Listener>,
    sockets: Slab<Socket>,
    generation: u32,
    /// Sockets that ended since the last poll; their index is kept until the event is delivered.
    ended: VecDeque<(SocketId, CloseCause)>,
    /// Sockets that nobody reads, of whose end the kernel may have to be asked to tell.
    unwatched: Vec<SocketId>,
    completions: Vec<Completion>,
    /// Counts polls, as far as is needed to tell one from the next.
    turn: u8,
    /// Sockets that found no buffer, the next to be served first.
    hungry: Hungry,
    offers: Offers,
    shorts: Vec<Short>,
    /// Descriptors on their way into the table of files, one for each place of a batch.
    descriptors: Box<[i32; span::BATCH]>,
}

#[derive(Debug)]
struct Listener {
    /// `None` once listening has stopped.
    listener: Option<TcpListener>,
    /// Whether the kernel has the operation.
    is_armed: bool,
    /// Whether it waits to be tried again after a failure.
    has_failed: bool,
}

/// What a place in the table of files is overwritten with when its socket closes.
static NO_DESCRIPTOR: i32 = -1;
/// How long a listener rests that could not accept, unless a socket is closed meanwhile.
static RETRY_AFTER: types::Timespec = types::Timespec::new().nsec(100_000_000);

impl UringDriver {
    /// A driver without sockets, for use on this thread only.
    ///
    /// # Errors
    /// If the kernel refuses a ring, its buffers, or an eventfd; see [`probe`].
    pub fn new(options: UringOptions) -> io::Result<Self> {
        let ring = Ring::new()?;
        if !ring.has_what_is_needed() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (count, size) = (options.receive_buffers, options.receive_buffer_bytes);
        let buffers = Buffers::new(count, size, &ring.submitter())?;
        let files = Files::new(&ring.submitter());
        let mut driver = Self {
            ring,
            buffers,
            files,
            waker: UringWaker::new()?,
            listeners: Vec::new(),
            sockets: Slab::new(),
            generation: 0,
            ended: VecDeque::new(),
            unwatched: Vec::new(),
            completions: Vec::new(),
            turn: 0,
            hungry: Hungry::default(),
            offers: Offers::default(),
            shorts: Vec::new(),
            descriptors: Box::new([-1; span::BATCH]),
        };
        driver.await_wake();
        Ok(driver)
    }

    /// Accepts from `listener` from now on.
    ///
    /// # Errors
    /// If its mode cannot be changed.
    pub fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        // A listener that does not block would answer the ring at once instead of waiting.
        listener.set_nonblocking(false)?;
        self.listeners.push(Listener {
            listener: Some(listener),
            is_armed: false,
            has_failed: false,
        });
        self.accept_on(self.listeners.len() - 1);
        Ok(())
    }

    /// Sockets open now.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    fn live(&mut self, id: SocketId) -> Option<&mut Socket> {
        live(&mut self.sockets, id)
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: of the operations made in this file and in `receive.rs`, which are all that come
        // here, none points at memory but those that point at the two statics above.
        unsafe { self.ring.push(entry) }
    }

    fn await_wake(&mut self) {
        let events = libc::POLLIN.cast_unsigned().into();
        let poll = opcode::PollAdd::new(types::Fd(self.waker.raw()), events).multi(true);
        self.push(&poll.build().user_data(tag_of(Operation::Wake, 0)));
    }

    fn accept_on(&mut self, index: usize) {
        let Some(Listener { listener: Some(listener), is_armed, has_failed }) =
            self.listeners.get_mut(index)
        else {
            return;
        };
        *has_failed = false;
        if std::mem::replace(is_armed, true) {
            return;
        }
        let fd = types::Fd(listener.as_raw_fd());
        let accept = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC);
        self.push(&accept.build().user_data(tag_of(Operation::Accept, index)));
    }

    fn accepted(&mut self, index: usize, completion: Completion, handler: &mut impl EventHandler) {
        let Some(listener) = self.listeners.get_mut(index) else {
            return;
        };
        let is_listening = listener.listener.is_some();
        listener.is_armed = cqueue::more(completion.flags);
        if completion.result >= 0 {
            // SAFETY: the kernel made the descriptor for this completion; nobody else has it.
            let stream = unsafe { OwnedFd::from_raw_fd(completion.result) };
            if is_listening {
                self.take_in(stream, handler);
            }
            return self.accept_on(index);
        }
        match -completion.result {
            libc::ECANCELED if !is_listening => {}
            libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::ECANCELED => {
                self.accept_on(index);
            }
            error => self.could_not_accept(index, error, handler),
        }
    }

    /// Out of descriptors or memory. Nothing tells when that is over.
    fn could_not_accept(&mut self, index: usize, error: i32, handler: &mut impl EventHandler) {
        let Some(listener) = self.listeners.get_mut(index).filter(|l| l.listener.is_some()) else {
            return;
        };
        listener.has_failed = true;
        let rest = opcode::Timeout::new(&raw const RETRY_AFTER).build();
        self.push(&rest.user_data(tag_of(Operation::Retry, index)));
        let kind = io::Error::from_raw_os_error(error).kind();
        handler.on_event(Event::AcceptFailed { kind });
    }

    fn take_in(&mut self, stream: OwnedFd, handler: &mut impl EventHandler) {
        // A multishot accept tells no address, and a peer that has gone again has none any more.
        let peer = SockRef::from(&stream).peer_addr().ok().and_then(|peer| peer.as_socket());
        let peer = peer.unwrap_or_else(|| SocketAddr::from(([0; 4], 0)));
        if self.sockets.len() >= SOCKETS_MAX {
            return handler.on_event(Event::AcceptFailed { kind: io::ErrorKind::OutOfMemory });
        }
        self.generation = self.generation.wrapping_add(1);
        let index = self.sockets.insert(Socket::new(stream, self.generation));
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let socket = SocketId { index, generation: self.generation };
        self.leave_unwatched(socket);
        handler.on_event(Event::Accepted { socket, peer });
    }

    fn await_writable(&mut self, id: SocketId) {
        let Some(socket) = self.live(id) else { return };
        if std::mem::replace(&mut socket.awaits_writable, true) {
            return;
        }
        let fd = types::Fd(socket.stream.raw());
        let poll = opcode::PollAdd::new(fd, libc::POLLOUT.cast_unsigned().into());
        self.push(&poll.build().user_data(tag(Operation::Writable, id)));
    }

    fn became_writable(&mut self, id: SocketId, handler: &mut impl EventHandler) {
        if let Some(socket) = self.sockets.get_mut(id.index as usize) {
            socket.awaits_writable = false;
        }
        let Some(socket) = self.live(id) else {
            return self.finish_closing(id);
        };
        socket.stream.set_writable();
        if !socket.stream.is_sending() {
            return;
        }
        match socket.stream.advance() {
            Advance::Done(batch) => handler.on_event(Event::Sent { socket: id, batch }),
            Advance::Full => self.await_writable(id),
            Advance::Failed(error) => self.fail(id, error.into()),
        }
    }

    /// Begins the end of a socket: what the kernel still has is called back first.
    fn fail(&mut self, id: SocketId, cause: CloseCause) {
        let Some(socket) = self.live(id) else { return };
        socket.begin_closing(cause);
        let reading = std::mem::replace(&mut socket.reading, Reading::Cancelled);
        let (awaits_writable, is_watched) = (socket.awaits_writable, socket.is_watched);
        match reading {
            Reading::Idle => socket.reading = Reading::Idle,
            Reading::Armed => self.cancel(tag(Operation::Receive, id)),
            Reading::Cancelled => {}
        }
        if awaits_writable {
            self.cancel(tag(Operation::Writable, id));
        }
        if is_watched {
            self.cancel(tag(Operation::Watch, id));
        }
        self.finish_closing(id);
    }

    fn cancel(&mut self, tag: u64) {
        let cancel = opcode::AsyncCancel::new(tag).build();
        let cancel = cancel.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(&cancel.user_data(tag_of(Operation::Quiet, 0)));
    }

    /// Closes a socket that is to be closed once the kernel has no operation of it any more.
    fn finish_closing(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id.index as usize) else {
            return;
        };
        if socket.generation != id.generation || socket.has_operations() {
            return;
        }
        let Some(cause) = socket.cause() else { return };
        let Some(descriptor) = socket.stream.take() else {
            return;
        };
        let file = socket.take_file();
        if let Some(file) = file {
            // The table would keep the socket open.
            let place = i32::try_from(file).unwrap_or(i32::MAX);
            let clear = opcode::FilesUpdate::new(&raw const NO_DESCRIPTOR, 1).offset(place);
            let clear = clear.build().flags(squeue::Flags::SKIP_SUCCESS);
            self.push(&clear.user_data(tag_of(Operation::Quiet, 0)));
            // Whoever gets the place is entered by an operation after this one.
            self.files.give_back(file);
        }
        let close = opcode::Close::new(types::Fd(descriptor.into_raw_fd())).build();
        let close = close.flags(squeue::Flags::SKIP_SUCCESS);
        self.push(&close.user_data(tag_of(Operation::Quiet, 0)));
        self.ended.push_back((id, cause));
    }

    fn deliver_ended(&mut self, handler: &mut impl EventHandler) {
        let any = !self.ended.is_empty();
        while let Some((socket, cause)) = self.ended.pop_front() {
            self.sockets.remove(socket.index as usize);
            handler.on_event(Event::Closed { socket, cause });
        }
        for index in 0..if any { self.listeners.len() } else { 0 } {
            if self.listeners.get(index).is_some_and(|listener| listener.has_failed) {
                self.accept_on(index);
            }
        }
    }

    fn complete(&mut self, completion: Completion, handler: &mut impl EventHandler) {
        let (operation, id) = parse(completion.tag);
        match operation {
            Operation::Receive => self.received(id, completion, handler),
            Operation::Accept => self.accepted(id.index as usize, completion, handler),
            Operation::Writable => self.became_writable(id, handler),
            Operation::Watch => self.watch_ended(id),
            Operation::Wake => {
                if !cqueue::more(completion.flags) {
                    self.await_wake();
                }
                handler.on_event(Event::Woken);
            }
            Operation::Retry => self.accept_on(id.index as usize),
            Operation::Offer | Operation::Quiet => {}
        }
    }
}

/// The socket of a name, unless it is an earlier one's or being closed.
fn live(sockets: &mut Slab<Socket>, id: SocketId) -> Option<&mut Socket> {
    let socket = sockets.get_mut(id.index as usize)?;
    (socket.generation == id.generation && socket.cause().is_none()).then_some(socket)
}

impl Driver for UringDriver {
    type Waker = UringWaker;

    fn waker(&self) -> UringWaker {
        self.waker.clone()
    }

    fn start_recv(&mut self, id: SocketId) {
        let Some(socket) = self.live(id) else { return };
        socket.stream.receiving = true;
        if socket.reading == Reading::Idle && !socket.stream.ended {
            self.read(id);
        }
    }

    fn stop_recv(&mut self, id: SocketId) {
        let Some(socket) = self.live(id) else { return };
        socket.stream.receiving = false;
        if socket.reading == Reading::Armed {
            socket.reading = Reading::Cancelled;
            self.cancel(tag(Operation::Receive, id));
        }
    }

    fn send(&mut self, id: SocketId, batch: SendBatch) -> Sending {
        let Some(socket) = self.live(id) else {
            return Sending::Pending;
        };
        debug_assert!(!socket.stream.is_sending(), "one batch in flight per socket");
        match socket.stream.begin(batch) {
            Advance::Done(batch) => return Sending::Done(batch),
            Advance::Full => self.await_writable(id),
            Advance::Failed(error) => self.fail(id, error.into()),
        }
        Sending::Pending
    }

    fn send_last(&mut self, id: SocketId, batch: SendBatch) -> Sending {
        if let Some(socket) = self.live(id) {
            socket.stream.end_with_next();
        }
        self.send(id, batch)
    }

    fn offer(&mut self, offer: u32, members: &[Member], pieces: &[Piece]) {
        self.queue_offers(offer, members, pieces);
    }

    fn settle(&mut self, shorts: &mut Vec<Short>) {
        self.end_offers();
        shorts.append(&mut self.shorts);
    }

    fn shutdown(&mut self, id: SocketId) {
        let Some(socket) = self.live(id) else { return };
        if let Err(error) = socket.stream.shutdown() {
            self.fail(id, error.into());
        }
    }

    fn close(&mut self, id: SocketId) {
        self.fail(id, CloseCause::Requested);
    }

    fn stop_listening(&mut self) {
        for index in 0..self.listeners.len() {
            self.cancel(tag_of(Operation::Accept, index));
        }
        // The operations hold the listening sockets: they go when the kernel has let them go.
        self.ring.submit();
        self.listeners.iter_mut().for_each(|listener| listener.listener = None);
    }

    fn poll(
        &mut self,
        timeout: Option<Duration>,
        handler: &mut impl EventHandler,
    ) -> io::Result<()> {
        self.turn = self.turn.wrapping_add(1);
        self.watch_the_unwatched();
        let at_once =
            !self.ended.is_empty() || !self.completions.is_empty() || !self.hungry.is_empty();
        self.ring.wait(if at_once { Some(Duration::ZERO) } else { timeout })?;
        self.deliver_ended(handler);
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.take_completions(&mut completions);
        for completion in completions.drain(..) {
            self.complete(completion, handler);
        }
        self.feed_the_hungry();
        // What completed while a batch of offers was submitted comes first next time.
        if self.completions.is_empty() {
            self.completions = completions;
        }
        Ok(())
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        self.buffers.unregister(&self.ring.submitter());
    }
}
