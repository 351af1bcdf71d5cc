//! The pool of callbacks against a server on the loopback interface.
#![allow(clippy::disallowed_methods, reason = "measures how long real time-outs take")]
#![allow(clippy::unwrap_used, reason = "a test")]
mod support;

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use fulmar_auth::{
    Attempt, Authenticator, CallbackOptions, Callbacks, Chain, ConnectionFacts, Identity, Refusal,
    StaticTokens,
};
use support::{Server, eventually, ok, pause};

const LONG: Duration = Duration::from_secs(10);

fn attempt(token: &str) -> Attempt<'_> {
    const HEADERS: &[(&str, &str)] = &[("origin", "https://a"), ("cookie", "secret=1")];
    let connection =
        ConnectionFacts { id: "c1", ip: [127, 0, 0, 1].into(), path: "/ws", headers: HEADERS };
    Attempt { token, data: "", now: 1000, connection }
}

fn start(url: &str, change: impl FnOnce(&mut CallbackOptions)) -> Callbacks {
    let mut options = CallbackOptions::new(url);
    options.timeout = LONG;
    change(&mut options);
    Callbacks::start(options).unwrap()
}

/// One channel end for the pool, one for the test.
fn answers<T: Send + 'static>() -> (impl FnOnce(T) + Send + Clone + 'static, Receiver<T>) {
    let (sender, receiver) = unbounded();
    (move |answer| drop(sender.send(answer)), receiver)
}

fn authenticate(callbacks: &Callbacks, token: &str) -> Result<Identity, Refusal> {
    let (done, answer) = answers();
    callbacks.authenticate(&attempt(token), done);
    answer.recv_timeout(LONG).unwrap()
}

/// A server that answers only as often as it is let.
fn gated(body: &'static str) -> (Server, Sender<()>) {
    let (open, gate) = bounded(100);
    let server = Server::start(move |_| {
        let _ = gate.recv_timeout(LONG);
        ok(body)
    });
    (server, open)
}

