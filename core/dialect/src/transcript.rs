//! Test support: a session played against a recorded dialogue.
//!
//! A script has one thing per line. Blank lines and lines that begin with `#` are skipped.
//!
//! | line | meaning |
//! |---|---|
//! | `@ as ada 5 {"a":1}` | whom the guard knows: user, expiry, claims; `-` for none of them |
//! | `@ open /path?query name=value` | a connection opens, with path parameters |
//! | `> text`, `>x 00ff` | the client sends a text or binary message |
//! | `@ reply 1 value text hello` | what became of call 1 (every kind of [`Reply`]) |
//! | `@ reply 1 identity ada`, `refused`, `agreed KEY SALT` | a gate's verdict, as `@ as` |
//! | `@ ask join lobby` | what the server wants: `join`, `leave`, `send`, `call`, `close` |
//! | `@ deadline`, `@ delivered 0 3`, `@ close us` (or `client`) | a session's other calls |
//! | `@ describe` | answered with `! is state user [rooms]`, then claims, keys if encrypted |
//! | `< text`, `<x 00ff` | the session sends, never dropped |
//! | `<? text`, `<?x 00ff` | the session sends, the backpressure policy applies |
//! | `! effect ...` | any other effect |
//!
//! Payloads are `undefined`, `text ...`, `json ...`, `binary 00ff`, `object`; effects show rich
//! values as `rich` and their JSON. After each line from outside, the session's own must follow,
//! all and in order.
use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use crate::{
    Args, Ask, Call, CallError, CallId, Delivery, Description, Dialect, Effect, Handshake, Host,
    Identity, Kind, Link, Message, Object, On, OpenRequest, Order, Outbox, Outcome, Part, Payload,
    Promise, Reply, Seal, Session, Settler, Subscribed, Tag, Target, Value, Verdict, Want,
};

/// Plays a whole script against a new session.
///
/// # Errors
///
/// The first line that does not hold, with its number and what came instead.
pub fn play(dialect: &dyn Dialect, script: &str) -> Result<(), String> {
    let mut transcript = Transcript::new(dialect);
    for (index, line) in script.lines().enumerate() {
        let number = index + 1;
        let line = line.trim_end();
        match line.trim_start().chars().next() {
            None | Some('#') => {}
            Some('<' | '!') => {
                let came = transcript.next_line();
                if came.as_deref() != Some(line.trim_start()) {
                    let came = came.unwrap_or_else(|| "nothing".to_owned());
                    return Err(format!("line {number}: expected `{line}`, came `{came}`"));
                }
            }
            Some(_) => {
                if let Some(extra) = transcript.next_line() {
                    return Err(format!("before line {number}: also came `{extra}`"));
                }
                let done = transcript.input(line.trim_start());
                done.map_err(|problem| format!("line {number}: {problem}"))?;
            }
        }
    }
    match transcript.next_line() {
        Some(extra) => Err(format!("at the end: also came `{extra}`")),
        None => Ok(()),
    }
}

/// A session with a host that writes down what it is asked for.
#[derive(Debug)]
pub struct Transcript<'a> {
    dialect: &'a dyn Dialect,
    session: Option<Box<dyn Session>>,
    host: Lines,
    identity: Option<Identity>,
    /// Kept, so that sessions settle them and do not see them closed.
    promises: Vec<Promise<Value>>,
}

impl<'a> Transcript<'a> {
    /// Nothing is open yet.
    #[must_use]
    pub fn new(dialect: &'a dyn Dialect) -> Self {
        Self {
            dialect,
            session: None,
            host: Lines::default(),
            identity: None,
            promises: Vec::new(),
        }
    }

