//! The event dialect's own promises; its dialogues are in `tests/event`.
use std::time::Duration;

use super::*;
use crate::{
    Ask, CallError, CallId, Effect, Host, Identity, Position, Publication, Reply, Seal, Subscribed,
    Value, Verdict,
    testing::{self, Dice},
    transcript::play,
};

fn plays(options: EventOptions, script: &str) {
    play(&Event::new(options), script).unwrap_or_else(|problem| panic!("{problem}"));
}

fn anybody() -> EventOptions {
    EventOptions { join: JoinPolicy::Anybody, ..EventOptions::default() }
}

/// A client that is authenticated as `ada`.
const CONNECTED: &str = include_str!("../../tests/event/connected.txt");

#[test]
fn dialogues_hold() {
    let with = |encryption, expected| {
        plays(EventOptions { encryption, ..EventOptions::default() }, expected);
    };
    for script in [
        include_str!("../../tests/event/envelope.txt"),
        include_str!("../../tests/event/authenticate.txt"),
        include_str!("../../tests/event/events.txt"),
        include_str!("../../tests/event/refresh.txt"),
        include_str!("../../tests/event/asks.txt"),
        include_str!("../../tests/event/timeouts.txt"),
        include_str!("../../tests/event/nobody-joins.txt"),
    ] {
        plays(EventOptions::default(), script);
    }
    let ask = EventOptions { join: JoinPolicy::Ask, ..EventOptions::default() };
    plays(ask, include_str!("../../tests/event/join-asked.txt"));
    plays(anybody(), include_str!("../../tests/event/rooms.txt"));
    plays(anybody(), include_str!("../../tests/event/turns.txt"));
    with(Encryption::Required, include_str!("../../tests/event/encryption-required.txt"));
    with(Encryption::Offered, include_str!("../../tests/event/encryption-offered.txt"));
    let open = EventOptions { authentication: Authentication::Anybody, ..anybody() };
    plays(open, include_str!("../../tests/event/anybody.txt"));
}

#[test]
fn a_filter_decides_about_rooms() {
    #[derive(Debug)]
    struct Own;
    impl RoomFilter for Own {
        fn allows(&self, room: &str, identity: &Identity) -> bool {
            room == "lobby" || identity.user.as_ref().is_some_and(|user| room.starts_with(&**user))
        }
    }
    let options =
        EventOptions { join: JoinPolicy::Patterns(Arc::new(Own)), ..EventOptions::default() };
    let script = r#"
> {"event":"join","data":{"rooms":["ada/1","bob/1","lobby","ws:x"]}}
! join ada/1 0 shared
! join lobby 0 shared
"#;
    plays(options, &[CONNECTED, script].concat());
}

#[test]
fn a_transformer_seals_behind_connected() {
    #[derive(Debug)]
    struct Upper;
    impl Seal for Upper {
        fn seal(&self, _: &[u8], _: &mut dyn FnMut(&mut [u8]), _: &mut Vec<u8>) -> bool {
            false
        }
    }
    impl Transformer for Upper {
        fn seal_for(&self, id: &str, identity: &Identity) -> Option<Arc<dyn Seal>> {
            assert_eq!(id, "00000000-0000-0000-0000-000000000001");
            identity.user.is_some().then(|| Arc::new(Self) as _)
        }
    }
    let options = EventOptions { transformer: Some(Arc::new(Upper)), ..EventOptions::default() };
    let sealed = CONNECTED.replace("! call 2", "! seal\n! call 2");
    plays(options, &sealed);
}

#[test]
fn durations_of_zero_are_for_ever() {
    let options = EventOptions {
        auth_timeout: Duration::ZERO,
        heartbeat_interval: Duration::ZERO,
        ..EventOptions::default()
    };
    let lines = CONNECTED.lines().filter(|line| !line.starts_with("! deadline"));
    let script = lines.collect::<Vec<_>>().join("\n");
    plays(options.clone(), &script);
    let options = EventOptions { auth_timeout: Duration::from_secs(5), ..options };
    plays(options, &CONNECTED.replace("deadline 30000", "deadline -"));
    let options = EventOptions { heartbeat_timeout: Duration::ZERO, ..EventOptions::default() };
    plays(options, &CONNECTED.replace("deadline 30000", "deadline -"));
}

