//! One place in the pool: a connection when there is one, the calls that wait for it or on it, and
//! the thread that makes and reads it.
//!
//! Connections are numbered by epochs. A call belongs to the epoch it was made in, whether its
//! connection exists yet or not; when the connection ends, so does the epoch, and everything that
//! waits in it is settled.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use fulmar_proto::ws::{Opcode, close};

use crate::clock;
use crate::error::{ClientError, ConnectionError};
use crate::link::Link;
use crate::mailbox::Mailbox;
use crate::options::ClientOptions;
use crate::reader;
use crate::session::{Delivery, Due, Session, Shape, Timing};
use crate::slots::ReconnectSlots;
use crate::socket::Socket;
use crate::url::Target;
use crate::wire::{self, Reply};

/// How much of a frame is logged, in bytes.
const LOGGED_BYTES_MAX: usize = 1024;

/// What all connections of a client have in common.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) targets: Vec<Target>,
    pub(crate) slots: ReconnectSlots,
    pub(crate) options: ClientOptions,
}

impl Settings {
    fn timing(&self) -> Timing {
        Timing {
            ping_interval: self.options.ping_interval.filter(|time| !time.is_zero()),
            pong_timeout: self.options.pong_timeout,
            idle_timeout: self.options.idle_timeout.filter(|time| !time.is_zero()),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) settings: Arc<Settings>,
    number: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    epoch: u64,
    session: Session<Arc<Mailbox>>,
    /// What waits for the epoch's connection.
    queued: Vec<Queued>,
    queued_bytes: usize,
    /// The epoch's connection.
    link: Option<Arc<Link>>,
    /// The epoch whose connection the thread reads. It may be over.
    reading: Option<u64>,
    is_stopped: bool,
    is_running: bool,
    thread: Option<JoinHandle<()>>,
}

/// A frame that waits for a connection.
#[derive(Debug)]
struct Queued {
    text: String,
    from: Origin,
}

#[derive(Debug)]
enum Origin {
    /// It has this id.
    Call(u64),
    /// It is a notification, and is over when it is sent.
    Notification(Arc<Mailbox>),
}

/// Which call is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    epoch: u64,
    id: u64,
}

/// A connection that is on its way out.
#[derive(Debug)]
pub(crate) struct Leaving {
    epoch: u64,
    link: Arc<Link>,
}

/// What the reader is to do.
#[derive(Debug)]
pub(crate) enum Tend {
    /// Read until then.
    ReadUntil(Option<Instant>),
    /// The epoch is over. Whether somebody waits for the next.
    Over { is_wanted: bool },
}

