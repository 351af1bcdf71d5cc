//! A fleet of WebSocket connections on one thread, over the same driver the server uses.
//!
//! Cost model of the hot path: one `recv` per readable socket, one head per frame, one clock
//! reading per `recv`; one `send` per batch. Nothing is allocated.

mod table;

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fulmar_driver::epoll::{EpollDriver, EpollOptions};
use fulmar_driver::{Block, Driver, Ledger, SendBatch, Sending, SocketId};
use fulmar_proto::ws::{self, Opcode};

use self::table::{Connection, Handler, Opening, Phase, Table, Work, place};
use crate::clock::Clock;
use crate::frames::Random;
use crate::handshake;
use crate::measure::ErrorLog;
use crate::nats;
use crate::target::Target;
use crate::walker::{Message, START_BYTES, Walker};

/// Bytes of the receive buffer: small enough to stay in the cache of one core.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// Where one connection goes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The server.
    pub(crate) target: Arc<Target>,
    /// The room that replaces `{room}` in the path.
    pub(crate) room: u32,
    /// The local address.
    pub(crate) source: Option<IpAddr>,
    /// The subprotocol to offer.
    pub(crate) subprotocol: Option<Arc<str>>,
    /// Whether a wrong `Sec-WebSocket-Accept` is taken as well.
    pub(crate) any_accept: bool,
    /// Whether to read after the handshake.
    pub(crate) reads: bool,
    /// What follows the handshake if the server speaks NATS. The path is `/` then.
    pub(crate) nats: Option<nats::Seat>,
}

/// Is told what happens to the connections of a fleet. Connections go by the number they were
/// opened under.
pub(crate) trait Sink {
    /// The handshake, begun at `since`, has succeeded.
    fn opened(&mut self, _slot: u32, _since: u64, _now: u64) {}
    /// A message is complete.
    fn message(&mut self, slot: u32, message: Message<'_>, now: u64);
    /// The connection is gone. `expected` if this side asked for it.
    fn ended(&mut self, _slot: u32, _expected: bool, _now: u64) {}
}

/// The connections of one thread.
#[derive(Debug)]
pub(crate) struct Fleet {
    driver: EpollDriver,
    /// Bytes of every message that are shown to the sink.
    shown_bytes: usize,
    table: Table,
    work: Vec<Work>,
    ledger: Ledger,
}

impl Fleet {
    /// A fleet without connections, which reads at most `events_per_poll` sockets per poll.
    ///
    /// # Errors
    /// The kernel refuses an epoll instance.
    pub(crate) fn new(clock: Clock, events_per_poll: usize) -> io::Result<Self> {
        let options = EpollOptions {
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES,
            receive_budget_bytes: 4 * RECEIVE_BUFFER_BYTES,
            events_per_poll,
            ..EpollOptions::default()
        };
        let table = Table {
            clock,
            connections: Vec::new(),
            slots: Vec::new(),
            work: Vec::new(),
            errors: ErrorLog::default(),
            open: 0,
            events: 0,
        };
        let driver = EpollDriver::new(options)?;
        let shown_bytes = START_BYTES;
        Ok(Self { driver, shown_bytes, table, work: Vec::new(), ledger: Ledger::default() })
    }

    /// Shows the sink so many bytes of every message, of connections begun from now on.
    pub(crate) fn show(self, shown_bytes: usize) -> Self {
        Self { shown_bytes, ..self }
    }

    /// Begins connection number `slot`, which must not exist now.
    ///
    /// # Errors
    /// No descriptors or no ports are left.
    pub(crate) fn open(&mut self, slot: u32, route: &Route, random: &mut Random) -> io::Result<()> {
        let since = self.table.clock.now();
        let socket = self.driver.connect(route.target.address, route.source)?;
        let key = handshake::key(random);
        let subprotocol = route.subprotocol.as_deref();
        let path = match route.nats {
            Some(_) => "/".to_owned(),
            None => route.target.path(route.room),
        };
        let request = handshake::request(&route.target.host, &path, &key, subprotocol);
        let opening = Opening {
            since,
            key,
            request,
            response: Vec::new(),
            any_accept: route.any_accept,
            reads: route.reads,
            nats: route.nats.clone(),
        };
        let connection = Connection {
            socket,
            phase: Phase::Opening,
            walker: Walker::showing(self.shown_bytes),
            opening: Some(Box::new(opening)),
            ..Connection::default()
        };
        place(&mut self.table.connections, slot, connection);
        place(&mut self.table.slots, socket.index, slot);
        Ok(())
    }

