//! A network that is only a seed: splits, delays, short sends, stalls, resets, the same each time.
//!
//! [`SimDriver`] is the shard's side, [`SimNetwork`] the clients' side of the same sockets; both
//! live on one thread. What a client does not read fills the socket's buffer, and then sends are
//! short, offers are refused and batches stay in flight, as with a real socket.
//!
//! A million clients fit into memory and into a test's time: a silent one is one entry of a table,
//! and a poll looks only at sockets where something is under way.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{
    CloseCause, Driver, Event, EventHandler, Member, Piece, SendBatch, Sending, Short, SocketId,
    Took, Wake,
};

/// What the seed may do. [`SimOptions::default`] does a bit of everything.
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    /// Bytes a socket holds for a client that does not read; each socket's is drawn from 1 to this.
    pub capacity_bytes_max: usize,
    /// Bytes delivered in one piece, at most.
    pub split_bytes_max: usize,
    /// One in so many polls passes a socket over; 1 never does.
    pub delay_one_in: u64,
    /// One in so many sends and offers is short although there is room; 0 never.
    pub short_one_in: u64,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            capacity_bytes_max: 64 << 10,
            split_bytes_max: 2048,
            delay_one_in: 3,
            short_one_in: 8,
        }
    }
}

/// A client of the simulated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimClient(pub u32);

/// The clients' side. Cloning it gives another handle to the same network.
#[derive(Clone, Debug)]
pub struct SimNetwork(Rc<RefCell<Network>>);

/// The shard's side.
#[derive(Debug)]
pub struct SimDriver {
    network: SimNetwork,
    waker: SimWaker,
    shorts: Vec<Short>,
}

/// Notes that somebody wants the simulated driver to wake.
#[derive(Clone, Debug, Default)]
pub struct SimWaker(Arc<AtomicBool>);

impl SimWaker {
    /// Whether a wake-up is due.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for SimWaker {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Connections accepted in one poll, if the network delays nothing; one otherwise.
const ACCEPTS_PER_POLL: usize = 256;

#[derive(Debug)]
struct Network {
    seed: u64,
    options: SimOptions,
    clients: Vec<Client>,
    /// Clients by socket index.
    sockets: Vec<Option<u32>>,
    free: Vec<u32>,
    waiting: VecDeque<u32>,
    /// Indexes of sockets where something is under way, see [`Client::has_work`].
    working: BTreeSet<u32>,
    generation: u32,
    listening: bool,
    fingerprint: u64,
}

#[derive(Debug, Default)]
struct Client {
    socket: Option<SocketId>,
    /// Bytes the socket holds while the client does not read.
    capacity: u32,
    /// Bytes read and forgotten, if the client is careless.
    forgotten: u64,
    /// Absent while there is none of it.
    under_way: Option<Box<UnderWay>>,
    receiving: bool,
    /// The client's FIN: sent, delivered.
    finished: bool,
    ended: bool,
    /// The server's FIN.
    shut_down: bool,
    shut_down_when_sent: bool,
    reset: bool,
    /// Closed by the server; `Closed` is owed until `gone`.
    closing: bool,
    gone: bool,
    /// Whether it reads everything at once and keeps nothing.
    careless: bool,
}

const _: () = assert!(size_of::<Client>() <= 48);

/// Bytes between a client and the server.
#[derive(Debug, Default)]
struct UnderWay {
    to_server: VecDeque<u8>,
    from_server: VecDeque<u8>,
    /// What the server sends, and how much of it is in `from_server`.
    in_flight: Option<(SendBatch, usize)>,
}

impl SimNetwork {
    /// A connection by a new client; the driver will accept it.
    pub fn connect(&self) -> SimClient {
        let mut network = self.0.borrow_mut();
        let index = u32::try_from(network.clients.len()).unwrap_or(u32::MAX);
        let most = network.options.capacity_bytes_max.max(1) as u64;
        let capacity = u32::try_from(network.below(most)).unwrap_or(u32::MAX).saturating_add(1);
        let refused = !network.listening;
        network.clients.push(Client { capacity, gone: refused, ..Client::default() });
        if !refused {
            network.waiting.push_back(index);
        }
        SimClient(index)
    }

    /// The client sends.
    pub fn write(&self, client: SimClient, bytes: &[u8]) {
        self.with(client, |client| client.under_way_mut().to_server.extend(bytes));
    }

    /// Takes what has arrived at the client, which makes room in the socket.
    pub fn read(&self, client: SimClient) -> Vec<u8> {
        self.read_some(client, usize::MAX)
    }

