//! The load generator as a program, against small servers made with tungstenite.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/calls_server.rs"]
mod calls_server;
#[path = "support/nats_server.rs"]
mod nats_server;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket, accept_hdr};

type Rooms = Arc<Mutex<HashMap<String, Vec<WebSocket<TcpStream>>>>>;

/// `/echo` sends back; `/m/ROOM` is a member; `/p/ROOM` publishes to the members, every message
/// `copies` times.
fn serve(copies: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rooms = Rooms::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let rooms = rooms.clone();
            std::thread::spawn(move || connection(stream, &rooms, copies));
        }
    });
    address
}

#[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
fn connection(stream: TcpStream, rooms: &Rooms, copies: usize) {
    stream.set_nodelay(true).unwrap();
    let mut path = String::new();
    let note_path = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    // Nothing is published between the response that a member sees and its place in the room.
    let mut members = rooms.lock().unwrap();
    // A generator that ends or changes its mind is no failure of the server.
    let Ok(mut socket) = accept_hdr(stream, note_path) else {
        return;
    };
    if let Some(room) = path.strip_prefix("/m/") {
        members.entry(room.to_owned()).or_default().push(socket);
        return;
    }
    drop(members);
    let room = path.strip_prefix("/p/").map(str::to_owned);
    while let Ok(message) = socket.read() {
        match &room {
            Some(room) if message.is_text() || message.is_binary() => {
                publish(&mut rooms.lock().unwrap(), room, &message, copies);
            }
            None if message.is_text() || message.is_binary() => {
                if socket.send(message).is_err() {
                    return;
                }
            }
            _ => {
                let _gone = socket.flush();
            }
        }
    }
}

fn publish(
    rooms: &mut HashMap<String, Vec<WebSocket<TcpStream>>>,
    room: &str,
    message: &Message,
    copies: usize,
) {
    for member in rooms.entry(room.to_owned()).or_default() {
        for _ in 0..copies {
            let _gone = member.send(message.clone());
        }
    }
}

fn bench(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fulmar-bench"))
        .args(line.split_whitespace())
        .args(["--no-progress", "--warmup", "100ms", "-z", "400ms"])
        .output()
        .unwrap()
}

fn report(line: &str) -> Value {
    let output = bench(&format!("{line} --json -"));
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    sonic_rs::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {errors}"))
}

fn number(report: &Value, section: &str, field: &str) -> u64 {
    let value = report.get(section).and_then(|section| section.get(field));
    value.and_then(|value| value.as_u64()).unwrap_or_else(|| panic!("{section}.{field}: {report}"))
}

#[test]
fn every_echo_comes_back_in_a_closed_loop() {
    let address = serve(1);
    for options in [
        "--depth 1",
        "--depth 5 --size 300 --binary --mask random",
        "--size 0",
        "--depth 16 --refill each --size 70k",
    ] {
        let report = report(&format!("echo ws://{address}/echo -c 4 {options}"));
        assert_eq!(report.get("schema").unwrap().as_str(), Some("fulmar-bench/1"));
        assert!(number(&report, "throughput", "messages") > 20, "{options}");
        assert_eq!(number(&report, "delivery", "lost"), 0, "{options}");
        assert_eq!(number(&report, "delivery", "out_of_order"), 0, "{options}");
        assert_eq!(number(&report, "delivery", "foreign"), 0, "{options}");
        assert!(report.get("errors").unwrap().as_array().unwrap().is_empty(), "{options}");
    }
}

#[test]
fn every_call_is_answered_once_in_whatever_order() {
    let address = calls_server::serve();
    for options in [
        "--depth 1",
        "--depth 6 --size 300 --mask random",
        "--depth 5 --refill each",
        "--size 0",
        "--depth 3 --size 70k",
        "-q 2k --threads 2",
        r#"--params [{"a":[1]}]"#,
    ] {
        let report = report(&format!("request ws://{address}/ -c 4 {options}"));
        assert!(number(&report, "throughput", "messages") > 20, "{options} {report}");
        for wrong in ["lost", "duplicated", "foreign", "out_of_order"] {
            assert_eq!(number(&report, "delivery", wrong), 0, "{wrong} {options} {report}");
        }
        assert!(report.get("errors").unwrap().as_array().unwrap().is_empty(), "{report}");
    }
}

