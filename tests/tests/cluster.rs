//! Nodes over one Redis: what reaches whom, what is subscribed to, and what changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test, whose clients live in real time"
)]
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use fulmar::fabric::{Emitter, Options, StartPolicy, Subscriptions};
use fulmar::text::Text;
use fulmar::{Endpoint, Error, Running, Server, Stopped};
use fulmar_tests::client::Client;
use fulmar_tests::conformance::node;
use fulmar_tests::event_client::EventClient;
use fulmar_tests::redis::{Recorder, Redis};
use fulmar_tests::{eventually, server};

/// How long nothing may come where nothing is to come.
const QUIET: Duration = Duration::from_millis(60);

fn pair(redis: &Redis) -> [Running; 2] {
    [(); 2].map(|()| node(Some(Options::new(redis.url()))))
}

fn login(node: &Running, token: &str, rooms: &[&str]) -> EventClient {
    EventClient::member(node.local_addr(), token, rooms)
}

/// Waits until so many nodes are subscribed to each channel.
fn subscribed(redis: &Redis, channels: &[(&str, i64)]) {
    let mut control = redis.connect();
    for (channel, nodes) in channels {
        eventually(channel, || control.subscribers(channel) == *nodes);
    }
}

fn stop(nodes: impl IntoIterator<Item = Running>) {
    nodes.into_iter().for_each(Running::kill);
}

/// A message without data beyond a number, as clients see it.
fn frame(event: &str, data: u32) -> String {
    format!(r#"{{"event":"{event}","data":{data}}}"#)
}

#[test]
fn an_exclusion_holds_on_every_node() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    let mut one = login(&nodes[0], "ada", &["r"]);
    let mut two = login(&nodes[1], "bob", &["r"]);
    let mut three = login(&nodes[1], "eve", &["r"]);
    subscribed(&redis, &[("ws:room:r", 2), ("ws:broadcast", 2)]);
    let hub = nodes[0].hub();
    hub.room("r").except_ids([&*two.id]).publish("e", &1).unwrap();
    hub.room("r").except_ids([&*one.id, &*three.id]).publish("e", &2).unwrap();
    hub.all().except_ids([&*three.id]).publish("e", &3).unwrap();
    hub.room("r").except_ids(["no-such-client"]).publish("e", &4).unwrap();
    for (client, expected) in
        [(&mut one, vec![1, 3, 4]), (&mut two, vec![2, 3, 4]), (&mut three, vec![1, 4])]
    {
        let mut seen = client.collect(&client.id.clone(), expected.len(), QUIET);
        // Rooms keep their own order each, not one among them.
        seen.sort();
        let expected: Vec<String> = expected.into_iter().map(|n| frame("e", n)).collect();
        assert_eq!(seen, expected);
    }
    stop(nodes);
}

#[test]
fn a_user_is_reached_on_every_node_and_with_here_on_one() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    let mut tabs: Vec<EventClient> =
        [0, 0, 1].map(|at| login(&nodes[at], "ada", &[])).into_iter().collect();
    let mut other = login(&nodes[1], "bob", &[]);
    subscribed(&redis, &[("ws:user:user-ada", 2)]);
    nodes[0].hub().user("user-ada").publish("note", &1).unwrap();
    tabs.iter_mut().for_each(|tab| tab.expect(&frame("note", 1)));
    nodes[1].hub().user("user-ada").here().publish("note", &2).unwrap();
    tabs[2].expect(&frame("note", 2));
    nodes[1].hub().user("user-ada").publish("note", &3).unwrap();
    tabs.iter_mut().for_each(|tab| tab.expect(&frame("note", 3)));
    tabs.iter_mut().for_each(|tab| tab.expect_quiet(QUIET));
    other.expect_quiet(QUIET);
    stop(nodes);
}

