//! Pings and idleness.

use std::time::Duration;

use fulmar_client::{Client, ClientError, ClientOptions, ConnectionErrorKind};

use crate::server::Server;

const SOON: Duration = Duration::from_millis(30);

fn start(options: ClientOptions) -> (Server, Client) {
    let server = Server::start();
    let client = Client::new(&server.url, options).unwrap();
    (server, client)
}

#[test]
fn silence_is_broken_by_pings_and_pongs_keep_the_connection() {
    let (server, client) = start(ClientOptions {
        ping_interval: Some(SOON),
        pong_timeout: Duration::from_secs(10),
        ..ClientOptions::default()
    });
    client.request::<i64>("add", (1, 1)).unwrap();
    for _ in 0..3 {
        assert_eq!(server.expect_frame("ping").1, r#"{"method":".ping"}"#);
    }
    client.request::<i64>("add", (1, 1)).unwrap();
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_server_that_does_not_pong_is_lost_and_its_calls_are_settled() {
    let (server, client) = start(ClientOptions {
        ping_interval: Some(SOON),
        pong_timeout: SOON,
        retry: 0.into(),
        ..ClientOptions::default()
    });
    client.request::<bool>("mute", ()).unwrap();
    let error = client.request::<()>("slow", ()).unwrap_err();
    let ClientError::Connection(error) = error else { panic!("{error}") };
    assert_eq!(error.kind, ConnectionErrorKind::Lost);
    assert!(error.message.contains("ping"), "{error}");
    server.expect_frame("ping");
    assert_eq!(client.request("add", (1, 1)), Ok(2));
    assert_eq!(server.accepted(), 2);
}

#[test]
fn an_idle_connection_is_closed_and_the_next_call_makes_another() {
    let (server, client) =
        start(ClientOptions { idle_timeout: Some(SOON), ..ClientOptions::default() });
    for number in 0..2 {
        client.request::<i64>("add", (1, 1)).unwrap();
        assert_eq!(server.expect_close(), (number, Some(1000)));
    }
}

#[test]
fn a_connection_becomes_idle_when_a_call_is_given_up() {
    let (server, client) =
        start(ClientOptions { idle_timeout: Some(SOON), ..ClientOptions::default() });
    let call = client.call("slow").timeout(8 * SOON);
    assert_eq!(call.request::<()>(), Err(ClientError::Timeout), "it was not idle before");
    server.expect_frame("cancel");
    assert_eq!(server.expect_close(), (0, Some(1000)));
}