#[test]
fn asks_and_takes_the_answer() {
    let seen = Arc::new(Mutex::new(None));
    let store = Arc::clone(&seen);
    let server = Server::start(move |request| {
        *store.lock().unwrap() = Some(request.clone());
        ok(r#"{"user_id":"ada","claims":{"role":"admin"},"expires_in":60}"#)
    });
    let callbacks = start(&server.url, |options| {
        options.authorization = Some("Bearer us".to_owned());
        options.headers = vec!["Origin".to_owned()];
    });
    let identity = authenticate(&callbacks, "abc").unwrap();
    assert_eq!(identity.user.as_deref(), Some("ada"));
    assert_eq!(&*identity.claims, r#"{"role":"admin"}"#);
    assert_eq!(identity.expires, Some(61_000));
    let request = seen.lock().unwrap().take().unwrap();
    assert!(request.head.starts_with("POST / HTTP/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains("authorization: Bearer us\r\n"), "{}", request.head);
    assert!(request.body.contains(r#""token":"abc""#), "{}", request.body);
    assert!(request.body.contains("https://a") && !request.body.contains("secret"));
    assert!(!format!("{callbacks:?}").contains("Bearer"));
    callbacks.close();
}

#[test]
fn asks_which_rooms_may_be_joined() {
    let server = Server::start(|request| {
        assert!(request.body.contains(r#""kind":"rooms""#));
        ok(r#"{"rooms":["b","elsewhere"]}"#)
    });
    let callbacks = start(&server.url, |_| {});
    let (done, answer) = answers();
    callbacks.rooms(None, &["a", "b"], done);
    assert_eq!(answer.recv_timeout(LONG).unwrap(), Ok(vec!["b".into()]));
    let (done, answer) = answers();
    callbacks.rooms(None, &["a"; 1001], done);
    assert_eq!(answer.recv_timeout(LONG).unwrap(), Err(Refusal::TooLong));
}

#[test]
fn tells_no_from_broken() {
    let server = Server::start(|request| {
        let status = request.body.split('"').find_map(|word| word.parse().ok()).unwrap();
        Some((status, String::new(), r#"{"user_id":"x"}"#.to_owned()))
    });
    let callbacks = start(&server.url, |_| {});
    for (status, expected) in [
        ("401", Refusal::Denied),
        ("403", Refusal::Denied),
        ("201", Refusal::Unavailable),
        ("302", Refusal::Unavailable),
        ("404", Refusal::Unavailable),
        ("429", Refusal::Unavailable),
        ("500", Refusal::Unavailable),
        ("503", Refusal::Unavailable),
    ] {
        assert_eq!(authenticate(&callbacks, status), Err(expected), "{status}");
    }
    assert_eq!(server.hits(), 8);
    assert_eq!(callbacks.status().retried, 0);
    assert_eq!(callbacks.status().unavailable, 6);
}

#[test]
fn refuses_answers_that_are_long_or_unreadable() {
    for body in [" ".repeat(65 * 1024), "<html>".to_owned(), "{}".to_owned()] {
        let server = Server::start(move |_| ok(&body));
        let callbacks = start(&server.url, |_| {});
        assert_eq!(authenticate(&callbacks, "t"), Err(Refusal::Unavailable));
    }
}

#[test]
fn refuses_long_credentials_without_asking() {
    let server = Server::start(|_| ok("{}"));
    let callbacks = start(&server.url, |_| {});
    assert_eq!(authenticate(&callbacks, &"t".repeat(8193)), Err(Refusal::TooLong));
    let data = format!("\"{}\"", "d".repeat(64 * 1024));
    for (data, expected) in [(&*data, Refusal::TooLong), ("{", Refusal::Malformed)] {
        let (done, answer) = answers();
        callbacks.authenticate(&Attempt { data, ..attempt("t") }, done);
        assert_eq!(answer.recv_timeout(LONG).unwrap(), Err(expected));
    }
    assert_eq!(server.hits(), 0);
}

#[test]
fn gives_up_after_the_timeout() {
    let (server, _open) = gated("{}");
    let callbacks = start(&server.url, |options| options.timeout = Duration::from_millis(100));
    let start = Instant::now();
    assert_eq!(authenticate(&callbacks, "t"), Err(Refusal::Unavailable));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(server.hits(), 1);
}

#[test]
fn a_slow_drip_of_bytes_does_not_stretch_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        let head = "HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n";
        let mut result = stream.write_all(head.as_bytes());
        for _ in 0..1000 {
            if result.is_err() {
                return;
            }
            pause(Duration::from_millis(20));
            result = stream.write_all(b" ");
        }
    });
    let callbacks = start(&url, |options| options.timeout = Duration::from_millis(200));
    let start = Instant::now();
    assert_eq!(authenticate(&callbacks, "t"), Err(Refusal::Unavailable));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn never_asks_more_at_once_than_allowed_and_refuses_what_does_not_fit() {
    let (server, open) = gated(r#"{"user_id":"ada"}"#);
    let callbacks = start(&server.url, |options| {
        options.concurrency_max = 3;
        options.queue_max = 4;
    });
    let (done, answer) = answers();
    let ask = || callbacks.authenticate(&attempt("t"), done.clone());
    (0..3).for_each(|_| ask());
    eventually("three questions under way", || server.hits() == 3);
    (0..4).for_each(|_| ask());
    assert_eq!(callbacks.status().queued, 4);
    assert!(answer.is_empty());
    // Answered before the call returns, so nothing was waited for.
    (0..3).for_each(|_| ask());
    assert_eq!(answer.try_iter().collect::<Vec<_>>(), vec![Err(Refusal::Busy); 3]);
    assert_eq!((server.hits(), callbacks.status().busy), (3, 3));
    (0..7).for_each(|_| open.send(()).unwrap());
    for _ in 0..7 {
        assert!(answer.recv_timeout(LONG).unwrap().is_ok());
    }
    assert_eq!(server.hits(), 7);
}

#[test]
fn waiting_in_the_queue_counts_into_the_timeout() {
    let (server, _open) = gated("{}");
    let callbacks = start(&server.url, |options| {
        options.concurrency_max = 1;
        options.timeout = Duration::from_millis(100);
    });
    let start = Instant::now();
    let (done, answer) = answers();
    (0..50).for_each(|_| callbacks.authenticate(&attempt("t"), done.clone()));
    let results: Vec<_> = (0..50).map(|_| answer.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(results[0], Err(Refusal::Unavailable));
    assert!(results.contains(&Err(Refusal::Busy)));
    // One after the other they would take five.
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn asks_again_only_if_nothing_was_sent() {
    // Nobody listens any more: refused, so tried twice.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let callbacks = start(&format!("http://{address}/"), |_| {});
    assert_eq!(authenticate(&callbacks, "t"), Err(Refusal::Unavailable));
    assert_eq!((callbacks.status().sent, callbacks.status().retried), (2, 1));
    // The connection ends after the question was read: asked once.
    let server = Server::start(|_| None);
    let callbacks = start(&server.url, |_| {});
    assert_eq!(authenticate(&callbacks, "t"), Err(Refusal::Unavailable));
    assert_eq!((server.hits(), callbacks.status().retried), (1, 0));
}

#[test]
fn follows_no_redirect() {
    let target = Server::start(|_| ok(r#"{"user_id":"x"}"#));
    let location = format!("location: {}\r\n", target.url);
    let server = Server::start(move |_| Some((307, location.clone(), String::new())));
    let callbacks = start(&server.url, |_| {});
    assert_eq!(authenticate(&callbacks, "t"), Err(Refusal::Unavailable));
    assert_eq!(target.hits(), 0);
}

#[test]
fn uses_connections_again() {
    let heads = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&heads);
    let server = Server::start(move |_| {
        *counter.lock().unwrap() += 1;
        ok(r#"{"user_id":null}"#)
    });
    let callbacks = start(&server.url, |options| options.concurrency_max = 1);
    for _ in 0..50 {
        assert_eq!(authenticate(&callbacks, "t"), Ok(Identity::default()));
    }
    assert_eq!(*heads.lock().unwrap(), 50);
}

#[test]
fn a_panic_in_an_answer_costs_no_thread() {
    let server = Server::start(|_| ok(r#"{"user_id":"ada"}"#));
    let callbacks = start(&server.url, |options| options.concurrency_max = 1);
    callbacks.authenticate(&attempt("t"), |_| panic!("on purpose"));
    assert!(authenticate(&callbacks, "t").is_ok());
}

#[test]
fn ending_the_pool_answers_everything() {
    let (server, open) = gated(r#"{"user_id":"ada"}"#);
    let callbacks = start(&server.url, |options| options.concurrency_max = 1);
    let (done, answer) = answers();
    (0..5).for_each(|_| callbacks.authenticate(&attempt("t"), done.clone()));
    eventually("the first question under way", || server.hits() == 1);
    drop(done);
    let closing = std::thread::spawn(move || callbacks.close());
    // Without the sleep of a real race: the first may be answered at any time.
    open.send(()).unwrap();
    for _ in 0..10 {
        let _ = open.try_send(());
    }
    let results: Vec<_> = (0..5).map(|_| answer.recv_timeout(LONG).unwrap()).collect();
    assert!(results[0].is_ok());
    closing.join().unwrap();
    assert!(answer.try_recv().is_err());
}

#[test]
fn a_chain_asks_the_callback_last() {
    let server = Server::start(|_| Some((403, String::new(), String::new())));
    let callbacks = Arc::new(start(&server.url, |_| {}));
    let mut tokens = StaticTokens::new();
    tokens.insert("known", Identity::default()).unwrap();
    let chain = Chain::new(vec![
        Authenticator::Tokens(tokens),
        Authenticator::Callback(Arc::clone(&callbacks)),
    ])
    .unwrap();
    assert!(!chain.is_immediate());
    assert_eq!(chain.authenticate(&attempt("known"), |_| {}), Some(Ok(Identity::default())));
    let (done, answer) = answers();
    assert_eq!(chain.authenticate(&attempt("other"), done), None);
    assert_eq!(answer.recv_timeout(LONG).unwrap(), Err(Refusal::Denied));
    let wrong = vec![Authenticator::Callback(callbacks), Authenticator::Anonymous];
    assert!(Chain::new(wrong).is_err());
}

#[test]
fn options_that_cannot_work_are_errors() {
    let new = |change: fn(&mut CallbackOptions)| {
        let mut options = CallbackOptions::new("https://a.example/");
        change(&mut options);
        Callbacks::start(options).is_err()
    };
    assert!(new(|options| options.url = "ftp://a/".to_owned()));
    assert!(new(|options| options.concurrency_max = 0));
    assert!(new(|options| options.concurrency_max = 257));
    assert!(new(|options| options.authorization = Some("a\r\nb: c".to_owned())));
    assert!(new(|options| options.certificates = Some(String::new())));
}
