//! A shard: a pure function from events, mail and time to effects.
//!
//! It owns its connections, their sessions and output, its share of rooms, and its timers. It makes
//! no system call: what the driver is to do is marked, and done in the flush. Nothing of it is
//! shared; other threads write letters.
//!
//! | file | what |
//! |---|---|
//! | [`connection`] | one connection's input side, and the table |
//! | [`guarding`] | requests that wait for their endpoint's guard |
//! | [`describing`] | what is told of clients |
//! | [`handshake`] | from the first byte to the answer of the request |
//! | [`talk`] | messages to sessions |
//! | [`effects`] | what sessions want |
//! | [`calling`], [`calls`] | handlers |
//! | [`closing`] | every way a connection ends |
//! | [`sealing`] | connections whose output is encrypted |
//! | [`deadlines`], [`timers`] | time |

#[cfg(feature = "sim")]
mod audit;
mod calling;
mod calls;
mod closing;
mod compressing;
mod connection;
mod deadlines;
mod describing;
mod effects;
mod guarding;
mod handshake;
mod inline_calls;
mod open_calls;
mod sealing;
mod talk;
mod timers;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use fulmar_dialect::{CallId, Envelope, Tag};
use fulmar_driver::{CloseCause, Driver, Event, EventHandler, SocketId};
use fulmar_proto::ws::Scratch;

use self::calls::Lanes;
use self::compressing::Compressors;
use self::connection::{Connection, Connections, OWES, PAUSED_OUTPUT, Stage};
use self::deadlines::Deadlines;
use self::sealing::Seals;
use crate::clock::{ReadClock, Tick};
use crate::entropy::Entropy;
use crate::mailbox::{Mail, Post};
use crate::node::{Admitted, Node};
use crate::output::{self, Envelopes, Notice, Output, OutputSettings, Posts, RoomMail};
use crate::paged::Paged;
use crate::reason::Reason;
use crate::stats::Stats;
use crate::timer_wheel::TimerWheel;
use crate::worker::{Control, OwnedReply};

/// The server's logic on one thread.
pub(crate) struct Shard {
    id: u32,
    node: Arc<Node>,
    post: Post,
    connections: Connections,
    /// For limits per address, if there are any; by the index of the socket.
    addresses: Paged<Option<IpAddr>>,
    output: Output,
    lanes: Lanes,
    wheel: TimerWheel,
    /// What the driver is to do in the flush, in this order.
    commands: Vec<(SocketId, Command)>,
    scratch: Option<Scratch>,
    /// To calls that were answered at once, until their session has returned.
    replies: Vec<(CallId, OwnedReply)>,
    compressors: Compressors,
    entropy: Box<dyn Entropy>,
    clock: Box<dyn ReadClock>,
    /// Whether the time was read since the poll began.
    is_awake: bool,
    stats: Stats,
    now: Tick,
    notices: Vec<Notice>,
    /// Kept for its capacity.
    envelope: Envelope,
    fired: Vec<u32>,
    /// Connections that stopped being read because their output is stuck, to look at after the
    /// flush, which may already have freed them.
    stuck: Vec<SocketId>,
    /// Connections that wait for a room's home.
    throttled: Vec<SocketId>,
    /// Streams that may go on when their clients have read more.
    owed: Vec<(SocketId, Arc<Control>)>,
    /// Connections whose output is sealed.
    seals: Seals,
    /// What embedders kept for connections that are gone, until their calls have ended.
    departed_locals: HashMap<u32, Box<dyn Any + Send>, RandomState>,
    /// Lanes of connections that have ended, and until when what is left of them may go on.
    outliving: VecDeque<(Tick, u32, SocketId)>,
    /// Connections whose request is awaited, and how many may be.
    pending: usize,
    pending_max: usize,
    stopping: Option<Stopping>,
    stop_listening: bool,
}

/// How a shard ends.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    /// Another server takes over: 1012 instead of 1001.
    restarting: bool,
    /// Handlers that still run are not waited for.
    is_cut: bool,
}

