//! A protocol of an embedder's own, whose members get each message in an envelope: the payload is
//! encoded once, the head and the tail are each membership's.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use fulmar::dialect::publication::{Encoded, Said};
use fulmar::dialect::{
    Ask, CallId, Delivery, Dialect, Effect, Envelope, Host, Message, OpenRequest, Part, Payload,
    Reply, Session, Tag,
};
use fulmar::{Config, Endpoint, Server};

/// `join N` makes a membership number N of the room; everything else is published to it.
#[derive(Debug)]
struct Numbered;

struct NumberedSession {
    delivered: u32,
}

impl Dialect for Numbered {
    fn name(&self) -> &'static str {
        "numbered"
    }

    fn open(&self, _: &OpenRequest<'_>) -> Box<dyn Session> {
        Box::new(NumberedSession { delivered: 0 })
    }

    fn encode(&self, said: &Said<'_>, out: &mut Vec<u8>) -> Encoded {
        let start = out.len();
        out.extend_from_slice(b"event=");
        let begin = out.len() - start;
        let encoded = Encoded::plain(said.payload, out);
        Encoded { data: begin..begin + encoded.data.len(), ..encoded }
    }
}

impl Session for NumberedSession {
    fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host) {
        let Message::Text(text) = message else { return };
        match text.split_once(' ') {
            Some(("join", number)) => {
                let part = if number == "7" { Part::Whole } else { Part::Data };
                let tag = Tag(number.parse().unwrap());
                host.effect(Effect::Join { room: "r", tag, delivery: Delivery::Enveloped(part) });
                host.send("joined");
            }
            Some(("delivered", _)) => host.send(&self.delivered.to_string()),
            _ => host.effect(Effect::Publish {
                room: "r",
                event: "",
                payload: Payload::Text(text.into()),
                exclude_self: false,
            }),
        }
    }

    fn on_reply(&mut self, _: CallId, _: Reply<'_>, _: &mut dyn Host) {}

    fn on_ask(&mut self, ask: Ask, host: &mut dyn Host) {
        host.refuse(ask, "no words for this");
    }

    fn on_delivered(&mut self, _: Tag, frames: u32, _: &mut dyn Host) {
        self.delivered += frames;
    }

    fn envelope(&self, tag: Tag, body_len: usize, around: &mut Envelope) {
        around.head.extend_from_slice(format!("<{} {body_len}:", tag.0).as_bytes());
        around.tail.push(b'>');
    }
}

#[test]
fn each_membership_gets_its_own_envelope_around_the_shared_body() {
    let server = Server::new(())
        .config(Config { shards: 1, workers: 1, ..Config::default() })
        .mount(Endpoint::new("/n").speaks(Numbered))
        .start("127.0.0.1:0")
        .unwrap();
    let (mut client, _) = tungstenite::connect(format!("ws://{}/n", server.local_addr())).unwrap();
    let mut say = |text: &str| client.send(tungstenite::Message::text(text)).unwrap();
    ["join 7", "join 8", "hello", "delivered ?"].into_iter().for_each(&mut say);
    let mut heard: Vec<String> =
        (0..5).map(|_| client.read().unwrap().into_text().unwrap().to_string()).collect();
    let counted = heard.iter().position(|text| text == "2" || text == "0" || text == "1");
    heard.remove(counted.unwrap());
    heard[2..].sort_unstable();
    assert_eq!(heard, ["joined", "joined", "<7 11:event=hello>", "<8 5:hello>"]);
    // By now the session has been told how many went out.
    client.send(tungstenite::Message::text("delivered ?")).unwrap();
    assert_eq!(client.read().unwrap(), tungstenite::Message::text("2"));
    drop(client);
    server.stop();
}
