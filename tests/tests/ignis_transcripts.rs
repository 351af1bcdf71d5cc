//! What was recorded of a real IGNIS server, played to ours frame by frame: ids and times may be
//! others, everything else is the same.
//!
//! Differences on purpose:
//! - A client that is silent is closed at the first look at which its time is over, which may come
//!   one interval later than IGNIS's: activity is noted at looks, not when it happens.
//! - A node hears of a channel only if it has members there, unless it is to listen to patterns
//!   (`cluster.rs` has such a one): so in the case in which a channel's name is not its message's
//!   target, somebody is a member.
//! - `/` is not asked for: the example may have something there, IGNIS has nothing.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test, whose clients live in real time"
)]
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use fulmar_tests::client::{Client, Next};
use fulmar_tests::conformance::Conformance;
use fulmar_tests::event_client::{EventClient, PATH, masked};
use fulmar_tests::redis::{Recorded, Recorder, Redis};
use fulmar_tests::{PATIENCE, eventually};
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

const CASES: &str = include_str!("../transcripts/ignis.cases.jsonl");
const TIMEOUTS: &str = include_str!("../transcripts/ignis.timeouts.jsonl");
const ENCRYPTION: &str = include_str!("../transcripts/ignis.encryption-required.jsonl");

/// How long nothing may come where nothing is to come.
const QUIET: Duration = Duration::from_millis(50);

/// The times of the transcript were short; so much longer ours are, for slow machines.
const SCALE: u64 = 2;

