//! Calls in flight: what may start, what waits, what is cancelled.
//!
//! A lane belongs to one connection and outlives it until what ran has settled, so that the hook
//! for its end comes after everything that went before. Within a lane the session names the order
//! per call; different objects do not wait for each other. Calls that hold up nobody and no thread,
//! such as streams and subscriptions, are kept apart: however many are open, a call costs the same.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fulmar_dialect::{Args, CallId, End, Form, Gate, Link, Object, Order, Place};
use fulmar_driver::SocketId;
use slab::Slab;
use smallvec::SmallVec;

use super::open_calls::OpenCalls;
use crate::clock::Tick;
use crate::worker::Control;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The session, under its own name for the call.
    Session(CallId),
    /// The session, which has lost interest while the handler is at work.
    Nobody,
    /// The shard, for one of the endpoint's hooks.
    Hook(Gate),
}

/// A call that may have to wait.
#[derive(Debug)]
pub(crate) struct PendingCall {
    pub(crate) caller: Caller,
    pub(crate) target: Object,
    pub(crate) member: Box<str>,
    pub(crate) get: bool,
    pub(crate) args: Args<'static>,
    pub(crate) order: Order,
    /// Where it runs.
    pub(crate) place: Place,
    /// How long it may take to be answered.
    pub(crate) timeout: Option<Duration>,
    /// Where the target has the member.
    pub(crate) known: Option<u32>,
    /// Calls on the same object wait for each other; the endpoint is one object.
    pub(crate) object: Option<usize>,
}

/// A call that has started.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) serial: u32,
    pub(crate) caller: Caller,
    pub(crate) control: Arc<Control>,
    order: Order,
    object: Option<usize>,
    returned: bool,
    /// When it must have been answered.
    due: Option<Tick>,
}

/// What is to be done at the end of a call, on a worker.
pub(crate) type EndWork = Box<dyn FnOnce() + Send>;

/// The calls of one connection.
pub(crate) struct Lane {
    pub(crate) socket: SocketId,
    /// Whether the connection is gone: nothing is told to its session any more.
    pub(crate) closed: bool,
    pub(crate) form: Form,
    pub(crate) link: Link,
    /// What handlers know of the connection.
    pub(crate) connection: Arc<dyn Any + Send + Sync>,
    running: SmallVec<[Running; 1]>,
    open: OpenCalls,
    waiting: VecDeque<PendingCall>,
    ended: Vec<EndWork>,
    serial: u32,
    /// Whether nothing of the session's goes on any more.
    is_cut: bool,
}

/// All lanes of a shard.
pub(crate) type Lanes = Slab<Lane>;

impl Lane {
    /// A lane without calls.
    pub(crate) fn new(
        socket: SocketId,
        form: Form,
        link: Link,
        connection: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self {
            socket,
            closed: false,
            form,
            link,
            connection,
            running: SmallVec::new(),
            open: OpenCalls::default(),
            waiting: VecDeque::new(),
            ended: Vec::new(),
            serial: 0,
            is_cut: false,
        }
    }

    /// Puts a call behind the others.
    pub(crate) fn enqueue(&mut self, call: PendingCall) {
        self.waiting.push_back(call);
    }

    /// The next call that may start, of at most `running_max` at a time. Streams and calls that
    /// have returned do not count: they hold no thread.
    pub(crate) fn start(
        &mut self,
        running_max: usize,
        now: Tick,
    ) -> Option<(PendingCall, u32, Arc<Control>)> {
        if self.busy() >= running_max {
            return None;
        }
        let index = self.waiting.iter().enumerate().position(|(index, call)| {
            let earlier = self.waiting.iter().take(index);
            self.may_start(call.caller, call.order, call.object)
                && !earlier.into_iter().any(|other| must_wait(call, other))
        })?;
        let call = self.waiting.remove(index)?;
        let control = Arc::new(Control::default());
        let due = call.timeout.map(|timeout| now.after(timeout));
        let serial = self.begin(call.caller, call.order, call.object, control.clone(), due);
        Some((call, serial, control))
    }

    /// Whether a call of the session's may run at once, before it is noted.
    pub(crate) fn may_run(&self, order: Order, object: Option<usize>, running_max: usize) -> bool {
        self.waiting.is_empty()
            && self.busy() < running_max
            && self.may_start(Caller::Nobody, order, object)
    }