    /// Takes at most `most` bytes of it.
    pub fn read_some(&self, client: SimClient, most: usize) -> Vec<u8> {
        self.with(client, |client| {
            let Some(under_way) = &mut client.under_way else { return Vec::new() };
            let n = most.min(under_way.from_server.len());
            under_way.from_server.drain(..n).collect()
        })
    }

    /// From now on the client reads whatever comes at once, and keeps only how much it was: for
    /// crowds.
    pub fn read_carelessly(&self, client: SimClient) {
        self.with(client, |client| {
            client.careless = true;
            if let Some(under_way) = &mut client.under_way {
                client.forgotten += under_way.from_server.len() as u64;
                under_way.from_server = VecDeque::new();
            }
        });
    }

    /// How many bytes a careless client has read.
    pub fn forgotten(&self, client: SimClient) -> u64 {
        self.with(client, |client| client.forgotten)
    }

    /// The client's FIN, after what it has written.
    pub fn finish(&self, client: SimClient) {
        self.with(client, |client| client.finished = true);
    }

    /// The client breaks the connection.
    pub fn reset(&self, client: SimClient) {
        self.with(client, |client| client.reset = true);
    }

    /// Whether the client sees the end: the server's FIN or reset.
    pub fn is_ended(&self, client: SimClient) -> bool {
        self.with(client, |client| client.shut_down || client.gone || client.closing)
    }

    /// Whether the server has let go of the socket.
    pub fn is_gone(&self, client: SimClient) -> bool {
        self.with(client, |client| client.gone)
    }

    /// The server's name for the client, once accepted.
    pub fn socket(&self, client: SimClient) -> Option<SocketId> {
        self.with(client, |client| client.socket)
    }

    /// A number that differs whenever anything went otherwise.
    pub fn fingerprint(&self) -> u64 {
        self.0.borrow().fingerprint
    }

    /// Bytes of memory that the network itself takes while nothing is under way.
    pub fn memory(&self) -> usize {
        let network = self.0.borrow();
        network.clients.capacity() * size_of::<Client>()
            + network.sockets.capacity() * size_of::<Option<u32>>()
            + network.free.capacity() * size_of::<u32>()
            + network.waiting.capacity() * size_of::<u32>()
    }

    /// Whether nothing is under way: no bytes, batches, connections or ends to deliver.
    pub fn is_quiet(&self) -> bool {
        let network = self.0.borrow();
        network.waiting.is_empty() && network.working.is_empty()
    }

    fn with<R>(&self, client: SimClient, act: impl FnOnce(&mut Client) -> R) -> R {
        let mut network = self.0.borrow_mut();
        let result = act(network.client(client.0));
        network.look_at(client.0);
        result
    }
}

impl SimDriver {
    /// A driver and its clients' side, decided by `seed`.
    pub fn new(seed: u64, options: SimOptions) -> (Self, SimNetwork) {
        let network = SimNetwork(Rc::new(RefCell::new(Network {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            options,
            clients: Vec::new(),
            sockets: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            working: BTreeSet::new(),
            generation: 0,
            listening: true,
            fingerprint: 0,
        })));
        let driver =
            Self { network: network.clone(), waker: SimWaker::default(), shorts: Vec::new() };
        (driver, network)
    }

    fn live<R>(&self, socket: SocketId, act: impl FnOnce(&mut Network, u32) -> R) -> Option<R> {
        let mut network = self.network.0.borrow_mut();
        let client = network.live(socket)?;
        let result = act(&mut network, client);
        network.look_at(client);
        Some(result)
    }

    fn accept(&self, handler: &mut impl EventHandler) {
        let is_prompt = self.network.0.borrow().options.delay_one_in <= 1;
        for _ in 0..if is_prompt { ACCEPTS_PER_POLL } else { 1 } {
            let accepted = {
                let mut network = self.network.0.borrow_mut();
                if network.waiting.is_empty() || network.is_delayed() {
                    return;
                }
                network.accept()
            };
            if let Some((socket, peer)) = accepted {
                handler.on_event(Event::Accepted { socket, peer });
            }
        }
    }

    /// One socket's share of a poll. The network is not borrowed while the handler runs.
    fn progress(&self, client: u32, handler: &mut impl EventHandler) {
        let step = {
            let mut network = self.network.0.borrow_mut();
            let step = network.step(client);
            network.look_at(client);
            step
        };
        match step {
            Step::Nothing => {}
            Step::Closed(socket, cause) => handler.on_event(Event::Closed { socket, cause }),
            Step::Move { socket, sent, mut received, ended } => {
                if let Some(batch) = sent {
                    handler.on_event(Event::Sent { socket, batch });
                }
                if !received.is_empty() {
                    handler.on_event(Event::Received { socket, bytes: &mut received });
                }
                if ended {
                    handler.on_event(Event::Ended { socket });
                }
            }
        }
    }
}

impl Driver for SimDriver {
    type Waker = SimWaker;

