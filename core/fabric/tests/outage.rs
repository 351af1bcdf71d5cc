//! Redis that is late, dies, hangs, refuses, or is written to by somebody hostile.

mod node;
mod redis;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fulmar_fabric::{
    EmitError, Emitter, Event, Fabric, Kind, Link, Options, StartError, StartPolicy, Topic,
};

use node::{Kept, Node, options};
use redis::{Server, until, within};

#[test]
#[expect(clippy::disallowed_methods, reason = "tests run in real time")]
fn a_restarted_redis_is_used_again_within_five_seconds() {
    let mut redis = Server::start();
    let (a, b) = (Node::start(&redis.url()), Node::start(&redis.url()));
    for number in 0..1000 {
        b.fabric.subscribe(Topic::Room(number.to_string().into()));
    }
    b.subscribed(1001);
    redis.kill();
    for node in [&a, &b] {
        assert!(until(|| !node.fabric.status().publisher && !node.fabric.status().subscriber));
    }
    a.send(Kind::Room, "7", "\"lost\"");
    assert!(until(|| a.fabric.counters().lost_disconnected == 1));
    b.fabric.unsubscribe(Topic::Room("8".into()));
    b.fabric.subscribe(Topic::Room("new".into()));
    // Long enough for the pauses to have grown to their longest.
    assert!(until(|| long_waits(&a) >= 2));
    redis.restart();
    let begin = Instant::now();
    for node in [&a, &b] {
        assert!(node.fabric.wait_until_ready(Duration::from_secs(5)));
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(redis.channels().len(), 1001, "all of interest, and only that");
    a.send(Kind::Room, "8", "0");
    a.send(Kind::Room, "7", "1");
    a.send(Kind::Room, "new", "2");
    assert_eq!(b.take(2), ["Room 7 event 1", "Room new event 2"]);
    let (a, b_counters) = (a.fabric.counters(), b.fabric.counters());
    assert_eq!((a.lost_disconnected, a.reconnects, b_counters.reconnects), (1, 2, 2));
    assert_eq!(b_counters.subscriptions, 1001);
    assert!(b.events().contains(&Event::Resubscribed { count: 1001 }));
}

fn long_waits(node: &Node) -> usize {
    let long = |event: &Event| match event {
        Event::Waiting { link: Link::Publisher, pause, .. } => pause.as_millis() >= 1000,
        _ => false,
    };
    node.events().into_iter().filter(long).count()
}

#[test]
fn killed_connections_come_back_and_are_reported() {
    let redis = Server::start();
    let node = Node::start(&redis.url());
    for kind in ["normal", "pubsub"] {
        redis.command(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
    }
    assert!(until(|| node.fabric.counters().reconnects == 2));
    let events = node.events();
    let lost = |wanted: Link| {
        events.iter().any(|event| {
            matches!(event, Event::Disconnected { link, address, .. }
                if *link == wanted && **address == *redis.url())
        })
    };
    assert!(lost(Link::Publisher) && lost(Link::Subscriber), "{events:?}");
    assert!(node.fabric.status().is_ready());
}

#[test]
fn a_redis_that_hangs_is_noticed_and_used_again_when_it_recovers() {
    let redis = Server::start();
    let node = Node::with(Options {
        ping_interval: Duration::from_millis(100),
        response_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_millis(200),
        ..options(&redis.url())
    });
    redis.freeze();
    let noticed = within(Duration::from_secs(5), || {
        let status = node.fabric.status();
        !status.publisher && !status.subscriber
    });
    redis.thaw();
    assert!(noticed, "pings go unanswered");
    assert!(node.fabric.wait_until_ready(Duration::from_secs(5)));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests run in real time")]
fn a_start_that_waits_fails_when_redis_is_not_there() {
    let redis = Server::stopped();
    let url = format!("redis://user:secret@127.0.0.1:{}", redis.port());
    let wait = StartPolicy::Wait(Duration::from_millis(300));
    let begin = Instant::now();
    let error =
        Fabric::start(Options { start: wait, ..Options::new(url) }, "s", Arc::new(Kept::default()))
            .unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(3));
    let text = error.to_string();
    let expected = format!("Redis did not become ready within 300 ms ({}: ", redis.url());
    assert!(text.starts_with(&expected), "{text}");
    assert!(matches!(error, StartError::NotReady { .. }) && !text.contains("secret"));
}

#[test]
fn a_start_that_waits_takes_a_redis_that_comes_up_meanwhile() {
    let mut redis = Server::stopped();
    let options = options(&redis.url());
    std::thread::scope(|scope| {
        let node = scope.spawn(|| Node::with(options));
        redis.restart();
        assert!(node.join().unwrap().fabric.status().is_ready());
    });
}

#[test]
fn a_node_that_serves_locally_joins_when_redis_comes_up() {
    let mut redis = Server::stopped();
    let local = || Options { start: StartPolicy::ServeLocally, ..options(&redis.url()) };
    let (a, b) = (Node::with(local()), Node::with(local()));
    b.fabric.subscribe(Topic::User("u".into()));
    a.send(Kind::User, "u", "0");
    assert!(until(|| a.fabric.counters().lost_disconnected == 1));
    assert!(until(|| a.fabric.status().trouble.is_some()));
    assert!(!a.fabric.status().is_ready() && !a.fabric.wait_until_ready(Duration::ZERO));
    redis.restart();
    for node in [&a, &b] {
        assert!(node.fabric.wait_until_ready(Duration::from_secs(5)));
        let status = node.fabric.status();
        assert_eq!(status.publisher_address.as_deref(), Some(&*redis.url()));
        assert_eq!(status.trouble, None);
    }
    a.send(Kind::User, "u", "1");
    assert_eq!(b.take(1), ["User u event 1"]);
    assert_eq!(a.fabric.counters().reconnects, 0);
}

#[test]
fn credentials_are_used_and_wrong_ones_are_named_without_the_password() {
    let redis = Server::with(&["--requirepass", "right"]);
    let port = redis.port();
    let node = Node::start(&format!("redis://:right@127.0.0.1:{port}"));
    assert!(node.fabric.status().is_ready());
    let wrong = Options {
        start: StartPolicy::Wait(Duration::from_millis(500)),
        ..Options::new(format!("redis://:wrong-one@127.0.0.1:{port}"))
    };
    let error = Fabric::start(wrong, "s", Arc::new(Kept::default())).unwrap_err().to_string();
    assert!(error.contains(&redis.url()) && !error.contains("wrong-one"), "{error}");
    assert!(error.to_lowercase().contains("auth") || error.contains("WRONGPASS"), "{error}");
}

#[test]
fn letters_that_redis_refuses_are_counted() {
    let redis = Server::start();
    let rule = ["ACL", "SETUSER", "half", "on", ">p", "+@all", "resetchannels", "&ws:broadcast"];
    assert_eq!(redis.command(&rule).text(), "OK");
    let node = Node::start(&format!("redis://half:p@127.0.0.1:{}", redis.port()));
    node.send(Kind::Room, "r", "1");
    node.send(Kind::Broadcast, "", "2");
    assert!(until(|| node.fabric.counters().published == 1));
    let counters = node.fabric.counters();
    assert_eq!((counters.refused, counters.lost_disconnected), (1, 0));
}

#[test]
fn of_several_addresses_the_first_that_answers_is_used() {
    let (gone, redis) = (Server::stopped(), Server::start());
    let urls = vec![gone.url(), redis.url()];
    let node = Node::with(Options { urls: urls.clone(), ..options("") });
    assert_eq!(node.fabric.status().subscriber_address.as_deref(), Some(&*redis.url()));
    let mut emitter = Emitter::connect(&urls, Duration::from_secs(5)).unwrap();
    assert_eq!(emitter.all("e", "1"), Ok(1));
    assert_eq!(node.take(1), ["Broadcast  e 1"]);
}

#[test]
fn whatever_is_published_by_others_changes_nothing() {
    let redis = Server::start();
    let node = Node::start(&redis.url());
    node.fabric.subscribe(Topic::Room("r".into()));
    node.subscribed(2);
    let mut hostile: Vec<Vec<u8>> = [
        "",
        "x",
        "null",
        "[]",
        "{}",
        "7",
        "\"\"",
        "{\"serverId\":1}",
        "*1\r\n$4\r\nQUIT\r\n",
        r#"{"serverId":"s","type":"room","event":"e"}"#,
        r#"{"serverId":"s","type":"nobody","target":"r","event":"e"}"#,
        r#"{"serverId":"s","type":"room","target":"r","event":"e","data":}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    hostile.push(vec![0xff; 1000]);
    hostile.push(vec![0; 1000]);
    hostile.push("[".repeat(900_000).into_bytes());
    hostile.push("{\"a\":".repeat(150_000).into_bytes());
    hostile.push("\"".repeat(999_999).into_bytes());
    hostile.push(
        format!(r#"{{"serverId":"s","type":"broadcast","event":"{}"}}"#, "x".repeat(1 << 20))
            .into_bytes(),
    );
    hostile.push(vec![b' '; 20 << 20]);
    let mut seed = 7_u32;
    for length in 0..200 {
        let random = (0..length).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        });
        hostile.push(random.collect());
    }
    for channel in ["ws:broadcast", "ws:room:r"] {
        for message in &hostile {
            assert_eq!(redis.publish(channel, message), 1);
        }
    }
    redis.publish("ws:room:r", br#"{"serverId":"s","type":"broadcast","event":"e"}"#);
    assert_eq!(node.take(1), ["Broadcast  e -"]);
    let counters = node.fabric.counters();
    assert_eq!(counters.malformed, 2 * u64::try_from(hostile.len()).unwrap());
    assert_eq!((counters.received, counters.reconnects), (1, 0));
}

#[test]
fn an_emitter_reaches_nodes_and_says_how_many() {
    let mut redis = Server::start();
    let node = Node::start(&redis.url());
    node.fabric.subscribe(Topic::Room("r".into()));
    node.fabric.subscribe(Topic::Client("c".into()));
    node.fabric.subscribe(Topic::User("u".into()));
    node.subscribed(5);
    let mut emitter = Emitter::connect(&[redis.url()], Duration::from_secs(5)).unwrap();
    assert!(redis.client_names().contains(&"WebSocketEmitter".to_owned()));
    assert_eq!(emitter.client("c", "e", "1"), Ok(1));
    assert_eq!(emitter.user("u", "e", "{\"a\":2}"), Ok(1));
    assert_eq!(emitter.room("r", "e", "3", &["x"]), Ok(1));
    assert_eq!(emitter.room("nobody", "e", "4", &[]), Ok(0));
    assert_eq!(emitter.all("e", "null"), Ok(1));
    assert_eq!(emitter.all("e", "{bad"), Err(EmitError::Data));
    assert_eq!(emitter.user("", "e", "1"), Err(EmitError::Target));
    assert_eq!(
        node.take(4),
        ["Client c e 1", "User u e {\"a\":2}", "Room r e 3 not [\"x\"]", "Broadcast  e null"]
    );
    redis.kill();
    assert!(matches!(emitter.all("e", "1"), Err(EmitError::Redis(_))));
    redis.restart();
    assert!(emitter.all("e", "1").is_ok(), "connects again");
    emitter.shutdown();
    assert!(until(|| !redis.client_names().contains(&"WebSocketEmitter".to_owned())));
    redis.kill();
    let error = Emitter::connect(&[redis.url()], Duration::from_millis(200)).unwrap_err();
    assert!(error.to_string().starts_with("Redis did not become ready within 200 ms ("));
}
