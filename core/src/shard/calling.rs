//! Calls of sessions and hooks of endpoints, on workers or here.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use fulmar_dialect::{
    Answer, Args, Call, CallError, CallId, End, Form, Gate, Identity, Link, On, Order, Outcome,
    Payload, Place, Placement, Reply,
};
use fulmar_driver::SocketId;

use super::Shard;
use super::calls::{Caller, Lane, PendingCall};
use super::connection::{NO_LANE, OWES, PAUSED_ADMISSION, PAUSED_CALLS};
use super::inline_calls::{Done, Inline, Ran};
use crate::mailbox::Mail;
use crate::reason::Reason;
use crate::worker::{Control, Job, OwnedReply, ReplyTo, settle};

/// What a session asks for in a call.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) call: CallId,
    pub(super) on: On<'a>,
    pub(super) member: &'a str,
    pub(super) get: bool,
    pub(super) args: Args<'a>,
    pub(super) order: Order,
}

impl Shard {
    /// A session calls something. Returns the reply, if there is one already; the session gets it
    /// when it is not at work.
    pub(super) fn call(&mut self, socket: SocketId, asked: Asked<'_>) -> Option<Answer> {
        let key = self.lane_of(socket)?;
        let connection = self.connections.get(socket)?;
        let lane = self.lanes.get(key as usize)?;
        let Asked { call, on, member, get, args, order } = asked;
        let endpoint = &self.node.endpoints[usize::from(connection.endpoint)];
        let (target, member, object) = match on {
            On::Endpoint => (&endpoint.main, member, None),
            On::Object(object) => {
                (object, member, Some(std::ptr::from_ref(object.target()).addr()))
            }
            On::Gate(gate) if endpoint.has_gate(gate) => (&endpoint.hooks, gate.name(), None),
            On::Gate(_) => return Some(Answer::Missing),
        };
        let placement = target.target().placement(member);
        let order = placement.order.unwrap_or(order);
        if placement.place == Place::Shard && placement.timeout.is_none() {
            let most = self.node.config.limits.calls_in_flight_max;
            if lane.may_run(order, object, most) {
                let cancelled = OnceCell::new();
                let at = self.now.time();
                let asked = Inline { member, get, args, at, known: placement.known };
                let done = lane.run_inline(target, asked, &cancelled);
                self.stats.calls += 1;
                let is_all = cancelled.get().is_none() && self.post.is_empty();
                let ran = match done {
                    // Nearly always: a result, of which nobody wants to be told.
                    Done::Value(payload) if is_all => return Some(Answer::Value(payload)),
                    done => Ran { call, done, cancelled, order, object },
                };
                let answer = self.after_inline(key, ran)?;
                if self.post.is_empty() {
                    return Some(answer);
                }
                // What the handler asked of its connection comes first. Answers are never refused.
                let _gone = self.post.post(Mail::Answer { socket, call, reply: answer.into() });
                return None;
            }
        }
        let waiting = lane.waiting();
        if order != Order::Strict && waiting >= self.node.config.limits.calls_queued_max {
            self.stats.reasons.bump(Reason::CallsMax);
            let error = CallError::with_code(503, "Too many calls are waiting.");
            return Some(Answer::Error(error.into()));
        }
        let Placement { place, timeout, known, .. } = placement;
        let pending = PendingCall {
            caller: Caller::Session(call),
            target: target.clone(),
            member: member.into(),
            get,
            args: args.into_owned(),
            order,
            place,
            timeout,
            known,
            object,
        };
        if let Some(lane) = self.lanes.get_mut(key as usize) {
            lane.enqueue(pending);
        }
        self.pump(key);
        None
    }

    /// The answer to a call that is noted nowhere.
    pub(super) fn on_answer(&mut self, socket: SocketId, call: CallId, mut reply: OwnedReply) {
        self.with_talk(socket, |session, host| {
            session.on_reply(call, lent(&mut reply), host);
        });
        dispose(self, reply);
    }