    /// Waits for events, at most `timeout`, and hands them to `sink`. Says whether any came.
    ///
    /// # Errors
    /// The driver is of no use any more.
    pub(crate) fn poll(&mut self, timeout: Duration, sink: &mut impl Sink) -> io::Result<bool> {
        let before = self.table.events;
        let mut handler = Handler { table: &mut self.table, sink };
        self.driver.poll(Some(timeout), &mut handler)?;
        if !self.table.work.is_empty() {
            self.do_work();
        }
        Ok(self.table.events != before)
    }

    /// Sends whole frames, after those that wait already.
    #[inline]
    pub(crate) fn send(&mut self, slot: u32, batch: SendBatch) -> Option<SendBatch> {
        let connection = self.table.connections.get_mut(slot as usize)?;
        if !connection.phase.takes_frames() || batch.is_empty() {
            return None;
        }
        if connection.sending {
            let waiting = connection.waiting.get_or_insert_default();
            for part in batch.parts() {
                waiting.push(part.bytes());
            }
            return None;
        }
        match self.driver.send(connection.socket, batch) {
            Sending::Done(batch) => Some(batch),
            Sending::Pending => {
                connection.sending = true;
                None
            }
        }
    }

    /// A block of bytes to send pieces of.
    pub(crate) fn block(&self, bytes: Vec<u8>) -> Rc<Block> {
        Block::whole(Arc::from(bytes), &self.ledger)
    }

    /// Ends a connection with a close frame; the server is waited for.
    pub(crate) fn close_gracefully(&mut self, slot: u32) {
        self.say(slot, Opcode::Close, &ws::close::NORMAL.to_be_bytes());
        self.set_closing(slot);
    }

    /// Says something that the server closes the connection for; that is waited for.
    pub(crate) fn say_last(&mut self, slot: u32, text: &str) {
        self.say(slot, Opcode::Text, text.as_bytes());
        self.set_closing(slot);
    }

    /// Ends a connection at once.
    pub(crate) fn close(&mut self, slot: u32) {
        if let Some(socket) = self.set_closing(slot) {
            self.driver.close(socket);
        }
    }

    fn set_closing(&mut self, slot: u32) -> Option<SocketId> {
        let connection = self.table.connections.get_mut(slot as usize)?;
        if connection.phase == Phase::Open {
            self.table.open -= 1;
        }
        connection.phase = Phase::Closing;
        Some(connection.socket)
    }

    /// Connections past their handshake.
    pub(crate) fn open_count(&self) -> u32 {
        self.table.open
    }

    /// Errors so far.
    pub(crate) fn errors(&self) -> &ErrorLog {
        &self.table.errors
    }

    /// Errors so far; the fleet begins anew at none.
    pub(crate) fn take_errors(&mut self) -> ErrorLog {
        std::mem::take(&mut self.table.errors)
    }

    fn do_work(&mut self) {
        let empty = std::mem::take(&mut self.work);
        let mut work = std::mem::replace(&mut self.table.work, empty);
        for item in work.drain(..) {
            self.do_item(item);
        }
        self.work = work;
    }

    fn do_item(&mut self, item: Work) {
        match item {
            Work::Upgrade(slot) => self.upgrade(slot),
            Work::Flush(slot) => {
                let Some(connection) = self.table.connections.get_mut(slot as usize) else {
                    return;
                };
                if let Some(batch) = connection.waiting.take() {
                    let sending = self.driver.send(connection.socket, *batch);
                    connection.sending = matches!(sending, Sending::Pending);
                }
            }
            Work::Say(slot, opcode, payload) => self.say(slot, opcode, &payload),
            Work::StopReading(slot) => {
                if let Some(connection) = self.table.connections.get(slot as usize) {
                    self.driver.stop_recv(connection.socket);
                }
            }
            Work::AnswerClose(slot, code) => {
                let bytes = code.map(u16::to_be_bytes);
                self.say(slot, Opcode::Close, bytes.as_ref().map_or(&[][..], |bytes| bytes));
                self.table.closed_by_server(slot, code);
            }
            Work::Close(slot) => {
                if let Some(connection) = self.table.connections.get(slot as usize) {
                    self.driver.close(connection.socket);
                }
            }
        }
    }

    /// Sends one frame of this side's own making.
    fn say(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        ws::write_masked_frame(&mut frame, true, false, opcode, payload, [0; 4]);
        drop(self.send(slot, SendBatch::from_bytes(frame)));
    }

    fn upgrade(&mut self, slot: u32) {
        let Some(connection) = self.table.connections.get_mut(slot as usize) else {
            return;
        };
        let Some(opening) = &mut connection.opening else {
            return;
        };
        self.driver.start_recv(connection.socket);
        let request = SendBatch::from_bytes(std::mem::take(&mut opening.request));
        connection.sending =
            matches!(self.driver.send(connection.socket, request), Sending::Pending);
    }
}