/// A verb of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    StartRecv,
    StopRecv,
    Shutdown,
    Close,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("id", &self.id)
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}

impl Shard {
    /// A shard without connections.
    pub(crate) fn new(
        id: u32,
        node: Arc<Node>,
        post: Post,
        mut entropy: Box<dyn Entropy>,
        clock: Box<dyn ReadClock>,
    ) -> Self {
        let mut seeds = [[0; 8]; 4];
        seeds.iter_mut().for_each(|seed| entropy.fill(seed));
        let limits = &node.config.limits;
        let sealing_max = limits.sealing_max.div_ceil(node.posts.len().max(1));
        let pending_max = limits.connections_pending_max.div_ceil(node.posts.len().max(1));
        let mut output = Output::new(OutputSettings {
            shard: id,
            shards: u32::try_from(node.posts.len()).unwrap_or(1),
            limits: output::Limits {
                retain_bytes_max: limits.room_retain_bytes_max as u64,
                memberships_max: limits.rooms_per_connection_max,
                ..output::Limits::default()
            },
            profile: node.profiles.first().copied().unwrap_or_default(),
            encodings: node.encodings.clone(),
            hash_seeds: seeds.map(u64::from_le_bytes),
            home_seed: node.home_seed,
            epoch: node.epoch,
        });
        if node.cluster.fabric().is_some() {
            output.join_cluster();
        }
        for profile in node.profiles.iter().skip(1) {
            // Endpoints' profiles were checked to fit when the server was made.
            let _fits = output.add_profile(*profile);
        }
        Self {
            id,
            node,
            post,
            connections: Connections::default(),
            addresses: Paged::default(),
            output,
            lanes: Lanes::new(),
            wheel: TimerWheel::new(clock.now().tick()),
            commands: Vec::new(),
            scratch: Some(Scratch::default()),
            replies: Vec::new(),
            compressors: Compressors::new(entropy.hasher()),
            is_awake: true,
            stats: Stats::default(),
            now: clock.now().tick(),
            clock,
            notices: Vec::new(),
            envelope: Envelope::default(),
            fired: Vec::new(),
            stuck: Vec::new(),
            throttled: Vec::new(),
            owed: Vec::new(),
            seals: Seals::new(entropy.hasher(), sealing_max),
            departed_locals: HashMap::with_hasher(entropy.hasher()),
            outliving: VecDeque::new(),
            pending: 0,
            pending_max,
            stopping: None,
            stop_listening: false,
            entropy,
        }
    }

    /// Whether something has happened in this turn.
    pub(crate) fn is_awake(&self) -> bool {
        self.is_awake
    }

    /// A turn begins. The poll may sleep, so the time of its events is read when the first one
    /// comes.
    pub(crate) fn begin_turn(&mut self) {
        self.is_awake = false;
        self.stats.turns += 1;
    }

    /// The tick at which the shard has something to do even if nothing happens; `None` if never.
    /// Now, if there is something to do at once.
    pub(crate) fn next_wake(&self) -> Option<Tick> {
        if self.output.is_pending() || !self.commands.is_empty() {
            return Some(self.now);
        }
        if !self.throttled.is_empty() {
            return Some(Tick(self.now.0 + 1));
        }
        let outliving = self.outliving.front().map(|(due, ..)| *due);
        self.wheel.next_due().into_iter().chain(outliving).min()
    }

    /// Whether a stop is complete.
    pub(crate) fn is_stopped(&self) -> bool {
        let Some(stopping) = self.stopping else { return false };
        self.connections.len() == 0 && (stopping.is_cut || self.lanes.is_empty())
    }