impl Lane {
    pub(crate) fn new(settings: Arc<Settings>, number: usize) -> Self {
        let state = State {
            epoch: 0,
            session: Session::new(settings.timing()),
            queued: Vec::new(),
            queued_bytes: 0,
            link: None,
            reading: None,
            is_stopped: false,
            is_running: false,
            thread: None,
        };
        Self { settings, number, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Calls and notifications that wait.
    pub(crate) fn load(&self) -> usize {
        self.lock().load()
    }

    /// Makes a call; its answers go to the mailbox, and so does the connection's end.
    pub(crate) fn call(
        self: &Arc<Self>,
        method: &str,
        arguments: &str,
        shape: Shape,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Ticket, ClientError> {
        let mut state = self.lock_with_room()?;
        let id = state.session.begin(shape, Arc::clone(mailbox));
        let ticket = Ticket { epoch: state.epoch, id };
        let text = wire::call(method, arguments, Some(id));
        self.send(state, Queued { text, from: Origin::Call(id) });
        Ok(ticket)
    }

    /// Sends a notification; the mailbox is told of the end of it.
    pub(crate) fn notify(
        self: &Arc<Self>,
        method: &str,
        arguments: &str,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(), ClientError> {
        let state = self.lock_with_room()?;
        let text = wire::call(method, arguments, None);
        self.send(state, Queued { text, from: Origin::Notification(Arc::clone(mailbox)) });
        Ok(())
    }

    /// Gives a call up, unless it is over. The server is told if it knows of it.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        let now = clock::now();
        let mut state = self.lock();
        if state.epoch != ticket.epoch || !state.session.forget(ticket.id, now) {
            return;
        }
        let is_meant = |queued: &Queued| matches!(queued.from, Origin::Call(id) if id == ticket.id);
        if let Some(place) = state.queued.iter().position(is_meant) {
            state.queued_bytes -= state.queued.remove(place).text.len();
            return;
        }
        let Some(link) = state.link.clone() else { return };
        let text = wire::cancel(ticket.id);
        link.enqueue(Opcode::Text, text.as_bytes());
        state.session.note_sent(now);
        drop(state);
        self.log_frame('>', &text);
        // A failure ends the connection, which the reader sees to.
        let _ = link.flush();
    }

    /// Ends the epoch from this side: everything that waits is settled, the server is told.
    pub(crate) fn begin_close(&self, stop: bool) -> Option<Leaving> {
        let mut state = self.lock();
        state.is_stopped |= stop;
        self.leave(state)
    }

    fn leave(&self, mut state: MutexGuard<'_, State>) -> Option<Leaving> {
        let epoch = state.epoch;
        let (link, waiting) = state.end_epoch();
        self.changed.notify_all();
        if let Some(link) = &link {
            link.enqueue(Opcode::Close, &close::NORMAL.to_be_bytes());
        }
        drop(state);
        settle(&waiting, &ClientError::Closed);
        let link = link?;
        self.log(format_args!("closing with 1000"));
        // Nobody who closes wants to wait for long.
        let _ = link.socket().set_write_timeout(self.settings.options.close_timeout);
        let _ = link.flush();
        Some(Leaving { epoch, link })
    }

    /// Waits until the server has confirmed a close, or cuts the connection at the deadline.
    pub(crate) fn finish_close(&self, leaving: &Leaving, deadline: Option<Instant>) {
        let is_read = |state: &State| state.reading == Some(leaving.epoch);
        if !self.wait_while(deadline, is_read) {
            leaving.link.shutdown();
        }
    }

    /// Waits for the thread's end after a stop. One that is busy connecting is left to itself: it
    /// ends when that has ended.
    pub(crate) fn join(&self, deadline: Option<Instant>) {
        let mut thread = self.lock().thread.take();
        if thread.as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id()) {
            thread = None;
        }
        if let Some(thread) = thread
            && self.wait_while(deadline, |state| state.is_running)
        {
            // It has panicked at most, and said so.
            let _ = thread.join();
        }
    }

    /// Waits while something is so. Says whether it has ended in time.
    fn wait_while(&self, deadline: Option<Instant>, is_so: impl Fn(&State) -> bool) -> bool {
        let time = deadline.map_or(self.settings.options.close_timeout, clock::until);
        let waited = self.changed.wait_timeout_while(self.lock(), time, |state| is_so(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !is_so(&state)
    }

    /// The state, once a frame may be sent or queued.
    fn lock_with_room(&self) -> Result<MutexGuard<'_, State>, ClientError> {
        let link = self.lock().link.clone();
        if let Some(link) = link
            && !link.wait_for_room()
        {
            link.shutdown();
            let error = ConnectionError::lost("lost connection: the server reads nothing");
            return Err(ClientError::Connection(error));
        }
        let state = self.lock();
        let options = &self.settings.options;
        if state.is_stopped {
            return Err(ClientError::Closed);
        }
        let is_full = state.load() >= options.pending_max
            || state.queued_bytes > options.send_buffer_bytes_max;
        if is_full { Err(ClientError::TooManyCalls) } else { Ok(state) }
    }

    fn send(self: &Arc<Self>, mut state: MutexGuard<'_, State>, frame: Queued) {
        let Some(link) = state.link.clone() else {
            state.queued_bytes += frame.text.len();
            state.queued.push(frame);
            self.ensure_thread(state);
            self.changed.notify_all();
            return;
        };
        link.enqueue(Opcode::Text, frame.text.as_bytes());
        state.session.note_sent(clock::now());
        drop(state);
        self.log_frame('>', &frame.text);
        let flushed = link.flush();
        if let Origin::Notification(mailbox) = frame.from {
            let lost = |error| ConnectionError::lost(format!("lost connection: {error}"));
            mailbox.end(flushed.map_err(|error| ClientError::Connection(lost(error))));
        }
    }

    fn ensure_thread(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.is_running {
            return;
        }
        let lane = Arc::clone(self);
        let builder = thread::Builder::new().name("fulmar-client".to_owned());
        match builder.spawn(move || reader::run(&lane)) {
            Ok(thread) => {
                state.is_running = true;
                state.thread = Some(thread);
            }
            Err(error) => {
                drop(state);
                let message = format!("no thread can be started: {error}");
                self.fail_all(&ConnectionError::connect(message, ""));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self, line: fmt::Arguments<'_>) {
        if let Some(logger) = &self.settings.options.debug {
            logger.log(&format!("connection {}: {line}", self.number));
        }
    }

    pub(crate) fn log_frame(&self, direction: char, text: &str) {
        if self.settings.options.debug.is_some() {
            let shown = &text[..text.floor_char_boundary(LOGGED_BYTES_MAX)];
            let rest = if shown.len() < text.len() { "..." } else { "" };
            self.log(format_args!("{direction} {shown}{rest}"));
        }
    }
}

/// What the thread needs.
impl Lane {
    /// Blocks until somebody waits for a connection; false if nobody ever will again.
    pub(crate) fn wait_until_wanted(&self) -> bool {
        let mut state = self.lock();
        while !state.is_stopped && state.queued.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_stopped
    }

    /// Whether nobody waits for a connection any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        let state = self.lock();
        state.is_stopped || state.queued.is_empty()
    }

    /// Begins with a connection, and sends what has waited for it.
    pub(crate) fn open(&self, socket: &Arc<dyn Socket>) -> Option<(Arc<Link>, u64)> {
        let options = &self.settings.options;
        let link =
            Link::new(Arc::clone(socket), options.send_buffer_bytes_max, options.send_timeout);
        let link = match link {
            Ok(link) => Arc::new(link),
            Err(error) => {
                self.fail_all(&ConnectionError::lost(format!("lost connection: {error}")));
                return None;
            }
        };
        let mut state = self.lock();
        if state.is_stopped || state.queued.is_empty() {
            drop(state);
            socket.shutdown();
            return None;
        }
        state.session.open(clock::now());
        state.queued_bytes = 0;
        let mut sent = std::mem::take(&mut state.queued);
        sent.retain(|frame| match &frame.from {
            Origin::Notification(mailbox) => mailbox.end(Ok(())),
            Origin::Call(_) => true,
        });
        for frame in &sent {
            link.enqueue(Opcode::Text, frame.text.as_bytes());
        }
        let epoch = state.epoch;
        state.link = Some(Arc::clone(&link));
        state.reading = Some(epoch);
        drop(state);
        self.log(format_args!("open"));
        sent.iter().for_each(|frame| self.log_frame('>', &frame.text));
        // A failure cuts the connection, which the reader is about to notice.
        let _ = link.flush();
        Some((link, epoch))
    }

    /// Settles everything that waits, for want of a connection.
    pub(crate) fn fail_all(&self, error: &ConnectionError) {
        let epoch = self.lock().epoch;
        self.fail(epoch, error);
    }

    /// Ends an epoch whose connection is lost, unless it is over.
    pub(crate) fn fail(&self, epoch: u64, error: &ConnectionError) {
        let mut state = self.lock();
        if state.epoch != epoch {
            return;
        }
        let (link, waiting) = state.end_epoch();
        drop(state);
        self.log(format_args!("{error}"));
        settle(&waiting, &ClientError::Connection(error.clone()));
        if let Some(link) = link {
            link.shutdown();
        }
    }

    /// Does what the time has come for.
    pub(crate) fn tend(&self, epoch: u64) -> Tend {
        let now = clock::now();
        let mut state = self.lock();
        if state.epoch != epoch {
            return Tend::Over { is_wanted: !state.queued.is_empty() };
        }
        let due = state.session.due(now);
        let next = state.session.next_look(now);
        match due {
            None => Tend::ReadUntil(next),
            Some(Due::Ping) => {
                let link = state.link.clone();
                drop(state);
                if let Some(link) = link {
                    link.enqueue_answer(Opcode::Text, wire::PING.as_bytes());
                    self.log_frame('>', wire::PING);
                    let _ = link.flush();
                }
                Tend::ReadUntil(next)
            }
            Some(Due::PongMissing) => {
                drop(state);
                self.fail(epoch, &ConnectionError::silent(self.settings.options.pong_timeout));
                Tend::Over { is_wanted: true }
            }
            Some(Due::Idle) => {
                self.leave(state);
                Tend::Over { is_wanted: false }
            }
        }
    }

    pub(crate) fn note_received(&self, epoch: u64) {
        let now = clock::now();
        let mut state = self.lock();
        if state.epoch == epoch {
            state.session.note_received(now);
        }
    }

    /// Reading is paused or goes on. Says whether other calls wait on the connection.
    pub(crate) fn note_paused(&self, epoch: u64, paused: bool) -> bool {
        let now = clock::now();
        let mut state = self.lock();
        if state.epoch == epoch {
            state.session.note_paused(paused, now);
        }
        state.session.pending() > 1
    }

    pub(crate) fn reply<'a>(
        &self,
        epoch: u64,
        id: u64,
        reply: Reply<'a>,
    ) -> Delivery<'a, Arc<Mailbox>> {
        let now = clock::now();
        let mut state = self.lock();
        if state.epoch == epoch { state.session.reply(id, reply, now) } else { Delivery::Nothing }
    }

    pub(crate) fn ticket(epoch: u64, id: u64) -> Ticket {
        Ticket { epoch, id }
    }

    /// The thread reads no more of a connection.
    pub(crate) fn note_read(&self) {
        self.lock().reading = None;
        self.changed.notify_all();
    }

    /// The thread ends.
    pub(crate) fn note_end(&self) {
        let mut state = self.lock();
        state.reading = None;
        state.is_running = false;
        // Somebody's connector or logger has failed; nobody is to wait for ever because of it.
        let ended = thread::panicking().then(|| state.end_epoch());
        drop(state);
        self.changed.notify_all();
        if let Some((link, waiting)) = ended {
            let error = ConnectionError::lost("the thread of the connection has panicked");
            settle(&waiting, &ClientError::Connection(error));
            link.inspect(|link| link.shutdown());
        }
    }
}

impl State {
    fn load(&self) -> usize {
        self.session.pending().max(self.queued.len())
    }

    /// Ends the epoch. Whoever waits in it is to be settled.
    fn end_epoch(&mut self) -> (Option<Arc<Link>>, Vec<Arc<Mailbox>>) {
        self.epoch += 1;
        self.queued_bytes = 0;
        let mut waiting = self.session.drain();
        for frame in std::mem::take(&mut self.queued) {
            if let Origin::Notification(mailbox) = frame.from {
                waiting.push(mailbox);
            }
        }
        (self.link.take(), waiting)
    }
}

fn settle(waiting: &[Arc<Mailbox>], error: &ClientError) {
    for mailbox in waiting {
        mailbox.end(Err(error.clone()));
    }
}