    /// Notes a call that has started. Returns its serial.
    pub(crate) fn begin(
        &mut self,
        caller: Caller,
        order: Order,
        object: Option<usize>,
        control: Arc<Control>,
        due: Option<Tick>,
    ) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        self.running.push(Running { serial, caller, control, order, object, returned: false, due });
        serial
    }

    fn busy(&self) -> usize {
        self.running.iter().filter(|running| !running.returned).count()
    }

    fn may_start(&self, caller: Caller, order: Order, object: Option<usize>) -> bool {
        if is_alone(caller) && !self.open.is_empty() {
            return false;
        }
        self.running.iter().all(|running| match order {
            _ if is_alone(running.caller) || is_alone(caller) => false,
            _ if running.order == Order::Free || running.object != object => true,
            Order::Free => true,
            Order::Start => running.returned,
            Order::Strict => false,
        })
    }

    /// The running call of this serial.
    pub(crate) fn running(&self, serial: u32) -> Option<&Running> {
        let found = self.running.iter().find(|running| running.serial == serial);
        found.or_else(|| self.open.get(serial))
    }

    /// The running call a session names so.
    pub(crate) fn running_as(&self, call: CallId) -> Option<&Running> {
        let found = self.running.iter().find(|running| running.caller == Caller::Session(call));
        found.or_else(|| self.open.named(call))
    }

    /// The handler has returned; its call goes on without a thread. If nobody waits for it any more
    /// it does not: what it left was cancelled, and no reply follows.
    pub(crate) fn returned(&mut self, serial: u32) {
        let is_cut = self.is_cut;
        let is_over = |running: &Running| !running.goes_on() || is_cut && running.is_sessions();
        let found = self.running.iter().position(|running| running.serial == serial);
        let Some(index) = found else { return };
        let running = &mut self.running[index];
        if running.caller == Caller::Nobody || self.closed && is_over(running) {
            return self.finish(serial, End::Disconnected);
        }
        running.returned = true;
        if let (Order::Free, Caller::Session(call)) = (running.order, running.caller) {
            let running = self.running.remove(index);
            self.open.insert(call, running);
        }
    }

    /// A handler answered with a room. A call that others wait for is over with that; of one that
    /// nobody waits for the session may still hold the membership by its name.
    pub(crate) fn joined(&mut self, serial: u32) {
        self.answered(serial);
        let is_strict = |running: &Running| running.order == Order::Strict;
        if self.closed || self.running(serial).is_some_and(is_strict) {
            return self.finish(serial, End::Done);
        }
        self.returned(serial);
    }

    /// A call has been answered, though it goes on: it cannot be too late any more.
    pub(crate) fn answered(&mut self, serial: u32) {
        let found = self.running.iter_mut().find(|running| running.serial == serial);
        if let Some(running) = found.or_else(|| self.open.get_mut(serial)) {
            running.due = None;
        }
    }

    /// The call is over.
    pub(crate) fn finish(&mut self, serial: u32, end: End) {
        let found = self.running.iter().position(|running| running.serial == serial);
        let running = match found {
            Some(index) => Some(self.running.remove(index)),
            None => self.open.remove(serial),
        };
        let Some(running) = running else { return };
        let is_lost = self.closed && !running.goes_on();
        self.over(&running, if is_lost { End::Disconnected } else { end });
    }

    /// Notes what is to be done at the end of a call.
    fn over(&mut self, running: &Running, end: End) {
        self.ended.extend(running.control.end_work(end));
    }

    /// What is to be done at the ends of calls since the last time.
    pub(crate) fn take_ended(&mut self) -> Vec<EndWork> {
        std::mem::take(&mut self.ended)
    }

    /// Forgets a call of the session: stops it if it runs, drops it if it waits.
    pub(crate) fn cancel(&mut self, call: CallId) {
        self.abandon(call, End::Cancelled);
    }

    fn abandon(&mut self, call: CallId, end: End) {
        let caller = Caller::Session(call);
        self.waiting.retain(|waiting| waiting.caller != caller);
        if let Some(running) = self.open.remove_named(call) {
            running.control.cancel();
            return self.over(&running, end);
        }
        let Some(index) = self.running.iter().position(|running| running.caller == caller) else {
            return;
        };
        let control = self.running[index].control.clone();
        control.cancel();
        self.ended.extend(control.end_work(end));
        if self.running[index].returned {
            self.running.remove(index);
        } else {
            // It holds a thread, or a place before the workers, until it returns: who calls and
            // cancels has no more of them than who calls.
            let running = &mut self.running[index];
            (running.caller, running.due) = (Caller::Nobody, None);
        }
    }

    /// Stops the session's calls that should have been answered by now, and returns their names.
    pub(crate) fn stop_overdue(&mut self, now: Tick) -> Vec<CallId> {
        let late = |running: &Running| running.due.is_some_and(|due| due <= now);
        let all = self.running.iter().chain(self.open.iter()).filter(|running| late(running));
        let calls: Vec<CallId> = all.filter_map(Running::session_call).collect();
        calls.iter().for_each(|call| self.abandon(*call, End::TimedOut));
        calls
    }

    /// When the first of the session's calls must have been answered.
    pub(crate) fn next_due(&self) -> Option<Tick> {
        let all = self.running.iter().chain(self.open.iter());
        all.filter_map(|running| running.due).min()
    }

    /// The connection is gone. What nobody was to wait for, events and messages, was said and is
    /// handled: those that wait still start, in order, and those that run go on, though they are
    /// told. Of everything else what waits is dropped and what runs ends. Hooks go on. Returns what
    /// was dropped, which may hold an embedder's values.
    pub(crate) fn close(&mut self) -> Vec<PendingCall> {
        self.closed = true;
        for running in &mut self.running {
            running.due = None;
            match running.caller {
                Caller::Session(_) if running.order == Order::Strict => running.control.outlive(),
                Caller::Session(_) => running.control.cancel(),
                Caller::Nobody | Caller::Hook(_) => {}
            }
        }
        for running in self.open.take() {
            running.control.cancel();
            self.over(&running, End::Disconnected);
        }
        // A call that waits for a future ends when it is cancelled, without a reply.
        self.end_where(|running| running.returned && !running.goes_on());
        self.drop_waiting(|call| is_hook(call) || call.order == Order::Strict)
    }

    /// The time for what went on after the end of the connection is up. Returns what was dropped.
    pub(crate) fn cut(&mut self) -> Vec<PendingCall> {
        self.is_cut = true;
        for running in self.running.iter().filter(|running| running.is_sessions()) {
            running.control.cancel();
        }
        self.end_where(|running| running.returned && running.is_sessions());
        self.drop_waiting(is_hook)
    }

    fn end_where(&mut self, is_over: impl Fn(&Running) -> bool) {
        let running = std::mem::take(&mut self.running);
        let (over, kept): (SmallVec<[Running; 1]>, _) = running.into_iter().partition(is_over);
        self.running = kept;
        over.iter().for_each(|running| self.over(running, End::Disconnected));
    }

    fn drop_waiting(&mut self, keep: impl Fn(&PendingCall) -> bool) -> Vec<PendingCall> {
        let (kept, dropped) = std::mem::take(&mut self.waiting).into_iter().partition(keep);
        self.waiting = kept;
        dropped.into_iter().collect::<VecDeque<_>>().into()
    }

    /// Calls that wait to start.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing runs or waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.open.is_empty() && self.waiting.is_empty()
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("socket", &self.socket)
            .field("running", &self.running)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Running {
    fn is_sessions(&self) -> bool {
        !matches!(self.caller, Caller::Hook(_))
    }

    fn session_call(&self) -> Option<CallId> {
        if let Caller::Session(call) = self.caller { Some(call) } else { None }
    }

    /// Whether the end of the connection is not its end.
    fn goes_on(&self) -> bool {
        match self.caller {
            Caller::Hook(_) => true,
            Caller::Session(_) => self.order == Order::Strict,
            Caller::Nobody => false,
        }
    }
}

fn is_hook(call: &PendingCall) -> bool {
    matches!(call.caller, Caller::Hook(_))
}

/// Whether `call` must wait for `earlier` to be over, which has not even started.
fn must_wait(call: &PendingCall, earlier: &PendingCall) -> bool {
    is_alone(call.caller)
        || is_alone(earlier.caller)
        || call.order != Order::Free
            && earlier.order != Order::Free
            && call.object == earlier.object
}

/// The hooks for the beginning and the end of a connection overlap with nothing, whatever order a
/// call has: a client that is not admitted has called nothing, and the last hook is the last.
fn is_alone(caller: Caller) -> bool {
    matches!(caller, Caller::Hook(Gate::Upgrade | Gate::Connect | Gate::Disconnect))
}

#[cfg(test)]
mod tests;
