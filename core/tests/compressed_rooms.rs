//! A room whose members negotiated compression differently hears the same.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fulmar::text::{RoomOptions, Text};
use fulmar::{Config, DeflateOptions, Endpoint, Server};
use fulmar_proto::http::{parse_response, write_upgrade_request};
use fulmar_proto::ws::deflate::accept_response;
use fulmar_proto::ws::{
    Decoder, Incoming, MessageLimits, Opcode, Role, Scratch, write_masked_frame,
};

struct Member {
    stream: TcpStream,
    decoder: Decoder,
    /// First bytes of the frames received.
    heads: Vec<u8>,
    rest: Vec<u8>,
}

impl Member {
    fn join(address: SocketAddr, offer: Option<&str>, options: &DeflateOptions) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut request = Vec::new();
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        write_upgrade_request(&mut request, "x", "/r/tea", key, None, offer);
        stream.write_all(&request).unwrap();
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let n = stream.read(&mut buffer).unwrap();
            head.extend_from_slice(&buffer[..n]);
            if let Some((response, consumed)) = parse_response(&head).unwrap() {
                assert_eq!(response.status, 101);
                let agreed = response.header("sec-websocket-extensions");
                let deflate = agreed.map(|agreed| accept_response(agreed, options).unwrap());
                let decoder = Decoder::new(Role::Client, deflate);
                let rest = head.split_off(consumed);
                return Self { stream, decoder, heads: Vec::new(), rest };
            }
        }
    }

    fn say(&mut self, text: &str) {
        let mut frame = Vec::new();
        write_masked_frame(&mut frame, true, false, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        self.stream.write_all(&frame).unwrap();
    }

    fn hear(&mut self) -> String {
        let (mut scratch, limits) = (Scratch::default(), MessageLimits::default());
        let mut buffer = [0; 8192];
        loop {
            if self.rest.is_empty() {
                let n = self.stream.read(&mut buffer).unwrap();
                assert!(n > 0, "ended");
                self.rest.extend_from_slice(&buffer[..n]);
            }
            let mut bytes = std::mem::take(&mut self.rest);
            self.heads.push(bytes[0]);
            let mut input = &mut bytes[..];
            let text = match self.decoder.next(&mut input, &mut scratch, &limits).unwrap() {
                Some(Incoming::Text(text)) => Some(text.to_owned()),
                Some(_) | None => None,
            };
            self.rest = input.to_vec();
            if let Some(text) = text {
                return text;
            }
        }
    }
}

#[test]
fn members_with_and_without_compression_hear_the_same() {
    let options = DeflateOptions {
        server_context_takeover: true,
        client_context_takeover: true,
        min_bytes: 64,
        ..DeflateOptions::default()
    };
    let config = Config { shards: 1, workers: 1, deflate: Some(options), ..Config::default() };
    let room = RoomOptions { echo_to_self: true, ..RoomOptions::default() };
    let server = Server::new(())
        .config(config)
        .mount(Endpoint::new("/r/:room").speaks(Text::room(room)))
        .start("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr();
    let mut plain = Member::join(address, None, &options);
    let shared = "permessage-deflate; server_no_context_takeover";
    let mut shared = Member::join(address, Some(shared), &options);
    let mut own = Member::join(address, Some("permessage-deflate"), &options);
    let narrow = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10";
    let mut narrow = Member::join(address, Some(narrow), &options);
    for round in 0..5 {
        let text = format!("round {round}: {}", "the same words again and again ".repeat(30));
        plain.say(&text);
        for member in [&mut plain, &mut shared, &mut own, &mut narrow] {
            assert_eq!(member.hear(), text);
        }
    }
    plain.say("short");
    for member in [&mut plain, &mut shared, &mut own, &mut narrow] {
        assert_eq!(member.hear(), "short");
    }
    assert!(plain.heads.iter().all(|head| *head == 0x81), "{:?}", plain.heads);
    assert_eq!(shared.heads[..5], [0xc1; 5], "compressed once, for all who can take it");
    assert_eq!(shared.heads[5], 0x81, "too short to be worth it");
    drop((plain, shared, own, narrow));
    server.stop();
}
