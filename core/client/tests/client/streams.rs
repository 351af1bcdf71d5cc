//! Subscriptions.

use std::time::Duration;

use fulmar_client::{
    CancelToken, Client, ClientError, ClientOptions, Retry, StreamOverflow, Subscription,
};

use crate::server::{PATIENCE, Server};

fn start(options: ClientOptions) -> (Server, Client) {
    let server = Server::start();
    let client = Client::new(&server.url, options).unwrap();
    (server, client)
}

#[test]
fn items_come_in_order_until_the_end() {
    let (_server, client) = start(ClientOptions::default());
    let items: Subscription<u32> = client.subscribe("count", (3,)).unwrap();
    assert_eq!(items.collect::<Result<Vec<_>, _>>(), Ok(vec![0, 1, 2]));
    assert_eq!(client.subscribe::<u32>("count", (0,)).unwrap().count(), 0);
}

#[test]
fn an_error_is_the_last_item_but_one_of_another_type_is_not() {
    let (_server, client) = start(ClientOptions::default());
    let mut items: Subscription<u32> = client.subscribe("countFail", ()).unwrap();
    assert_eq!(items.next(), Some(Ok(0)));
    assert_eq!(items.next().unwrap().unwrap_err().name(), "ws.DecodeError");
    assert_eq!(items.next(), Some(Ok(2)));
    let error = items.next().unwrap().unwrap_err();
    assert_eq!(error.as_request().unwrap().message, "broke");
    assert_eq!(items.next(), None);
}

#[test]
fn a_dropped_subscription_is_cancelled_and_an_ended_one_is_not() {
    let (server, client) = start(ClientOptions::default());
    drop(client.subscribe::<u32>("count", (1,)).unwrap().collect::<Vec<_>>());
    let items: Subscription<u32> = client.subscribe("endless", ()).unwrap();
    drop(items);
    assert_eq!(server.expect_frame("cancel").1, r#"{"method":".cancel","params":[2]}"#);
    let mut items: Subscription<u32> = client.subscribe("endless", ()).unwrap();
    items.cancel();
    assert_eq!(items.next(), None);
    assert_eq!(server.expect_frame("cancel").1, r#"{"method":".cancel","params":[3]}"#);
}

#[test]
fn a_token_ends_a_subscription_that_waits() {
    let (server, client) = start(ClientOptions::default());
    let token = CancelToken::new();
    let mut items: Subscription<u32> = client.call("endless").token(&token).subscribe().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| (items.next(), items.next()));
        server.expect_frame("endless");
        token.cancel();
        assert_eq!(waiting.join().unwrap(), (Some(Err(ClientError::Aborted)), None));
    });
    server.expect_frame("cancel");
}

#[test]
fn an_item_that_takes_too_long_is_the_end() {
    let (server, client) = start(ClientOptions::default());
    assert_eq!(client.request("add", (1, 1)), Ok(2), "there is a connection");
    let call = client.call("endless").timeout(Duration::from_millis(20));
    let mut items: Subscription<u32> = call.subscribe().unwrap();
    assert_eq!(items.next(), Some(Err(ClientError::Timeout)));
    assert_eq!(items.next(), None);
    server.expect_frame("cancel");
}

#[test]
fn a_lost_subscription_begins_again_and_its_items_follow() {
    let retry = Retry { delay: Duration::from_millis(5), ..Retry::default() };
    let (server, client) = start(ClientOptions { retry, ..ClientOptions::default() });
    let items: Subscription<usize> = client.subscribe("fragile", ()).unwrap();
    assert_eq!(items.collect::<Result<Vec<_>, _>>(), Ok(vec![0, 1, 2]));
    for number in 0..3 {
        let frame = r#"{"method":"fragile","params":[],"id":1}"#.to_owned();
        assert_eq!(server.expect_frame("fragile"), (number, frame));
    }
}

#[test]
fn a_full_buffer_holds_up_the_server_and_loses_nothing() {
    let options = ClientOptions { stream_items_max: 4, ..ClientOptions::default() };
    let (_server, client) = start(options);
    let items: Subscription<u32> = client.subscribe("count", (20_000,)).unwrap();
    assert!(items.map(Result::unwrap).eq(0..20_000));
}

#[test]
fn a_full_buffer_does_not_hold_up_others_for_ever() {
    let options = ClientOptions {
        stream_items_max: 4,
        stream_pause_max: Duration::from_millis(60),
        ..ClientOptions::default()
    };
    let (server, client) = start(options);
    let items: Subscription<u32> = client.subscribe("count", (100_000,)).unwrap();
    assert_eq!(client.call("add").args((1, 1)).timeout(PATIENCE).request(), Ok(2));
    let items: Vec<_> = items.collect();
    assert_eq!(items, [Ok(0), Ok(1), Ok(2), Ok(3), Err(ClientError::Overflow)]);
    server.expect_frame("cancel");
}

#[test]
fn the_oldest_items_go_if_they_may() {
    let options = ClientOptions {
        stream_items_max: 4,
        stream_overflow: StreamOverflow::DropOldest,
        ..ClientOptions::default()
    };
    let (_server, client) = start(options);
    let mut items: Subscription<u32> = client.subscribe("count", (100,)).unwrap();
    assert_eq!(client.request("add", (1, 1)), Ok(2), "everything before has come");
    assert_eq!(items.dropped(), 96);
    assert!(items.by_ref().map(Result::unwrap).eq(96..100));
    assert_eq!(items.dropped(), 96);
}

#[test]
fn ten_thousand_subscriptions_leave_nothing_behind() {
    let options = ClientOptions { pending_max: 2, ..ClientOptions::default() };
    let (server, client) = start(options);
    for number in 0..10_000 {
        let mut items: Subscription<u32> = client.subscribe("count", (2,)).unwrap();
        assert_eq!(items.next(), Some(Ok(0)));
        if number % 2 == 0 {
            assert_eq!(items.last(), Some(Ok(1)));
        }
    }
    assert_eq!(server.accepted(), 1);
}
