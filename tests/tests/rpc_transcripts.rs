//! What was recorded of alien-rpc's own client and server, played to ours frame by frame: the
//! client's frames as they were, the server's as they are to be. Connection ids may be others.
//!
//! Where ours differs on purpose, it is in [`ANSWERS`] and [`CASES_ANSWERED`], with the reason.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, request};
use fulmar_tests::conformance::Conformance;
use fulmar_tests::event_client::{EventClient, masked};
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

const DIALOGUE: &str = include_str!("../transcripts/alien-rpc.jsonl");
const CASES: &str = include_str!("../transcripts/alien-rpc.edge-cases.jsonl");
const ERRORS: &str = include_str!("../transcripts/alien-rpc.dev-mode-errors.txt");
const RECONNECT: &str = include_str!("../transcripts/alien-rpc.client-reconnect.txt");

const PATH: &str = "/alien/ws";

/// How long nothing may come where nothing is to come.
const QUIET: Duration = Duration::from_millis(50);

/// A frame of the dialogue that is another one here, or none.
struct Answer {
    theirs: &'static str,
    ours: Option<&'static str>,
    #[expect(dead_code, reason = "for whoever reads this")]
    why: &'static str,
}

const ANSWERS: [Answer; 2] = [
    Answer {
        theirs: concat!(
            r#"{"id":20,"result":{"id":"<uuid>","ip":"127.0.0.1","hasHeaders":true,"#,
            r#""ua":null,"x":null,"#,
            r#""keys":["defer","env","headers","id","ip","platform","signal","user"]}}"#,
        ),
        ours: Some(concat!(
            r#"{"id":20,"result":{"id":"<uuid>","ip":"127.0.0.1","hasHeaders":true,"#,
            r#""ua":null,"x":null,"#,
            r#""keys":["defer","headers","id","ip","signal","user"]}}"#,
        )),
        why: "`env` and `platform` are of the JavaScript platforms that alien-rpc runs on",
    },
    Answer {
        theirs: r#"{"id":24,"result":{"number":3}}"#,
        ours: None,
        why: "it comes after the client's `.cancel`, which alien-rpc's server does not understand",
    },
];

/// An edge case that is answered in another way here.
struct Case {
    name: &'static str,
    ours: &'static [&'static str],
    #[expect(dead_code, reason = "for whoever reads this")]
    why: &'static str,
}

const CASES_ANSWERED: [Case; 5] = [
    Case {
        name: "missing params",
        ours: &[concat!(
            r#"{"id":1,"error":{"code":400,"message":"Expected params to be an array","#,
            r#""data":{"path":""}}}"#
        )],
        why: "alien-rpc never answers, and its process may end",
    },
    Case {
        name: "params object",
        ours: &[concat!(
            r#"{"id":1,"error":{"code":400,"message":"Expected params to be an array","#,
            r#""data":{"path":"","value":{"a":1}}}}"#
        )],
        why: "alien-rpc answers 500, with JavaScript's words for it",
    },
    Case {
        name: "too few params with schema",
        ours: &[concat!(
            r#"{"id":1,"error":{"code":400,"#,
            r#""message":"invalid length 0, expected a tuple of size 1","#,
            r#""data":{"path":"","value":[]}}}"#
        )],
        why: "alien-rpc never answers, and its process may end",
    },
    Case {
        name: "path /ws/",
        ours: &["404"],
        why: "alien-rpc leaves it to whoever mounts it, who had no answer",
    },
    Case { name: "path /other", ours: &["404"], why: "the same" },
];

#[test]
fn clients_are_answered_as_alien_rpc_answered_them() {
    for path in [PATH, "/ws"] {
        let server = Conformance::start(&[]);
        let mut differing = 0;
        let mut clients: HashMap<i64, Talking> = HashMap::new();
        for line in lines(DIALOGUE) {
            let number = line["conn"].as_i64().unwrap();
            let is_ours = line["dir"].as_str() == Some("s2c");
            let data = text(&line["data"]);
            match (text(&line["type"]), is_ours) {
                ("open", _) => {
                    clients.insert(number, Talking::open(&server, path));
                }
                ("text", false) => clients.get_mut(&number).unwrap().socket.text(data),
                ("text", true) => {
                    let theirs = masked(data, &[]);
                    let other = ANSWERS.iter().find(|answer| answer.theirs == theirs);
                    differing += usize::from(other.is_some());
                    let ours = other.map_or(Some(&*theirs), |answer| answer.ours);
                    if let Some(ours) = ours {
                        clients.get_mut(&number).unwrap().expect(ours);
                    }
                }
                ("close", false) => {
                    assert_eq!(line["code"].as_i64(), Some(1005));
                    let client = clients.get_mut(&number).unwrap();
                    client.expect_nothing_of_the_cancelled();
                    client.socket.frame(true, Opcode::Close, b"");
                }
                ("close", true) => {
                    let mut client = clients.remove(&number).unwrap();
                    assert_eq!(client.socket.expect_close().0, 1005);
                }
                other => panic!("{other:?} is new"),
            }
        }
        assert_eq!(differing, ANSWERS.len());
        assert!(clients.is_empty());
    }
}

