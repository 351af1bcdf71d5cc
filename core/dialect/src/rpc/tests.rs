//! The rpc dialect's own promises; its dialogues are in `tests/rpc`.
use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::{
    Ask, CallError, CallId, Effect, Envelope, Host, Order, Position, Publication, Reply,
    Subscribed, Tag, Value, Verdict, json,
    testing::{self, Dice},
    transcript::play,
};

fn plays(options: RpcOptions, script: &str) {
    play(&Rpc::new(options), script).unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn dialogues_hold() {
    for script in [
        include_str!("../../tests/rpc/calls.txt"),
        include_str!("../../tests/rpc/streams.txt"),
        include_str!("../../tests/rpc/ids.txt"),
        include_str!("../../tests/rpc/cancel.txt"),
        include_str!("../../tests/rpc/bad-input.txt"),
        include_str!("../../tests/rpc/rooms.txt"),
        include_str!("../../tests/rpc/asks.txt"),
        include_str!("../../tests/rpc/close.txt"),
    ] {
        plays(RpcOptions::default(), script);
    }
    let few = RpcOptions { calls_max: 3, subscriptions_max: 1 };
    plays(few, include_str!("../../tests/rpc/limits.txt"));
}

#[test]
fn claims_what_looks_like_a_call() {
    let rpc = Rpc::default();
    assert!(rpc.claims(&Message::Text(r#"{"method":".ping"}"#)));
    assert!(rpc.claims(&Message::Binary(br#"{"params":[],"id":1,"method":"x"}"#)));
    for other in ["", "hello", "{}", r#"{"event":"x"}"#, r#"["method"]"#, r#"{"method":1"#] {
        assert!(!rpc.claims(&Message::Text(other)), "{other}");
    }
    assert!(!rpc.claims(&Message::Binary(b"{\"method\":\"\xff\"}")));
    assert!(rpc.is_addressable() && rpc.name() == "rpc" && rpc.form() == crate::Form::Json);
    assert_eq!(rpc.options().calls_max, 65_536);
}

#[test]
fn a_publication_is_bare_data_and_never_binary() {
    let encoded = |payload| {
        let mut out = b"before".to_vec();
        let publication = Publication::new("r", "ignored", payload).unwrap();
        let position = Position { epoch: 3, number: 7 };
        let encoded = Rpc::default().encode(&publication.said(position), &mut out);
        let whole = String::from_utf8(out.split_off(6)).unwrap();
        let data = whole[encoded.data].to_owned();
        let named = if data.is_empty() { String::new() } else { format!(",\"data\":{data}") };
        assert_eq!(whole, format!("{{\"epoch\":3,\"number\":7{named}}}"));
        data
    };
    assert_eq!(encoded(Payload::Text("say \"hi\"".into())), r#""say \"hi\"""#);
    assert_eq!(encoded(Payload::Binary(vec![1].into())), "\"AQ==\"");
    assert_eq!(encoded(Payload::json("{\"a\":1}")), "{\"a\":1}");
    assert_eq!(encoded(Payload::Rich(Value::Date(0.0))), "\"1970-01-01T00:00:00.000Z\"");
    assert_eq!(encoded(Payload::Undefined), "");
}

#[test]
fn messages_of_a_room_come_in_the_subscriptions_frame() {
    let mut host = Recording::default();
    let mut session = open(RpcOptions::default(), &mut host);
    for id in ["7", "\"x\""] {
        let frame = format!(r#"{{"method":"news","params":[],"id":{id}}}"#);
        session.on_message(Message::Text(&frame), &mut host);
        let news = Subscribed::to("news");
        session.on_reply(host.calls.last().unwrap().0, Reply::Room(&news), &mut host);
    }
    let framed = |session: &dyn Session, tag: Tag, body: &str| {
        let mut around = Envelope::default();
        session.envelope(tag, body.len(), &mut around);
        String::from_utf8([&around.head, body.as_bytes(), &around.tail].concat()).unwrap()
    };
    assert_eq!(host.joined.len(), 2);
    assert_eq!(framed(&*session, host.joined[0], "{}"), r#"{"id":7,"result":{}}"#);
    assert_eq!(framed(&*session, host.joined[1], "1"), r#"{"id":"x","result":1}"#);
    assert_eq!(framed(&*session, host.joined[0], ""), r#"{"id":7}"#);
    session.on_message(Message::Text(r#"{"method":".cancel","params":[7]}"#), &mut host);
    // Nobody is sent this, and if anybody were, no call of theirs would be meant.
    assert_eq!(framed(&*session, host.joined[0], "1"), r#"{"id":null,"result":1}"#);
    assert_eq!(framed(&*session, host.joined[1], "1"), r#"{"id":"x","result":1}"#);
}

#[test]
fn errors_carry_code_and_data() {
    let mut host = Recording::default();
    let mut session = open(RpcOptions::default(), &mut host);
    let mut failed = |error: CallError| {
        let frame = r#"{"method":"fail","params":[],"id":8}"#;
        session.on_message(Message::Text(frame), &mut host);
        let call = host.calls.last().unwrap().0;
        session.on_reply(call, Reply::Error(&error), &mut host);
        host.sent.pop().unwrap()
    };
    let bad = CallError::with_code(400, "Expected string").field("path", "/0").field("value", 5);
    assert_eq!(
        failed(bad),
        concat!(
            r#"{"id":8,"error":{"code":400,"message":"Expected string","#,
            r#""data":{"path":"/0","value":5}}}"#
        )
    );
    assert_eq!(failed(CallError::new("")), r#"{"id":8,"error":{"code":500,"message":""}}"#);
    let frame = r#"{"method":"fail","params":[],"id":8}"#;
    session.on_message(Message::Text(frame), &mut host);
    let call = host.calls.last().unwrap().0;
    session.on_reply(call, Reply::Verdict(&Verdict::Refused), &mut host);
    let refused = r#"{"id":8,"error":{"code":403,"message":"Forbidden"}}"#;
    assert_eq!(host.sent.pop().as_deref(), Some(refused));
}

#[derive(Deserialize)]
struct Recorded {
    connection: u32,
    from: String,
    frame: String,
}

/// What the real client and the real server said to each other. The server's frames must come byte
/// by byte, given what its handlers had answered; but for those of cancelled calls, with which
/// upstream's server goes on.
#[test]
fn a_recorded_conversation_holds() {
    let mut connections = BTreeMap::new();
    let mut compared = 0;
    for line in include_str!("../../tests/rpc/recorded.jsonl").lines() {
        let recorded: Recorded = sonic_rs::from_str(line).unwrap();
        let (host, session, calls) = connections.entry(recorded.connection).or_insert_with(|| {
            let mut host = Recording::default();
            let session = open(RpcOptions::default(), &mut host);
            (host, session, BTreeMap::new())
        });
        let frame = &*recorded.frame;
        let id = json::member(frame, "id").map(str::to_owned);
        if recorded.from == "client" {
            let before = host.calls.len();
            session.on_message(Message::Text(frame), host);
            if let (Some(id), Some(call)) = (id, host.calls.get(before)) {
                calls.insert(id, (call.0, call.1.clone()));
            }
            continue;
        }
        if let Some((call, member)) = id.and_then(|id| calls.get(&id)) {
            if host.cancelled.contains(call) {
                continue;
            }
            reply_as(frame, *call, member, &mut **session, host);
        }
        assert_eq!(host.sent, [frame]);
        host.sent.clear();
        compared += 1;
    }
    assert_eq!(compared, 42);
    for (host, session, _) in connections.values_mut() {
        session.on_close(false, host);
        assert!(host.sent.is_empty());
    }
}

/// Answers a call as the handler did that led to this frame.
fn reply_as(
    frame: &str,
    call: CallId,
    member: &str,
    session: &mut dyn Session,
    host: &mut Recording,
) {
    let payload = json::member(frame, "result").map_or(Payload::Undefined, Payload::json);
    if let Some(error) = json::member(frame, "error") {
        let text = |name| json::string(json::member(error, name).unwrap()).unwrap().into_owned();
        let code = json::member(error, "code").unwrap().parse().unwrap();
        if code == 404 {
            return session.on_reply(call, Reply::Missing, host);
        }
        let mut error_made = CallError::with_code(code, text("message"));
        let data = json::member(error, "data").into_iter().flat_map(json::members);
        for (name, value) in data {
            let value: Value = sonic_rs::from_str(value).unwrap();
            error_made = error_made.field(&json::string(name).unwrap(), value);
        }
        session.on_reply(call, Reply::Error(&error_made), host);
    } else if json::member(frame, "close").is_some() {
        session.on_reply(call, Reply::End, host);
    } else if ["count", "countFail", "undefStream"].contains(&member) {
        session.on_reply(call, Reply::Item(payload), host);
    } else {
        session.on_reply(call, Reply::Value(payload), host);
    }
}

/// A host that remembers what it was asked for.
#[derive(Default)]
struct Recording {
    sent: Vec<String>,
    calls: Vec<(CallId, String, Order)>,
    cancelled: Vec<CallId>,
    joined: Vec<Tag>,
    left: usize,
    dice: Dice,
}

impl Host for Recording {
    fn effect(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Send { message, kind } => {
                let Message::Text(text) = message else { panic!("only text is sent") };
                assert_eq!(kind, crate::Kind::Reply);
                assert!(text.starts_with('{') && json::check(text, |_, _| {}), "{text}");
                self.sent.push(text.to_owned());
            }
            Effect::Call { call, member, args, order, .. } => {
                drop(args.into_values().unwrap());
                assert!(!member.is_empty() && !member.starts_with('.'));
                self.calls.push((call, member.to_owned(), order));
            }
            Effect::Cancel { call } => self.cancelled.push(call),
            Effect::Join { tag, .. } => self.joined.push(tag),
            Effect::Leave { .. } => self.left += 1,
            Effect::Settle { settler, result } => settler.settle(result),
            _ => {}
        }
    }

    fn now(&self) -> u64 {
        0
    }

    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}

fn open(options: RpcOptions, host: &mut Recording) -> Box<dyn Session> {
    let session = testing::open(&Rpc::new(options), host);
    assert!(session.is_plain());
    session
}

const MESSAGES: [&str; 8] = [
    r#"{"method":"getUserData","params":["123",{"a":[]}],"id":1}"#,
    r#"{"method":"admin.stats","params":[],"id":"\u00e9"}"#,
    r#"{"method":"logEvent","params":["user_action",{"userId":123}]}"#,
    r#"{"method":".cancel","params":[1]}"#,
    r#"{"method":".cancel","id":10}"#,
    r#"{"method":".ping","id":1}"#,
    r#"{"params":{"a":1},"method":"x","id":null}"#,
    "[1,2",
];

const ODD: &[u8] = b"{}[]\",:\\01. \xff";

/// Something that may become of a call. Whether it ends it.
fn any_reply(host: &mut Recording, call: CallId, session: &mut dyn Session) -> bool {
    let error = CallError::new("no").field("why", "because");
    let (a, b) = (Subscribed::to("a"), Subscribed::to("b"));
    let kind = host.dice.below(8);
    let reply = match kind {
        0 => Reply::Error(&error),
        1 => Reply::Missing,
        2 => Reply::End,
        3 => Reply::Verdict(&Verdict::Refused),
        4 => Reply::Value(Payload::Undefined),
        5 => Reply::Room(if host.dice.below(2) == 0 { &a } else { &b }),
        6 => Reply::Item(Payload::json("1")),
        _ => Reply::Value(Payload::json("{}")),
    };
    session.on_reply(call, reply, host);
    !matches!(kind, 5 | 6)
}

#[test]
fn whatever_a_client_sends_has_at_most_one_consequence() {
    for seed in 0..400 {
        let mut host = Recording { dice: Dice(seed), ..Recording::default() };
        let limits = RpcOptions { calls_max: 20, subscriptions_max: 2 };
        let mut session = open(limits, &mut host);
        for _ in 0..150 {
            let before = host.sent.len() + host.calls.len();
            if host.dice.below(3) > 0 || host.calls.is_empty() {
                let bytes = host.dice.mutated(&MESSAGES, ODD);
                match str::from_utf8(&bytes) {
                    Ok(text) if host.dice.below(2) == 0 => {
                        session.on_message(Message::Text(text), &mut host);
                    }
                    _ => session.on_message(Message::Binary(&bytes), &mut host),
                }
            } else {
                let at = host.dice.below(host.calls.len());
                let call = host.calls[at].0;
                any_reply(&mut host, call, &mut *session);
            }
            let now = host.sent.len() + host.calls.len();
            assert!(now - before <= 1, "seed {seed}: {:?}", host.sent.last());
            session.describe(&mut crate::Description::default());
        }
        assert!(host.joined.len() >= host.left);
    }
}

/// What a client knows of its calls.
#[derive(Default)]
struct Client {
    /// By id: the call, if it is one, and how often its end was told.
    ends: BTreeMap<usize, (Option<CallId>, usize)>,
    next: usize,
    /// Ids that were cancelled in the form that is not answered.
    forgotten: Vec<usize>,
}

impl Client {
    fn id_of(&self, call: CallId) -> Option<usize> {
        self.ends.iter().find(|(_, known)| known.0 == Some(call)).map(|(id, _)| *id)
    }

    /// Takes what was sent; with `is_item` results are no ends.
    fn hears(&mut self, host: &mut Recording, is_item: bool) {
        for frame in host.sent.drain(..) {
            let id = json::member(&frame, "id").unwrap().parse().unwrap();
            let is_ending = ["error", "close"].iter().any(|n| json::member(&frame, n).is_some());
            let (_, ends) = self.ends.get_mut(&id).unwrap();
            assert_eq!(*ends, 0, "nothing follows the end: {frame}");
            assert!(!self.forgotten.contains(&id), "nothing follows a cancel: {frame}");
            *ends += usize::from(is_ending || !is_item);
        }
    }

    fn happens(&mut self, session: &mut dyn Session, host: &mut Recording) {
        let mut is_item = false;
        match host.dice.below(10) {
            0..4 => {
                let id = self.next;
                self.next += 1;
                let params = if host.dice.below(8) == 0 { "{}" } else { "[1]" };
                let frame = format!(r#"{{"method":"m","params":{params},"id":{id}}}"#);
                let before = host.calls.len();
                session.on_message(Message::Text(&frame), host);
                self.ends.insert(id, (host.calls.get(before).map(|call| call.0), 0));
            }
            4 if self.next > 0 => {
                let id = host.dice.below(self.next);
                let is_told = host.dice.below(2) == 0;
                let frame = match is_told {
                    true => format!(r#"{{"method":".cancel","id":{id}}}"#),
                    false => format!(r#"{{"method":".cancel","params":[{id}]}}"#),
                };
                let before = host.cancelled.len();
                session.on_message(Message::Text(&frame), host);
                if !is_told && host.cancelled.len() > before {
                    self.forgotten.push(id);
                }
            }
            5..9 if !host.calls.is_empty() => {
                let at = host.dice.below(host.calls.len());
                let call = host.calls[at].0;
                // As hosts promise: no reply follows a cancel or an end.
                let is_over = self.id_of(call).is_none_or(|id| self.ends[&id].1 > 0);
                if !host.cancelled.contains(&call) && !is_over {
                    is_item = !any_reply(host, call, session);
                }
            }
            _ => session.on_ask(Ask::Leave { room: "a".into() }, host),
        }
        self.hears(host, is_item);
    }
}

#[test]
fn every_call_is_answered_exactly_once_or_cancelled() {
    for seed in 0..400 {
        let mut host = Recording { dice: Dice(seed), ..Recording::default() };
        let limits = RpcOptions { calls_max: 40, subscriptions_max: 3 };
        let mut session = open(limits, &mut host);
        let mut client = Client::default();
        for _ in 0..200 {
            client.happens(&mut *session, &mut host);
        }
        session.on_close(true, &mut host);
        client.hears(&mut host, false);
        for (id, (_, ends)) in &client.ends {
            let expected = usize::from(!client.forgotten.contains(id));
            assert_eq!(*ends, expected, "seed {seed}, id {id}");
        }
    }
}
