//! One client's connection.
use std::{borrow::Cow, sync::Arc};

use super::{
    RpcOptions,
    calls::{Calls, ID_BYTES_MAX, Id, Pending, State, tag_of},
    wire::{self, Frame},
};
use crate::{
    Answer, Args, Ask, CallError, CallId, Delivery, Description, Effect, Envelope, Host, Message,
    Order, Part, Payload, Reply, Session, Subscribed, Tag, Verdict, payload::recycle,
};

const PONG: &str = "{\"pong\":true}";

/// What a call that its client cancelled has become, in the words of JavaScript.
const ABORTED: &str = "AbortError: This operation was aborted";

const UNASKED: &str =
    "An rpc client hears only what it asked for: answer one of its calls with a room or a stream.";

pub(super) struct RpcSession {
    options: Arc<RpcOptions>,
    calls: Calls,
}

// One per idle connection.
const _: () = assert!(size_of::<RpcSession>() <= 56);

impl RpcSession {
    pub(super) fn new(options: Arc<RpcOptions>) -> Self {
        Self { options, calls: Calls::default() }
    }

    fn request(&mut self, method: &str, frame: &Frame<'_>, raw: &str, host: &mut dyn Host) {
        let params = match self.admit(frame, raw) {
            Ok(params) => params,
            Err(error) => return fail(&Id::from_raw(raw), &error, host),
        };
        let call = self.calls.number();
        match host.call(call, method, params, Order::Free) {
            // What is over at once is noted nowhere.
            Some(answer) => say_answer(raw, answer, host),
            None => self.calls.note(call, Id::from_raw(raw)),
        }
    }

    /// The parameters of a call, if it can be made.
    fn admit<'a>(&self, frame: &Frame<'a>, raw: &str) -> Result<Args<'a>, CallError> {
        let params = arguments(frame).ok_or_else(|| wire::not_a_list(frame.params))?;
        if raw.len() > ID_BYTES_MAX {
            return Err(CallError::with_code(400, "The id is longer than 256 bytes."));
        }
        if self.calls.len() > 0 && self.calls.find(&Id::from_raw(raw)).is_some() {
            return Err(CallError::with_code(400, "A pending call has this id."));
        }
        if self.calls.len() >= self.options.calls_max {
            return Err(CallError::with_code(503, "Too many calls are pending."));
        }
        Ok(params)
    }

    /// The client no longer wants an answer. By `id`, as alien-rpc's server has it, it still waits
    /// for the end; by `params`, as its client has it, it does not know the call any more.
    fn cancel(&mut self, frame: &Frame<'_>, host: &mut dyn Host) {
        let raw = frame.id.or_else(|| frame.params.and_then(wire::first));
        let Some(raw) = raw.filter(|raw| raw.len() <= ID_BYTES_MAX) else { return };
        let Some(call) = self.calls.find(&Id::from_raw(raw)) else { return };
        let Some(pending) = self.stop(call, host) else { return };
        if frame.id.is_none() {
            return;
        }
        match pending.state {
            State::Streaming | State::Room(_) => end(&pending.id, host),
            State::Waiting | State::Over => {
                fail(&pending.id, &CallError::with_code(500, ABORTED), host);
            }
        }
    }

    /// Ends a call that could go on.
    fn stop(&mut self, call: CallId, host: &mut dyn Host) -> Option<Pending> {
        let pending = self.finish(call, host)?;
        host.effect(Effect::Cancel { call });
        Some(pending)
    }

    /// A call is over, and its membership with it.
    fn finish(&mut self, call: CallId, host: &mut dyn Host) -> Option<Pending> {
        let pending = self.calls.end(call)?;
        if let Some(room) = pending.room() {
            host.effect(Effect::Leave { room, tag: tag_of(call) });
        }
        Some(pending)
    }

    fn item(&mut self, call: CallId, payload: &Payload<'_>, host: &mut dyn Host) {
        let Some(pending) = self.calls.get(call) else { return };
        let is_first = matches!(pending.state, State::Waiting);
        if let Err(error) = answer(&pending.id, payload, host) {
            // The rest is worth nothing without it.
            if let Some(pending) = self.stop(call, host) {
                fail(&pending.id, &error, host);
            }
        } else if is_first {
            self.calls.set_streaming(call);
        }
    }

    fn subscribe(&mut self, call: CallId, answer: &Subscribed, host: &mut dyn Host) {
        let room = &*answer.room;
        let is_one = self.calls.get(call).is_none_or(|pending| pending.room().is_some());
        if is_one {
            return;
        }
        if self.calls.subscriptions() >= self.options.subscriptions_max {
            if let Some(pending) = self.stop(call, host) {
                let error = CallError::with_code(503, "Too many subscriptions.");
                fail(&pending.id, &error, host);
            }
            return;
        }
        let part = if answer.is_numbered { Part::Whole } else { Part::Data };
        let delivery = Delivery::Enveloped(part);
        host.effect(Effect::Join { room, tag: tag_of(call), delivery });
        // Now that it has a member there is a name to share.
        let room = host.room_name(room);
        self.calls.set_room(call, room);
    }

    /// The server takes the client out of a room: its subscriptions there end.
    fn leave(&mut self, room: &str, host: &mut dyn Host) {
        let calls: Vec<_> = self.calls.in_room(room).collect();
        for call in calls {
            if let Some(pending) = self.stop(call, host) {
                end(&pending.id, host);
            }
        }
    }
}