    fn waker(&self) -> SimWaker {
        self.waker.clone()
    }

    fn start_recv(&mut self, socket: SocketId) {
        self.live(socket, |network, client| network.client(client).receiving = true);
    }

    fn stop_recv(&mut self, socket: SocketId) {
        self.live(socket, |network, client| network.client(client).receiving = false);
    }

    fn send(&mut self, socket: SocketId, batch: SendBatch) -> Sending {
        let mut batch = Some(batch);
        let done = self.live(socket, |network, client| {
            let batch = batch.take()?;
            network.send(client, batch)
        });
        done.flatten().map_or(Sending::Pending, Sending::Done)
    }

    fn offer(&mut self, offer: u32, members: &[Member], pieces: &[Piece]) {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes()).copied().collect();
        for member in members {
            let took = self.live(member.socket, |network, client| {
                debug_assert!(!network.client(client).is_sending(), "no offer beside a send");
                network.take(client, &bytes, 0)
            });
            let took = match took {
                Some(n) if n == bytes.len() => continue,
                Some(n) => Took::Bytes(n as u64),
                None => Took::Dead,
            };
            self.shorts.push(Short { offer, member: *member, took });
        }
    }

    fn settle(&mut self, shorts: &mut Vec<Short>) {
        shorts.append(&mut self.shorts);
    }

    fn shutdown(&mut self, socket: SocketId) {
        self.live(socket, |network, client| {
            let client = network.client(client);
            if client.is_sending() {
                client.shut_down_when_sent = true;
            } else {
                client.shut_down = true;
            }
        });
    }

    fn close(&mut self, socket: SocketId) {
        self.live(socket, |network, client| network.client(client).closing = true);
    }

    fn stop_listening(&mut self) {
        let mut network = self.network.0.borrow_mut();
        network.listening = false;
        for client in std::mem::take(&mut network.waiting) {
            network.client(client).gone = true;
        }
    }

    fn poll(
        &mut self,
        _timeout: Option<Duration>,
        handler: &mut impl EventHandler,
    ) -> io::Result<()> {
        if self.waker.0.swap(false, Ordering::SeqCst) {
            handler.on_event(Event::Woken);
        }
        self.accept(handler);
        let working: Vec<u32> = self.network.0.borrow().working.iter().copied().collect();
        for index in working {
            let client = self.network.0.borrow().sockets.get(index as usize).copied().flatten();
            if let Some(client) = client {
                self.progress(client, handler);
            }
        }
        Ok(())
    }
}

enum Step {
    Nothing,
    Closed(SocketId, CloseCause),
    Move { socket: SocketId, sent: Option<SendBatch>, received: Vec<u8>, ended: bool },
}

impl Client {
    fn room(&self) -> usize {
        let held = self.under_way.as_ref().map_or(0, |under_way| under_way.from_server.len());
        (self.capacity as usize).saturating_sub(held)
    }

    fn is_sending(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.in_flight.is_some())
    }

    fn under_way_mut(&mut self) -> &mut UnderWay {
        self.under_way.get_or_insert_default()
    }

    /// Whether a poll has something to do for it, now or when the network delays it no more.
    fn has_work(&self) -> bool {
        let is_heard = self.under_way.as_ref().is_some_and(|u| !u.to_server.is_empty());
        self.closing
            || self.reset
            || (self.is_sending() && self.room() > 0)
            || (self.receiving && (is_heard || self.finished != self.ended))
    }

    /// Whether nothing is between it and the server.
    fn has_nothing_under_way(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| {
            under_way.to_server.is_empty()
                && under_way.from_server.is_empty()
                && under_way.in_flight.is_none()
        })
    }
}