#[test]
fn answers_that_are_wrong_are_told_apart() {
    let address = calls_server::serve();
    let url = format!("request ws://{address}/ -c 2 --depth 3 --method");
    let twice = report(&format!("{url} twice"));
    assert!(number(&twice, "delivery", "duplicated") > 20, "{twice}");
    for (method, kind, example) in
        [("nothing", "error_answer", "404 Not Found"), ("other", "wrong_result", r#"{"id":1"#)]
    {
        let report = report(&format!("{url} {method}"));
        let error = &report["errors"][0];
        assert_eq!(error["kind"].as_str(), Some(kind), "{report}");
        assert!(error["example"].as_str().unwrap().starts_with(example), "{report}");
        assert_eq!(number(&report, "throughput", "messages"), 0, "{report}");
    }
}

#[test]
fn a_single_call_prints_what_comes_of_it() {
    let address = calls_server::serve();
    let call = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fulmar-bench"))
            .args(["call", &format!("http://{address}")])
            .args(words)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let printed = |text: &str| (0, text.to_owned(), String::new());
    assert_eq!(call(&["echo", r#"[{"a":"b"}]"#]), printed("{\"a\":\"b\"}\n"));
    assert_eq!(call(&["count", "[]", "--subscribe"]), printed("0\n1\n2\n"));
    assert_eq!(call(&["echo", "--notify"]), printed(""));
    let (status, out, error) = call(&["nothing"]);
    assert_eq!((status, &*out), (1, ""));
    assert!(error.contains("Not Found") && error.contains("404"), "{error}");
    assert_eq!(call(&["echo", "{}"]).0, 2);
}

#[test]
fn an_open_loop_keeps_its_rate_and_measures_from_the_intended_time() {
    let address = serve(1);
    let report = report(&format!("echo ws://{address}/echo -c 3 -q 500 --threads 2"));
    let messages = number(&report, "throughput", "messages");
    assert!((150..=250).contains(&messages), "{messages} of 200");
    assert_eq!(series(&report), ["response", "service"]);
}

#[test]
fn every_delivery_of_a_broadcast_is_accounted_for() {
    let address = serve(1);
    for options in ["--rooms 3 --members 4 --window 8", "--rooms 2 --members 3 -q 400 --binary"] {
        let line = format!(
            "broadcast ws://{address}/m/{{room}} --publish-url ws://{address}/p/{{room}} {options}"
        );
        let report = report(&line);
        assert!(number(&report, "throughput", "messages") > 100, "{options}");
        assert_eq!(number(&report, "delivery", "lost"), 0, "{options}");
        assert_eq!(number(&report, "delivery", "duplicated"), 0, "{options}");
        let delivered = number(&report, "delivery", "delivered");
        assert_eq!(delivered, number(&report, "delivery", "expected"), "{options}");
    }
}

fn series(report: &Value) -> Vec<&str> {
    let series = report.get("latency").unwrap().as_array().unwrap();
    series.iter().map(|series| series.get("name").unwrap().as_str().unwrap()).collect()
}

fn percentile(report: &Value, name: &str, percentile: &str) -> u64 {
    let series = report.get("latency").unwrap().as_array().unwrap();
    let found = series.iter().find(|series| series.get("name").unwrap().as_str() == Some(name));
    found.unwrap().get(percentile).unwrap().as_u64().unwrap()
}

#[test]
fn a_burst_times_the_first_and_the_last_receiver() {
    let address = serve(1);
    let url = format!("ws://{address}/m/b --publish-url ws://{address}/p/b");
    for options in ["", "--binary --mask random"] {
        let report = report(&format!("burst {url} --members 20 -q 100 {options}"));
        let names = ["first", "last", "spread", "blind", "response", "service", "complete"];
        assert_eq!(series(&report), names);
        assert_eq!(number(&report, "delivery", "lost"), 0, "{report}");
        assert_eq!(number(&report, "delivery", "duplicated"), 0, "{report}");
        let [first, last] = ["first", "last"].map(|name| percentile(&report, name, "p50"));
        assert!(first > 0 && first < last, "{first} {last}");
        assert!(percentile(&report, "first", "max") <= percentile(&report, "last", "max"));
        assert!(percentile(&report, "blind", "p50") <= first);
    }
}

#[test]
fn echoes_beside_a_room_are_set_against_echoes_alone() {
    let address = serve(1);
    let room = format!("ws://{address}/m/b --publish-url ws://{address}/p/b");
    let line = format!("beside ws://{address}/echo {room} --members 20 --room-rate 50 -q 100");
    let report = report(&line);
    let names = ["response", "service", "blind", "room_response", "room_service", "room_complete"];
    let alone = ["alone", "alone_service", "alone_blind"];
    assert_eq!(series(&report), [&names[..], &alone[..]].concat());
    assert_eq!(number(&report, "delivery", "lost"), 0, "{report}");
    assert_eq!(number(&report, "setup", "threads"), 2);
    assert_eq!(number(&report, "setup", "connections"), 25);
    let comparison = report.get("comparison").unwrap().as_array().unwrap();
    let p50 = comparison.iter().next().unwrap();
    let value = |field: &str| p50.get(field).unwrap().as_i64().unwrap();
    assert_eq!(value("beside"), percentile(&report, "response", "p50").cast_signed());
    assert_eq!(value("alone"), percentile(&report, "alone", "p50").cast_signed());
    assert_eq!(value("difference"), value("beside") - value("alone"));
    // 40 echoes, and 20 messages to 20 members.
    let messages = number(&report, "throughput", "messages");
    assert!((300..600).contains(&messages), "{messages}");
}

#[test]
fn nats_messages_are_counted_however_they_are_cut_into_frames() {
    for piece in [1000, 7] {
        let address = nats_server::serve(piece);
        let rooms = format!("ws://{address}/rooms/{{room}}");
        let options = "--rooms 3 --members 4 --window 8 --size 200 --protocol nats";
        let broadcast = report(&format!("broadcast {rooms} {options}"));
        assert!(number(&broadcast, "throughput", "messages") > 100, "{broadcast}");
        let url = format!("ws://{address}/m/tea --publish-url ws://{address}/p/tea");
        let options = "--members 5 -q 100 --mask random --protocol nats";
        let burst = report(&format!("burst {url} {options}"));
        for report in [broadcast, burst] {
            let delivery = |field| number(&report, "delivery", field);
            assert_eq!(delivery("delivered"), delivery("expected"), "{report}");
            assert_eq!(delivery("lost") + delivery("foreign") + delivery("duplicated"), 0);
            assert!(report.get("errors").unwrap().as_array().unwrap().is_empty(), "{report}");
        }
    }
}

#[test]
fn a_server_that_repeats_itself_is_found_out() {
    let address = serve(2);
    let url = format!("ws://{address}/m/x --publish-url ws://{address}/p/x --members 2");
    let output = bench(&format!("broadcast {url} --threshold duplicated=0"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(99), "{text}");
    assert!(text.contains("FAIL (0 of 1 thresholds)"), "{text}");
    assert!(text.contains("✗ duplicated=0"), "{text}");
}

#[test]
fn churn_counts_whole_lives_of_connections() {
    let address = serve(1);
    for options in ["", "--abrupt"] {
        let report = report(&format!("churn ws://{address}/echo -c 4 {options}"));
        assert!(number(&report, "throughput", "messages") > 10, "{options} {report}");
        assert!(report.get("errors").unwrap().as_array().unwrap().is_empty(), "{report}");
    }
}

#[test]
fn idle_connections_are_weighed_before_and_after_they_speak() {
    let address = serve(1);
    let pid = std::process::id();
    let report = report(&format!("idle ws://{address}/echo -c 20 --hold 100ms --pid {pid}"));
    assert_eq!(report.get("memory").unwrap().as_array().unwrap().len(), 2);
    assert_eq!(number(&report, "setup", "connections"), 20);
}

#[test]
fn stuck_members_are_set_against_a_room_without_them() {
    let address = serve(1);
    let url = format!("ws://{address}/m/s --publish-url ws://{address}/p/s");
    let report = report(&format!("slow {url} --members 3 --stuck 2 -q 200 --size 64"));
    let names = series(&report);
    let (with, alone) = names.split_at(3);
    assert_eq!(with, ["response", "service", "complete"]);
    assert_eq!(alone, ["alone", "alone_service", "alone_complete"]);
}

#[test]
fn says_what_is_wrong_and_with_which_status() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = bench(&format!("echo ws://{closed}/"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ConnectionRefused"), "{output:?}");
    for wrong in [
        "echo",
        "echo ws://127.0.0.1:1/ --threshold p98<1s",
        "echo --size x",
        "echo ws://127.0.0.1:1/ --threshold cpu_per_message<1us",
        "beside ws://127.0.0.1:1/echo",
        "request ws://127.0.0.1:1/ --params {}",
        "burst ws://127.0.0.1:1/m --protocol mqtt",
    ] {
        assert_eq!(bench(wrong).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn meets_thresholds_and_shows_them() {
    let address = serve(1);
    let pid = std::process::id();
    let output = bench(&format!(
        "echo ws://{address}/echo -c 2 --pid {pid} --threshold p99<5s --threshold lost=0 \
         --threshold cpu_per_message<1s --threshold rate>1"
    ));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("PASS (4 of 4 thresholds)"), "{text}");
    assert!(text.contains("ns per message"), "{text}");
}
