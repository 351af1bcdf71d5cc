//! A fake kernel for one shard: sockets that take arbitrary prefixes, refuse, stall and die.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use fulmar_driver::{
    Driver, EventHandler, Member, Part, Piece, SendBatch, Sending, Short, SocketId, Took, Wake,
};

use super::rng::Rng;

pub enum Event {
    Sent(SocketId, SendBatch),
    Closed(SocketId),
}

impl Event {
    fn is_sent_to(&self, index: u32) -> bool {
        matches!(self, Self::Sent(socket, _) if socket.index == index)
    }
}

pub struct Wire {
    pub generation: u32,
    /// Bytes taken and not read by the client yet.
    pub buffer: Vec<u8>,
    /// How many the kernel takes before it refuses.
    pub capacity: usize,
    /// Whether the kernel also takes less than it could.
    pub fickle: bool,
    pub in_flight: Option<(SendBatch, Vec<u8>, usize)>,
    pub closed: bool,
    offered: bool,
}

impl Wire {
    fn take(&mut self, bytes: &[u8], rng: &mut Rng) -> usize {
        let mut count = bytes.len().min(self.capacity.saturating_sub(self.buffer.len()));
        if self.fickle && rng.percent(40) {
            count = rng.below(count as u64 + 1) as usize;
        }
        self.buffer.extend_from_slice(&bytes[..count]);
        count
    }
}

pub struct Kernel {
    pub wires: Vec<Option<Wire>>,
    pub events: VecDeque<Event>,
    pub rng: Rng,
    /// Sockets die by themselves so many times in ten thousand offers or sends.
    pub deaths: u64,
    /// Sends that are taken whole are done at once so many times in a hundred.
    pub eager: u64,
    /// Sends and offers made, members of offers counted one by one.
    pub calls: u64,
    /// Addresses of private buffers that were sent.
    pub buffers: BTreeSet<usize>,
    pending: Vec<Short>,
    offered: Vec<u32>,
}

#[derive(Clone, Debug)]
pub struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

impl Kernel {
    pub fn new(seed: u64, deaths: u64, eager: u64) -> Self {
        Self {
            wires: Vec::new(),
            events: VecDeque::new(),
            rng: Rng::new(seed),
            deaths,
            eager,
            calls: 0,
            buffers: BTreeSet::new(),
            pending: Vec::new(),
            offered: Vec::new(),
        }
    }

    pub fn open(&mut self, generation: u32, capacity: usize, fickle: bool) -> SocketId {
        let wire = Wire {
            generation,
            buffer: Vec::new(),
            capacity,
            fickle,
            in_flight: None,
            closed: false,
            offered: false,
        };
        let index = match self.wires.iter().position(Option::is_none) {
            Some(free) => {
                self.wires[free] = Some(wire);
                free
            }
            None => {
                self.wires.push(Some(wire));
                self.wires.len() - 1
            }
        };
        SocketId { index: u32::try_from(index).unwrap(), generation }
    }

    /// The peer resets, or the driver was asked to close: one `Closed`, and what was in flight is
    /// gone.
    pub fn end(&mut self, socket: SocketId) {
        let wire = self.wires[socket.index as usize].as_mut();
        if let Some(wire) = wire.filter(|w| !w.closed && w.generation == socket.generation) {
            wire.closed = true;
            wire.in_flight = None;
            self.events.retain(|event| !event.is_sent_to(socket.index));
            self.events.push_back(Event::Closed(socket));
        }
    }

    /// The client reads up to `count` bytes; the kernel goes on with what is in flight.
    pub fn read(&mut self, socket: SocketId, count: usize) -> Vec<u8> {
        let Some(wire) = self.wires[socket.index as usize].as_mut() else {
            return Vec::new();
        };
        let count = count.min(wire.buffer.len());
        let rest = wire.buffer.split_off(count);
        let read = std::mem::replace(&mut wire.buffer, rest);
        if let Some(batch) = self.progress(socket) {
            self.events.push_back(Event::Sent(socket, batch));
        }
        read
    }

