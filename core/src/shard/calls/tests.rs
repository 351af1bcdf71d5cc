//! Which calls start, wait, end and are told so.
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
        known: None,
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
