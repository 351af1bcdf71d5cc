//! One test per mistake that was made once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fulmar::text::{RoomOptions, Text};
use fulmar::{CallError, Config, Connection, DeflateOptions, Endpoint, Result, Server};
use tungstenite::Message;

const REQUEST: &[u8] = b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Deadlines were counted from before the poll slept, so that the first connection after a quiet
/// time had no time left for its request.
#[test]
fn a_connection_after_a_quiet_time_has_its_whole_handshake_timeout() {
    let mut config = Config { shards: 1, workers: 1, ..Config::default() };
    config.timeouts.handshake = Duration::from_millis(150);
    let server = Server::new(())
        .config(config)
        .mount(Endpoint::new("/echo").speaks(Text::echo()))
        .start("127.0.0.1:0")
        .unwrap();
    // Nothing to wait for but time itself.
    std::thread::park_timeout(Duration::from_millis(400));
    let mut client = TcpStream::connect(server.local_addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.write_all(REQUEST).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    drop(client);
    server.stop();
}

/// The limit of a message after inflation was also that of a frame before it, so that a message of
/// noise just below the limit closed the connection.
#[test]
fn a_message_within_the_limit_may_be_longer_deflated() {
    const LENGTH: u16 = 1000;
    let mut config = Config { shards: 1, workers: 1, ..Config::default() };
    config.limits.message_bytes_max = usize::from(LENGTH);
    config.deflate = Some(DeflateOptions::default());
    let server = Server::new(())
        .config(config)
        .mount(Endpoint::new("/echo").speaks(Text::echo()))
        .start("127.0.0.1:0")
        .unwrap();
    let mut client = TcpStream::connect(server.local_addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (before_end, _) = REQUEST.split_at(REQUEST.len() - 2);
    client.write_all(before_end).unwrap();
    client.write_all(b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n").unwrap();
    // A stored block of the whole message, then what is left of an empty one (RFC 7692, 7.2.1).
    let mut payload = vec![0];
    payload.extend_from_slice(&LENGTH.to_le_bytes());
    payload.extend_from_slice(&(!LENGTH).to_le_bytes());
    payload.resize(payload.len() + usize::from(LENGTH), b'x');
    payload.push(0);
    let mut frame = vec![0xc2, 0x80 | 126];
    frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&payload);
    client.write_all(&frame).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    let mut head = [0; 2];
    client.read_exact(&mut head).unwrap();
    assert_eq!(head[0] & 0x0f, 2, "the echo, no close");
    drop(client);
    server.stop();
}

/// A client was in its room, and what it said reached the others, while the hook that refused it
/// was still running.
#[test]
fn a_client_that_is_refused_was_never_in_its_room() {
    #[expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]
    fn admit(peer: Connection) -> Result<()> {
        match peer.query_parameter("name").as_deref() {
            Some("good") => Ok(()),
            _ => Err(CallError::with_code(403, "who are you")),
        }
    }
    let room = Text::room(RoomOptions { echo_to_self: true, ..RoomOptions::default() });
    let server = Server::new(())
        .config(Config { shards: 1, workers: 1, ..Config::default() })
        .mount(Endpoint::new("/r/:room").speaks(room).on_connect(admit))
        .start("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr();
    let connect = |name| {
        let (client, _) =
            tungstenite::connect(format!("ws://{address}/r/tea?name={name}")).unwrap();
        client
    };
    let mut good = connect("good");
    good.send(Message::text("first")).unwrap();
    assert_eq!(good.read().unwrap(), Message::text("first"));
    let mut bad = connect("bad");
    bad.send(Message::text("let me in")).unwrap();
    let Message::Close(Some(frame)) = bad.read().unwrap() else { panic!("it heard something") };
    assert_eq!((u16::from(frame.code), &*frame.reason), (1008, "who are you"));
    good.send(Message::text("second")).unwrap();
    assert_eq!(good.read().unwrap(), Message::text("second"), "nothing of the other came between");
    drop((good, bad));
    server.stop();
}
