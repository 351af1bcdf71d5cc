//! How connections are made, shared, lost and closed.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use fulmar_client::{
    Client, ClientError, ClientOptions, ConnectionErrorKind, Connector, Logger, ReconnectSlots,
    Retry, Socket, Target,
};

use crate::server::{Event, Server, serve};

fn quick(limit: u32) -> ClientOptions {
    let retry = Retry { limit, delay: Duration::from_millis(5), ..Retry::default() };
    ClientOptions { retry, ..ClientOptions::default() }
}

/// A URL where nobody listens.
fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn connection_error(result: Result<(), ClientError>) -> fulmar_client::ConnectionError {
    match result.unwrap_err() {
        ClientError::Connection(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_wrong_port_is_a_connection_error_with_a_hint() {
    let client = Client::new(dead_url(), quick(1)).unwrap();
    for result in [
        client.request::<()>("add", ()),
        client.notify("add", ()),
        client.subscribe("add", ()).unwrap().next().unwrap(),
    ] {
        let error = connection_error(result);
        assert_eq!(error.kind, ConnectionErrorKind::Connect);
        assert_eq!(error.name(), "ws.ConnectionError");
        assert!(!error.hint.is_empty() && error.message.contains("ws://127.0.0.1"), "{error}");
    }
}

#[test]
fn a_server_of_other_things_is_a_connection_error_with_a_hint() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(format!("http://{}", listener.local_addr().unwrap()), quick(0));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    let error = connection_error(client.unwrap().request("add", ()));
    assert!(error.message.contains("404") && error.hint.contains("/ws"), "{error}");
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = ClientOptions { connect_timeout: Duration::from_millis(30), ..quick(0) };
    let client = Client::new(format!("http://{}", listener.local_addr().unwrap()), options);
    let error = connection_error(client.unwrap().request("add", ()));
    assert!(error.message.contains("does not answer"), "{error}");
}

#[test]
fn a_clean_close_settles_what_waits() {
    let server = Server::start();
    let client = Client::new(&server.url, quick(0)).unwrap();
    for code in [1000, 1001, 1011] {
        let error = connection_error(client.request("leave", (code,)));
        assert_eq!(error.kind, ConnectionErrorKind::Closed(Some(code)));
        assert!(error.message.contains("bye"), "{error}");
    }
    assert_eq!(server.accepted(), 3);
}

#[test]
fn a_lost_request_is_tried_again_with_a_fresh_id() {
    let server = Server::start();
    let client = Client::new(&server.url, quick(2)).unwrap();
    client.request::<i64>("add", (1, 1)).unwrap();
    assert_eq!(client.request("dieOnce", ()), Ok(1));
    let frame = |id| format!(r#"{{"method":"dieOnce","params":[],"id":{id}}}"#);
    assert_eq!(server.expect_frame("dieOnce"), (0, frame(2)));
    assert_eq!(server.expect_frame("dieOnce"), (1, frame(1)));
}

#[test]
fn retries_end_at_their_limit() {
    let server = Server::start();
    let client = Client::new(&server.url, quick(3)).unwrap();
    let error = connection_error(client.request("die", ()));
    assert_eq!((error.kind, server.accepted()), (ConnectionErrorKind::Lost, 4));
    connection_error(client.call("die").retry(0).request());
    assert_eq!(server.accepted(), 5);
}

#[test]
fn a_timeout_and_a_token_end_the_wait_for_a_retry() {
    let retry = Retry { delay: Duration::from_secs(3600), jitter: false, ..Retry::default() };
    let retry = Retry { backoff_limit: Duration::from_secs(3600), ..retry };
    let options = ClientOptions { retry, ..ClientOptions::default() };
    let client = Client::new(dead_url(), options).unwrap();
    let call = client.call("add").timeout(Duration::from_millis(30));
    assert_eq!(call.request::<()>(), Err(ClientError::Timeout));
    let token = fulmar_client::CancelToken::new();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.call("add").token(&token).request::<()>());
        token.cancel();
        assert_eq!(waiting.join().unwrap(), Err(ClientError::Aborted));
    });
}

#[test]
fn other_urls_are_tried_in_order() {
    let server = Server::start();
    let options = ClientOptions {
        failover_urls: vec![dead_url(), format!("{}/v2", server.url), dead_url()],
        ..quick(0)
    };
    let client = Client::new(dead_url(), options).unwrap();
    assert_eq!(client.request("add", (1, 1)), Ok(2));
}

#[test]
fn headers_and_path_arrive() {
    let server = Server::start();
    let headers = vec![("X-Token".to_owned(), "secret".to_owned())];
    let options = ClientOptions { headers, ..ClientOptions::default() };
    let client = Client::new(format!("{}?a=b", server.url), options).unwrap();
    client.notify("note", ()).unwrap();
    let (headers, path) = server.expect(|event| match event {
        Event::Opened(_, headers, path) => Some((headers, path)),
        _ => None,
    });
    assert!(headers.contains(&("x-token".to_owned(), "secret".to_owned())), "{headers:?}");
    assert_eq!(path, "/api/ws?a=b");
}