impl Network {
    fn below(&mut self, bound: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) % bound.max(1)
    }

    fn is_delayed(&mut self) -> bool {
        let one_in = self.options.delay_one_in;
        one_in > 1 && self.below(one_in) == 0
    }

    fn note(&mut self, kind: u64, client: u32, n: usize) {
        let word = kind << 60 | u64::from(client) << 32 | n as u64;
        self.fingerprint = (self.fingerprint ^ word).wrapping_mul(0x100_0000_01b3);
    }

    fn client(&mut self, index: u32) -> &mut Client {
        self.clients.get_mut(index as usize).expect("clients are never removed")
    }

    fn live(&mut self, socket: SocketId) -> Option<u32> {
        let client = (*self.sockets.get(socket.index as usize)?)?;
        let known = self.client(client);
        (known.socket == Some(socket) && !known.closing).then_some(client)
    }

    /// Something of a client may have changed: notes whether it has work, and forgets what it does
    /// not need.
    fn look_at(&mut self, client: u32) {
        let known = self.client(client);
        if known.has_nothing_under_way() {
            known.under_way = None;
        }
        let has_work = known.has_work();
        let Some(socket) = known.socket else { return };
        if has_work {
            self.working.insert(socket.index);
        } else {
            self.working.remove(&socket.index);
        }
    }

    fn accept(&mut self) -> Option<(SocketId, SocketAddr)> {
        let client = self.waiting.pop_front()?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            u32::try_from(self.sockets.len() - 1).unwrap_or(u32::MAX)
        });
        self.generation += 1;
        let socket = SocketId { index, generation: self.generation };
        if let Some(place) = self.sockets.get_mut(index as usize) {
            *place = Some(client);
        }
        self.client(client).socket = Some(socket);
        self.look_at(client);
        let [a, b, c, d] = client.to_be_bytes();
        self.note(5, client, 0);
        Some((socket, SocketAddr::from(([10, b, c, d], 1000 + u16::from(a)))))
    }

    /// Puts a prefix of `bytes` from `done` on into the client's buffer; returns how much.
    fn take(&mut self, index: u32, bytes: &[u8], done: usize) -> usize {
        let one_in = self.options.short_one_in;
        let is_short = one_in > 0 && self.below(one_in) == 0;
        let rest = bytes.get(done..).unwrap_or(&[]);
        let mut n = rest.len().min(self.client(index).room());
        if is_short {
            n = usize::try_from(self.below(n as u64 + 1)).unwrap_or(0);
        }
        let client = self.client(index);
        if client.careless {
            client.forgotten += n as u64;
        } else if n > 0 {
            client.under_way_mut().from_server.extend(rest.get(..n).unwrap_or(&[]));
        }
        self.note(3, index, n);
        n
    }

    fn send(&mut self, index: u32, batch: SendBatch) -> Option<SendBatch> {
        debug_assert!(!self.client(index).is_sending(), "one batch in flight per socket");
        let bytes = batch.to_bytes();
        let done = self.take(index, &bytes, 0);
        if done == bytes.len() {
            return Some(batch);
        }
        self.client(index).under_way_mut().in_flight = Some((batch, done));
        None
    }

    fn step(&mut self, index: u32) -> Step {
        let Some(socket) = self.client(index).socket else {
            return Step::Nothing;
        };
        if self.client(index).closing {
            self.remove(index, socket);
            return Step::Closed(socket, CloseCause::Requested);
        }
        if self.is_delayed() {
            return Step::Nothing;
        }
        if self.client(index).reset {
            self.remove(index, socket);
            return Step::Closed(socket, CloseCause::Reset);
        }
        let sent = self.continue_sending(index);
        let (received, ended) = self.receive(index);
        Step::Move { socket, sent, received, ended }
    }

    fn remove(&mut self, index: u32, socket: SocketId) {
        self.note(4, index, 0);
        let client = self.client(index);
        client.gone = true;
        client.socket = None;
        if let Some(under_way) = &mut client.under_way {
            under_way.in_flight = None;
        }
        self.working.remove(&socket.index);
        if let Some(place) = self.sockets.get_mut(socket.index as usize) {
            *place = None;
        }
        self.free.push(socket.index);
    }

    fn continue_sending(&mut self, index: u32) -> Option<SendBatch> {
        let (batch, done) = self.client(index).under_way.as_mut()?.in_flight.take()?;
        let bytes = batch.to_bytes();
        let done = done + self.take(index, &bytes, done);
        let client = self.client(index);
        if done < bytes.len() {
            client.under_way_mut().in_flight = Some((batch, done));
            return None;
        }
        client.shut_down |= client.shut_down_when_sent;
        Some(batch)
    }

    fn receive(&mut self, index: u32) -> (Vec<u8>, bool) {
        let split = self.options.split_bytes_max.max(1) as u64;
        let split = usize::try_from(self.below(split)).unwrap_or(0) + 1;
        let client = self.client(index);
        if !client.receiving || client.ended {
            return (Vec::new(), false);
        }
        let mut bytes = Vec::new();
        let mut is_all = true;
        if let Some(under_way) = &mut client.under_way {
            let n = split.min(under_way.to_server.len());
            bytes.extend(under_way.to_server.drain(..n));
            is_all = under_way.to_server.is_empty();
        }
        client.ended = client.finished && is_all;
        let ended = client.ended;
        self.note(1 + u64::from(ended), index, bytes.len());
        (bytes, ended)
    }
}
