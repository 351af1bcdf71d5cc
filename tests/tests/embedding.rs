//! The embedding API from outside: handlers by argument type, errors, panics, futures, streams,
//! order, hooks, stopping.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fulmar::text::Text;
use fulmar::{
    Arg, CallError, Config, Connection, Endpoint, Local, Message, Path, Query, Reason, Running,
    Server, State, Stopped, Stream, concurrent, inline, ordered,
};
use fulmar_tests::client::Client;
use fulmar_tests::{eventually, server, timed};

fn speaking(path: &str) -> Endpoint<()> {
    Endpoint::new(path).speaks(Text::default())
}

fn one(endpoint: Endpoint<()>) -> Running {
    server::start(server::config(), vec![endpoint])
}

#[test]
fn handlers_take_what_they_need_by_type() {
    #[derive(Default)]
    struct Calls(AtomicU64);
    let counting = |calls: State<Calls>,
                    mine: Local<u64>,
                    peer: Connection,
                    Path((room, seat)): Path<(String, u8)>,
                    Query(name): Query<String>,
                    Arg(text): Arg<String>| {
        let all = calls.0.0.fetch_add(1, Ordering::Relaxed) + 1;
        let mine = mine.with(|mine| {
            *mine += 1;
            *mine
        });
        format!("{all} {mine} {} {room} {seat} {name} {text}", peer.ip())
    };
    let endpoint = Endpoint::new("/:room/:seat").speaks(Text::default()).on_message(counting);
    let server = Server::new(Calls::default()).config(server::config()).mount(endpoint);
    let server = server.start("127.0.0.1:0").unwrap();
    let mut ada = Client::open(server.local_addr(), "/lob%20by/7?name=ada");
    let mut bob = Client::open(server.local_addr(), "/hall/8?name=bob");
    ada.text("hello");
    assert_eq!(ada.expect_text(), "1 1 127.0.0.1 lob by 7 ada hello");
    bob.text("hi");
    assert_eq!(bob.expect_text(), "2 1 127.0.0.1 hall 8 bob hi");
    ada.text("again");
    assert_eq!(ada.expect_text(), "3 2 127.0.0.1 lob by 7 ada again");
    let mut wrong = Client::open(server.local_addr(), "/hall/many?name=eve");
    wrong.text("x");
    wrong.ping(b"");
    assert_eq!(wrong.expect_pong(), b"", "no answer where an argument does not fit");
    server.kill();
}

#[test]
fn answers_are_of_the_kind_that_was_returned() {
    let handler = |message: Message| match message {
        Message::Text(text) => Ok(format!("text of {}", text.len())),
        Message::Binary(_) => Err(CallError::new("no bytes")),
    };
    let server = server::start(
        server::config(),
        vec![
            speaking("/kind").on_message(handler),
            speaking("/json").on_message(|Arg(text): Arg<String>| vec![text.len(), 2]),
            speaking("/bytes").on_message(|Arg(text): Arg<String>| fulmar::Bytes(text.into())),
            speaking("/nothing").on_message(|| ()),
            speaking("/object").on_message(|Arg(text): Arg<Vec<u8>>| text.len()),
        ],
    );
    let open = |path| Client::open(server.local_addr(), path);
    let mut kind = open("/kind");
    kind.binary(b"refused");
    kind.text("taken");
    assert_eq!(kind.expect_text(), "text of 5", "an error is not told, and harms nothing");
    let mut json = open("/json");
    json.text("four");
    assert_eq!(json.expect_text(), "[4,2]");
    let mut bytes = open("/bytes");
    bytes.text("raw");
    assert_eq!(bytes.expect_binary(), b"raw");
    let mut nothing = open("/nothing");
    nothing.text("x");
    nothing.expect_silence(Duration::from_millis(100));
    server.kill();
}