    /// Feeds one line from outside (`@` or `>`).
    ///
    /// # Errors
    ///
    /// If the line says nothing that is known.
    pub fn input(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("@ open ") {
            return self.open(rest);
        }
        if let Some(rest) = line.strip_prefix("@ as ") {
            self.identity = Some(identity(rest)?);
            return Ok(());
        }
        let session = self.session.as_mut().ok_or("nothing is open")?;
        let host = &mut self.host;
        if let Some(digits) = line.strip_prefix(">x") {
            session.on_message(Message::Binary(&from_hex(digits.trim())?), host);
        } else if let Some(text) = line.strip_prefix('>') {
            let text = text.strip_prefix(' ').unwrap_or(text);
            session.on_message(Message::Text(text), host);
        } else if line == "@ deadline" {
            session.on_deadline(host);
        } else if line == "@ describe" {
            let mut description = Description::default();
            session.describe(&mut description);
            host.lines.push(described(&description));
        } else if line == "@ close us" || line == "@ close client" {
            session.on_close(line.ends_with("us"), host);
        } else if let Some(rest) = line.strip_prefix("@ delivered ") {
            let (tag, frames) = word(rest);
            session.on_delivered(Tag(parse(tag)?), parse(frames)?, host);
        } else if let Some(rest) = line.strip_prefix("@ reply ") {
            reply(&mut **session, host, rest)?;
        } else if let Some(rest) = line.strip_prefix("@ ask ") {
            let (ask, promise) = ask(rest)?;
            session.on_ask(ask, host);
            self.promises.push(promise);
        } else {
            return Err(format!("unknown line `{line}`"));
        }
        Ok(())
    }

    /// The next thing the session wanted.
    pub fn next_line(&mut self) -> Option<String> {
        if self.host.lines.is_empty() { None } else { Some(self.host.lines.remove(0)) }
    }

    fn open(&mut self, rest: &str) -> Result<(), String> {
        let (target, rest) = word(rest);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameters: Option<Vec<_>> =
            rest.split_whitespace().map(|pair| pair.split_once('=')).collect();
        let link = Link::new(Arc::new(Nowhere), 1);
        let mut session = self.dialect.open(&OpenRequest {
            path,
            query,
            parameters: &parameters.ok_or("a parameter is `name=value`")?,
            headers: &[],
            subprotocol: None,
            peer: ([127, 0, 0, 1], 1).into(),
            id: 1,
            identity: self.identity.as_ref(),
            link: &link,
            main: &Object::new(Nothing),
        });
        session.on_open(&mut self.host);
        self.session = Some(session);
        Ok(())
    }
}

/// Effects as lines. The clock stands at 2026-11-21T07:53:43.901Z, and every random byte is 7.
#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
}

impl Host for Lines {
    fn effect(&mut self, effect: Effect<'_>) {
        let line = match effect {
            Effect::Send { message, kind } => sent(message, kind),
            Effect::Call { call, on, member, get, args, order } => {
                let read = if get { " get" } else { "" };
                let on = match on {
                    On::Endpoint => "",
                    On::Object(_) => "object ",
                    On::Gate(gate) => &format!("{} ", gate.name()),
                };
                let order = ordered(order);
                let space = if member.is_empty() { "" } else { " " };
                let args = arguments(&args);
                format!("! call {}{read} {order} {on}{member}{space}{args}", call.0)
            }
            Effect::Cancel { call } => format!("! cancel {}", call.0),
            Effect::Flow { call, open } => {
                format!("! flow {} {}", call.0, if open { "open" } else { "shut" })
            }
            Effect::Settle { settler, result } => settled(settler, result),
            Effect::Identify { identity } => {
                let until = identity.expires.map(|at| format!(" until {at}")).unwrap_or_default();
                format!("! identify {}{until}", identity.user.as_deref().unwrap_or("-"))
            }
            Effect::Join { room, tag, delivery } => {
                format!("! join {room} {} {}", tag.0, delivered(delivery))
            }
            Effect::Leave { room, tag } => format!("! leave {room} {}", tag.0),
            Effect::Publish { room, event, payload, exclude_self } => {
                let others = if exclude_self { "others " } else { "" };
                let event = if event.is_empty() { "-" } else { event };
                format!("! publish {room} {event} {others}{}", shown(&payload))
            }
            Effect::Seal { .. } => "! seal".to_owned(),
            Effect::Deadline { after: Some(after) } => format!("! deadline {}", after.as_millis()),
            Effect::Deadline { after: None } => "! deadline -".to_owned(),
            Effect::Dispose { value } => format!("! dispose {}", value.to_text()),
            Effect::Close { code, reason } => format!("! close {code} {reason}"),
        };
        self.lines.push(line.trim_end().to_owned());
    }

