//! Calls in flight: what may start, what waits, what is cancelled.
//!
//! A lane belongs to one connection and outlives it until what ran has settled, so that the hook
//! for its end comes after everything that went before. Within a lane the session names the order
//! per call; different objects do not wait for each other.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use fulmar_dialect::{Args, CallId, Form, Gate, Link, Object, Order};
use fulmar_driver::SocketId;
use slab::Slab;
use smallvec::SmallVec;

use crate::worker::Control;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The session, under its own name for the call.
    Session(CallId),
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
}

/// The calls of one connection.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) socket: SocketId,
    /// Whether the connection is gone: nothing is told to its session any more.
    pub(crate) closed: bool,
    pub(crate) form: Form,
    pub(crate) link: Link,
    /// What handlers know of the connection.
    pub(crate) connection: Arc<dyn Any + Send + Sync>,
    running: SmallVec<[Running; 1]>,
    waiting: VecDeque<PendingCall>,
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
            waiting: VecDeque::new(),
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
    pub(crate) fn start(&mut self, running_max: usize) -> Option<(PendingCall, u32, Arc<Control>)> {
        let busy = self.running.iter().filter(|running| !running.returned).count();
        if busy >= running_max {
            return None;
        }
        let index = self.waiting.iter().enumerate().position(|(index, call)| {
            let earlier = self.waiting.iter().take(index);
            self.may_start(call) && !earlier.into_iter().any(|other| must_wait(call, other))
        })?;
        let call = self.waiting.remove(index)?;
        self.serial = self.serial.wrapping_add(1);
        let control = Arc::new(Control::default());
        self.running.push(Running {
            serial: self.serial,
            caller: call.caller,
            control: control.clone(),
            order: call.order,
            object: call.object,
            returned: false,
        });
        Some((call, self.serial, control))
    }

    fn may_start(&self, call: &PendingCall) -> bool {
        self.running.iter().all(|running| match call.order {
            _ if is_alone(running.caller) || is_alone(call.caller) => false,
            _ if running.order == Order::Free || running.object != call.object => true,
            Order::Free => true,
            Order::Start => running.returned,
            Order::Strict => false,
        })
    }

    /// The running call of this serial.
    pub(crate) fn running(&self, serial: u32) -> Option<&Running> {
        self.running.iter().find(|running| running.serial == serial)
    }

    /// The running call a session names so.
    pub(crate) fn running_as(&self, call: CallId) -> Option<&Running> {
        self.running.iter().find(|running| running.caller == Caller::Session(call))
    }

    /// The handler has returned; its call goes on without a thread. If the connection is gone it
    /// may not: what it left was cancelled by [`close`](Self::close), and no reply follows.
    pub(crate) fn returned(&mut self, serial: u32) {
        let is_cut = self.is_cut;
        let is_over = |running: &Running| !running.goes_on() || is_cut && running.is_sessions();
        if self.closed && self.running(serial).is_some_and(is_over) {
            return self.finish(serial);
        }
        if let Some(running) = self.running.iter_mut().find(|running| running.serial == serial) {
            running.returned = true;
        }
    }

    /// A handler answered with a room. A call that others wait for is over with that; of one that
    /// nobody waits for the session may still hold the membership by its name.
    pub(crate) fn joined(&mut self, serial: u32) {
        let is_strict = |running: &Running| running.order == Order::Strict;
        if self.closed || self.running(serial).is_some_and(is_strict) {
            return self.finish(serial);
        }
        self.returned(serial);
    }

    /// The call is over.
    pub(crate) fn finish(&mut self, serial: u32) {
        self.running.retain(|running| running.serial != serial);
    }

    /// Forgets a call of the session: stops it if it runs, drops it if it waits.
    pub(crate) fn cancel(&mut self, call: CallId) {
        let caller = Caller::Session(call);
        self.waiting.retain(|waiting| waiting.caller != caller);
        self.running.retain(|running| {
            let is_it = running.caller == caller;
            if is_it {
                running.control.cancel();
            }
            !is_it
        });
    }

    /// The connection is gone. What nobody was to wait for, events and messages, was said and is
    /// handled: those that wait still start, in order, and those that run go on, though they are
    /// told. Of everything else what waits is dropped and what runs ends. Hooks go on. Returns what
    /// was dropped, which may hold an embedder's values.
    pub(crate) fn close(&mut self) -> Vec<PendingCall> {
        self.closed = true;
        for running in &self.running {
            match running.caller {
                Caller::Session(_) if running.order == Order::Strict => running.control.outlive(),
                Caller::Session(_) => running.control.cancel(),
                Caller::Hook(_) => {}
            }
        }
        // A call that waits for a future ends when it is cancelled, without a reply.
        self.running.retain(|running| !running.returned || running.goes_on());
        self.drop_waiting(|call| is_hook(call) || call.order == Order::Strict)
    }

    /// The time for what went on after the end of the connection is up. Returns what was dropped.
    pub(crate) fn cut(&mut self) -> Vec<PendingCall> {
        self.is_cut = true;
        for running in self.running.iter().filter(|running| running.is_sessions()) {
            running.control.cancel();
        }
        self.running.retain(|running| !running.returned || !running.is_sessions());
        self.drop_waiting(is_hook)
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
        self.running.is_empty() && self.waiting.is_empty()
    }
}

impl Running {
    fn is_sessions(&self) -> bool {
        matches!(self.caller, Caller::Session(_))
    }

    /// Whether the end of the connection is not its end.
    fn goes_on(&self) -> bool {
        !self.is_sessions() || self.order == Order::Strict
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
            object,
        }
    }

    fn started(lane: &mut Lane) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Some((call, ..)) = lane.start(8) {
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
        lane.finish(1);
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
        assert!(lane.start(2).is_some() && lane.start(2).is_some() && lane.start(2).is_none());
        lane.cancel(CallId(0));
        lane.cancel(CallId(2));
        assert_eq!(lane.start(2).map(|(call, ..)| call.caller), Some(Caller::Session(CallId(3))));
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
        assert!(lane.start(8).is_some_and(|(call, ..)| call.caller == Caller::Hook(Gate::Connect)));
        assert!(started(&mut lane).is_empty());
        lane.finish(1);
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
        lane.finish(1);
        assert!(lane.start(8).is_none());
        lane.finish(2);
        assert!(lane.start(8).is_some());
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
        lane.finish(2);
        lane.returned(1);
        assert!(lane.start(8).is_none(), "the first one waits for something");
        lane.finish(1);
        assert_eq!(started(&mut lane), [2]);
        lane.finish(3);
        let last = lane.start(8).map(|(call, ..)| call.caller);
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
        assert!(lane.start(8).is_some_and(|(call, ..)| is_hook(&call)));
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
}
