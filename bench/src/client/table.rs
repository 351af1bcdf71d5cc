//! The connections of a fleet, and what the driver's events do to them.

use fulmar_driver::{CloseCause, Event, EventHandler, SendBatch, SocketId};
use fulmar_proto::ws::Opcode;

use super::Sink;
use crate::clock::Clock;
use crate::handshake;
use crate::measure::ErrorLog;
use crate::nats::{self, Said};
use crate::walker::{Item, Malformed, Walker};

/// All connections of one thread, by number.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) clock: Clock,
    pub(super) connections: Vec<Connection>,
    /// From the driver's index to ours.
    pub(super) slots: Vec<u32>,
    pub(super) work: Vec<Work>,
    pub(super) errors: ErrorLog,
    pub(super) open: u32,
    pub(super) events: u64,
}

/// What is to be done once the driver can be called again.
#[derive(Debug)]
pub(super) enum Work {
    Upgrade(u32),
    Flush(u32),
    /// Sends one frame.
    Say(u32, Opcode, Vec<u8>),
    StopReading(u32),
    /// Answers the peer's close frame.
    AnswerClose(u32, Option<u16>),
    Close(u32),
}

/// One connection; a vacant one is all zeroes.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) socket: SocketId,
    pub(super) phase: Phase,
    pub(super) sending: bool,
    pub(super) walker: Walker,
    pub(super) waiting: Option<Box<SendBatch>>,
    pub(super) opening: Option<Box<Opening>>,
    /// What frames are read by instead of the walker if the server speaks NATS.
    pub(super) nats: Option<Box<nats::Session>>,
}

/// How far a connection is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Vacant,
    Opening,
    /// Past the handshake, but the server's own protocol is still being agreed upon.
    Greeting,
    Open,
    /// We asked for the end.
    Closing,
    /// The peer asked for the end, or an error was counted; the socket is about to go.
    Ending,
}

impl Phase {
    /// Whether frames may be sent.
    #[inline]
    pub(super) fn takes_frames(self) -> bool {
        matches!(self, Self::Greeting | Self::Open)
    }
}

/// What only the time until the connection is open needs.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) since: u64,
    pub(super) key: String,
    pub(super) request: Vec<u8>,
    pub(super) response: Vec<u8>,
    pub(super) any_accept: bool,
    pub(super) reads: bool,
    pub(super) nats: Option<nats::Seat>,
}

impl Opening {
    /// The key the response has to be made from, if that matters.
    fn accept_key(&self) -> Option<&str> {
        (!self.any_accept).then_some(&self.key)
    }
}

/// Hands the driver's events to the table and the sink.
pub(super) struct Handler<'a, S> {
    pub(super) table: &'a mut Table,
    pub(super) sink: &'a mut S,
}

impl<S: Sink> EventHandler for Handler<'_, S> {
    fn on_event(&mut self, event: Event<'_>) {
        self.table.events += 1;
        match event {
            Event::Received { socket, bytes } => self.table.received(socket, bytes, self.sink),
            Event::Connected { socket } => {
                if let Some(slot) = self.table.slot(socket) {
                    self.table.work.push(Work::Upgrade(slot));
                }
            }
            Event::Sent { socket, batch } => {
                drop(batch);
                let Some(slot) = self.table.slot(socket) else {
                    return;
                };
                if let Some(connection) = self.table.connections.get_mut(slot as usize) {
                    connection.sending = false;
                    self.table.work.push(Work::Flush(slot));
                }
            }
            Event::Ended { socket } => {
                let Some(slot) = self.table.slot(socket) else {
                    return;
                };
                self.table.ended_without_close(slot);
                self.table.work.push(Work::Close(slot));
            }
            Event::Closed { socket, cause } => self.table.closed(socket, cause, self.sink),
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Woken => {}
        }
    }
}

impl Table {
    #[inline]
    fn slot(&self, socket: SocketId) -> Option<u32> {
        let slot = *self.slots.get(socket.index as usize)?;
        let connection = self.connections.get(slot as usize)?;
        (connection.socket == socket && connection.phase != Phase::Vacant).then_some(slot)
    }

    #[inline]
    fn received(&mut self, socket: SocketId, bytes: &[u8], sink: &mut impl Sink) {
        // Before anything else: what follows may have to come from memory first.
        let now = self.clock.now();
        let Some(slot) = self.slot(socket) else {
            return;
        };
        let phase = self.connections.get(slot as usize).map(|connection| connection.phase);
        let frames = match phase {
            Some(Phase::Greeting | Phase::Open | Phase::Closing) => bytes,
            Some(Phase::Opening) => {
                let Some(rest) = self.handshake(slot, bytes, now, sink) else {
                    return;
                };
                bytes.get(bytes.len().saturating_sub(rest)..).unwrap_or(&[])
            }
            _ => return,
        };
        self.walk(slot, frames, now, sink);
    }