/// A client, and what came early.
struct Talking {
    socket: Client,
    early: VecDeque<String>,
}

/// Streams that run beside each other and a request, at paces of their own.
const OVERTAKING: [i64; 3] = [23, 24, 25];

impl Talking {
    fn open(server: &Conformance, path: &str) -> Self {
        Self { socket: Client::open(server.address(), path), early: VecDeque::new() }
    }

    /// That this comes next; items of streams may come before.
    fn expect(&mut self, ours: &str) {
        let place = self.early.iter().position(|frame| id(frame) == id(ours));
        if let Some(frame) = place.and_then(|place| self.early.remove(place)) {
            assert_eq!(frame, ours);
            return;
        }
        loop {
            let frame = masked(&self.socket.expect_text(), &[]);
            if frame == ours {
                return;
            }
            let is_early = id(&frame).is_some_and(|id| OVERTAKING.contains(&id));
            assert!(is_early && id(&frame) != id(ours), "{frame} instead of {ours}");
            self.early.push_back(frame);
        }
    }

    /// That nothing more comes of the calls 22 and 24, which the client has cancelled.
    fn expect_nothing_of_the_cancelled(&mut self) {
        self.socket.text(r#"{"method":".ping"}"#);
        loop {
            let frame = self.socket.expect_text();
            if frame == r#"{"pong":true}"# {
                break;
            }
            assert_eq!(id(&frame), Some(23), "{frame}");
        }
        let others = self.early.iter().filter(|frame| id(frame) != Some(23)).count();
        assert_eq!(others, 0, "{:?}", self.early);
    }
}