    fn now(&self) -> u64 {
        1_795_247_623_901
    }

    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn sent(message: Message<'_>, kind: Kind) -> String {
    let lane = if kind == Kind::Data { "?" } else { "" };
    match message {
        Message::Text(text) => format!("<{lane} {text}"),
        Message::Binary(bytes) => format!("<{lane}x {}", hex(bytes)),
        Message::Batch(text) => format!("<{lane}batch {text}"),
    }
}

fn settled(settler: Settler, result: Result<Value, CallError>) -> String {
    let line = match &result {
        Ok(value) => format!("! settle ok {}", value.to_text()),
        Err(error) => format!("! settle error {} {}", error.code.unwrap_or(0), error.message),
    };
    settler.settle(result);
    line
}

fn delivered(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Shared => "shared",
        Delivery::Enveloped(Part::Whole) => "whole",
        Delivery::Enveloped(Part::Data) => "data",
    }
}

fn ordered(order: Order) -> &'static str {
    match order {
        Order::Free => "free",
        Order::Start => "start",
        Order::Strict => "strict",
    }
}

fn arguments(args: &Args<'_>) -> String {
    match args {
        Args::One(payload) => format!("one {}", shown(payload)),
        Args::List(payload) => format!("list {}", shown(payload)),
        Args::Text(list) => format!("list json {list}"),
        Args::Event(event) => {
            let id = event.id.as_deref().unwrap_or("-");
            format!("event {} {id} {}", event.name, shown(&event.data))
        }
    }
}

fn shown(payload: &Payload<'_>) -> String {
    match payload {
        Payload::Undefined => "undefined".to_owned(),
        Payload::Json(text) => format!("json {text}"),
        Payload::Text(text) => format!("text {text}"),
        Payload::Binary(bytes) => format!("binary {}", hex(bytes)),
        Payload::Rich(value) => format!("rich {}", value.to_text()),
    }
}

fn payload(text: &str) -> Result<Payload<'static>, String> {
    let (kind, rest) = word(text);
    Ok(match kind {
        "undefined" => Payload::Undefined,
        "object" => Payload::Rich(Value::Object(Object::new(Nothing))),
        "text" => Payload::Text(rest.to_owned().into()),
        "json" => Payload::Json(rest.to_owned().into()),
        "binary" => Payload::Binary(from_hex(rest)?.into()),
        _ => return Err(format!("unknown payload `{text}`")),
    })
}

fn reply(session: &mut dyn Session, host: &mut dyn Host, text: &str) -> Result<(), String> {
    let (call, rest) = word(text);
    let call = CallId(parse(call)?);
    let (kind, rest) = word(rest);
    match kind {
        "value" => session.on_reply(call, Reply::Value(payload(rest)?), host),
        "item" => session.on_reply(call, Reply::Item(payload(rest)?), host),
        "end" => session.on_reply(call, Reply::End, host),
        "room" => session.on_reply(call, Reply::Room(&Subscribed::to(rest)), host),
        "numbered" => {
            let room = Subscribed { is_numbered: true, ..Subscribed::to(rest) };
            session.on_reply(call, Reply::Room(&room), host);
        }
        "missing" => session.on_reply(call, Reply::Missing, host),
        "error" => {
            let error = CallError::new(rest.to_owned());
            session.on_reply(call, Reply::Error(&error), host);
        }
        "identity" => {
            let verdict = Verdict::Accepted(identity(rest)?);
            session.on_reply(call, Reply::Verdict(&verdict), host);
        }
        "agreed" => {
            let (public_key, salt) = word(rest);
            let (public_key, salt) = (public_key.into(), salt.into());
            let handshake = Handshake { public_key, salt, seal: Arc::new(Unsealed) };
            session.on_reply(call, Reply::Verdict(&Verdict::Agreed(handshake)), host);
        }
        "refused" => session.on_reply(call, Reply::Verdict(&Verdict::Refused), host),
        _ => return Err(format!("unknown reply `{kind}`")),
    }
    Ok(())
}