#[test]
fn a_pool_opens_connections_as_they_are_needed() {
    let server = Server::start();
    let options = ClientOptions { pool: 2, ..ClientOptions::default() };
    let client = Client::new(&server.url, options).unwrap();
    client.request::<i64>("add", (1, 1)).unwrap();
    client.request::<i64>("add", (1, 1)).unwrap();
    assert_eq!(server.accepted(), 1);
    let slow: Vec<_> = (0..4).map(|_| client.subscribe::<()>("slow", ()).unwrap()).collect();
    let mut used: Vec<_> = (0..4).map(|_| server.expect_frame("slow").0).collect();
    used.sort_unstable();
    assert_eq!((used, server.accepted()), (vec![0, 0, 1, 1], 2));
    drop(slow);
}

#[test]
fn a_closed_client_says_1000_and_connects_again() {
    let server = Server::start();
    let client = Client::new(&server.url, ClientOptions::default()).unwrap();
    client.close();
    assert_eq!(server.accepted(), 0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.request::<()>("slow", ()));
        server.expect_frame("slow");
        client.close();
        assert_eq!(waiting.join().unwrap(), Err(ClientError::Closed));
    });
    assert_eq!(server.expect_close(), (0, Some(1000)));
    assert_eq!(client.request("add", (1, 1)), Ok(2));
    assert_eq!(server.accepted(), 2);
}

#[test]
fn a_dropped_client_leaves_no_thread_and_ends_its_subscriptions() {
    let server = Server::start();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let debug = Logger::new(move |line| log.lock().unwrap().push(line.to_owned()));
    let options = ClientOptions { debug: Some(debug), pool: 2, ..ClientOptions::default() };
    let client = Client::new(&server.url, options).unwrap();
    let mut items = client.subscribe::<()>("endless", ()).unwrap();
    client.request::<i64>("add", (1, 1)).unwrap();
    drop(client);
    assert_eq!(items.next(), Some(Err(ClientError::Closed)));
    drop(items);
    assert_eq!(Arc::strong_count(&lines), 1, "no thread holds the logger");
    let lines = lines.lock().unwrap().join("\n");
    for part in ["connecting to ws://", "open", r#"> {"method":"add""#, r#"< {"id":1,"#, "1000"] {
        assert!(lines.contains(part), "{part} is missing:\n{lines}");
    }
}

#[test]
fn a_server_that_does_not_confirm_a_close_is_not_waited_for() {
    // It accepts, and reads nothing after the handshake.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let close_timeout = Duration::from_millis(50);
    let options = ClientOptions { close_timeout, ..ClientOptions::default() };
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(url, options).unwrap();
    let (done, held) = mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let _ = held.recv();
        drop(socket);
    });
    client.notify("note", ()).unwrap();
    client.close();
    drop(client);
    drop(done);
    server.join().unwrap();
}

/// Hands out one end of a pair of sockets and serves the other. The first call of it panics.
#[derive(Debug, Default)]
struct Pairs(AtomicUsize);

impl Connector for Pairs {
    fn connect(&self, target: &Target, _: Duration) -> io::Result<Arc<dyn Socket>> {
        assert!(target.is_secure() && target.port() == 443 && target.host() == "far.example");
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        assert!(number > 0, "the first call fails, as the test expects");
        let (ours, theirs) = UnixStream::pair()?;
        let report = mpsc::channel().0;
        std::thread::spawn(move || serve(number, theirs, &report));
        Ok(Arc::new(ours))
    }
}

#[test]
fn a_socket_may_be_ones_own_and_a_connector_that_panics_harms_nobody() {
    let options = ClientOptions { connector: Arc::new(Pairs::default()), ..quick(0) };
    let client = Client::new("https://far.example", options).unwrap();
    let error = connection_error(client.request("add", (1, 1)));
    assert!(error.message.contains("panicked"), "{error}");
    assert_eq!(client.request("add", (1, 1)), Ok(2));
}

#[test]
fn options_that_cannot_work_are_refused() {
    let refused = |url: &str, options| match Client::new(url, options) {
        Err(ClientError::Setup(message)) => message,
        other => panic!("{other:?}"),
    };
    assert!(refused("wss://h", ClientOptions::default()).contains("TLS"));
    refused("/relative", ClientOptions::default());
    refused("http://h", ClientOptions { pool: 0, ..ClientOptions::default() });
    let failover_urls = vec!["ftp://h".to_owned()];
    refused("http://h", ClientOptions { failover_urls, ..ClientOptions::default() });
    let headers = vec![("Host".to_owned(), "x".to_owned())];
    refused("http://h", ClientOptions { headers, ..ClientOptions::default() });
}

/// Counts how many connect at the same time.
#[derive(Debug, Default)]
struct Crowd {
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Connector for Crowd {
    fn connect(&self, _: &Target, _: Duration) -> io::Result<Arc<dyn Socket>> {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        std::thread::yield_now();
        self.inside.fetch_sub(1, Ordering::SeqCst);
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[test]
fn clients_that_share_slots_connect_a_few_at_a_time() {
    let crowd = Arc::new(Crowd::default());
    let reconnect_slots = Some(ReconnectSlots::new(2));
    let connector = Arc::clone(&crowd) as Arc<dyn Connector>;
    let options = ClientOptions { reconnect_slots, connector, ..quick(2) };
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let options = options.clone();
            scope.spawn(|| {
                let client = Client::new("http://h", options).unwrap();
                connection_error(client.request("add", ()));
            });
        }
    });
    let most = crowd.most.load(Ordering::SeqCst);
    assert!((1..=2).contains(&most), "{most}");
}