    /// Calls that should have been answered by now are, and stopped.
    pub(super) fn stop_overdue_calls(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get(socket) else { return };
        let (key, now) = (connection.lane(), self.now);
        let Some(lane) = self.lanes.get_mut(key as usize) else { return };
        for call in lane.stop_overdue(now) {
            self.stats.reasons.bump(Reason::CallTimeout);
            let error = CallError::with_code(504, "Timed out");
            self.with_talk(socket, |session, host| {
                session.on_reply(call, Reply::Error(&error), host);
            });
        }
        self.await_calls(key);
        self.pump(key);
        self.after_calls(socket);
    }

    pub(super) fn cancel(&mut self, socket: SocketId, call: CallId) {
        let Some(connection) = self.connections.get(socket) else { return };
        let key = connection.lane();
        if let Some(lane) = self.lanes.get_mut(key as usize) {
            lane.cancel(call);
            self.pump(key);
        }
    }

    pub(super) fn flow(&self, socket: SocketId, call: CallId, open: bool) {
        let lane = self.connections.get(socket).and_then(|c| self.lanes.get(c.lane() as usize));
        if let Some(running) = lane.and_then(|lane| lane.running_as(call)) {
            running.control.flow(open);
        }
    }

    pub(super) fn identify(&mut self, socket: SocketId, identity: &Identity) {
        let Some(key) = self.lane_of(socket) else { return };
        let Some(lane) = self.lanes.get(key as usize) else { return };
        if let Some(handle) = crate::connection::Connection::from_erased(&lane.connection) {
            handle.identify(identity.clone());
        }
        self.set_expiry(socket, identity.expires);
    }

    /// Runs one of the endpoint's hooks, if it has it.
    pub(super) fn run_hook(&mut self, socket: SocketId, gate: Gate) {
        let Some(connection) = self.connections.get(socket) else { return };
        let endpoint = connection.endpoint;
        if !self.node.endpoints[usize::from(endpoint)].has_gate(gate) {
            return;
        }
        if let Some(key) = self.lane_of(socket) {
            self.enqueue_hook(key, endpoint, gate);
            self.pump(key);
        }
    }

    pub(super) fn enqueue_hook(&mut self, key: u32, endpoint: u16, gate: Gate) {
        let target = self.node.endpoints[usize::from(endpoint)].hooks.clone();
        let Some(lane) = self.lanes.get_mut(key as usize) else { return };
        lane.enqueue(PendingCall {
            caller: Caller::Hook(gate),
            target,
            member: gate.name().into(),
            get: false,
            args: Args::none(),
            order: Order::Strict,
            place: Place::Worker,
            timeout: None,
            known: None,
            object: None,
        });
    }

    /// Starts what may start.
    pub(super) fn pump(&mut self, key: u32) {
        let most = self.node.config.limits.calls_in_flight_max;
        let mut must_await = false;
        while let Some(lane) = self.lanes.get_mut(key as usize) {
            for work in lane.take_ended() {
                self.node.pool.submit(Job::Run(Box::new(move |_| work())));
            }
            let Some((call, serial, control)) = lane.start(most, self.now) else { break };
            self.stats.calls += 1;
            must_await |= call.timeout.is_some();
            let at = self.now.time();
            let to = ReplyTo { post: self.post.clone(), lane: key, serial };
            let run = Run {
                form: lane.form,
                link: lane.link.clone(),
                connection: lane.connection.clone(),
                call,
                control,
                to,
                at,
            };
            match run.call.place {
                Place::Shard => run.run(&self.node.pool),
                Place::Worker => {
                    self.node.pool.submit(Job::Run(Box::new(move |pool| run.run(pool))));
                }
            }
        }
        if must_await {
            self.await_calls(key);
        }
        self.drop_lane_if_over(key);
    }

    fn drop_lane_if_over(&mut self, key: u32) {
        if self.lanes.get(key as usize).is_some_and(|lane| lane.closed && lane.is_empty()) {
            self.lanes.remove(key as usize);
            if let Some(local) = self.departed_locals.remove(&key) {
                self.node.pool.submit(Job::Dispose(local));
            }
        }
    }