#[test]
fn a_panic_ends_one_call_and_nothing_else() {
    let handler = |Arg(text): Arg<String>| {
        assert!(text != "panic", "as asked");
        text
    };
    let later = |Arg(text): Arg<String>| async move {
        assert!(text != "panic", "as asked");
        text
    };
    let server = server::start(
        server::config(),
        vec![
            speaking("/worker").on_message(handler),
            speaking("/shard").on_message(inline(handler)),
            speaking("/later").on_message(later),
        ],
    );
    for path in ["/worker", "/shard", "/later"] {
        let mut client = Client::open(server.local_addr(), path);
        for text in ["before", "panic", "panic", "after"] {
            client.text(text);
        }
        assert_eq!((client.expect_text(), client.expect_text()), ("before".into(), "after".into()));
    }
    assert_eq!(server.stats().reasons.of(Reason::HandlerPanicked), 6);
    assert_eq!(server.stop(), Stopped::Drained);
}

#[test]
fn ordered_answers_keep_the_order_and_concurrent_ones_do_not_wait() {
    let open = Arc::new(AtomicBool::new(false));
    let waits = |gate: Arc<AtomicBool>| {
        move |Arg(text): Arg<String>| {
            if text == "slow" {
                eventually("the gate opens", || gate.load(Ordering::Relaxed));
            }
            text
        }
    };
    let server = server::start(
        server::config(),
        vec![
            speaking("/ordered").on_message(ordered(waits(open.clone()))),
            speaking("/concurrent").on_message(concurrent(waits(open.clone()))),
        ],
    );
    let mut free = Client::open(server.local_addr(), "/concurrent");
    let mut strict = Client::open(server.local_addr(), "/ordered");
    free.text("slow");
    free.text("fast");
    assert_eq!(free.expect_text(), "fast");
    strict.text("slow");
    strict.text("fast");
    strict.expect_silence(Duration::from_millis(100));
    open.store(true, Ordering::Relaxed);
    assert_eq!((strict.expect_text(), strict.expect_text()), ("slow".into(), "fast".into()));
    assert_eq!(free.expect_text(), "slow");
    server.kill();
}

#[test]
fn a_stream_waits_for_a_slow_client() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let handler = move || {
        let count = count.clone();
        Stream::iter((0..20_000_u32).map(move |n| {
            count.fetch_add(1, Ordering::Relaxed);
            format!("{n:06} {}", "x".repeat(4000))
        }))
    };
    let mut config = server::config();
    config.listen.send_buffer_bytes = Some(64 << 10);
    config.backpressure.bytes_max = 256 << 10;
    let server = server::start(config, vec![speaking("/").on_message(handler)]);
    let mut client = Client::small(server.local_addr());
    client.upgrade("/", "");
    client.text("go");
    // Stands still once the client's limit is reached.
    let (mut before, mut still) = (0, 0);
    eventually("it stands still", || {
        let now = made.load(Ordering::Relaxed);
        still = if now == before && now > 0 { still + 1 } else { 0 };
        before = now;
        still > 40
    });
    assert!(before < 1000, "{before} of 20,000 were made for a client that does not read");
    for n in 0..20_000 {
        assert_eq!(client.expect_text()[..6], format!("{n:06}"));
    }
    server.kill();
}

#[test]
fn a_connect_hook_that_errs_closes_with_1008_and_its_message() {
    let gate = |peer: Connection| match peer.query_parameter("token").as_deref() {
        Some("good") => Ok(()),
        _ => Err(CallError::with_code(403, "no such token")),
    };
    let endpoint = speaking("/").on_connect(gate).on_message(|Arg(text): Arg<String>| text);
    let server = one(endpoint);
    let mut good = Client::open(server.local_addr(), "/?token=good");
    good.text("in");
    assert_eq!(good.expect_text(), "in");
    let mut bad = Client::open(server.local_addr(), "/?token=bad");
    bad.text("not heard");
    assert_eq!(bad.expect_close(), (1008, "no such token".into()));
    bad.expect_fin();
    server.kill();
}