    /// A letter.
    pub(crate) fn on_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Room(mail) => self.output.on_mail(mail),
            Mail::Ask { socket, ask } => self.on_ask(socket, ask),
            Mail::Publish { publication } => {
                self.stats.published += 1;
                self.output.publish(None, publication);
            }
            Mail::Reply { lane, serial, reply } => self.on_reply(lane, serial, reply),
            Mail::Answer { socket, call, reply } => self.on_answer(socket, call, reply),
            Mail::Returned { lane, serial } => self.on_returned(lane, serial),
            Mail::Sealed { socket, ticket, frame } => self.on_sealed(socket, ticket, frame),
            Mail::Stats(to) => {
                // Whoever asked may have stopped waiting.
                let _gone = to.send(self.stats());
            }
            Mail::Describe { of, to } => {
                let _gone = to.send(self.describe(&of));
            }
            Mail::Stop { restarting } => self.stop(restarting),
            Mail::Cut => self.cut(),
        }
    }

    /// Phase 4: letters to other shards, then one wake for each. It comes before the flush: a
    /// join's letter is in its home's mailbox before the join's acknowledgement reaches the client,
    /// so that whatever is said after the acknowledgement is ordered after the join.
    pub(crate) fn post_mail(&mut self, drained: bool) {
        let mut out = Outgoing { node: &self.node, posted: [0; 4] };
        self.output.post(&mut out, drained);
        let posted = out.posted;
        let cluster = &self.node.cluster;
        self.output.take_upward(|upward| cluster.tell(upward));
        for (index, post) in self.node.posts.iter().enumerate() {
            if posted[index / 64] & 1 << (index % 64) != 0 {
                post.kick();
            }
        }
        self.after_output();
    }

    /// Phase 5: everything the driver is to do.
    pub(crate) fn flush(&mut self, driver: &mut impl Driver) {
        if std::mem::take(&mut self.stop_listening) {
            driver.stop_listening();
        }
        let mut envelopes = SessionEnvelopes {
            connections: &self.connections,
            envelope: std::mem::take(&mut self.envelope),
        };
        self.output.flush(driver, &mut envelopes);
        self.envelope = envelopes.envelope;
        self.after_output();
        self.look_at_stuck();
        for (socket, command) in self.commands.drain(..) {
            match command {
                Command::StartRecv => driver.start_recv(socket),
                Command::StopRecv => driver.stop_recv(socket),
                Command::Shutdown => driver.shutdown(socket),
                Command::Close => driver.close(socket),
            }
        }
    }

    /// A copy of the counters.
    pub(crate) fn stats(&self) -> Stats {
        let counts = self.output.counts();
        Stats {
            connections: self.connections.len() as u64,
            rooms: self.output.room_count() as u64,
            memberships: self.output.membership_count() as u64,
            calls_now: self.lanes.len() as u64,
            output: counts,
            ..self.stats.clone()
        }
    }

    /// What output has to tell.
    fn after_output(&mut self) {
        let mut notices = std::mem::take(&mut self.notices);
        self.output.take_notices(&mut notices);
        for notice in notices.drain(..) {
            match notice {
                Notice::Drained(socket) => self.on_drained(socket),
                Notice::Refused(socket) => self.on_publication_refused(socket),
                Notice::SlowClosed(socket) => self.on_slow_closed(socket),
                Notice::Finished(socket) => self.on_finished(socket),
                Notice::Joined { .. } => {} // no session of ours asks for positions
                Notice::Delivered { socket, tag, frames } => {
                    self.on_delivered(socket, tag, frames);
                }
                Notice::ToSeal { socket, ticket, is_binary, bytes } => {
                    self.seal(socket, ticket, is_binary, bytes);
                }
            }
        }
        self.notices = notices;
    }

    fn on_accepted(&mut self, socket: SocketId, peer: std::net::SocketAddr) {
        self.stats.accepted += 1;
        let config = &self.node.config;
        let limits = &config.limits;
        let admitted = self.node.admission.enter(peer.ip(), config);
        self.pending += 1;
        let by_address = limits.connections_per_address_max > 0;
        let due = self.now.after(config.timeouts.handshake);
        let refuse = match admitted {
            Admitted::Yes if self.stopping.is_some() => Some(Reason::Draining),
            Admitted::Yes => (self.pending > self.pending_max).then_some(Reason::PendingMax),
            Admitted::Refuse(reason) => Some(reason),
            Admitted::Cut(reason) => {
                self.stats.reasons.bump(reason);
                self.commands.push((socket, Command::Close));
                None
            }
        };
        let request = self.new_request(peer, refuse);
        if by_address {
            *self.addresses.grow(socket.index) = Some(peer.ip());
        }
        let deadlines = Deadlines::new(self.now, due);
        self.connections.insert(socket, Connection::new(socket.generation, deadlines, request));
        self.output.open(socket, output::ProfileId::default());
        self.wheel.arm(socket.index, due);
        self.commands.push((socket, Command::StartRecv));
    }

    fn on_received(&mut self, socket: SocketId, bytes: &mut [u8]) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(socket) else { return };
        self.stats.bytes_in += bytes.len() as u64;
        match connection.stage {
            Stage::Request => self.on_request_bytes(socket, bytes),
            Stage::Open => {
                connection.deadlines.received(now);
                self.on_more_bytes(socket, bytes);
            }
            Stage::Closing => {}
        }
    }
}