    /// What became of a call.
    pub(super) fn on_reply(&mut self, key: u32, serial: u32, reply: OwnedReply) {
        let Some(lane) = self.lanes.get(key as usize) else { return };
        let Some(running) = lane.running(serial) else { return }; // cancelled
        let (caller, socket, closed) = (running.caller, lane.socket, lane.closed);
        let control = running.control.clone();
        let is_item = matches!(reply, OwnedReply::Item(_));
        let mut reply = self.counted(reply);
        let Some(lane) = self.lanes.get_mut(key as usize) else { return };
        match &reply {
            OwnedReply::Item(_) => lane.answered(serial),
            OwnedReply::Room(_) => lane.joined(serial),
            OwnedReply::Error(error) => lane.finish(serial, End::Failed(error.clone())),
            _ => lane.finish(serial, End::Done),
        }
        match caller {
            Caller::Session(call) if !closed => {
                self.with_talk(socket, |session, host| {
                    session.on_reply(call, lent(&mut reply), host);
                });
                if is_item {
                    self.after_item(socket, control);
                }
            }
            Caller::Session(_) | Caller::Nobody => {}
            Caller::Hook(gate) => self.on_hook_reply(socket, gate, &reply, closed),
        }
        dispose(self, reply);
        self.pump(key);
        self.after_calls(socket);
    }

    pub(super) fn on_returned(&mut self, key: u32, serial: u32) {
        let Some(lane) = self.lanes.get_mut(key as usize) else { return };
        lane.returned(serial);
        let socket = lane.socket;
        self.pump(key);
        self.after_calls(socket);
    }

    pub(super) fn counted(&mut self, reply: OwnedReply) -> OwnedReply {
        if matches!(reply, OwnedReply::Panicked) {
            self.stats.reasons.bump(Reason::HandlerPanicked);
            return OwnedReply::Error(CallError::with_code(500, "Internal error"));
        }
        if let OwnedReply::Error(error) = &reply {
            self.stats.calls_failed += 1;
            if error.code == Some(429) {
                self.stats.reasons.bump(Reason::RateLimited);
            }
        }
        reply
    }

    /// The hook for new connections admits the connection, or its refusal ends it; others have no
    /// say.
    fn on_hook_reply(&mut self, socket: SocketId, gate: Gate, reply: &OwnedReply, closed: bool) {
        if gate == Gate::Upgrade && !closed {
            return self.on_guard_reply(socket, reply);
        }
        if gate != Gate::Connect || closed {
            return;
        }
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.flags.set(PAUSED_ADMISSION, false);
        if let OwnedReply::Error(error) = reply {
            let text = error.message.to_string();
            self.with_talk(socket, |_, host| {
                host.effect(fulmar_dialect::Effect::Close {
                    code: fulmar_proto::ws::close::POLICY,
                    reason: &text,
                });
            });
        } else {
            self.with_talk(socket, |session, host| session.on_open(host));
            self.resume(socket);
        }
    }

    /// A stream may go on if its client keeps up; else when its backlog has drained.
    fn after_item(&mut self, socket: SocketId, control: Arc<Control>) {
        let Some(connection) = self.connections.get(socket) else { return };
        let endpoint = self.node.endpoints.get(usize::from(connection.endpoint));
        let low = endpoint.map_or(0, |endpoint| endpoint.pause_bytes / 2);
        if self.output.queued(socket) <= low {
            control.give_credit();
        } else {
            self.owed.push((socket, control));
            if let Some(connection) = self.connections.get_mut(socket) {
                connection.flags.set(OWES, true);
            }
        }
    }

    /// Gives streams whose clients keep up again what they were owed.
    pub(super) fn pay_owed(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        let mut owed = std::mem::take(&mut self.owed);
        owed.retain(|(socket, control)| {
            let Some(connection) = self.connections.get(*socket) else { return false };
            let endpoint = self.node.endpoints.get(usize::from(connection.endpoint));
            let low = endpoint.map_or(0, |endpoint| endpoint.pause_bytes / 2);
            let is_stuck = self.output.queued(*socket) > low;
            if !is_stuck {
                control.give_credit();
            }
            is_stuck
        });
        self.owed = owed;
    }

    /// Fewer calls wait: a connection that was not read may be again.
    fn after_calls(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let waiting = self.lanes.get(connection.lane() as usize).map_or(0, Lane::waiting);
        let is_low = waiting <= self.node.config.limits.calls_queued_max / 2;
        if is_low && connection.flags.set(PAUSED_CALLS, false) {
            self.resume(socket);
        }
    }