    /// Takes what it can of the send in flight; gives it back when it is whole.
    fn progress(&mut self, socket: SocketId) -> Option<SendBatch> {
        let wire = self.wires[socket.index as usize].as_mut()?;
        let (batch, bytes, done) = wire.in_flight.take()?;
        let taken = done + wire.take(&bytes[done..], &mut self.rng);
        if taken == bytes.len() {
            return Some(batch);
        }
        wire.in_flight = Some((batch, bytes, taken));
        None
    }

    /// Whether a send to the socket has not been reported yet.
    fn is_under_way(&self, index: u32) -> bool {
        let in_flight = |wire: &Wire| wire.in_flight.is_some();
        self.wires[index as usize].as_ref().is_some_and(in_flight)
            || self.events.iter().any(|event| event.is_sent_to(index))
    }

    /// What sends in flight hold.
    pub fn in_flight(&self) -> impl Iterator<Item = &SendBatch> {
        let wires = self.wires.iter().flatten();
        let sent = self.events.iter().filter_map(|event| match event {
            Event::Sent(_, batch) => Some(batch),
            Event::Closed(_) => None,
        });
        wires.filter_map(|wire| wire.in_flight.as_ref().map(|(batch, ..)| batch)).chain(sent)
    }
}

impl Driver for Kernel {
    type Waker = NoWake;

    fn offer(&mut self, offer: u32, members: &[Member], pieces: &[Piece]) {
        let mut bytes = Vec::new();
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece.bytes()));
        assert!(!bytes.is_empty(), "an offer of nothing");
        for member in members {
            self.calls += 1;
            let index = member.socket.index;
            let dies = self.rng.below(10_000) < self.deaths;
            assert!(!self.is_under_way(index), "an offer overtakes a send in flight");
            let wire = self.wires[index as usize].as_mut().expect("offered to a free index");
            assert_eq!(wire.generation, member.socket.generation, "offered to a later connection");
            assert!(!wire.offered, "two offers to one socket between settlings");
            wire.offered = true;
            self.offered.push(index);
            let took = if wire.closed || dies {
                Took::Dead
            } else {
                Took::Bytes(wire.take(&bytes, &mut self.rng) as u64)
            };
            if took == Took::Dead {
                self.end(member.socket);
            }
            if took != Took::Bytes(bytes.len() as u64) {
                self.pending.push(Short { offer, member: *member, took });
            }
        }
    }

    fn settle(&mut self, shorts: &mut Vec<Short>) {
        shorts.append(&mut self.pending);
        for index in self.offered.drain(..) {
            if let Some(wire) = self.wires[index as usize].as_mut() {
                wire.offered = false;
            }
        }
    }

    fn send(&mut self, socket: SocketId, batch: SendBatch) -> Sending {
        self.calls += 1;
        assert!(!self.is_under_way(socket.index), "two sends in flight");
        let wire = self.wires[socket.index as usize].as_mut().expect("sent to a free index");
        assert_eq!(wire.generation, socket.generation, "sent to a later connection");
        assert!(!wire.offered, "a send beside an offer");
        assert!(!batch.is_empty(), "a send of nothing");
        if wire.closed {
            return Sending::Pending; // a stale call does nothing; `Closed` is on its way
        }
        if let Some(Part::Owned(buffer)) = batch.parts().first() {
            self.buffers.insert(buffer.as_ptr() as usize);
        }
        let bytes = batch.to_bytes();
        assert_eq!(bytes.len(), batch.len(), "length of a batch");
        wire.in_flight = Some((batch, bytes, 0));
        if self.rng.below(10_000) < self.deaths {
            self.end(socket);
            return Sending::Pending;
        }
        match self.progress(socket) {
            Some(batch) if self.rng.percent(self.eager) => Sending::Done(batch),
            Some(batch) => {
                self.events.push_back(Event::Sent(socket, batch));
                Sending::Pending
            }
            None => Sending::Pending,
        }
    }

    fn close(&mut self, socket: SocketId) {
        self.end(socket);
    }

    fn waker(&self) -> NoWake {
        NoWake
    }

    fn start_recv(&mut self, _: SocketId) {}
    fn stop_recv(&mut self, _: SocketId) {}
    fn shutdown(&mut self, _: SocketId) {}
    fn stop_listening(&mut self) {}

    fn poll(&mut self, _: Option<Duration>, _: &mut impl EventHandler) -> std::io::Result<()> {
        Ok(())
    }
}