impl EventHandler for Shard {
    fn on_event(&mut self, event: Event<'_>) {
        if !std::mem::replace(&mut self.is_awake, true) {
            self.now = self.clock.now().tick();
        }
        match event {
            Event::Accepted { socket, peer } => self.on_accepted(socket, peer),
            Event::Received { socket, bytes } => self.on_received(socket, bytes),
            Event::Sent { socket, batch } => {
                self.output.sent(socket, batch);
                self.on_progress(socket);
            }
            Event::Ended { socket } => self.on_ended(socket),
            Event::Closed { socket, cause } => self.on_closed(socket, cause),
            Event::AcceptFailed { .. } => self.stats.accept_failures += 1,
            Event::Connected { .. } | Event::Woken => {}
        }
    }
}

/// What members' sessions write around the bodies of their rooms' messages.
struct SessionEnvelopes<'a> {
    connections: &'a Connections,
    envelope: Envelope,
}

impl Envelopes for SessionEnvelopes<'_> {
    fn envelope(
        &mut self,
        socket: SocketId,
        tag: u32,
        body_len: usize,
        head: &mut Vec<u8>,
        tail: &mut Vec<u8>,
    ) {
        // In the flush no session is at work: each is in its place.
        let Some(connection) = self.connections.get(socket) else { return };
        let Some(session) = &connection.session else { return };
        self.envelope.head.clear();
        self.envelope.tail.clear();
        session.envelope(Tag(tag), body_len, &mut self.envelope);
        head.extend_from_slice(&self.envelope.head);
        tail.extend_from_slice(&self.envelope.tail);
    }
}

/// Letters on their way out, and whom to wake for them.
struct Outgoing<'a> {
    node: &'a Node,
    posted: [u64; 4],
}

impl Posts for Outgoing<'_> {
    fn post(&mut self, shard: u32, mail: RoomMail) -> Result<(), RoomMail> {
        let index = shard as usize;
        let Some(post) = self.node.posts.get(index) else { return Err(mail) };
        match post.push(Mail::Room(mail)) {
            Ok(()) => {
                self.posted[index / 64] |= 1 << (index % 64);
                Ok(())
            }
            Err(Mail::Room(mail)) => Err(mail),
            Err(_) => Ok(()),
        }
    }
}

impl Shard {
    /// The kernel took something: a connection that was stuck may be read again.
    fn on_progress(&mut self, socket: SocketId) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.flags.has(PAUSED_OUTPUT) {
            connection.deadlines.received(now);
        }
        if connection.flags.has(PAUSED_OUTPUT.or(OWES)) {
            self.stuck.push(socket);
        }
    }

    fn on_closed(&mut self, socket: SocketId, cause: CloseCause) {
        self.lost(socket, cause);
        self.output.closed(socket);
        self.wheel.disarm(socket.index);
        if self.connections.remove(socket).is_some() {
            let address = self.addresses.get_mut(socket.index).and_then(Option::take);
            self.node.admission.leave(address);
        }
    }
}
