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
mod tests {
    use super::*;
    use fulmar_dialect::{Ask, Call, Outbox, Outcome, Target};

    struct Nothing;
    impl Target for Nothing {
        fn call(&self, _: &str, _: Call<'_>) -> Outcome {
            Outcome::Missing
        }
    }
    struct Nowhere;
    impl Outbox for Nowhere {
        fn post(&self, _: u64, _: Ask) {}
    }

    fn lane() -> Lane {
        let link = Link::new(Arc::new(Nowhere), 1);
        Lane::new(SocketId::default(), Form::Json, link, Arc::new(()))
    }

    fn call(id: u64, order: Order, object: Option<usize>) -> PendingCall {
        PendingCall {
            caller: Caller::Session(CallId(id)),
            target: Object::new(Nothing),
            member: "m".into(),
            get: false,
            args: Args::none(),
            order,
            place: Place::Worker,
            timeout: None,
            object,
        }
    }

    const NOW: Tick = Tick(100);

    fn started(lane: &mut Lane) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Some((call, ..)) = lane.start(8, NOW) {
            let Caller::Session(CallId(id)) = call.caller else { continue };
            ids.push(id);
        }
        ids
    }

    #[test]
    fn strict_calls_start_when_the_one_before_has_settled() {
        let mut lane = lane();
        [1, 2].into_iter().for_each(|id| lane.enqueue(call(id, Order::Strict, None)));
        lane.enqueue(call(3, Order::Free, None));
        assert_eq!(started(&mut lane), [1, 3]);
        lane.returned(1);
        assert!(started(&mut lane).is_empty());
        lane.finish(1, End::Done);
        assert_eq!(started(&mut lane), [2]);
    }

    #[test]
    fn start_calls_start_when_the_one_before_has_returned() {
        let mut lane = lane();
        [1, 2].into_iter().for_each(|id| lane.enqueue(call(id, Order::Start, None)));
        lane.enqueue(call(3, Order::Start, Some(7)));
        assert_eq!(started(&mut lane), [1, 3], "another object does not wait");
        lane.returned(1);
        assert_eq!(started(&mut lane), [2]);
    }

    #[test]
    fn the_limit_bounds_what_runs_and_a_cancelled_call_is_forgotten() {
        let mut lane = lane();
        (0..4).for_each(|id| lane.enqueue(call(id, Order::Free, None)));
        assert!(
            lane.start(2, NOW).is_some()
                && lane.start(2, NOW).is_some()
                && lane.start(2, NOW).is_none()
        );
        lane.cancel(CallId(0));
        lane.cancel(CallId(2));
        assert!(lane.start(2, NOW).is_none(), "its handler is still at work");
        lane.returned(1);
        let next = lane.start(2, NOW).map(|(call, ..)| call.caller);
        assert_eq!(next, Some(Caller::Session(CallId(3))));
        assert_eq!(lane.waiting(), 0);
    }

    fn hook(gate: Gate) -> PendingCall {
        PendingCall { caller: Caller::Hook(gate), ..call(0, Order::Strict, None) }
    }

    #[test]
    fn nothing_starts_before_the_hook_for_the_beginning_is_over() {
        let mut lane = lane();
        lane.enqueue(hook(Gate::Connect));
        lane.enqueue(call(1, Order::Free, None));
        lane.enqueue(call(2, Order::Strict, Some(7)));
        assert!(
            lane.start(8, NOW).is_some_and(|(call, ..)| call.caller == Caller::Hook(Gate::Connect))
        );
        assert!(started(&mut lane).is_empty());
        lane.finish(1, End::Done);
        assert_eq!(started(&mut lane), [1, 2]);
    }

    #[test]
    fn the_hook_for_the_end_waits_for_calls_that_overlap() {
        let mut lane = lane();
        lane.enqueue(call(1, Order::Free, None));
        lane.enqueue(call(2, Order::Strict, Some(7)));
        assert_eq!(started(&mut lane), [1, 2]);
        lane.close();
        lane.enqueue(hook(Gate::Disconnect));
        lane.finish(1, End::Done);
        assert!(lane.start(8, NOW).is_none());
        lane.finish(2, End::Done);
        assert!(lane.start(8, NOW).is_some());
    }

    #[test]
    fn a_future_that_somebody_waited_for_is_over_with_the_connection() {
        let mut lane = lane();
        lane.enqueue(call(1, Order::Free, None));
        assert_eq!(started(&mut lane), [1]);
        lane.close();
        lane.returned(1);
        assert!(lane.is_empty(), "its future is dropped without a reply");
    }

    #[test]
    fn what_was_said_before_the_end_is_handled_in_order_and_the_hook_comes_last() {
        let mut lane = lane();
        lane.enqueue(call(1, Order::Strict, None));
        assert_eq!(started(&mut lane), [1]);
        lane.enqueue(call(2, Order::Strict, None));
        lane.enqueue(call(3, Order::Start, Some(7)));
        lane.enqueue(call(4, Order::Start, Some(7)));
        assert_eq!(started(&mut lane), [3]);
        assert_eq!(lane.close().len(), 1, "only the call whose answer nobody gets");
        lane.enqueue(hook(Gate::Disconnect));
        lane.finish(2, End::Done);
        lane.returned(1);
        assert!(lane.start(8, NOW).is_none(), "the first one waits for something");
        lane.finish(1, End::Done);
        assert_eq!(started(&mut lane), [2]);
        lane.finish(3, End::Done);
        let last = lane.start(8, NOW).map(|(call, ..)| call.caller);
        assert_eq!(last, Some(Caller::Hook(Gate::Disconnect)));
    }

    #[test]
    fn what_goes_on_after_the_end_can_be_cut() {
        let mut lane = lane();
        lane.enqueue(call(1, Order::Strict, None));
        lane.enqueue(call(2, Order::Strict, None));
        assert_eq!(started(&mut lane), [1]);
        lane.close();
        lane.enqueue(hook(Gate::Disconnect));
        assert_eq!(lane.cut().len(), 1);
        lane.returned(1);
        assert!(lane.start(8, NOW).is_some_and(|(call, ..)| is_hook(&call)));
    }

    #[test]
    fn a_call_that_was_answered_with_a_room_holds_up_nobody() {
        let mut lane = lane();
        lane.enqueue(call(1, Order::Strict, None));
        lane.enqueue(call(2, Order::Strict, None));
        assert_eq!(started(&mut lane), [1]);
        lane.joined(1);
        assert_eq!(started(&mut lane), [2]);
    }

    #[test]
    fn open_streams_cost_a_call_nothing_and_are_found_by_either_name() {
        let mut lane = lane();
        for id in 0..1000 {
            lane.enqueue(call(id, Order::Free, None));
            let (_, serial, _) = lane.start(8, NOW).unwrap();
            lane.returned(serial);
        }
        assert_eq!((lane.running.len(), lane.busy()), (0, 0));
        let serial = lane.running_as(CallId(500)).unwrap().serial;
        assert_eq!(lane.running(serial).unwrap().caller, Caller::Session(CallId(500)));
        lane.cancel(CallId(500));
        assert!(lane.running(serial).is_none() && lane.running_as(CallId(500)).is_none());
        (0..999).for_each(|id| lane.cancel(CallId(id)));
        assert!(!lane.is_empty());
        let last = lane.running_as(CallId(999)).unwrap().serial;
        lane.finish(last, End::Done);
        assert!(lane.is_empty());
    }

    #[test]
    fn who_is_not_answered_in_time_is_stopped_once() {
        let mut lane = lane();
        let timeout = Some(Duration::from_millis(160));
        for id in 0..3 {
            lane.enqueue(PendingCall { timeout, ..call(id, Order::Free, None) });
        }
        assert_eq!(started(&mut lane), [0, 1, 2]);
        let due = lane.next_due().unwrap();
        assert!(due >= Tick(110), "{due:?}");
        lane.answered(1);
        lane.returned(1);
        assert!(lane.stop_overdue(Tick(due.0 - 1)).is_empty());
        assert_eq!(lane.stop_overdue(due), [CallId(1), CallId(2)]);
        assert_eq!((lane.stop_overdue(due), lane.next_due()), (vec![], None));
        lane.returned(2);
        lane.finish(3, End::Done);
        assert!(!lane.is_empty(), "the first one was answered");
        lane.cancel(CallId(0));
        assert!(lane.is_empty());
    }

    #[test]
    fn what_is_to_be_done_at_the_end_of_a_call_learns_how_it_ended() {
        let said = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut lane = lane();
        for id in 0..5 {
            lane.enqueue(call(id, if id < 4 { Order::Free } else { Order::Strict }, None));
            let (_, _, control) = lane.start(8, NOW).unwrap();
            let said = said.clone();
            let say = move |end: &End| said.lock().unwrap().push(format!("{id} {end:?}"));
            control.cancelled.defer(say);
        }
        lane.finish(1, End::Done);
        lane.cancel(CallId(1));
        lane.returned(3);
        lane.close();
        lane.returned(4);
        lane.finish(5, End::Done);
        assert!(said.lock().unwrap().is_empty());
        lane.returned(2);
        assert!(lane.is_empty());
        lane.take_ended().into_iter().for_each(|work| work());
        let expected = ["0 Done", "1 Cancelled", "2 Disconnected", "3 Disconnected", "4 Done"];
        assert_eq!(*said.lock().unwrap(), expected);
    }
}