#[test]
fn an_untyped_publication_is_a_message_event() {
    let encoded = |event: &str, payload| {
        let mut out = b"before".to_vec();
        let publication = Publication::new("r", event, payload).unwrap();
        let encoded = Event::default().encode(&publication.said(Position::default()), &mut out);
        let frame = String::from_utf8(out.split_off(6)).unwrap();
        assert!(!encoded.binary);
        (frame[encoded.data].to_owned(), frame)
    };
    let whole = |data: &str, frame: &str| (data.to_owned(), frame.to_owned());
    let frame = r#"{"event":"message","data":"hi"}"#;
    assert_eq!(encoded("", Payload::Text("hi".into())), whole("\"hi\"", frame));
    assert_eq!(encoded("undef", Payload::Undefined), whole("", r#"{"event":"undef"}"#));
    let null = Payload::json("null");
    assert_eq!(encoded("n", null), whole("null", r#"{"event":"n","data":null}"#));
}

#[test]
fn gaps_are_told_to_whoever_wants_to_know() {
    let gap = Gap { room: "a\"b", epoch: u64::MAX, from: 3, to: 5 };
    let mut out = b"before".to_vec();
    assert_eq!(Event::default().gap(&gap, &mut out), None);
    assert_eq!(out, b"before");
    let event = Event::new(EventOptions { gaps: true, ..EventOptions::default() });
    let encoded = event.gap(&gap, &mut out).unwrap();
    let data = r#"{"room":"a\"b","epoch":"18446744073709551615","from":3,"to":5}"#;
    let frame = format!(r#"before{{"event":"gap","data":{data}}}"#);
    assert_eq!(str::from_utf8(&out).unwrap(), frame);
    assert_eq!(str::from_utf8(&out[6..][encoded.data]).unwrap(), data);
}

#[test]
fn claims_what_looks_like_an_event() {
    let event = Event::default();
    assert!(event.claims(&Message::Text(r#"{"event":"authenticate"}"#)));
    assert!(event.claims(&Message::Binary(br#"{"data":1,"event":"x"}"#)));
    for other in ["", "hello", "[]", "{}", r#"{"method":"x"}"#, r#"["event"]"#, r#"{"event":1"#] {
        assert!(!event.claims(&Message::Text(other)), "{other}");
    }
    assert!(event.is_addressable());
}

#[test]
fn closes_with_the_protocols_words() {
    let event = Event::default();
    assert_eq!(event.close_words("stopping"), Some((1001, "Server shutting down")));
    assert_eq!(event.close_words("restarting"), Some((1001, "Server shutting down")));
    assert_eq!(event.close_words("message_too_big"), Some((1009, "Received too big message")));
    assert_eq!(event.close_words("slow"), None);
}

#[test]
fn thousands_of_rooms_are_left_at_once() {
    let names: Vec<_> = (0..5000).map(|number| format!("room {number}")).collect();
    let data = format!(r#"{{"rooms":["{}"]}}"#, names.join("\",\""));
    let mut script = CONNECTED.to_owned();
    script += &format!("> {{\"event\":\"join\",\"data\":{data}}}\n");
    names.iter().for_each(|name| script += &format!("! join {name} 0 shared\n"));
    // A second time changes nothing.
    script += &format!("> {{\"event\":\"join\",\"data\":{data}}}\n");
    script += &format!("> {{\"event\":\"leave\",\"data\":{data}}}\n");
    names.iter().for_each(|name| script += &format!("! leave {name} 0\n"));
    script += "@ describe\n! is authenticated ada [00000000-0000-0000-0000-000000000001 \
        ws-default ws-notification] {\"plan\":\"free\"}\n";
    plays(anybody(), &script);
}

/// A host that counts what is said and remembers what is called.
#[derive(Default)]
struct Counting {
    sent: usize,
    closed: usize,
    joined: usize,
    calls: Vec<CallId>,
    dice: Dice,
}

impl Host for Counting {
    fn effect(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Send { message, .. } => {
                let Message::Text(text) = message else { panic!("only text is sent") };
                sonic_rs::from_str::<Value>(text).unwrap();
                self.sent += 1;
            }
            Effect::Call { call, args, .. } => {
                drop(args.into_values().unwrap());
                self.calls.push(call);
            }
            Effect::Close { .. } => self.closed += 1,
            Effect::Join { .. } => self.joined += 1,
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

const MESSAGES: [&str; 8] = [
    r#"{"event":"authenticate","data":{"token":"ada","publicKey":"x"}}"#,
    r#"{"event":"join","data":{"rooms":["a","b","ws:c"]}}"#,
    r#"{"event":"leave","data":{"rooms":["a","ws-default"]}}"#,
    r#"{"event":"chat","data":{"text":"\u00e9"},"id":7}"#,
    r#"{"event":"heartbeat"}"#,
    r#"{"event":1,"id":null}"#,
    "[1,2",
    "null",
];

const ODD: &[u8] = b"{}[]\",:\\01ew \xff";

fn open(options: EventOptions, host: &mut Counting) -> Box<dyn Session> {
    testing::open(&Event::new(options), host)
}

/// One thing that could happen; whether it was a message.
fn happens(session: &mut dyn Session, host: &mut Counting) -> bool {
    match host.dice.below(10) {
        0..6 => {
            let bytes = host.dice.mutated(&MESSAGES, ODD);
            match str::from_utf8(&bytes) {
                Ok(text) if host.dice.below(2) == 0 => {
                    session.on_message(Message::Text(text), host)
                }
                _ => session.on_message(Message::Binary(&bytes), host),
            }
            return true;
        }
        6..9 if !host.calls.is_empty() => {
            let index = host.dice.below(host.calls.len());
            let call = host.calls[index];
            let error = CallError::new("no");
            let accepted = Verdict::Accepted(Identity::user("ada").until(5));
            let reply = match host.dice.below(7) {
                0 => Reply::Error(&error),
                1 => Reply::Missing,
                2 => Reply::Item(Payload::json("1")),
                3 => Reply::Room(&Subscribed::to("somewhere")),
                4 => Reply::Verdict(&Verdict::Refused),
                _ => Reply::Verdict(&accepted),
            };
            session.on_reply(call, reply, host);
        }
        6..9 => {}
        _ if host.dice.below(20) == 0 => session.on_deadline(host),
        _ => {
            let (settler, _promise) = crate::Promise::<Value>::pair();
            session.on_ask(Ask::Join { room: "x".into(), import: None, settler }, host);
        }
    }
    false
}

#[test]
fn whatever_a_client_sends_has_at_most_one_consequence() {
    for seed in 0..400 {
        let mut host = Counting { dice: Dice(seed), ..Counting::default() };
        let encryption = [Encryption::Off, Encryption::Offered, Encryption::Required];
        let join = [JoinPolicy::Ask, JoinPolicy::Anybody, JoinPolicy::Nobody];
        let options = EventOptions {
            encryption: encryption[host.dice.below(3)],
            join: join[host.dice.below(3)].clone(),
            ..EventOptions::default()
        };
        let mut session = open(options, &mut host);
        for _ in 0..100 {
            let before = (host.sent, host.calls.len(), host.closed);
            let is_message = happens(&mut *session, &mut host);
            let now = (host.sent, host.calls.len(), host.closed);
            assert!(now.2 <= 1, "closed once");
            assert!(!is_message || now.0 + now.1 - before.0 - before.1 <= 1, "seed {seed}");
            assert!(before.2 == 0 || now == before, "nothing follows the end");
            session.describe(&mut crate::Description::default());
        }
    }
}
