//! Readiness turned into completions: try at once, remember the rest, go on at the next edge.
//!
//! Registered for reading only, edge-triggered; writing is added the first time a socket is full,
//! so a connection that is never full costs one `epoll_ctl` in its life. A read that does not fill
//! the buffer has drained the socket: no second call is made to hear `EAGAIN`.

mod socket;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use self::socket::Socket;
use crate::stream::Advance;
use crate::system;
use crate::{
    CloseCause, Driver, Event, EventHandler, Member, Piece, SendBatch, Sending, Short, SocketId,
    Took, Wake,
};

/// Bounds of the driver. [`EpollOptions::default`] suits a server.
#[derive(Clone, Copy, Debug)]
pub struct EpollOptions {
    /// Bytes of the one buffer every socket is read into. Default 512 KiB.
    pub receive_buffer_bytes: usize,
    /// Bytes read in one poll, of all sockets: what they are answered with is sent before more is
    /// read, while it is in the processor's caches. Default 512 KiB.
    pub receive_budget_bytes: usize,
    /// Connections accepted per poll and listener. Default 256.
    pub accepts_per_poll: usize,
    /// Kernel events taken per poll. Default 1,024.
    pub events_per_poll: usize,
}

impl Default for EpollOptions {
    fn default() -> Self {
        Self {
            receive_buffer_bytes: 512 << 10,
            receive_budget_bytes: 512 << 10,
            accepts_per_poll: 256,
            events_per_poll: 1024,
        }
    }
}

/// The driver over epoll.
#[derive(Debug)]
pub struct EpollDriver {
    poll: Poll,
    events: Events,
    waker: EpollWaker,
    listeners: Vec<Listener>,
    sockets: Slab<Socket>,
    generation: u32,
    buffer: Box<[u8]>,
    options: EpollOptions,
    /// Sockets that ended since the last poll; their index is kept until the event is delivered.
    ended: VecDeque<(SocketId, CloseCause)>,
    /// Sockets to go on with although no event comes for them.
    runnable: Vec<u32>,
    /// The list above while it is being worked through, kept for its capacity.
    running: Vec<u32>,
    shorts: Vec<Short>,
}

/// Interrupts an [`EpollDriver`].
#[derive(Clone, Debug)]
pub struct EpollWaker(Arc<mio::Waker>);

impl Wake for EpollWaker {
    fn wake(&self) {
        // It can only fail if the eventfd is gone, and then so is the driver.
        let _gone = self.0.wake();
    }
}

#[derive(Debug)]
struct Listener {
    listener: TcpListener,
    /// Whether there may be more to accept.
    ready: bool,
}

const WAKER: Token = Token(usize::MAX);
/// Tokens from here up are listeners; below are sockets.
const LISTENERS: usize = usize::MAX - 1024;

impl EpollDriver {
    /// A driver without sockets.
    ///
    /// # Errors
    /// If the kernel refuses an epoll instance or an eventfd.
    pub fn new(options: EpollOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = EpollWaker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(Self {
            poll,
            events: Events::with_capacity(options.events_per_poll),
            waker,
            listeners: Vec::new(),
            sockets: Slab::new(),
            generation: 0,
            buffer: vec![0; options.receive_buffer_bytes].into(),
            options,
            ended: VecDeque::new(),
            runnable: Vec::new(),
            running: Vec::new(),
            shorts: Vec::new(),
        })
    }

