//! Requests and notifications.

use std::time::Duration;

use fulmar_client::{CancelToken, Client, ClientError, ClientOptions, ConnectionErrorKind};

use crate::server::{PATIENCE, Server};

fn start() -> (Server, Client) {
    let server = Server::start();
    let client = Client::new(&server.url, ClientOptions::default()).unwrap();
    (server, client)
}

#[test]
fn results_are_of_the_type_that_was_asked_for() {
    let (_server, client) = start();
    let sum: i64 = client.request("add", (2, 3)).unwrap();
    assert_eq!(sum, 5);
    assert_eq!(client.request::<Vec<Option<u8>>>("echo", (vec![Some(1), None],)).unwrap().len(), 2);
    assert_eq!(client.request::<Option<i64>>("nothing", ()), Ok(None));
    assert_eq!(client.request::<()>("nothing", ()), Ok(()));
    let error = client.request::<bool>("add", (2, 3)).unwrap_err();
    assert_eq!(error.name(), "ws.DecodeError", "{error}");
}

#[test]
fn errors_have_code_message_and_data() {
    let (_server, client) = start();
    let error = client.request::<()>("fail", ()).unwrap_err();
    assert_eq!(error.name(), "ws.RequestError");
    let error = error.as_request().unwrap();
    assert_eq!((error.code, &*error.message, &error.stack), (400, "bad", &None));
    assert_eq!(error.data.as_ref().unwrap().as_str(), r#"{"path":"/0"}"#);
}

#[test]
fn nothing_connects_before_the_first_call_and_all_calls_share_a_connection() {
    let (server, client) = start();
    let other = client.clone();
    assert_eq!(server.accepted(), 0);
    client.request::<i64>("add", (1, 1)).unwrap();
    client.notify("note", ("a", 1)).unwrap();
    other.request::<i64>("add", (1, 1)).unwrap();
    assert_eq!(server.accepted(), 1);
    let frame = |part| server.expect_frame(part).1;
    assert_eq!(frame("add"), r#"{"method":"add","params":[1,1],"id":1}"#);
    assert_eq!(frame("note"), r#"{"method":"note","params":["a",1]}"#);
    assert_eq!(frame("add"), r#"{"method":"add","params":[1,1],"id":2}"#);
}

#[test]
fn a_notification_may_be_the_first_call() {
    let (server, client) = start();
    client.notify("note", ()).unwrap();
    assert_eq!(server.expect_frame("note").1, r#"{"method":"note","params":[]}"#);
}

#[test]
fn many_threads_get_their_own_answers() {
    let (server, client) = start();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for number in 0..200 {
                    assert_eq!(client.request::<i64>("add", (thread, number)), Ok(thread + number));
                }
            });
        }
    });
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_cancelled_request_ends_at_once_and_the_server_is_told() {
    let (server, client) = start();
    let token = CancelToken::new();
    std::thread::scope(|scope| {
        let call = client.call("slow").args((1000,)).token(&token);
        let waiting = scope.spawn(|| call.request::<String>());
        server.expect_frame("slow");
        token.cancel();
        assert_eq!(waiting.join().unwrap(), Err(ClientError::Aborted));
    });
    assert_eq!(server.expect_frame("cancel").1, r#"{"method":".cancel","params":[1]}"#);
    assert_eq!(client.request("add", (1, 1)), Ok(2));
}

#[test]
fn what_is_cancelled_beforehand_sends_nothing() {
    let (server, client) = start();
    let token = CancelToken::new();
    token.cancel();
    assert_eq!(client.call("slow").token(&token).request::<()>(), Err(ClientError::Aborted));
    assert_eq!(client.call("slow").token(&token).notify(), Err(ClientError::Aborted));
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_request_that_takes_too_long_is_cancelled() {
    let server = Server::start();
    let request_timeout = Some(Duration::from_millis(30));
    let options = ClientOptions { request_timeout, ..ClientOptions::default() };
    let client = Client::new(&server.url, options).unwrap();
    let patient = client.call("add").args((1, 1)).timeout(PATIENCE);
    assert_eq!(patient.request(), Ok(2), "there is a connection");
    assert_eq!(client.request::<()>("slow", ()), Err(ClientError::Timeout));
    assert_eq!(server.expect_frame("cancel").1, r#"{"method":".cancel","params":[2]}"#);
}

#[test]
fn arguments_that_cannot_be_sent_are_refused() {
    let server = Server::start();
    let options = ClientOptions { message_bytes_max: 1000, ..ClientOptions::default() };
    let client = Client::new(&server.url, options).unwrap();
    for result in [
        client.request::<()>("echo", 5),
        client.request::<()>("echo", ("x".repeat(1000),)),
        client.notify("echo", "no list"),
    ] {
        assert_eq!(result.unwrap_err().name(), "ws.ArgumentsError");
    }
    assert_eq!(server.accepted(), 0);
}

#[test]
fn no_more_calls_wait_than_may() {
    let server = Server::start();
    let options = ClientOptions { pending_max: 1, ..ClientOptions::default() };
    let client = Client::new(&server.url, options).unwrap();
    let token = CancelToken::new();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.call("slow").token(&token).request::<()>());
        server.expect_frame("slow");
        assert_eq!(client.request::<i64>("add", (1, 1)), Err(ClientError::TooManyCalls));
        token.cancel();
        assert_eq!(waiting.join().unwrap(), Err(ClientError::Aborted));
    });
    assert_eq!(client.request("add", (1, 1)), Ok(2));
}

#[test]
fn pings_of_the_protocol_are_answered() {
    let (_server, client) = start();
    assert_eq!(client.request("pingMe", ()), Ok(true));
}

#[test]
fn what_may_not_come_ends_the_connection() {
    let server = Server::start();
    let options =
        ClientOptions { message_bytes_max: 60_000, retry: 0.into(), ..ClientOptions::default() };
    let client = Client::new(&server.url, options).unwrap();
    for (method, code) in [("binary", 1003), ("garbage", 1007), ("long", 1009)] {
        let error = client.request::<String>(method, ()).unwrap_err();
        assert_eq!(error.as_connection().unwrap().kind, ConnectionErrorKind::Lost, "{error}");
        assert_eq!(server.expect_close().1, Some(code));
    }
    assert_eq!(client.request("add", (1, 1)), Ok(2));
}