#[test]
fn one_client_sees_what_an_ignis_server_showed() {
    let server = Conformance::start(&[]);
    let (mut played, mut others) = (0, Vec::new());
    for case in cases(CASES).iter().filter(|case| !case["authed"].is_null()) {
        others.extend(play(server.address(), case));
        played += 1;
    }
    assert_eq!(played, 18);
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[test]
fn requests_are_answered_as_ignis_answered_them() {
    let server = Conformance::start(&[]);
    let all = cases(CASES);
    let got =
        |name: &str| all.iter().find(|case| text(&case["case"]) == name).unwrap()["got"].clone();
    let not_found = got("path /").as_u64();
    for path in ["/ws/", "/WS", "/wss"] {
        let mut client = Client::tcp(server.address());
        client.send(fulmar_tests::client::request(path, "").as_bytes());
        assert_eq!(Some(u64::from(client.response().status)), not_found, "{path}");
    }
    assert_eq!(got("path /ws?token=1").as_u64(), Some(101));
    let mut client = Client::tcp(server.address());
    assert!(client.upgrade("/ws?token=1", "").header("sec-websocket-protocol").is_none());
    assert_eq!(text(&got("subprotocol offered")), r#"101 protocol="graphql-ws""#);
    let mut client = Client::tcp(server.address());
    let offered = "Sec-WebSocket-Protocol: graphql-ws, other\r\n";
    let response = client.upgrade(PATH, offered);
    assert_eq!(response.header("sec-websocket-protocol"), Some("graphql-ws"));
}

#[test]
fn nodes_say_to_each_other_and_to_clients_what_ignis_nodes_said() {
    let redis = Redis::start();
    let nodes = [(); 2].map(|()| Conformance::start(&["--redis", &redis.url()]));
    let addresses = nodes.each_ref().map(Conformance::address);
    let mut played = 0;
    for case in cases(CASES).iter().filter(|case| !case["redis"].is_null()) {
        play_between(&redis, addresses, case);
        played += 1;
    }
    assert_eq!(played, 12);
}

#[test]
fn times_are_kept_as_ignis_kept_them() {
    let server = Conformance::start(&times());
    let address = server.address();
    let all = cases(TIMEOUTS);
    thread::scope(|scope| {
        for case in all.iter().filter(|case| text(&case["case"]) != "server shutdown") {
            scope.spawn(move || play_in_time(address, case));
        }
    });
}

#[test]
fn a_server_that_shuts_down_says_what_ignis_said() {
    let mut server = Conformance::start(&times());
    let all = cases(TIMEOUTS);
    let case = all.iter().find(|case| text(&case["case"]) == "server shutdown").unwrap();
    let mut client = EventClient::login(server.address(), "a");
    client.send(r#"{"event":"shutdown"}"#);
    assert_eq!(Some(&*close_of(&mut client.socket)), untimed(case).last().map(|line| &**line));
    let status = server.wait(PATIENCE).expect("the process ends");
    assert!(status.success(), "{status}");
}

#[test]
fn encrypting_is_required_as_ignis_required_it() {
    let server = Conformance::start(&["--encryption", "required"]);
    for case in cases(ENCRYPTION) {
        match text(&case["case"]) {
            "handshake" => {
                let (_, connected) = agree(server.address());
                assert_eq!(connected, without_keys(texts(&case["got"])[0]));
            }
            "encrypted delivery" => sealed_lengths(server.address(), &case),
            name => {
                let data = match name {
                    "no publicKey" => r#"{"token":"alice"}"#,
                    "invalid publicKey" => r#"{"token":"alice","publicKey":"AAAA"}"#,
                    "publicKey is not base64" => r#"{"token":"alice","publicKey":"not base64!"}"#,
                    other => panic!("{other} is new"),
                };
                let mut client = EventClient::open(server.address());
                client.event("authenticate", data);
                let seen = lines(&mut client.socket, texts(&case["got"]).len());
                assert_eq!(seen, texts(&case["got"]), "{name}");
            }
        }
    }
}

fn cases(transcript: &str) -> Vec<Value> {
    let lines = transcript.lines().filter(|line| !line.is_empty());
    lines.map(|line| sonic_rs::from_str(line).unwrap()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(text).collect()
}

/// One client, what it sends, what it gets; what is different about it.
fn play(address: SocketAddr, case: &Value) -> Option<String> {
    let name = text(&case["case"]);
    let is_known = case["authed"].as_bool().unwrap();
    let mut client = EventClient::open(address);
    if is_known {
        client.authenticate("alice");
    }
    for step in case["sent"].as_array().unwrap().iter() {
        match step.as_u64() {
            // Who is not known yet awaits the answer meanwhile.
            Some(_) if !is_known => assert!(client.socket.next_is_ready(20_000), "{name}"),
            Some(pause) => _ = client.socket.next_is_ready(pause),
            None => client.send(&unabridged(text(step))),
        }
    }
    let expected: Vec<String> =
        texts(&case["got"]).into_iter().map(|line| masked(&unabridged(line), &[])).collect();
    let seen = lines(&mut client.socket, expected.len());
    let seen: Vec<String> = seen.iter().map(|line| masked(line, &[])).collect();
    if case["alive"].as_bool().unwrap() {
        client.expect_quiet(QUIET);
    }
    (seen != expected).then(|| format!("{name}:\n  {seen:?}\n  instead of\n  {expected:?}"))
}

/// The two long texts, of which the transcript has the beginnings and the lengths.
fn unabridged(text: &str) -> String {
    let Some((length, beginning)) =
        text.strip_prefix('<').and_then(|rest| rest.split_once(" bytes> "))
    else {
        return text.to_owned();
    };
    let (head, _) = beginning.split_once('x').unwrap();
    let tail = if head.contains("original") { "\"}}" } else { "\"}" };
    let fill = length.parse::<usize>().unwrap() - head.len() - tail.len();
    [head, &"x".repeat(fill), tail].concat()
}

/// The next so many messages; a close is one, and the last.
fn lines(socket: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| line(socket, PATIENCE).expect("a message")).collect()
}

/// The next message or close, skipping pongs; `None` for none in that time.
fn line(socket: &mut Client, most: Duration) -> Option<String> {
    let end = Instant::now() + most;
    loop {
        match socket.next(end.saturating_duration_since(Instant::now())) {
            Next::Frame(frame) if frame.opcode == 1 => {
                return Some(String::from_utf8(frame.payload).unwrap());
            }
            Next::Frame(frame) if frame.opcode == 8 => {
                let (code, reason) = frame.payload.split_first_chunk::<2>().unwrap();
                let (code, reason) = (u16::from_be_bytes(*code), String::from_utf8_lossy(reason));
                let line = format!("CLOSE {code} {reason}");
                socket.close(code, "");
                socket.expect_fin();
                return Some(line);
            }
            Next::Frame(frame) if frame.opcode == 10 => {}
            Next::Nothing => return None,
            other => panic!("{other:?}"),
        }
    }
}

fn close_of(socket: &mut Client) -> String {
    loop {
        let line = line(socket, PATIENCE).expect("a close");
        if line.starts_with("CLOSE") {
            return line;
        }
    }
}

/// Two nodes or one, several clients, and what went over Redis.
fn play_between(redis: &Redis, nodes: [SocketAddr; 2], case: &Value) {
    let name = text(&case["case"]);
    let is_alone = name.starts_with("same instance");
    let other = if is_alone { nodes[0] } else { nodes[1] };
    let a = EventClient::member(nodes[0], "alice", rooms(name, "a"));
    let a2 = EventClient::member(other, "alice", rooms(name, "a2"));
    let b = EventClient::member(other, "bob", rooms(name, "b"));
    let unknown = EventClient::open(nodes[0]);
    let (theirs, ours) = (ids(case), [("a", &a), ("a2", &a2), ("b", &b)]);
    let theirs: Vec<(&str, &str)> = theirs.iter().map(|(name, id)| (*id, *name)).collect();
    let names: Vec<(String, &str)> =
        ours.iter().map(|(name, client)| (client.id.clone(), *name)).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|(id, name)| (&**id, *name)).collect();
    await_subscriptions(redis, if is_alone { 1 } else { 2 }, name, [&a, &a2, &b]);
    let recorded: Vec<Recorded> = case["redis"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (text(&pair[0]).to_owned(), text(&pair[1]).to_owned()))
        .collect();
    let mut recorder = Recorder::start(redis);
    let mut a = a;
    act(name, &mut a, &b.id, || publish(redis, &recorded, &theirs, &names));
    let record = |recorded: &[Recorded], names: &[(&str, &str)]| -> Vec<Recorded> {
        recorded.iter().map(|(c, m)| (masked(c, names), masked(m, names))).collect()
    };
    let seen = recorder.expect(recorded.len(), QUIET);
    assert_eq!(record(&seen, &names), record(&recorded, &theirs), "{name}: over Redis");
    for (who, mut client) in [("a", a), ("a2", a2), ("b", b), ("unauth", unknown)] {
        let expected = texts(&case[who]);
        let seen = client.collect(&format!("{name}: {who}"), expected.len(), QUIET);
        assert_eq!(seen, expected, "{name}: {who}");
        client.expect_quiet(Duration::from_millis(1));
    }
}

/// Which rooms a client is in besides those that everybody is in.
fn rooms(name: &str, who: &str) -> &'static [&'static str] {
    match (name, who) {
        ("same instance: chat to a room only the other joined", "b") => &["elsewhere"],
        (
            "two instances: chat to a room both joined" | "two instances: room except me",
            "a" | "b",
        ) => &["lobby"],
        // Else no node would be subscribed to the channel.
        ("raw: type decides, channel does not", _) => &["zzz"],
        _ => &[],
    }
}

fn ids(case: &Value) -> Vec<(&str, &str)> {
    case["ids"].as_object().unwrap().iter().map(|(name, id)| (name, text(id))).collect()
}

/// What is published now reaches everybody who is there, on so many nodes.
fn await_subscriptions(redis: &Redis, nodes: i64, name: &str, clients: [&EventClient; 3]) {
    let mut control = redis.connect();
    let mut channels = vec![
        ("ws:broadcast".to_owned(), 2),
        ("ws:room:ws-default".to_owned(), nodes),
        ("ws:user:user-alice".to_owned(), nodes),
    ];
    for room in rooms(name, "b") {
        channels.push((format!("ws:room:{room}"), nodes));
    }
    for client in clients {
        channels.push((format!("ws:client:{}", client.id), 1));
        channels.push((format!("ws:room:{}", client.id), 1));
    }
    for (channel, nodes) in channels {
        eventually(&channel, || control.subscribers(&channel) >= nodes);
    }
}

/// Does what the case's name says.
fn act(name: &str, a: &mut EventClient, b: &str, publish: impl FnOnce()) {
    match name {
        "same instance: chat to a room only the other joined" => a.chat("elsewhere", "hi"),
        "same instance: send to client id b" => a.chat(b, "direct"),
        "same instance: broadcast except me" => a.event("announce-except-me", r#""x""#),
        "two instances: chat to a room both joined" => a.chat("lobby", "hi"),
        "two instances: room except me" => {
            a.event("room-except-me", r#"{"room":"lobby","text":"not to me"}"#);
        }
        "two instances: broadcast" => a.event("announce", r#"{"x":1}"#),
        "two instances: sendToUser" => {
            a.event("to-user", r#"{"userId":"user-alice","text":"both tabs"}"#);
        }
        name if name.starts_with("emitter ") || name.starts_with("raw: ") => publish(),
        name => panic!("{name} is new"),
    }
}

/// Publishes by hand what was published then, with the ids of now.
fn publish(redis: &Redis, what: &[Recorded], theirs: &[(&str, &str)], ours: &[(&str, &str)]) {
    let mut client = redis.connect();
    for (channel, message) in what {
        let (mut channel, mut message) = (channel.clone(), message.clone());
        for (id, name) in theirs {
            let (now, _) = ours.iter().find(|(_, known)| known == name).unwrap();
            (channel, message) = (channel.replace(id, now), message.replace(id, now));
        }
        client.publish(&channel, &message);
    }
}

fn times() -> [&'static str; 6] {
    // 300, 200 and 700 ms in the transcript.
    let [auth, interval, timeout] = ["600", "400", "1400"];
    assert_eq!(auth, (300 * SCALE).to_string());
    ["--auth-timeout", auth, "--heartbeat-interval", interval, "--heartbeat-timeout", timeout]
}

/// What came, without when.
fn untimed(case: &Value) -> Vec<String> {
    let line = |line: &str| masked(line.split_once("ms ").unwrap().1, &[]);
    texts(&case["got"]).into_iter().map(line).collect()
}

/// When what came may come at the earliest and at the latest, for those lines where it matters.
fn due(name: &str) -> Option<(&'static str, u64, u64)> {
    const LATE: u64 = 3000;
    Some(match name {
        "no authenticate" => ("CLOSE", 300, 300 + LATE),
        // Starting over, it would come after 570.
        "garbage does not reset the auth timer" => ("CLOSE", 300, 560),
        "auth slower than authTimeout but under 3x" => (r#"{"event":"connected"#, 600, 600 + LATE),
        "auth slower than 3x" => ("CLOSE", 900, 900 + LATE),
        "heartbeat timeout" | "protocol ping does not count as activity" => {
            ("CLOSE", 700, 700 + 200 + LATE)
        }
        "heartbeats keep it alive" | "garbage counts as activity" => return None,
        name => panic!("{name} is new"),
    })
}

fn play_in_time(address: SocketAddr, case: &Value) {
    let name = text(&case["case"]);
    let (first, every, again) = habits(name);
    let began = Instant::now();
    let mut client = EventClient::open(address);
    let since = |began: Instant| u64::try_from(began.elapsed().as_millis()).unwrap();
    if !first.is_empty() {
        client.send(first);
    }
    let expected = untimed(case);
    let errors = expected.iter().filter(|line| line.contains("error")).count() as u64;
    let most = if errors > 0 { errors } else { 6 };
    let (mut seen, mut at, mut said) = (Vec::<String>::new(), Vec::new(), 0);
    // As long as it was watched then, or until it ends.
    let watched = if every == 250 { 1600 } else { 1000 };
    while since(began) < watched * SCALE || seen.len() < expected.len() {
        assert!(began.elapsed() < PATIENCE, "{name}: {seen:?}");
        let next = Duration::from_millis(every * SCALE * (said + 1));
        let pause = next.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
        if let Some(line) = line(&mut client.socket, pause) {
            seen.push(masked(&line, &[]));
            at.push(since(began));
            if line.starts_with("CLOSE") {
                break;
            }
        } else if said < most {
            said += 1;
            match again {
                "ping" => client.socket.ping(b""),
                "" => {}
                text => client.send(text),
            }
        }
    }
    assert_eq!(seen, expected, "{name}");
    if let Some((what, earliest, latest)) = due(name) {
        let place = seen.iter().position(|line| line.starts_with(what)).unwrap();
        let bounds = earliest * SCALE..=latest * SCALE;
        assert!(bounds.contains(&at[place]), "{name}: after {} ms, not {bounds:?}", at[place]);
    }
    if case["alive"].as_bool().unwrap() {
        client.expect_quiet(QUIET);
    }
}

/// What the client says first; so often afterwards, this. As often as it is answered, or six times.
fn habits(name: &str) -> (&'static str, u64, &'static str) {
    let known = r#"{"event":"authenticate","data":{"token":"a"}}"#;
    match name {
        "no authenticate" => ("", 100, ""),
        "garbage does not reset the auth timer" => ("", 90, r#"{"event":"x"}"#),
        "auth slower than authTimeout but under 3x" => {
            (r#"{"event":"authenticate","data":{"token":"slow","ms":1200}}"#, 100, "")
        }
        "auth slower than 3x" => {
            (r#"{"event":"authenticate","data":{"token":"slow","ms":10000}}"#, 100, "")
        }
        "heartbeat timeout" => (known, 100, ""),
        "heartbeats keep it alive" => (known, 250, r#"{"event":"heartbeat"}"#),
        "protocol ping does not count as activity" => (known, 100, "ping"),
        "garbage counts as activity" => (known, 250, "nope"),
        name => panic!("{name} is new"),
    }
}

/// A client's public key of the protocol's vector: 65 bytes in base64.
const PUBLIC_KEY: &str =
    "BAIX5hfwtkQ5KCePlpmeaaI6TywVK99tbN9m5bgCgtTtGUp968uXcS0t2jyoWqh2Wlb0X8dYWZZS8ol8ZTBuV5Q=";

/// An encrypted client and what it was told first, ids, times and keys masked.
fn agree(address: SocketAddr) -> (EventClient, String) {
    let mut client = EventClient::open(address);
    let data = format!(r#"{{"token":"alice","publicKey":"{PUBLIC_KEY}"}}"#);
    client.event("authenticate", &data);
    let connected = client.expect_text();
    let frame: Value = sonic_rs::from_str(&connected).unwrap();
    client.id = text(&frame["data"]["id"]).into();
    (client, without_keys(&connected))
}

/// Masks the key and the salt too, which must have their lengths: 65 and 32 bytes.
fn without_keys(connected: &str) -> String {
    let frame: Value = sonic_rs::from_str(connected).unwrap();
    let key = text(&frame["data"]["serverPublicKey"]);
    let salt = text(&frame["data"]["salt"]);
    assert_eq!((decoded_length(key), decoded_length(salt)), (65, 32), "{connected}");
    assert!(key.starts_with('B'), "an uncompressed point: {key}");
    masked(connected, &[(key, "<key>"), (salt, "<salt>")])
}

/// Bytes of a base64 text with padding.
fn decoded_length(base64: &str) -> usize {
    assert_eq!(base64.len() % 4, 0, "{base64}");
    base64.len() / 4 * 3 - base64.bytes().rev().take_while(|byte| *byte == b'=').count()
}

/// The same things are said to an encrypted client; what it gets has the same lengths. (That it
/// can be decrypted is for clients/ignis/sealed.mjs to show.)
fn sealed_lengths(address: SocketAddr, case: &Value) {
    let (mut client, _) = agree(address);
    client.event("join", r#"{"rooms":["r"]}"#);
    client.send(r#"{"event":"echo","data":{"secret":"héllo"},"id":"1"}"#);
    client.event("announce", r#""to all""#);
    client.event("chat", r#"{"room":"r","text":"room text"}"#);
    client.send("nope");
    let mut expected: Vec<(u64, u64)> = case["decoded"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["ivBytes"].as_u64().unwrap(), one["ctBytes"].as_u64().unwrap()))
        .collect();
    let mut seen: Vec<(u64, u64)> = client
        .collect("sealed", expected.len(), QUIET)
        .iter()
        .map(|line| {
            let frame: Value = sonic_rs::from_str(line).unwrap();
            let sealed = &frame["data"];
            let (iv, sealed) = (text(&sealed["iv"]), text(&sealed["ct"]));
            let shape = r#"{"event":"encrypted","data":{"iv":"IV","ct":"CT"}}"#;
            assert_eq!(line.replace(iv, "IV").replace(sealed, "CT"), shape);
            (decoded_length(iv) as u64, decoded_length(sealed) as u64)
        })
        .collect();
    // The error overtakes what handlers say.
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}