    #[inline]
    fn walk(&mut self, slot: u32, bytes: &[u8], now: u64, sink: &mut impl Sink) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if connection.nats.is_some() {
            return self.walk_nats(slot, bytes, now, sink);
        }
        let work = &mut self.work;
        let result = connection.walker.walk(bytes, |item| match item {
            Item::Message(message) => sink.message(slot, message, now),
            control => note_control(work, slot, &control),
        });
        self.check(slot, result);
    }

    fn walk_nats(&mut self, slot: u32, bytes: &[u8], now: u64, sink: &mut impl Sink) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let Some(session) = &mut connection.nats else {
            return;
        };
        let seat = connection.opening.as_ref().and_then(|opening| opening.nats.as_ref());
        let (work, errors) = (&mut self.work, &mut self.errors);
        let mut answered = false;
        let result = session.walk(bytes, |said| match said {
            Said::Message(message) => sink.message(slot, message, now),
            Said::Info => {
                if let Some(seat) = seat {
                    work.push(Work::Say(slot, Opcode::Binary, seat.greeting()));
                }
            }
            Said::Ping => work.push(Work::Say(slot, Opcode::Binary, nats::PONG.to_vec())),
            Said::Pong => answered = true,
            Said::Error(text) => errors.add("refused_by_server", || text.to_owned()),
            Said::Control(control) => note_control(work, slot, &control),
        });
        if answered && connection.phase == Phase::Greeting {
            self.set_open(slot, now, sink);
        }
        self.check(slot, result);
    }

    /// Ends a connection whose stream makes no sense.
    #[inline]
    fn check(&mut self, slot: u32, result: Result<(), Malformed>) {
        if let Err(malformed) = result {
            self.errors.add("malformed_frame", || malformed.0.to_owned());
            self.leave(slot, Phase::Ending);
            self.work.push(Work::Close(slot));
        }
    }

    /// Takes a part of the response; the number of bytes that follow it once it is complete.
    fn handshake(
        &mut self,
        slot: u32,
        bytes: &[u8],
        now: u64,
        sink: &mut impl Sink,
    ) -> Option<usize> {
        let connection = self.connections.get_mut(slot as usize)?;
        let opening = connection.opening.as_mut()?;
        opening.response.extend_from_slice(bytes);
        match handshake::accepted(&opening.response, opening.accept_key()) {
            Ok(None) => None,
            Ok(Some(consumed)) => {
                let rest = opening.response.len() - consumed;
                if opening.nats.is_some() {
                    connection.phase = Phase::Greeting;
                    connection.nats = Some(Box::default());
                } else {
                    self.set_open(slot, now, sink);
                }
                Some(rest)
            }
            Err(why) => {
                self.errors.add("handshake_refused", || why);
                self.leave(slot, Phase::Ending);
                self.work.push(Work::Close(slot));
                None
            }
        }
    }

    /// Takes a connection into service.
    fn set_open(&mut self, slot: u32, now: u64, sink: &mut impl Sink) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let Some(opening) = connection.opening.take() else {
            return;
        };
        if !opening.reads {
            self.work.push(Work::StopReading(slot));
        }
        connection.phase = Phase::Open;
        self.open += 1;
        sink.opened(slot, opening.since, now);
    }

    /// Moves a connection out of service.
    pub(super) fn leave(&mut self, slot: u32, phase: Phase) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if connection.phase == Phase::Open {
            self.open -= 1;
        }
        if connection.phase != Phase::Closing {
            connection.phase = phase;
        }
    }

    pub(super) fn closed_by_server(&mut self, slot: u32, code: Option<u16>) {
        let phase = self.connections.get(slot as usize).map(|connection| connection.phase);
        if phase.is_some_and(Phase::takes_frames) {
            self.errors.add("closed_by_server", || match code {
                Some(code) => format!("close code {code}"),
                None => "a close frame without a code".to_owned(),
            });
        }
        self.leave(slot, Phase::Ending);
    }

    fn ended_without_close(&mut self, slot: u32) {
        let phase = self.connections.get(slot as usize).map(|connection| connection.phase);
        match phase {
            Some(Phase::Opening | Phase::Greeting) => self
                .errors
                .add("handshake_refused", || "the server ended the connection".to_owned()),
            Some(Phase::Open) => self
                .errors
                .add("closed_by_server", || "the server ended it without a close frame".to_owned()),
            _ => {}
        }
        self.leave(slot, Phase::Ending);
    }

    fn closed(&mut self, socket: SocketId, cause: CloseCause, sink: &mut impl Sink) {
        let Some(slot) = self.slot(socket) else {
            return;
        };
        let now = self.clock.now();
        let phase = self.connections.get(slot as usize).map(|connection| connection.phase);
        match phase {
            Some(Phase::Opening | Phase::Greeting) => {
                self.errors.add("connect_failed", || format!("{cause:?}"));
            }
            Some(Phase::Open) => self.errors.add("connection_broken", || format!("{cause:?}")),
            _ => {}
        }
        self.leave(slot, Phase::Ending);
        place(&mut self.connections, slot, Connection::default());
        sink.ended(slot, phase == Some(Phase::Closing), now);
    }
}

/// Notes what a control frame asks for.
fn note_control(work: &mut Vec<Work>, slot: u32, control: &Item<'_>) {
    match control {
        Item::Ping(payload) => work.push(Work::Say(slot, Opcode::Pong, payload.to_vec())),
        Item::Close(code) => work.push(Work::AnswerClose(slot, *code)),
        Item::Pong | Item::Message(_) => {}
    }
}

/// Puts `item` at `index`, growing the vector with defaults.
pub(super) fn place<T: Default>(items: &mut Vec<T>, index: u32, item: T) {
    let index = index as usize;
    if items.len() <= index {
        items.resize_with(index + 1, T::default);
    }
    if let Some(place) = items.get_mut(index) {
        *place = item;
    }
}