/// User, expiry and claims; each may be `-` or left away.
fn identity(text: &str) -> Result<Identity, String> {
    let (user, rest) = word(text);
    let (expires, claims) = word(rest);
    let is_there = |text: &&str| !matches!(*text, "" | "-");
    Ok(Identity {
        user: Some(user).filter(is_there).map(Into::into),
        expires: Some(expires).filter(is_there).map(parse).transpose()?,
        claims: Some(claims).filter(is_there).unwrap_or_default().into(),
    })
}

fn described(description: &Description) -> String {
    let user = description.user.as_deref().unwrap_or("-");
    let mut line = format!("! is {} {user} [{}]", description.state, description.rooms.join(" "));
    if !description.claims.is_empty() {
        line = line + " " + &description.claims;
    }
    if description.is_encrypted {
        line += " encrypted";
    }
    for part in [&description.public_key, &description.salt].into_iter().flatten() {
        line = line + " " + part;
    }
    line
}

fn ask(text: &str) -> Result<(Ask, Promise<Value>), String> {
    let (settler, promise) = Promise::pair();
    let (kind, rest) = word(text);
    let (first, behind) = word(rest);
    let ask = match kind {
        "join" => Ask::Join { room: rest.into(), import: None, settler },
        "leave" => Ask::Leave { room: rest.into() },
        "send" => Ask::Send { event: first.into(), payload: payload(behind)?, receipt: None },
        "send-with-receipt" => {
            Ask::Send { event: first.into(), payload: payload(behind)?, receipt: Some(settler) }
        }
        "close" => Ask::Close { code: parse(first)?, reason: behind.into() },
        "call" => Ask::Call {
            import: parse(first)?,
            member: behind.into(),
            args: Vec::new(),
            want: Want::Value,
            settler,
        },
        _ => return Err(format!("unknown ask `{kind}`")),
    };
    Ok((ask, promise))
}

fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

fn parse<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|problem| format!("`{text}`: {problem}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(digits: &str) -> Result<Vec<u8>, String> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
            pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect::<Option<_>>()
        .ok_or_else(|| format!("`{digits}` is not hexadecimal"))
}

#[derive(Debug)]
struct Unsealed;

impl Seal for Unsealed {
    fn seal(&self, _: &[u8], _: &mut dyn FnMut(&mut [u8]), _: &mut Vec<u8>) -> bool {
        false
    }
}

struct Nowhere;

impl Outbox for Nowhere {
    fn post(&self, _connection: u64, _ask: Ask) {}
}

struct Nothing;

impl Target for Nothing {
    fn call(&self, _member: &str, _call: Call<'_>) -> Outcome {
        Outcome::Missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Text;

    #[test]
    fn says_which_line_does_not_hold() {
        let problem = play(&Text::echo(), "@ open /\n> a\n<? b\n").unwrap_err();
        assert_eq!(problem, "line 3: expected `<? b`, came `<? a`");
        let problem = play(&Text::echo(), "@ open /\n> a\n> b\n").unwrap_err();
        assert_eq!(problem, "before line 3: also came `<? a`");
        let problem = play(&Text::echo(), "@ open /\n> a\n").unwrap_err();
        assert_eq!(problem, "at the end: also came `<? a`");
        let problem = play(&Text::echo(), "@ open /\n< a\n").unwrap_err();
        assert_eq!(problem, "line 2: expected `< a`, came `nothing`");
        assert!(play(&Text::echo(), "> a\n").unwrap_err().contains("nothing is open"));
        assert!(play(&Text::echo(), "@ open /\n@ what\n").unwrap_err().contains("unknown line"));
        assert!(play(&Text::echo(), "@ open /\n>x 0g\n").unwrap_err().contains("hexadecimal"));
    }
}
