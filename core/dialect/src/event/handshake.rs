//! From the first `authenticate` to `connected`: who the client is, and the key exchange.
use super::{
    names::{self, event},
    options::{Authentication, Encryption},
    session::{
        ALREADY_AUTHENTICATED, AUTHENTICATION_ERROR, AUTHENTICATION_FAILED, EventSession,
        HANDSHAKE_FAILED, Rare, State, TAG,
    },
    wire,
};
use crate::{
    Args, Delivery, Effect, Gate, Handshake, Host, Identity, On, Order, Payload, Reply, Verdict,
    uuid_text,
};

/// What an authenticator answered.
enum Answer {
    Accepted(Identity),
    Refused,
    Failed,
    /// There is no authenticator.
    Nobody,
}

impl EventSession {
    /// The client says who it is.
    pub(super) fn authenticate(&mut self, data: Option<&str>, host: &mut dyn Host) {
        let data = data.filter(|data| *data != "null").unwrap_or("{}");
        match self.state {
            State::Unauthorized => self.begin(data, host),
            State::Authenticated if self.may_refresh() => self.ask(Gate::Authenticate, data, host),
            _ => host.send(ALREADY_AUTHENTICATED),
        }
    }

    /// The authenticator or the key exchange has answered.
    pub(super) fn gate_answered(&mut self, reply: &Reply<'_>, host: &mut dyn Host) {
        match self.state {
            State::Authenticating => match answer(reply) {
                Answer::Accepted(identity) => self.accept(identity, host),
                Answer::Nobody => match self.identity.take() {
                    Some(identity) => self.accept(*identity, host),
                    None => self.refuse(AUTHENTICATION_FAILED, host),
                },
                Answer::Refused => self.refuse(AUTHENTICATION_FAILED, host),
                Answer::Failed => self.refuse(AUTHENTICATION_ERROR, host),
            },
            State::Agreeing => self.handshake_answered(reply, host),
            State::Authenticated => self.refresh_answered(reply, host),
            State::Unauthorized | State::Disconnected => {}
        }
    }

    fn begin(&mut self, data: &str, host: &mut dyn Host) {
        // Kept only for those who need it a second time.
        if self.wants_handshake(data) {
            self.rare = Some(Box::new(Rare::Asked(data.into())));
        }
        self.state = State::Authenticating;
        match self.options.authentication {
            Authentication::Ask => {
                self.limit_authentication(host);
                self.ask(Gate::Authenticate, data, host);
            }
            Authentication::Anybody => {
                let identity = self.identity.take().map(|identity| *identity);
                self.accept(identity.unwrap_or_default(), host);
            }
        }
    }

    fn wants_handshake(&self, data: &str) -> bool {
        match self.options.encryption {
            Encryption::Off => false,
            Encryption::Offered => wire::client_public_key(data).is_some(),
            Encryption::Required => true,
        }
    }

    /// One question at a time; nothing that the client does meanwhile waits for it.
    fn ask(&mut self, gate: Gate, data: &str, host: &mut dyn Host) {
        let call = self.next_question();
        host.effect(Effect::Call {
            call,
            on: On::Gate(gate),
            member: "",
            get: false,
            args: Args::One(Payload::json(data)),
            order: Order::Free,
        });
    }

    fn accept(&mut self, mut identity: Identity, host: &mut dyn Host) {
        identity.user = identity.user.filter(|user| !user.is_empty());
        self.identity = Some(Box::new(identity));
        match self.rare.take().map(|rare| *rare) {
            Some(Rare::Asked(data)) => {
                self.state = State::Agreeing;
                if self.options.authentication == Authentication::Anybody {
                    self.limit_authentication(host);
                }
                self.ask(Gate::Handshake, &data, host);
            }
            _ => self.welcome(None, host),
        }
    }

    fn refuse(&mut self, frame: &str, host: &mut dyn Host) {
        host.send(frame);
        self.end(4003, "Authentication failed", host);
    }

    fn handshake_answered(&mut self, reply: &Reply<'_>, host: &mut dyn Host) {
        let is_required = self.options.encryption == Encryption::Required;
        match reply {
            Reply::Verdict(Verdict::Agreed(handshake)) => self.welcome(Some(handshake), host),
            Reply::Error(_) => self.refuse(AUTHENTICATION_ERROR, host),
            // Nobody could have agreed: the client offered something that is not wanted here.
            Reply::Missing if !is_required => self.welcome(None, host),
            Reply::Missing => self.end(4004, "Encryption required", host),
            _ => {
                host.send(HANDSHAKE_FAILED);
                self.end(4004, "Encryption required", host);
            }
        }
    }