    /// The lane of a connection, made if it has none.
    pub(super) fn lane_of(&mut self, socket: SocketId) -> Option<u32> {
        let lane = self.connections.get(socket)?.lane();
        if lane != NO_LANE {
            return Some(lane);
        }
        let link = Link::new(self.node.clone(), self.number(socket));
        self.add_lane(socket, link, Arc::new(()))
    }

    /// Gives a connection its lane.
    pub(super) fn add_lane(
        &mut self,
        socket: SocketId,
        link: Link,
        handle: Arc<dyn std::any::Any + Send + Sync>,
    ) -> Option<u32> {
        let form = self.form_of(socket);
        let key = self.lanes.insert(Lane::new(socket, form, link, handle));
        let key = u32::try_from(key).ok()?;
        self.connections.get_mut(socket)?.extras_mut().lane = key;
        Some(key)
    }

    /// The dialect is known: what handlers answer is in its form from now on.
    pub(super) fn set_form(&mut self, socket: SocketId) {
        let form = self.form_of(socket);
        let lane = self.connections.get(socket).map_or(NO_LANE, super::Connection::lane);
        let Some(lane) = self.lanes.get_mut(lane as usize) else { return };
        lane.form = form;
        if let Some(handle) = crate::connection::Connection::from_erased(&lane.connection) {
            handle.set_form(form);
        }
    }

    pub(super) fn form_of(&self, socket: SocketId) -> Form {
        let Some(connection) = self.connections.get(socket) else { return Form::Json };
        let endpoint = self.node.endpoints.get(usize::from(connection.endpoint));
        let dialect = endpoint.and_then(|e| e.dialects.get(connection.dialect()));
        dialect.map_or(Form::Json, |(dialect, _)| dialect.form())
    }
}

/// A call with everything it needs, wherever it runs.
struct Run {
    call: PendingCall,
    form: Form,
    link: Link,
    connection: Arc<dyn std::any::Any + Send + Sync>,
    control: Arc<Control>,
    to: ReplyTo,
    at: Duration,
}

impl Run {
    fn run(self, pool: &crate::worker::Pool) {
        let Self { call, form, link, connection, control, to, at } = self;
        let PendingCall { target, member, get, args, known, .. } = call;
        if control.is_over() {
            // Cancelled while it waited for a worker. The lane wants to know that it holds none.
            return to.reply(OwnedReply::End);
        }
        let cancelled = OnceCell::from(control.cancelled.clone());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let call = Call {
                args,
                form,
                link: &link,
                connection: &connection,
                cancelled: &cancelled,
                at,
                known,
            };
            let target = target.target();
            if get { target.get(&member, call) } else { target.call(&member, call) }
        }));
        match outcome {
            Ok(Outcome::Ready(Ok(payload))) => to.reply(OwnedReply::Value(payload)),
            Ok(outcome) => settle(outcome, form, to, &control, pool),
            Err(_panic) => to.reply(OwnedReply::Panicked),
        }
    }
}

/// A reply as a session gets it: values are handed over, the rest is lent.
pub(super) fn lent(reply: &mut OwnedReply) -> Reply<'_> {
    match reply {
        OwnedReply::Value(payload) => Reply::Value(std::mem::replace(payload, Payload::Undefined)),
        OwnedReply::Item(payload) => Reply::Item(std::mem::replace(payload, Payload::Undefined)),
        OwnedReply::End => Reply::End,
        OwnedReply::Room(room) => Reply::Room(room),
        OwnedReply::Verdict(verdict) => Reply::Verdict(verdict),
        OwnedReply::Error(error) => Reply::Error(error),
        OwnedReply::Missing | OwnedReply::Panicked => Reply::Missing,
    }
}

/// A reply that no session took may hold an embedder's objects, which are not dropped here.
pub(super) fn dispose(shard: &Shard, reply: OwnedReply) {
    let (OwnedReply::Value(payload) | OwnedReply::Item(payload)) = reply else { return };
    if matches!(&payload, Payload::Rich(value) if value.holds_objects()) {
        shard.node.pool.submit(Job::Dispose(Box::new(payload)));
    }
}