    /// Accepts from `listener` from now on.
    ///
    /// # Errors
    /// If the kernel refuses to watch it.
    pub fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let token = Token(LISTENERS + self.listeners.len());
        let source = listener.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&source), token, Interest::READABLE)?;
        self.listeners.push(Listener { listener, ready: true });
        Ok(())
    }

    /// Begins a connection to `address`, from `source` if given; [`Event::Connected`] or
    /// [`Event::Closed`] follows.
    ///
    /// # Errors
    /// What the kernel says at once: no descriptors, no ports, an address that cannot be had.
    pub fn connect(&mut self, address: SocketAddr, source: Option<IpAddr>) -> io::Result<SocketId> {
        let stream = system::connect(address, source)?;
        let mut socket = Socket::new(stream.into(), self.next_generation());
        socket.connecting = true;
        socket.wants_writable = true;
        self.insert(socket, Interest::READABLE | Interest::WRITABLE)
    }

    /// Sockets open now.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    fn insert(&mut self, socket: Socket, interest: Interest) -> io::Result<SocketId> {
        let entry = self.sockets.vacant_entry();
        let index = u32::try_from(entry.key()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let fd = socket.stream.raw();
        self.poll.registry().register(&mut SourceFd(&fd), Token(entry.key()), interest)?;
        let generation = socket.generation;
        entry.insert(socket);
        Ok(SocketId { index, generation })
    }

    fn live(&mut self, id: SocketId) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(id.index as usize)?;
        (socket.generation == id.generation && !socket.stream.is_closed()).then_some(socket)
    }

    fn fail(&mut self, id: SocketId, cause: CloseCause) {
        let Some(socket) = self.live(id) else { return };
        drop(socket.stream.take());
        self.ended.push_back((id, cause));
    }

    fn make_runnable(&mut self, index: u32) {
        let Some(socket) = self.sockets.get_mut(index as usize) else {
            return;
        };
        if !std::mem::replace(&mut socket.runnable, true) {
            self.runnable.push(index);
        }
    }

    /// Asks to be told when a full socket takes more. Edge-triggered, so once is enough.
    fn watch_writable(&mut self, id: SocketId) {
        let Some(socket) = self.live(id) else { return };
        if std::mem::replace(&mut socket.wants_writable, true) {
            return;
        }
        let (fd, token) = (socket.stream.raw(), Token(id.index as usize));
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().reregister(&mut SourceFd(&fd), token, interest) {
            self.fail(id, error.into());
        }
    }

    fn take_events(&mut self, handler: &mut impl EventHandler) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                WAKER => handler.on_event(Event::Woken),
                Token(token) if token >= LISTENERS => {
                    if let Some(listener) = self.listeners.get_mut(token - LISTENERS) {
                        listener.ready = true;
                    }
                }
                Token(token) => {
                    let Some(socket) = self.sockets.get_mut(token) else {
                        continue;
                    };
                    socket.note(event);
                    // Indexes are checked to fit when sockets are inserted.
                    self.make_runnable(u32::try_from(token).unwrap_or(u32::MAX));
                }
            }
        }
        self.events = events;
    }

    fn accept(&mut self, handler: &mut impl EventHandler) {
        for index in 0..self.listeners.len() {
            for _ in 0..self.options.accepts_per_poll {
                let Some(listener) = self.listeners.get_mut(index).filter(|l| l.ready) else {
                    break;
                };
                match system::accept(&listener.listener) {
                    Ok((stream, peer)) => self.accepted(stream, peer, handler),
                    Err(error) => {
                        let again = error.kind() == io::ErrorKind::ConnectionAborted
                            || error.kind() == io::ErrorKind::Interrupted;
                        listener.ready = again;
                        if !again && error.kind() != io::ErrorKind::WouldBlock {
                            // Out of descriptors or memory. Nothing tells when that is over, so the
                            // next socket to close, or the next event of the listener, tries again.
                            handler.on_event(Event::AcceptFailed { kind: error.kind() });
                        }
                    }
                }
            }
        }
    }

    fn accepted(
        &mut self,
        stream: std::os::fd::OwnedFd,
        peer: SocketAddr,
        handler: &mut impl EventHandler,
    ) {
        let socket = Socket::new(stream, self.next_generation());
        match self.insert(socket, Interest::READABLE) {
            Ok(socket) => handler.on_event(Event::Accepted { socket, peer }),
            Err(error) => handler.on_event(Event::AcceptFailed { kind: error.kind() }),
        }
    }

    fn run(&mut self, handler: &mut impl EventHandler) {
        let mut running = std::mem::replace(&mut self.runnable, std::mem::take(&mut self.running));
        let (mut done, mut budget) = (0, self.options.receive_budget_bytes);
        while let Some(&index) = running.get(done).filter(|_| budget > 0) {
            done += 1;
            let Some(socket) = self.sockets.get_mut(index as usize) else {
                continue;
            };
            socket.runnable = false;
            let id = SocketId { index, generation: socket.generation };
            if socket.connecting && !self.finish_connecting(id, handler) {
                continue;
            }
            self.finish_sending(id, handler);
            self.receive(id, &mut budget, handler);
        }
        // Those that had no turn come first in the next poll.
        running.drain(..done);
        running.append(&mut self.runnable);
        self.running = std::mem::replace(&mut self.runnable, running);
    }

    /// Whether the connection is established.
    fn finish_connecting(&mut self, id: SocketId, handler: &mut impl EventHandler) -> bool {
        let Some(socket) = self.live(id) else {
            return false;
        };
        if let Some(error) = system::take_error(socket.stream.raw()) {
            self.fail(id, error.into());
            return false;
        }
        if !socket.stream.is_writable() {
            return false;
        }
        socket.connecting = false;
        handler.on_event(Event::Connected { socket: id });
        true
    }

    fn finish_sending(&mut self, id: SocketId, handler: &mut impl EventHandler) {
        let Some(socket) = self.live(id) else { return };
        if !socket.stream.is_writable() || !socket.stream.is_sending() {
            return;
        }
        match socket.stream.advance() {
            Advance::Done(batch) => handler.on_event(Event::Sent { socket: id, batch }),
            Advance::Full => {}
            Advance::Failed(error) => self.fail(id, error.into()),
        }
    }

    fn receive(&mut self, id: SocketId, budget: &mut usize, handler: &mut impl EventHandler) {
        loop {
            let Some(socket) = self.live(id) else { return };
            let (receiving, ended) = (socket.stream.receiving, socket.stream.ended);
            if !receiving || !socket.readable || ended {
                if socket.broken && (ended || !receiving) {
                    // Nobody reads it, so nothing else would find out.
                    let error = system::take_error(socket.stream.raw());
                    self.fail(id, error.map_or(CloseCause::Reset, CloseCause::from));
                }
                return;
            }
            if *budget == 0 {
                return self.make_runnable(id.index);
            }
            let fd = socket.stream.raw();
            match system::receive(fd, &mut self.buffer) {
                Ok(0) => {
                    if let Some(socket) = self.live(id) {
                        socket.stream.ended = true;
                    }
                    return handler.on_event(Event::Ended { socket: id });
                }
                Ok(n) => {
                    *budget = budget.saturating_sub(n);
                    let drained = n < self.buffer.len();
                    if let Some(socket) = self.live(id) {
                        // A short read means drained; but behind it may stand the peer's FIN, which
                        // brought its edge already if the event said so.
                        socket.readable = !drained || socket.hung_up;
                    }
                    if let Some(bytes) = self.buffer.get_mut(..n) {
                        handler.on_event(Event::Received { socket: id, bytes });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket_not_readable(self.live(id));
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.fail(id, error.into()),
            }
        }
    }

    fn deliver_ended(&mut self, handler: &mut impl EventHandler) {
        let any = !self.ended.is_empty();
        while let Some((socket, cause)) = self.ended.pop_front() {
            self.sockets.remove(socket.index as usize);
            handler.on_event(Event::Closed { socket, cause });
        }
        if any {
            self.listeners.iter_mut().for_each(|listener| listener.ready = true);
        }
    }
}

fn socket_not_readable(socket: Option<&mut Socket>) {
    if let Some(socket) = socket {
        socket.readable = false;
    }
}

impl Driver for EpollDriver {
    type Waker = EpollWaker;

    fn waker(&self) -> EpollWaker {
        self.waker.clone()
    }

    fn start_recv(&mut self, id: SocketId) {
        let Some(socket) = self.live(id) else { return };
        socket.stream.receiving = true;
        if socket.readable {
            self.make_runnable(id.index);
        }
    }

    fn stop_recv(&mut self, id: SocketId) {
        if let Some(socket) = self.live(id) {
            socket.stream.receiving = false;
        }
    }

    fn send(&mut self, id: SocketId, batch: SendBatch) -> Sending {
        let Some(socket) = self.live(id) else {
            return Sending::Pending;
        };
        debug_assert!(!socket.stream.is_sending(), "one batch in flight per socket");
        match socket.stream.begin(batch) {
            Advance::Done(batch) => return Sending::Done(batch),
            Advance::Full => self.watch_writable(id),
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
        let span = system::Span::new(pieces);
        for member in members {
            let Some(socket) = self.live(member.socket) else {
                self.shorts.push(Short { offer, member: *member, took: Took::Dead });
                continue;
            };
            let took = match socket.stream.offer(&span) {
                Ok(None) => continue,
                Ok(Some(bytes)) => Took::Bytes(bytes),
                Err(error) => {
                    self.fail(member.socket, error.into());
                    Took::Dead
                }
            };
            self.shorts.push(Short { offer, member: *member, took });
        }
    }

    fn settle(&mut self, shorts: &mut Vec<Short>) {
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
        self.listeners.clear();
    }

    fn poll(
        &mut self,
        timeout: Option<Duration>,
        handler: &mut impl EventHandler,
    ) -> io::Result<()> {
        let at_once = !self.ended.is_empty()
            || !self.runnable.is_empty()
            || self.listeners.iter().any(|listener| listener.ready);
        let timeout = if at_once { Some(Duration::ZERO) } else { timeout };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => {
                other?;
                self.take_events(handler);
            }
        }
        self.deliver_ended(handler);
        self.run(handler);
        self.accept(handler);
        Ok(())
    }
}