#[test]
fn a_destination_is_found_wherever_it_is() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    let mut here = login(&nodes[0], "ada", &["both"]);
    let mut there = login(&nodes[1], "bob", &["both", "only-there"]);
    let mut unknown = EventClient::open(nodes[1].local_addr());
    let (own, remote) = (here.id.clone(), there.id.clone());
    let ids = [format!("ws:room:{own}"), format!("ws:client:{remote}")];
    subscribed(&redis, &[("ws:room:both", 2), ("ws:room:only-there", 1)]);
    subscribed(&redis, &[(&*ids[0], 1), (&*ids[1], 1)]);
    let send = |destination: Option<&str>, n: u32| {
        nodes[0].hub().send(destination, "e", &n).unwrap();
    };
    send(Some(&remote), 1);
    there.expect(&frame("e", 1));
    send(Some(&own), 2);
    here.expect(&frame("e", 2));
    send(Some("only-there"), 3);
    there.expect(&frame("e", 3));
    send(Some("both"), 4);
    send(Some("nowhere"), 5);
    send(Some(""), 6);
    send(None, 7);
    for client in [&mut here, &mut there] {
        let mut seen = client.collect("everybody", 3, QUIET);
        seen.sort();
        assert_eq!(seen, [4, 6, 7].map(|n| frame("e", n)));
    }
    // By its own word, from the other side.
    there.chat(&own, "hello");
    here.expect_chat("bob", "hello");
    here.expect_quiet(QUIET);
    there.expect_quiet(QUIET);
    unknown.expect_quiet(QUIET);
    stop(nodes);
}

#[test]
fn nothing_is_sent_for_no_data_and_no_event() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    let mut recorder = Recorder::start(&redis);
    let hub = nodes[0].hub();
    hub.send(None, "e", &()).unwrap();
    hub.send(None, "", &1).unwrap();
    hub.send(Some("r"), "e", &None::<u32>).unwrap();
    let message = format!(
        r#"{{"serverId":"{}","type":"room","target":"r","event":"e","data":null}}"#,
        hub.server_id()
    );
    assert_eq!(recorder.expect(1, QUIET), [("ws:room:r".to_owned(), message)]);
    stop(nodes);
}

#[test]
fn a_node_is_subscribed_to_what_its_clients_are_in_and_nothing_else() {
    let redis = Redis::start();
    let mut control = redis.connect();
    let options =
        Options { subscriptions: lingering(Duration::from_millis(1)), ..Options::new(redis.url()) };
    let node = node(Some(options));
    eventually("the broadcast", || control.channels() == ["ws:broadcast"]);
    let mut ada = login(&node, "ada", &["r", "s"]);
    let bob = login(&node, "bob", &["s"]);
    let own = |client: &EventClient| {
        [format!("ws:client:{}", client.id), format!("ws:room:{}", client.id)]
    };
    let mut all = vec!["ws:broadcast".to_owned()];
    all.extend(["r", "s", "ws-default", "ws-notification"].map(|room| format!("ws:room:{room}")));
    all.extend(["ada", "bob"].map(|user| format!("ws:user:user-{user}")));
    all.extend(own(&ada).into_iter().chain(own(&bob)));
    all.sort();
    let is_so = |all: &[String]| {
        let mut control = redis.connect();
        eventually(&format!("{all:?}"), || control.channels() == all);
    };
    is_so(&all);
    ada.leave(&["s"]);
    all.retain(|channel| !own(&bob).contains(channel) && !channel.contains("bob"));
    drop(bob);
    all.retain(|channel| channel != "ws:room:s");
    is_so(&all);
    // Redis knows of a change before the node has its answer.
    let status = || node.fabric().unwrap().status();
    eventually("the count", || status().counters.subscriptions == all.len() as u64);
    assert!(status().is_ready());
    drop(ada);
    is_so(&["ws:broadcast".to_owned()]);
    stop([node]);
    is_so(&[]);
}

fn lingering(linger: Duration) -> Subscriptions {
    Subscriptions::ByInterest { linger }
}

