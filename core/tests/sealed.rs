//! A protocol of an embedder's own that seals everything a connection is sent, from a moment on:
//! replies, rooms, in order, and never a plain message after it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::sync::Arc;

use fulmar::dialect::publication::{Encoded, Said};
use fulmar::dialect::{
    Ask, CallId, Delivery, Dialect, Effect, Host, Message, OpenRequest, Payload, Reply, Seal,
    Session, Tag,
};
use fulmar::output::{Output, OutputSettings, Profile, ProfileId, Refused};
use fulmar::{Config, Endpoint, Server};
use fulmar_driver::SocketId;

#[derive(Debug)]
struct Secret;

struct SecretSession;

/// Turns a message around; stands for encryption.
#[derive(Debug)]
struct Reversed;

impl Seal for Reversed {
    fn seal(&self, message: &[u8], random: &mut dyn FnMut(&mut [u8]), out: &mut Vec<u8>) -> bool {
        let mut nonce = [0; 8];
        random(&mut nonce);
        assert_ne!(nonce, [0; 8], "random bytes for whoever needs them");
        out.push(b'~');
        out.extend(message.iter().rev());
        true
    }
}

impl Dialect for Secret {
    fn name(&self) -> &'static str {
        "secret"
    }

    fn open(&self, _: &OpenRequest<'_>) -> Box<dyn Session> {
        Box::new(SecretSession)
    }

    fn encode(&self, said: &Said<'_>, out: &mut Vec<u8>) -> Encoded {
        Encoded::plain(said.payload, out)
    }
}

impl Session for SecretSession {
    fn on_open(&mut self, host: &mut dyn Host) {
        host.effect(Effect::Join { room: "r", tag: Tag(0), delivery: Delivery::Shared });
        host.send("connected");
        host.effect(Effect::Seal { seal: Arc::new(Reversed) });
    }

    fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host) {
        let Message::Text(text) = message else { return };
        match text.strip_prefix("say ") {
            Some(text) => host.effect(Effect::Publish {
                room: "r",
                event: "",
                payload: Payload::Text(text.into()),
                exclude_self: false,
            }),
            None => host.send(text),
        }
    }

    fn on_reply(&mut self, _: CallId, _: Reply<'_>, _: &mut dyn Host) {}

    fn on_ask(&mut self, ask: Ask, host: &mut dyn Host) {
        host.refuse(ask, "no words for this");
    }
}

#[test]
fn after_the_seal_every_message_is_sealed_and_in_order() {
    let server = Server::new(())
        .config(Config { shards: 1, workers: 2, ..Config::default() })
        .mount(Endpoint::new("/s").speaks(Secret))
        .start("127.0.0.1:0")
        .unwrap();
    let url = format!("ws://{}/s", server.local_addr());
    let (mut client, _) = tungstenite::connect(&url).unwrap();
    let (mut other, _) = tungstenite::connect(&url).unwrap();
    let hear = |client: &mut tungstenite::WebSocket<_>| -> String {
        client.read().unwrap().into_text().unwrap().to_string()
    };
    assert_eq!(hear(&mut client), "connected");
    assert_eq!(hear(&mut other), "connected");
    let sealed = |text: &str| format!("~{}", text.chars().rev().collect::<String>());
    for round in 0..50 {
        client.send(tungstenite::Message::text(format!("reply {round}"))).unwrap();
        client.send(tungstenite::Message::text(format!("say room {round}"))).unwrap();
    }
    let heard: Vec<String> = (0..100).map(|_| hear(&mut client)).collect();
    for kind in ["reply", "room"] {
        let expected: Vec<String> = (0..50).map(|n| sealed(&format!("{kind} {n}"))).collect();
        let got: Vec<String> =
            heard.iter().filter(|text| expected.contains(text)).cloned().collect();
        assert_eq!(got, expected, "{kind}s in order, each once, none plain");
    }
    let of_room: Vec<String> = (0..50).map(|_| hear(&mut other)).collect();
    assert_eq!(of_room, (0..50).map(|n| sealed(&format!("room {n}"))).collect::<Vec<_>>());
    drop((client, other));
    server.stop();
}

/// What waits for its seal is as much a backlog as what waits for the socket.
#[test]
fn what_is_being_sealed_counts_against_the_connections_limit() {
    let profile = Profile { backlog_bytes_max: 1000, ..Profile::default() };
    let mut output = Output::new(OutputSettings { profile, ..OutputSettings::default() });
    let socket = SocketId { index: 0, generation: 1 };
    output.open(socket, ProfileId::default());
    output.set_sealed(socket);
    let taken = (0..100).take_while(|_| output.reserve(socket, 500).is_ok()).count();
    assert!((7..10).contains(&taken), "{taken} messages of 500 bytes");
    assert_eq!(output.reserve(socket, 500), Err(Refused::Gone));
    assert_eq!(output.counts().closed_slow, 1);
}