#[test]
fn edge_cases_are_answered_and_do_no_harm() {
    let server = Conformance::start(&[]);
    let (mut others, mut differing) = (Vec::new(), 0);
    for case in lines(CASES) {
        let name = text(&case["case"]);
        let other = CASES_ANSWERED.iter().find(|other| other.name == name);
        differing += usize::from(other.is_some());
        let theirs: Vec<&str> = match case["got"].as_array() {
            Some(frames) => frames.iter().map(text).collect(),
            None => vec![text(&case["got"])],
        };
        let ours = other.map_or(&*theirs, |other| other.ours);
        let seen = match name.strip_prefix("path ") {
            Some(path) => vec![status(&server, path)],
            None => played(&server, &case, ours.len()),
        };
        let is_same = match name {
            // How many items there are is the machine's to say.
            "cancel a subscription (id)" => is_numbered_and_closed(&seen),
            _ => seen == ours,
        };
        if !is_same {
            others.push(format!("{name}:\n  {seen:?}\n  instead of\n  {ours:?}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
    assert_eq!(differing, CASES_ANSWERED.len());
}

/// What a client gets for what it sends; it is connected still, and hears no more.
fn played(server: &Conformance, case: &Value, at_least: usize) -> Vec<String> {
    let mut client = Client::open(server.address(), PATH);
    let name = text(&case["case"]);
    let mut seen = Vec::new();
    for sent in case["sent"].as_array().unwrap().iter().map(text) {
        match sent.strip_prefix("wait ") {
            Some(pause) => _ = client.next_is_ready(pause.trim_end_matches("ms").parse().unwrap()),
            None if name == "binary frame with JSON" => client.binary(sent.as_bytes()),
            None => client.text(sent),
        }
    }
    while seen.len() < at_least {
        seen.push(client.expect_text());
        if name == "cancel a subscription (id)" && seen[seen.len() - 1].contains("close") {
            break;
        }
    }
    client.text(r#"{"method":".ping"}"#);
    assert_eq!(client.expect_text(), r#"{"pong":true}"#, "{name}");
    client.expect_silence(QUIET);
    seen
}

fn is_numbered_and_closed(frames: &[String]) -> bool {
    let Some((last, items)) = frames.split_last() else { return false };
    let item = |n: usize| format!(r#"{{"id":4,"result":{{"number":{n}}}}}"#);
    last == r#"{"id":4,"close":true}"#
        && items.iter().enumerate().all(|(number, frame)| *frame == item(number))
}

fn status(server: &Conformance, path: &str) -> String {
    let mut client = Client::tcp(server.address());
    client.send(request(path, "").as_bytes());
    client.response().status.to_string()
}

#[test]
fn errors_are_those_of_alien_rpc_in_production_without_stacks() {
    let server = Conformance::start(&[]);
    let mut client = Client::open(server.address(), PATH);
    let calls = [r#""throwError","params":["kaput"]"#, r#""throwBad","params":[]"#];
    for (number, line) in ERRORS.lines().enumerate() {
        let (expected, _) = line.split_once(r#","stack":"#).unwrap();
        client.text(&format!(r#"{{"method":{},"id":{}}}"#, calls[number], number + 1));
        assert_eq!(client.expect_text(), format!("{expected}}}}}"));
    }
}

/// What the server's side of it is: every connection starts anew at 1, is pinged, and ends without
/// a code.
#[test]
fn a_client_that_reconnects_is_answered_on_each_connection() {
    let server = Conformance::start(&[]);
    let frames = RECONNECT.lines().filter_map(|line| line.split_once("   got "));
    let mut played = 0;
    for (_, frame) in frames {
        let mut client = Client::open(server.address(), PATH);
        client.text(frame);
        // The fixture has neither of the routes `r` and `s`.
        let answer = match frame {
            r#"{"method":".ping"}"# => r#"{"pong":true}"#,
            _ => r#"{"error":{"code":404,"message":"Not Found"},"id":1}"#,
        };
        assert_eq!(client.expect_text(), answer);
        client.frame(true, Opcode::Close, b"");
        assert_eq!(client.expect_close().0, 1005);
        played += 1;
    }
    assert_eq!(played, 9);
}

/// A clean close leaves alien-rpc's client waiting for ever (`still pending after` in the
/// transcript): so what is pending is answered before.
#[test]
fn a_server_that_stops_answers_what_is_pending_before_it_closes() {
    assert_eq!(RECONNECT.matches("still pending after").count(), 2);
    let server = Conformance::start(&[]);
    let mut client = Client::open(server.address(), PATH);
    client.text(r#"{"method":"slow","params":[600000],"id":1}"#);
    client.text(r#"{"method":"count","params":[2,600000],"id":2}"#);
    assert_eq!(client.expect_text(), r#"{"id":2,"result":{"number":0}}"#);
    EventClient::login(server.address(), "alice").send(r#"{"event":"shutdown"}"#);
    for id in [1, 2] {
        let told = client.expect_text();
        assert!(told.starts_with(&format!(r#"{{"id":{id},"error":{{"code":503,"#)), "{told}");
    }
    assert_eq!(client.expect_close().0, 1001);
}

#[test]
fn the_first_message_decides_between_the_protocols_of_an_endpoint() {
    let server = Conformance::start(&[]);
    let mut rpc = Client::open(server.address(), "/ws");
    rpc.text(r#"{"method":"noArgs","params":[],"id":1}"#);
    assert_eq!(rpc.expect_text(), r#"{"id":1,"result":"ok"}"#);
    rpc.text(r#"{"event":"authenticate","data":{"token":"alice"}}"#);
    rpc.expect_silence(QUIET);
    let mut ignis = Client::open(server.address(), "/ws");
    ignis.text(r#"{"event":"authenticate","data":{"token":"alice"}}"#);
    assert!(ignis.expect_text().starts_with(r#"{"event":"connected""#));
    ignis.text(r#"{"method":"noArgs","params":[],"id":1}"#);
    ignis.expect_silence(QUIET);
}

fn lines(transcript: &str) -> Vec<Value> {
    let lines = transcript.lines().filter(|line| !line.is_empty());
    lines.map(|line| sonic_rs::from_str(line).unwrap()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn id(frame: &str) -> Option<i64> {
    sonic_rs::from_str::<Value>(frame).unwrap()["id"].as_i64()
}
