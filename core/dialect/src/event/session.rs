//! One client's connection.
use std::{num::NonZeroU32, sync::Arc};

use super::{
    names::{event, state},
    options::EventOptions,
    rooms::Rooms,
    wire::{self, Envelope, Parsed},
};
use crate::{
    Args, Ask, CallError, CallId, Description, Effect, EventArgs, Host, Identity, Kind, Message,
    On, OpenRequest, Order, Payload, Reply, Sent, Session, Settler, Tag, Value,
};

/// The tag of every membership: members are told apart by room and tag, so joining a room twice is
/// being in it once.
pub(super) const TAG: Tag = Tag(0);

/// Events and requests to join that may wait for their handlers. The host stops reading long before
/// (its limit on calls that wait), so that nobody sees this.
const WAITING_MAX: usize = 65_536;

macro_rules! errors {
    ($($name:ident = $message:literal;)*) => { $(
        pub(super) const $name: &str =
            concat!("{\"event\":\"error\",\"data\":{\"message\":\"", $message, "\"}}");
    )* };
}

errors! {
    INVALID_FORMAT = "Invalid message format";
    NOT_AUTHENTICATED = "Not authenticated";
    ALREADY_AUTHENTICATED = "Already authenticated";
    AUTHENTICATION_FAILED = "Authentication failed";
    AUTHENTICATION_ERROR = "Authentication error";
    HANDSHAKE_FAILED = "Encryption handshake failed";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unauthorized,
    Authenticating,
    /// Known, but the keys are not exchanged yet.
    Agreeing,
    Authenticated,
    /// Closed by us: whatever comes still is too late.
    Disconnected,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => state::UNAUTHORIZED,
            Self::Authenticating | Self::Agreeing => state::AUTHENTICATING,
            Self::Authenticated => state::AUTHENTICATED,
            Self::Disconnected => state::DISCONNECTED,
        }
    }
}

pub(super) struct EventSession {
    pub(super) options: Arc<EventOptions>,
    /// A `u128` would want to lie at a multiple of 16 bytes.
    id: [u64; 2],
    /// Who it is, once authenticated; whom the upgrade's guard knew before. `None` for nobody.
    pub(super) identity: Option<Box<Identity>>,
    pub(super) rooms: Rooms,
    /// Calls whose answers matter, in order.
    waiting: Vec<Waiting>,
    /// The question that was put to a gate about this client.
    asked: Option<NonZeroU32>,
    pub(super) rare: Option<Box<Rare>>,
    calls: u32,
    /// Looks at the connection since it last said something.
    silence: u32,
    pub(super) state: State,
    /// Whether it said something since the last look.
    is_active: bool,
    pub(super) lists_own_id: bool,
}

/// An idle client costs this, its identity if it has one, and the list of its rooms.
const _: () = assert!(size_of::<EventSession>() + size_of::<Identity>() <= 160);

/// What few connections have.
pub(super) enum Rare {
    /// What the client authenticated with, for the key exchange.
    Asked(Box<str>),
    /// What it was told.
    Agreed { public_key: Box<str>, salt: Box<str> },
}

/// Something that takes its turn.
struct Waiting {
    /// The call that is answered; 0 for what is done as soon as it is its turn.
    call: u32,
    what: What,
    text: Box<str>,
}

#[derive(Clone, Copy)]
enum What {
    /// An event's handler. The event's name has so many bytes, the first of the text; the rest is
    /// the client's id for it, raw.
    Event(NonZeroU32),
    /// A request to join that the endpoint decides about.
    Rooms,
    /// A request to join, raw, that needs no decision.
    Join,
    /// A request to leave, raw.
    Leave,
}

/// Requests to join and leave that take their turn behind events; further ones do not wait, nor do
/// very long ones: nobody keeps more than this of a client that waits for a handler.
const TURNS_MAX: usize = 64;
const TURN_BYTES_MAX: usize = 8 << 10;

impl EventSession {
    pub(super) fn new(options: &Arc<EventOptions>, request: &OpenRequest<'_>) -> Self {
        Self {
            options: options.clone(),
            id: halves(request.id),
            identity: request.identity.map(|identity| Box::new(identity.clone())),
            rooms: Rooms::default(),
            waiting: Vec::new(),
            asked: None,
            rare: None,
            calls: 0,
            silence: 0,
            state: State::Unauthorized,
            is_active: false,
            lists_own_id: false,
        }
    }

    pub(super) fn id(&self) -> u128 {
        u128::from(self.id[0]) << 64 | u128::from(self.id[1])
    }

    pub(super) fn next_call(&mut self) -> CallId {
        self.calls = self.calls.checked_add(1).unwrap_or(1);
        CallId(u64::from(self.calls))
    }

