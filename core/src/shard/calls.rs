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
    /// does not go on: what it left was cancelled by [`close`](Self::close), and no reply follows.
    pub(crate) fn returned(&mut self, serial: u32) {
        let is_sessions = |running: &Running| matches!(running.caller, Caller::Session(_));
        if self.closed && self.running(serial).is_some_and(is_sessions) {
            return self.finish(serial);
        }
        if let Some(running) = self.running.iter_mut().find(|running| running.serial == serial) {
            running.returned = true;
        }
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

    /// The connection is gone: what waits is dropped, what runs is told; hooks go on. Returns what
    /// was dropped, which may hold an embedder's values.
    pub(crate) fn close(&mut self) -> Vec<PendingCall> {
        self.closed = true;
        self.running.iter().for_each(|running| {
            if matches!(running.caller, Caller::Session(_)) {
                running.control.cancel();
            }
        });
        // A call that waits for a future ends when it is cancelled, without a reply.
        self.running
            .retain(|running| !running.returned || matches!(running.caller, Caller::Hook(_)));
        let is_hook = |call: &PendingCall| matches!(call.caller, Caller::Hook(_));
        let (hooks, dropped) = std::mem::take(&mut self.waiting).into_iter().partition(is_hook);
        self.waiting = hooks;
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
    fn a_handler_that_returns_a_future_after_the_end_is_over() {
        let mut lane = lane();
        lane.enqueue(call(1, Order::Strict, None));
        assert_eq!(started(&mut lane), [1]);
        lane.close();
        lane.returned(1);
        assert!(lane.is_empty(), "its future is dropped without a reply");
    }

    #[test]
    fn the_hook_for_the_end_waits_for_what_runs() {
        let mut lane = lane();
        lane.enqueue(call(1, Order::Strict, None));
        assert_eq!(started(&mut lane), [1]);
        lane.enqueue(call(2, Order::Strict, None));
        assert_eq!(lane.close().len(), 1);
        let hook = Caller::Hook(Gate::Disconnect);
        lane.enqueue(PendingCall { caller: hook, ..call(0, Order::Strict, None) });
        assert!(lane.start(8).is_none());
        lane.finish(1);
        assert_eq!(lane.start(8).map(|(call, ..)| call.caller), Some(hook));
    }
}