impl Session for RpcSession {
    fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host) {
        let Some(frame) = wire::text_of(message).and_then(wire::parse) else { return };
        match (frame.method.as_deref(), frame.id) {
            (Some(".ping"), _) => {
                // Clients ping when nothing else happens.
                self.calls.release();
                host.send(PONG);
            }
            (Some(".cancel"), _) => self.cancel(&frame, host),
            (Some(method), Some(id)) if is_route(method) => self.request(method, &frame, id, host),
            (Some(method), None) if is_route(method) => {
                if let Some(params) = arguments(&frame) {
                    let (call, order) = (self.calls.number(), Order::Strict);
                    if let Some(Answer::Value(payload)) = host.call(call, method, params, order) {
                        dispose(payload, host);
                    }
                }
            }
            (_, Some(id)) => wire::say(host, |out| wire::write_missing(&Id::from_raw(id), out)),
            (_, None) => {}
        }
    }

    fn on_reply(&mut self, call: CallId, reply: Reply<'_>, host: &mut dyn Host) {
        if self.calls.get(call).is_none() {
            // A notification: nobody wants what comes of it, least of all again and again.
            if matches!(reply, Reply::Item(_) | Reply::Room(_)) {
                host.effect(Effect::Cancel { call });
            }
            return;
        }
        match &reply {
            Reply::Item(payload) => return self.item(call, payload, host),
            Reply::Room(room) => return self.subscribe(call, room, host),
            _ => {}
        }
        let Some(Pending { id, .. }) = self.finish(call, host) else { return };
        match reply {
            Reply::Value(payload) => say_value(&id, &payload, host),
            Reply::End => end(&id, host),
            Reply::Error(error) => fail(&id, error, host),
            Reply::Missing => wire::say(host, |out| wire::write_missing(&id, out)),
            // Those are answers to gates. Of a route, they are as good as any.
            Reply::Verdict(Verdict::Refused) => {
                fail(&id, &CallError::with_code(403, "Forbidden"), host);
            }
            Reply::Verdict(_) | Reply::Item(_) | Reply::Room(_) => {
                // Nothing can always be said.
                let _ = answer(&id, &Payload::Undefined, host);
            }
        }
    }

    fn on_ask(&mut self, ask: Ask, host: &mut dyn Host) {
        match ask {
            Ask::Join { room, import: None, settler }
                if self.calls.in_room(&room).next().is_some() =>
            {
                host.settle(settler, Ok(().into()));
            }
            Ask::Leave { room } => self.leave(&room, host),
            other => host.refuse(other, UNASKED),
        }
    }

    fn is_plain(&self) -> bool {
        true
    }

    /// alien-rpc's client would wait for ever for what is pending when a connection is closed with
    /// a close frame.
    fn on_close(&mut self, by_us: bool, host: &mut dyn Host) {
        let pending = self.calls.clear();
        if by_us {
            let error = CallError::with_code(503, "Connection closing");
            pending.iter().for_each(|pending| fail(&pending.id, &error, host));
        }
    }

    fn describe(&self, description: &mut Description) {
        description.state = "open";
        let rooms = self.calls.live().filter_map(Pending::room);
        let mut known = std::collections::BTreeSet::new();
        description.rooms = rooms.filter(|room| known.insert(&***room)).cloned().collect();
    }

    fn envelope(&self, tag: Tag, body_len: usize, around: &mut Envelope) {
        let id = self.calls.tagged(tag).map(|pending| &pending.id);
        wire::write_around(id, body_len, &mut around.head, &mut around.tail);
    }
}

/// Whether a route may be called so. What begins with a dot is the protocol's own.
fn is_route(method: &str) -> bool {
    !method.is_empty() && !method.starts_with('.')
}

/// The parameters, if they are a list.
pub(super) fn arguments<'a>(frame: &Frame<'a>) -> Option<Args<'a>> {
    let params = frame.params?;
    if frame.is_one_text {
        return Some(Args::Text(Cow::Borrowed(params)));
    }
    params.starts_with('[').then(|| Args::List(Payload::json(params)))
}

/// Says what a call has come to, under its id as the client wrote it.
fn say_answer(raw: &str, answer: Answer, host: &mut dyn Host) {
    if let Answer::Value(Payload::Json(json)) = answer {
        wire::say_json_result(raw, &json, host);
        return recycle(Payload::Json(json));
    }
    let id = Id::from_raw(raw);
    match answer {
        Answer::Value(payload) => {
            say_value(&id, &payload, host);
            dispose(payload, host);
        }
        Answer::Error(error) => fail(&id, &error, host),
        Answer::Missing => wire::say(host, |out| wire::write_missing(&id, out)),
    }
}

fn say_value(id: &Id, payload: &Payload<'_>, host: &mut dyn Host) {
    if let Err(error) = answer(id, payload, host) {
        fail(id, &error, host);
    }
}

/// A result that has been said.
fn dispose(payload: Payload<'static>, host: &mut dyn Host) {
    match payload {
        Payload::Rich(value) => host.effect(Effect::Dispose { value }),
        said => recycle(said),
    }
}

/// Says a result or an item; nothing if it has no JSON.
fn answer(id: &Id, payload: &Payload<'_>, host: &mut dyn Host) -> Result<(), CallError> {
    if let Payload::Json(json) = payload {
        let mut digits = itoa::Buffer::new();
        let raw = match id {
            Id::Number(number) => digits.format(*number),
            Id::Other(raw) => raw,
        };
        wire::say_json_result(raw, json, host);
        return Ok(());
    }
    wire::try_say(host, |out| wire::write_result(id, payload, out))
}

fn end(id: &Id, host: &mut dyn Host) {
    wire::say(host, |out| wire::write_end(id, out));
}

fn fail(id: &Id, error: &CallError, host: &mut dyn Host) {
    wire::say(host, |out| wire::write_error(id, error, out));
}