#[test]
fn the_disconnect_hook_runs_once_after_every_call_however_it_ends() {
    let seen = Arc::new(Mutex::new(Vec::<String>::new()));
    let open = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicU64::new(0));
    let (calls, ends, gate, beginning) = (seen.clone(), seen.clone(), open.clone(), begun.clone());
    let handler = move |peer: Connection, Arg(text): Arg<String>| {
        beginning.fetch_add(1, Ordering::Relaxed);
        eventually("the gate opens", || gate.load(Ordering::Relaxed));
        calls.lock().unwrap().push(format!("{} {text}", peer.query()));
    };
    let hook = move |peer: Connection| {
        ends.lock().unwrap().push(format!("{} end", peer.query()));
    };
    // Each call a worker of its own: one that waits for a worker ends with its connection.
    let config = Config { workers: 5, ..server::config() };
    let endpoint = speaking("/").on_message(concurrent(handler)).on_disconnect(hook);
    let server = server::start(config, vec![endpoint]);
    let mut clients: Vec<Client> = (0..4)
        .map(|n| {
            let mut client = Client::open(server.local_addr(), &format!("/?{n}"));
            client.text("call");
            client
        })
        .collect();
    eventually("they are called", || begun.load(Ordering::Relaxed) == 4);
    clients[0].close(1000, "");
    clients[1].send(b"\x83\x80");
    clients.pop().unwrap().reset();
    clients.pop().unwrap().shutdown();
    eventually("all have ended", || server.stats().open == 0);
    assert!(seen.lock().unwrap().is_empty(), "no hook before the calls have ended");
    open.store(true, Ordering::Relaxed);
    eventually("every hook ran", || {
        seen.lock().unwrap().iter().filter(|line| line.ends_with("end")).count() == 4
    });
    let seen = seen.lock().unwrap().clone();
    for n in 0..4 {
        let mine: Vec<&String> =
            seen.iter().filter(|line| line.starts_with(&n.to_string())).collect();
        assert_eq!(mine.iter().filter(|line| line.ends_with("end")).count(), 1, "{mine:?}");
        assert!(mine.last().unwrap().ends_with("end"), "{mine:?}");
    }
    server.kill();
}

#[test]
fn a_stop_closes_everybody_with_1001_and_a_drain_with_1012() {
    for (restarting, code) in [(false, 1001), (true, 1012)] {
        let config = Config { shards: 2, ..server::config() };
        let server = server::echo(config);
        let threads: Vec<_> = (0..50)
            .map(|n| {
                let path = if n % 2 == 0 { "/echo" } else { "/rooms/r" };
                let mut client = Client::open(server.local_addr(), path);
                std::thread::spawn(move || {
                    let seen = client.expect_close().0;
                    client.expect_fin();
                    seen
                })
            })
            .collect();
        let stopped = if restarting { server.drain() } else { server.stop() };
        assert_eq!(stopped, Stopped::Drained);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), code);
        }
    }
}

#[test]
fn a_stop_cuts_who_is_left_when_its_window_has_passed() {
    let mut config = server::config();
    config.timeouts.stop = Duration::from_millis(300);
    config.timeouts.close = Duration::from_secs(60);
    let server = server::echo(config);
    let mut stubborn = Client::open(server.local_addr(), "/echo");
    let (stopped, took) = timed(|| server.stop());
    assert_eq!(stopped, Stopped::Cut(1));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(stubborn.expect_close().0, 1001);
    stubborn.expect_end();
}

#[test]
fn a_kill_waits_for_nobody() {
    let server = server::echo(server::config());
    let mut clients: Vec<Client> =
        (0..20).map(|_| Client::open(server.local_addr(), "/echo")).collect();
    let ((), took) = timed(|| server.kill());
    assert!(took < Duration::from_secs(3), "{took:?}");
    clients.iter_mut().for_each(Client::expect_end);
}