    /// The client is somebody now. What is sent behind the seal is sealed, `connected` is not: it
    /// holds what the client needs to open the others.
    fn welcome(&mut self, handshake: Option<&Handshake>, host: &mut dyn Host) {
        self.state = State::Authenticated;
        self.lists_own_id = true;
        self.start_heartbeat(host);
        let identity = *self.identity.take().unwrap_or_default();
        host.effect(Effect::Identify { identity: &identity });
        let join = |room: &str, host: &mut dyn Host| {
            host.effect(Effect::Join { room, tag: TAG, delivery: Delivery::Shared });
        };
        if let Some(user) = &identity.user {
            join(&names::user_room(user), host);
        }
        join(names::BROADCAST_ROOM, host);
        let options = self.options.clone();
        self.rooms.reserve(options.default_rooms.len());
        for room in &options.default_rooms {
            if !self.rooms.contains(room) {
                join(room, host);
                self.rooms.add(room.clone());
            }
        }

        let id = uuid_text(self.id());
        self.send(&connected(&id, &identity, handshake, host.now()), host);
        let seal = match handshake {
            Some(handshake) => Some(handshake.seal.clone()),
            None => options.transformer.as_ref().and_then(|all| all.seal_for(&id, &identity)),
        };
        if let Some(seal) = seal {
            host.effect(Effect::Seal { seal });
        }
        self.rare = handshake.map(|handshake| {
            let (public_key, salt) = (handshake.public_key.clone(), handshake.salt.clone());
            Box::new(Rare::Agreed { public_key, salt })
        });
        self.tell_authenticated(&id, &identity, host);
        // Nobody is the default, and costs nothing.
        self.identity = (identity != Identity::default()).then(|| Box::new(identity));
    }

    /// The endpoint's moment after `connected`; whatever it answers.
    fn tell_authenticated(&mut self, id: &str, identity: &Identity, host: &mut dyn Host) {
        let mut json = b"{\"id\":\"".to_vec();
        wire::quote(id, &mut json);
        json.push(b'"');
        if let Some(user) = &identity.user {
            wire::write_member("userId", user, &mut json);
        }
        let metadata = if identity.claims.is_empty() { "null" } else { &*identity.claims };
        json.extend_from_slice(b",\"metadata\":");
        json.extend_from_slice(metadata.as_bytes());
        json.push(b'}');
        let Ok(json) = String::from_utf8(json) else { return };
        let call = self.next_call();
        host.effect(Effect::Call {
            call,
            on: On::Gate(Gate::Authenticated),
            member: "",
            get: false,
            args: Args::One(Payload::Json(json.into())),
            order: Order::Strict,
        });
    }

    /// Whoever is known for a while only may prove itself again; one proof at a time.
    fn may_refresh(&self) -> bool {
        let expires = self.identity.as_ref().and_then(|identity| identity.expires);
        self.options.authentication == Authentication::Ask && !self.is_asked() && expires.is_some()
    }

    fn refresh_answered(&mut self, reply: &Reply<'_>, host: &mut dyn Host) {
        let Answer::Accepted(mut identity) = answer(reply) else {
            // Until it expires it is who it was.
            return host.send(AUTHENTICATION_FAILED);
        };
        identity.user = identity.user.filter(|user| !user.is_empty());
        let known = self.identity.as_ref().and_then(|known| known.user.as_deref());
        if identity.user.as_deref() != known {
            return host.send(ALREADY_AUTHENTICATED);
        }
        host.effect(Effect::Identify { identity: &identity });
        let expires = identity.expires.map(wire::time);
        let data =
            expires.map_or_else(|| "{}".to_owned(), |at| format!("{{\"expires\":\"{at}\"}}"));
        host.send(&format!("{{\"event\":\"refreshed\",\"data\":{data}}}"));
        self.identity = Some(Box::new(identity));
    }
}

fn answer(reply: &Reply<'_>) -> Answer {
    match reply {
        Reply::Verdict(Verdict::Accepted(identity)) => Answer::Accepted(identity.clone()),
        Reply::Value(payload) => wire::identity(payload).map_or(Answer::Refused, Answer::Accepted),
        Reply::Error(_) => Answer::Failed,
        Reply::Missing => Answer::Nobody,
        Reply::Verdict(_) | Reply::Item(_) | Reply::Room(_) | Reply::End => Answer::Refused,
    }
}

fn connected(id: &str, identity: &Identity, handshake: Option<&Handshake>, now: u64) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend_from_slice(b"{\"event\":\"");
    frame.extend_from_slice(event::CONNECTED.as_bytes());
    frame.extend_from_slice(b"\",\"data\":{\"id\":\"");
    wire::quote(id, &mut frame);
    frame.push(b'"');
    if let Some(user) = &identity.user {
        wire::write_member("userId", user, &mut frame);
    }
    wire::write_member("time", &wire::time(now), &mut frame);
    if let Some(handshake) = handshake {
        wire::write_member("serverPublicKey", &handshake.public_key, &mut frame);
        wire::write_member("salt", &handshake.salt, &mut frame);
    }
    frame.extend_from_slice(b"}}");
    frame
}