#[test]
fn a_room_that_is_left_and_joined_again_stays_subscribed() {
    let redis = Redis::start();
    let linger = Duration::from_millis(600);
    let options = Options { subscriptions: lingering(linger), ..Options::new(redis.url()) };
    let node = node(Some(options));
    let mut monitor = Monitor::start(&redis);
    let mut client = login(&node, "ada", &[]);
    let began = Instant::now();
    for _ in 0..5 {
        client.join(&["r"]);
        client.leave(&["r"]);
    }
    let commands = monitor.until("UNSUBSCRIBE", "ws:room:r");
    assert!(began.elapsed() >= linger, "after {:?}", began.elapsed());
    assert_eq!(commands, ["SUBSCRIBE", "UNSUBSCRIBE"]);
    stop([node]);
}

/// Every command that Redis gets.
struct Monitor(fulmar_tests::redis::RedisClient);

impl Monitor {
    fn start(redis: &Redis) -> Self {
        let mut client = redis.connect();
        assert_eq!(client.command(&["MONITOR"]).texts(), ["OK"]);
        Self(client)
    }

    /// The commands that name `argument`, to the first that is called `last`.
    fn until(&mut self, last: &str, argument: &str) -> Vec<String> {
        let mut commands = Vec::new();
        loop {
            let line = self.0.next(fulmar_tests::PATIENCE).expect("a command");
            let line = line.texts().concat();
            let words: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
            if words[1..].contains(&argument) {
                commands.push(words[0].to_uppercase());
                if words[0].eq_ignore_ascii_case(last) {
                    return commands;
                }
            }
        }
    }
}

#[test]
fn a_node_that_listens_to_patterns_hears_everything_once() {
    let redis = Redis::start();
    let patterns =
        || Options { subscriptions: Subscriptions::Patterns, ..Options::new(redis.url()) };
    let nodes = [node(Some(patterns())), node(Some(Options::new(redis.url())))];
    let mut control = redis.connect();
    eventually("the patterns", || control.command(&["PUBSUB", "NUMPAT"]).numbers() == [3]);
    eventually("the broadcast", || control.subscribers("ws:broadcast") == 2);
    let mut one = login(&nodes[0], "ada", &["r"]);
    let mut two = login(&nodes[1], "ada", &["r"]);
    let id = format!("ws:client:{}", two.id);
    subscribed(&redis, &[("ws:room:r", 1), ("ws:user:user-ada", 1), (&*id, 1)]);
    let patterned = control.channels().iter().any(|channel| channel.contains(&one.id));
    assert!(!patterned, "patterns need no channels");
    for from in &nodes {
        let hub = from.hub();
        hub.room("r").publish("room", &1).unwrap();
        hub.user("user-ada").publish("user", &2).unwrap();
        hub.all().publish("all", &3).unwrap();
        hub.send(Some(&one.id), "client", &4).unwrap();
        hub.send(Some(&two.id), "client", &5).unwrap();
        for (client, own) in [(&mut one, 4), (&mut two, 5)] {
            let mut seen = client.collect("patterns", 4, QUIET);
            seen.sort();
            let all = [("all", 3), ("client", own), ("room", 1), ("user", 2)];
            assert_eq!(seen, all.map(|(event, n)| frame(event, n)));
        }
    }
    // The type decides, not the channel: on one that nobody is in too.
    control.publish("ws:room:zzz", r#"{"serverId":"x","type":"broadcast","event":"e","data":6}"#);
    one.expect(&frame("e", 6));
    two.expect_quiet(QUIET);
    stop(nodes);
}

#[test]
fn a_node_does_not_hear_itself() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    assert_ne!(nodes[0].hub().server_id(), nodes[1].hub().server_id());
    let mut one = login(&nodes[0], "ada", &[]);
    let mut two = login(&nodes[1], "bob", &[]);
    subscribed(&redis, &[("ws:broadcast", 2)]);
    let forged = format!(
        r#"{{"serverId":"{}","type":"broadcast","event":"e","data":1}}"#,
        nodes[0].hub().server_id()
    );
    assert_eq!(redis.connect().publish("ws:broadcast", &forged), 2);
    two.expect(&frame("e", 1));
    one.expect_quiet(QUIET);
    let skipped = || nodes[0].fabric().unwrap().status().counters.own_skipped;
    eventually("it is counted", || skipped() == 1);
    stop(nodes);
}

