//! An independent client: random messages, whole and in fragments, and stuck peers beside it.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::net::TcpStream;
use std::time::Duration;

use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, frame};
use fulmar_tests::{eventually, server};
use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestRng, TestRunner};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<TcpStream>;

fn connect(server: &fulmar::Running, path: &str) -> Socket {
    let address = server.local_addr();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    tungstenite::client(format!("ws://{address}{path}"), stream).unwrap().0
}

/// Sends a message in fragments of these lengths, and the rest.
fn send_in_parts(socket: &mut Socket, message: &Message, lengths: &[usize]) {
    let opcode = if message.is_text() { Data::Text } else { Data::Binary };
    let bytes = message.clone().into_data();
    let (mut at, mut opcode) = (0, OpCode::Data(opcode));
    for length in lengths {
        let end = (at + length).min(bytes.len());
        let part = Frame::message(bytes.slice(at..end), opcode, false);
        socket.send(Message::Frame(part)).unwrap();
        (at, opcode) = (end, OpCode::Data(Data::Continue));
    }
    socket.send(Message::Frame(Frame::message(bytes.slice(at..), opcode, true))).unwrap();
}

fn messages() -> impl Strategy<Value = Vec<(Message, Vec<usize>)>> {
    let length = prop_oneof![0..200_usize, 65_000..66_000_usize, 0..300_000_usize];
    let binary = (length, any::<u8>()).prop_map(|(length, byte)| Message::from(vec![byte; length]));
    let text = ".{0,200}".prop_map(Message::from);
    let parts = prop::collection::vec(0..70_000_usize, 0..5);
    prop::collection::vec((prop_oneof![binary, text], parts), 1..8)
}

fn random(test: impl Fn(Vec<(Message, Vec<usize>)>)) {
    let config = RunnerConfig { cases: 40, failure_persistence: None, ..RunnerConfig::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, random);
    runner
        .run(&messages(), |messages| {
            test(messages);
            Ok(())
        })
        .unwrap();
}

#[test]
fn random_messages_come_back_as_they_were() {
    let server = server::echo(server::config());
    random(|messages| {
        let mut socket = connect(&server, "/echo");
        for (message, parts) in messages {
            send_in_parts(&mut socket, &message, &parts);
            assert_eq!(socket.read().unwrap(), message);
        }
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    });
    eventually("all are gone", || server.stats().connections == 0);
    assert!(server.stats().reasons.iter().all(|(reason, _)| !reason.is_peers_fault()));
    server.kill();
}

#[test]
fn random_messages_reach_the_other_members_as_they_were() {
    let server = server::echo(fulmar::Config { shards: 2, ..server::config() });
    random(|messages| {
        let mut speaker = connect(&server, "/rooms/r");
        let mut listeners: Vec<Socket> = (0..3).map(|_| connect(&server, "/rooms/r")).collect();
        eventually("all are members", || server.stats().memberships == 4);
        for (message, parts) in messages {
            send_in_parts(&mut speaker, &message, &parts);
            for listener in &mut listeners {
                assert_eq!(listener.read().unwrap(), message);
            }
        }
        drop((speaker, listeners));
        eventually("none is a member", || server.stats().memberships == 0);
    });
    server.kill();
}

#[test]
fn fifty_stuck_clients_take_nothing_from_fifty_healthy_ones() {
    const MESSAGES: usize = 300;
    let server = server::echo(fulmar::Config { shards: 2, ..server::config() });
    let mut stuck: Vec<Client> = (0..50)
        .map(|n| {
            let mut client = Client::small(server.local_addr());
            client.upgrade(if n % 2 == 0 { "/rooms/r" } else { "/echo" }, "");
            client
        })
        .collect();
    let message = frame(true, false, Opcode::Binary, &[7; 64 << 10]);
    for client in stuck.iter_mut().skip(1).step_by(2).take(5) {
        // Stuck in what they say themselves, too.
        while client.push(&message, Duration::from_millis(50)) == message.len() {}
    }
    let healthy: Vec<Socket> = (0..50).map(|_| connect(&server, "/rooms/r")).collect();
    eventually("all are members", || server.stats().memberships == 75);
    let readers: Vec<_> = healthy
        .into_iter()
        .map(|mut socket| {
            std::thread::spawn(move || {
                for n in 0..MESSAGES {
                    let message = socket.read().unwrap().into_text().unwrap();
                    assert!(message.starts_with(&format!("{n} ")), "{n}");
                }
            })
        })
        .collect();
    let room = server.room("r");
    for n in 0..MESSAGES {
        let text = format!("{n} {}", "x".repeat(16 << 10));
        eventually("it is taken", || room.publish("", &text).is_ok());
        // Paced, so that a healthy client on a busy machine is not slow.
        std::thread::park_timeout(Duration::from_millis(5));
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    server.kill();
}