    /// The next call, as a question about this client.
    pub(super) fn next_question(&mut self) -> CallId {
        let call = self.next_call();
        self.asked = NonZeroU32::new(self.calls);
        call
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Notes that the next call's answer is rooms to join; `None` if too many wait already.
    pub(super) fn expect_rooms(&mut self) -> Option<CallId> {
        self.expect(What::Rooms, Box::default())
    }

    pub(super) fn limit_authentication(&self, host: &mut dyn Host) {
        if !self.options.auth_timeout.is_zero() {
            let after = self.options.auth_timeout.saturating_mul(3);
            host.effect(Effect::Deadline { after: Some(after) });
        }
    }

    /// What came before the client was known does not count.
    pub(super) fn start_heartbeat(&mut self, host: &mut dyn Host) {
        (self.is_active, self.silence) = (false, 0);
        let options = &self.options;
        if !options.heartbeat_interval.is_zero() && !options.heartbeat_timeout.is_zero() {
            host.effect(Effect::Deadline { after: Some(options.heartbeat_interval) });
        } else if !options.auth_timeout.is_zero() {
            host.effect(Effect::Deadline { after: None });
        }
    }

    /// A whole message of our making.
    pub(super) fn send(&self, frame: &[u8], host: &mut dyn Host) {
        say(frame, Kind::Reply, host);
    }

    pub(super) fn end(&mut self, code: u16, reason: &str, host: &mut dyn Host) {
        host.effect(Effect::Close { code, reason });
        self.state = State::Disconnected;
        (self.waiting, self.asked, self.rare) = (Vec::new(), None, None);
    }

    fn on_text(&mut self, text: &str, host: &mut dyn Host) {
        let envelope = match wire::parse(text) {
            Parsed::Invalid => return host.send(INVALID_FORMAT),
            Parsed::Nothing => return,
            Parsed::Event(envelope) => envelope,
        };
        match envelope.event.as_deref() {
            Some(event::HEARTBEAT) => {}
            Some(event::AUTHENTICATE) => self.authenticate(envelope.data, host),
            _ if self.state != State::Authenticated => host.send(NOT_AUTHENTICATED),
            Some(event::JOIN) if self.joins_by_call() => self.join_asked(envelope.data, host),
            Some(event::JOIN) => self.in_turn(What::Join, envelope.data, host),
            Some(event::LEAVE) => self.in_turn(What::Leave, envelope.data, host),
            Some(name) => self.call_handler(name, &envelope, host),
            // Nobody handles what has no name.
            None => {}
        }
    }

    /// Does it when the events that came before it have been handled: handlers see the rooms that
    /// there were when the client spoke.
    fn in_turn(&mut self, what: What, data: Option<&str>, host: &mut dyn Host) {
        let turns = self.waiting.iter().filter(|waiting| waiting.call == 0).count();
        match data {
            Some(text)
                if !self.waiting.is_empty()
                    && turns < TURNS_MAX
                    && text.len() <= TURN_BYTES_MAX =>
            {
                self.waiting.push(Waiting { call: 0, what, text: text.into() });
            }
            _ => self.take_turn(what, data, host),
        }
    }

    fn take_turn(&mut self, what: What, data: Option<&str>, host: &mut dyn Host) {
        match what {
            What::Join => self.join_asked(data, host),
            What::Leave => self.leave_asked(data, host),
            What::Event(_) | What::Rooms => {}
        }
    }

    /// What came behind a call that is over.
    fn take_turns(&mut self, host: &mut dyn Host) {
        while self.waiting.first().is_some_and(|first| first.call == 0) {
            let next = self.waiting.remove(0);
            self.take_turn(next.what, Some(&next.text), host);
        }
    }

    fn call_handler(&mut self, name: &str, envelope: &Envelope<'_>, host: &mut dyn Host) {
        let text = [name, envelope.id.unwrap_or_default()].concat().into_boxed_str();
        // Events are no longer than messages, and those no longer than this.
        let Some(len) = u32::try_from(name.len()).ok().and_then(NonZeroU32::new) else {
            return;
        };
        let Some(call) = self.expect(What::Event(len), text) else { return };
        host.effect(Effect::Call {
            call,
            on: On::Endpoint,
            member: name,
            get: false,
            args: Args::Event(EventArgs {
                name: name.into(),
                data: envelope.data.map_or(Payload::Undefined, Payload::json),
                id: envelope.id.map(Into::into),
            }),
            order: Order::Strict,
        });
    }

    fn expect(&mut self, what: What, text: Box<str>) -> Option<CallId> {
        if self.waiting.len() >= WAITING_MAX {
            return None;
        }
        let call = self.next_call();
        self.waiting.push(Waiting { call: self.calls, what, text });
        Some(call)
    }

    /// What came of an event or a request to join.
    fn on_answer(&mut self, call: CallId, reply: &Reply<'_>, host: &mut dyn Host) {
        // They run one after the other, so this is nearly always the first.
        let is_it = |waiting: &Waiting| u64::from(waiting.call) == call.0;
        let Some(position) = self.waiting.iter().position(is_it) else { return };
        let waiting = self.waiting.remove(position);
        match (waiting.what, reply) {
            (What::Rooms, _) => self.join_answered(reply, host),
            (What::Event(name), Reply::Value(payload) | Reply::Item(payload)) => {
                respond(waiting.text.split_at(name.get() as usize), payload, host);
            }
            (What::Event(_), Reply::Room(room)) => self.join(&room.room, host),
            // There are no words for failure: the host logs and counts it.
            _ => {}
        }
        match reply {
            Reply::Item(_) => self.waiting.insert(position, waiting),
            // The membership needs no call that stays open.
            Reply::Room(_) => host.effect(Effect::Cancel { call }),
            _ => {}
        }
        self.take_turns(host);
    }

    fn send_asked(
        &self,
        event: &str,
        payload: &Payload<'_>,
        receipt: Option<Settler>,
        host: &mut dyn Host,
    ) {
        let mut frame = Vec::new();
        let written = wire::write(event_name(event), payload, &mut frame);
        match (written, receipt) {
            (Ok(_), receipt) => {
                say(&frame, Kind::Data, host);
                host.acknowledge(receipt);
            }
            (Err(_), Some(settler)) => {
                host.unsupported(settler, "An event cannot carry objects or stubs.");
            }
            (Err(_), None) => {}
        }
    }
}

impl Session for EventSession {
    fn on_open(&mut self, host: &mut dyn Host) {
        if !self.options.auth_timeout.is_zero() {
            host.effect(Effect::Deadline { after: Some(self.options.auth_timeout) });
        }
    }

    fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host) {
        if self.state == State::Disconnected {
            return;
        }
        self.is_active = true;
        match message {
            Message::Text(text) | Message::Batch(text) => self.on_text(text, host),
            Message::Binary(bytes) => self.on_text(&String::from_utf8_lossy(bytes), host),
        }
    }

    fn on_reply(&mut self, call: CallId, reply: Reply<'_>, host: &mut dyn Host) {
        if self.state == State::Disconnected {
            return;
        }
        if self.asked.is_some_and(|asked| u64::from(asked.get()) == call.0) {
            self.asked = None;
            self.gate_answered(&reply, host);
        } else {
            self.on_answer(call, &reply, host);
        }
    }

    fn on_ask(&mut self, ask: Ask, host: &mut dyn Host) {
        let is_gone = self.state == State::Disconnected;
        match ask {
            Ask::Send { receipt: Some(settler), .. } if is_gone => {
                host.settle(settler, Ok(Value::from(Sent::Dropped.name())));
            }
            Ask::Join { settler, .. } if is_gone => host.settle(settler, Err(CallError::closed())),
            Ask::Send { .. } | Ask::Leave { .. } | Ask::Close { .. } if is_gone => {}
            Ask::Send { event, payload, receipt } => {
                self.send_asked(&event, &payload, receipt, host);
            }
            Ask::Join { room, import: None, settler } => {
                self.join(&room, host);
                host.settle(settler, Ok(().into()));
            }
            Ask::Leave { room } => self.leave(&[room], host),
            Ask::Close { code, reason } => self.end(code, &reason, host),
            other => host.refuse(other, "An event connection has nothing that could be called."),
        }
    }

    fn on_deadline(&mut self, host: &mut dyn Host) {
        match self.state {
            State::Disconnected => {}
            State::Authenticated => {
                if self.waiting.is_empty() && !self.is_active {
                    self.waiting.shrink_to_fit();
                }
                let was_active = std::mem::take(&mut self.is_active);
                self.silence = if was_active { 0 } else { self.silence.saturating_add(1) };
                let interval = self.options.heartbeat_interval;
                if interval.saturating_mul(self.silence) >= self.options.heartbeat_timeout {
                    return self.end(4002, "Heartbeat timeout", host);
                }
                host.effect(Effect::Deadline { after: Some(interval) });
            }
            _ => self.end(4001, "Authentication timeout", host),
        }
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn describe(&self, description: &mut Description) {
        description.state = self.state.name();
        if let Some(identity) = &self.identity {
            description.user.clone_from(&identity.user);
            description.claims.clone_from(&identity.claims);
        }
        description.rooms = self.listed_rooms();
        if let Some(Rare::Agreed { public_key, salt }) = self.rare.as_deref() {
            description.is_encrypted = true;
            description.public_key = Some(public_key.clone());
            description.salt = Some(salt.clone());
        }
    }
}

/// The name of an event for what comes from dialects without events.
pub(super) fn event_name(event: &str) -> &str {
    if event.is_empty() { "message" } else { event }
}

/// `<event>:response`, with the client's id if it gave one; handlers that return nothing answer
/// nothing.
fn respond((event, id): (&str, &str), payload: &Payload<'_>, host: &mut dyn Host) {
    if matches!(payload, Payload::Undefined) {
        return;
    }
    let mut frame = Vec::new();
    let id = Some(id).filter(|id| !id.is_empty());
    if wire::write_with_id(&[event, ":response"], payload, id, &mut frame).is_ok() {
        say(&frame, Kind::Reply, host);
    }
}

fn say(frame: &[u8], kind: Kind, host: &mut dyn Host) {
    if let Ok(text) = str::from_utf8(frame) {
        host.effect(Effect::Send { message: Message::Text(text), kind });
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half goes into the other one")]
fn halves(id: u128) -> [u64; 2] {
    [(id >> 64) as u64, id as u64]
}