#[test]
fn hostile_envelopes_change_nothing() {
    let redis = Redis::start();
    let node = node(Some(Options::new(redis.url())));
    let mut client = login(&node, "ada", &["r"]);
    subscribed(&redis, &[("ws:room:r", 1), ("ws:broadcast", 1), ("ws:user:user-ada", 1)]);
    let mut control = redis.connect();
    let long = "x".repeat(2 << 20);
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    let hostile = [
        String::new(),
        "{nope".into(),
        "null".into(),
        "[]".into(),
        "17".into(),
        r#""text""#.into(),
        "\u{0}\u{1}".into(),
        r#"{"event":"x"}"#.into(),
        r#"{"serverId":"x"}"#.into(),
        r#"{"serverId":5,"event":"x","type":"broadcast"}"#.into(),
        r#"{"serverId":"x","event":["x"],"type":"broadcast"}"#.into(),
        r#"{"serverId":"x","event":"y","type":"weird"}"#.into(),
        r#"{"serverId":"x","event":"y"}"#.into(),
        r#"{"serverId":"x","event":"y","type":"room"}"#.into(),
        r#"{"serverId":"x","event":"y","type":"room","target":""}"#.into(),
        r#"{"serverId":"x","event":"y","type":"room","target":7}"#.into(),
        r#"{"serverId":"x","event":"y","type":"client","target":"not an id"}"#.into(),
        r#"{"serverId":"x","event":"y","type":"user"}"#.into(),
        r#"{"serverId":"x","event":"y","type":"room","target":"r","data":}"#.into(),
        r#"{"serverId":"x","event":"y","type":"room","target":"r","data":1}garbage"#.into(),
        format!(r#"{{"serverId":"x","event":"y","type":"room","target":"r","data":"{long}"}}"#),
        format!(r#"{{"serverId":"x","event":"y","type":"room","target":"r","data":{deep}}}"#),
        deep,
        long,
    ];
    let channels = ["ws:broadcast", "ws:room:r", "ws:user:user-ada"];
    for message in &hostile {
        for channel in channels {
            assert_eq!(control.publish(channel, message), 1);
        }
    }
    client.expect_quiet(QUIET);
    // Unusual, but right.
    let unusual = r#" {"exclude": [], "data" : {"a":1} ,"more":{"serverId":0},
        "event":"é\n","target":"\u0072","type":"room","serverId":"x"} "#;
    control.publish("ws:room:r", unusual);
    client.expect(r#"{"event":"é\n","data":{"a":1}}"#);
    client.expect_quiet(QUIET);
    let status = node.fabric().unwrap().status();
    assert!(status.is_ready());
    assert!(status.counters.malformed >= 30, "{:?}", status.counters);
    drop(client);
    assert_eq!(node.stop(), Stopped::Drained);
}

#[test]
fn a_text_clients_publication_reaches_rooms_of_every_dialect_and_node() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    let [one, two] = nodes.each_ref().map(|node| node.local_addr());
    let mut speaker = Client::open(one, "/rooms/r");
    let mut near = Client::open(one, "/rooms/r");
    let mut far = Client::open(two, "/rooms/r");
    let mut elsewhere = Client::open(two, "/rooms/s");
    let mut near_event = login(&nodes[0], "ada", &["r"]);
    let mut far_event = login(&nodes[1], "bob", &["r"]);
    subscribed(&redis, &[("ws:room:r", 2), ("ws:room:s", 1)]);
    for (text, json) in [("plain", r#""plain""#), (r#"{"a": [1]}"#, r#""{\"a\": [1]}""#)] {
        speaker.text(text);
        for client in [&mut near, &mut far] {
            assert_eq!(client.expect_text(), text);
        }
        for client in [&mut near_event, &mut far_event] {
            client.expect(&format!(r#"{{"event":"message","data":{json}}}"#));
        }
    }
    // The other way: text clients get what an event says.
    far_event.chat("r", "hello");
    let said = r#"{"from":"user-bob","text":"hello"}"#;
    for client in [&mut near, &mut far] {
        assert_eq!(client.expect_text(), said);
    }
    near_event.expect_chat("bob", "hello");
    far_event.expect_chat("bob", "hello");
    elsewhere.expect_silence(QUIET);
    far_event.expect_quiet(QUIET);
    stop(nodes);
}

#[test]
fn an_emitter_reaches_everybody_on_every_node() {
    let redis = Redis::start();
    let nodes = pair(&redis);
    let mut one = login(&nodes[0], "ada", &["r"]);
    let mut two = login(&nodes[1], "ada", &["r"]);
    let mut bob = login(&nodes[1], "bob", &[]);
    let id = format!("ws:client:{}", bob.id);
    subscribed(&redis, &[("ws:room:r", 2), ("ws:user:user-ada", 2), ("ws:broadcast", 2), (&id, 1)]);
    let mut recorder = Recorder::start(&redis);
    let mut emitter = Emitter::connect(&[redis.url()], Duration::from_secs(5)).unwrap();
    emitter.client(&bob.id, "client", "1").unwrap();
    emitter.user("user-ada", "user", "2").unwrap();
    emitter.room("r", "room", "3", &[]).unwrap();
    emitter.room("r", "room", "4", &[&one.id]).unwrap();
    emitter.all("all", "5").unwrap();
    assert!(emitter.all("all", "no json").is_err());
    let twos = [("all", 5), ("room", 3), ("room", 4), ("user", 2)];
    let ones = [("all", 5), ("room", 3), ("user", 2)];
    let bobs = [("all", 5), ("client", 1)];
    for (client, expected) in [(&mut one, &ones[..]), (&mut two, &twos), (&mut bob, &bobs)] {
        let mut seen = client.collect("an emitter", expected.len(), QUIET);
        seen.sort();
        let expected: Vec<String> = expected.iter().map(|(event, n)| frame(event, *n)).collect();
        assert_eq!(seen, expected);
    }
    // Byte for byte as IGNIS's emitter writes it.
    let room = r#"{"serverId":"emitter","type":"room","target":"r","event":"room","data":4,"#;
    let excluding = format!(r#"{room}"exclude":["{}"]}}"#, one.id);
    let everybody = r#"{"serverId":"emitter","type":"broadcast","event":"all","data":5}"#;
    let recorded = recorder.expect(5, QUIET);
    assert_eq!(recorded[3], ("ws:room:r".to_owned(), excluding));
    assert_eq!(recorded[4], ("ws:broadcast".to_owned(), everybody.to_owned()));
    emitter.shutdown();
    stop(nodes);
}

#[test]
fn redis_knows_two_named_connections_of_a_node() {
    let redis = Redis::start();
    let named = Options { name: "edge-7".into(), ..Options::new(redis.url()) };
    let node = node(Some(named));
    let list = redis.connect().command(&["CLIENT", "LIST"]).texts().concat();
    let mut names: Vec<&str> = list
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("name="))
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["edge-7-pub", "edge-7-sub"]);
    stop([node]);
}

#[test]
fn without_redis_a_server_does_not_start_or_serves_alone_until_it_comes() {
    let mut redis = Redis::start();
    redis.kill();
    let start = |start| {
        Server::new(())
            .config(server::config())
            .mount(Endpoint::new("/echo").speaks(Text::echo()))
            .fabric(Options { start, ..Options::new(redis.url()) })
            .start("127.0.0.1:0")
    };
    let error = start(StartPolicy::Wait(Duration::from_millis(300))).unwrap_err();
    assert!(matches!(error, Error::Fabric { .. }), "{error:?}");
    assert!(error.to_string().contains(&redis.port().to_string()), "{error}");
    let node = start(StartPolicy::ServeLocally).unwrap();
    let mut client = Client::open(node.local_addr(), "/echo");
    client.text("alone");
    assert_eq!(client.expect_text(), "alone");
    let status = || node.fabric().unwrap().status();
    eventually("it says why", || !status().is_ready() && status().trouble.is_some());
    redis.restart();
    eventually("it is connected", || status().is_ready());
    assert_eq!(status().trouble, None);
    stop([node]);
}
