//! Fulmar's WebSocket half against tungstenite's: each reads what the other writes, and both take
//! and refuse the same damaged streams.

use std::io::{self, Read, Write};

use fulmar_proto::ProtocolError;
use fulmar_proto::ws::{self, Decoder, MessageLimits, Opcode, Role, Scratch, close};
use tungstenite::protocol::{self, CloseFrame, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message, Utf8Bytes};
use ws_support::{Noise, Owned, feed};

mod ws_support;

const BYTES_MAX: usize = 1 << 20;
const LIMITS: MessageLimits = MessageLimits {
    message_bytes_max: BYTES_MAX,
    frame_bytes_max: BYTES_MAX,
    fragments_max: 1 << 20,
};

/// A stream that reads what it was given, then would block, and keeps what is written.
#[derive(Debug)]
struct Memory {
    incoming: io::Cursor<Vec<u8>>,
    outgoing: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.incoming.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite_socket(role: protocol::Role, incoming: Vec<u8>) -> WebSocket<Memory> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(BYTES_MAX))
        .max_frame_size(Some(BYTES_MAX));
    let memory = Memory { incoming: io::Cursor::new(incoming), outgoing: Vec::new() };
    WebSocket::from_raw_socket(memory, role, Some(config))
}

/// What tungstenite reads, up to and with a close, and the error that ended it.
fn read_all(socket: &mut WebSocket<Memory>) -> (Vec<Owned>, Option<Error>) {
    let mut messages = Vec::new();
    loop {
        let message = match socket.read() {
            Ok(message) => owned(message),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (messages, None);
            }
            Err(error) => return (messages, Some(error)),
        };
        let is_close = matches!(message, Owned::Close(_));
        messages.push(message);
        if is_close {
            return (messages, None);
        }
    }
}

fn owned(message: Message) -> Owned {
    match message {
        Message::Text(text) => Owned::Text(text.as_str().to_owned()),
        Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
        Message::Ping(bytes) => Owned::Ping(bytes.to_vec()),
        Message::Pong(bytes) => Owned::Pong(bytes.to_vec()),
        Message::Close(frame) => {
            Owned::Close(frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())))
        }
        Message::Frame(_) => panic!("a raw frame was read"),
    }
}

/// What our decoder reads of pieces of random lengths, up to and with a close.
fn decode_all(role: Role, wire: &[u8], noise: &mut Noise) -> (Vec<Owned>, Option<ProtocolError>) {
    let (mut decoder, mut scratch) = (Decoder::new(role, None), Scratch::default());
    let (mut messages, mut rest) = (Vec::new(), wire);
    while !rest.is_empty() {
        let length = 1 + noise.below(rest.len());
        let (piece, later) = rest.split_at(length);
        if let Err(error) = feed(&mut decoder, &mut scratch, &LIMITS, piece, &mut messages) {
            return (messages, Some(error));
        }
        rest = later;
    }
    (messages, None)
}

fn random_message(noise: &mut Noise) -> Owned {
    let length = noise.length();
    match noise.below(8) {
        0..=2 => Owned::Text(noise.text(length)),
        3..=5 => Owned::Binary(noise.bytes(length)),
        6 => Owned::Ping(noise.bytes(length.min(125))),
        _ => Owned::Pong(noise.bytes(length.min(125))),
    }
}

fn random_close(noise: &mut Noise) -> Owned {
    let codes = [close::NORMAL, close::GOING_AWAY, close::POLICY, 3000, 4999];
    Owned::Close(Some((codes[noise.below(codes.len())], noise.text(20))))
}

fn theirs(message: &Owned) -> Message {
    match message {
        Owned::Text(text) => Message::text(text.as_str()),
        Owned::Binary(bytes) => Message::binary(bytes.clone()),
        Owned::Ping(bytes) => Message::Ping(bytes.clone().into()),
        Owned::Pong(bytes) => Message::Pong(bytes.clone().into()),
        Owned::Close(frame) => Message::Close(frame.as_ref().map(|(code, reason)| CloseFrame {
            code: (*code).into(),
            reason: Utf8Bytes::from(reason.as_str()),
        })),
    }
}

/// One message as a client's frames, perhaps in fragments.
fn write_fragmented(message: &Owned, noise: &mut Noise, out: &mut Vec<u8>) {
    let (opcode, payload) = parts(message);
    let mut rest = &payload[..];
    let mut opcode_now = opcode;
    while !opcode.is_control() && noise.below(3) == 0 {
        let (part, later) = rest.split_at(noise.below(rest.len() + 1));
        ws::write_masked_frame(out, false, false, opcode_now, part, noise.key());
        (rest, opcode_now) = (later, Opcode::Continuation);
    }
    ws::write_masked_frame(out, true, false, opcode_now, rest, noise.key());
}

fn parts(message: &Owned) -> (Opcode, Vec<u8>) {
    match message {
        Owned::Text(text) => (Opcode::Text, text.as_bytes().to_vec()),
        Owned::Binary(bytes) => (Opcode::Binary, bytes.clone()),
        Owned::Ping(bytes) => (Opcode::Ping, bytes.clone()),
        Owned::Pong(bytes) => (Opcode::Pong, bytes.clone()),
        Owned::Close(None) => (Opcode::Close, Vec::new()),
        Owned::Close(Some((code, reason))) => {
            (Opcode::Close, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
        }
    }
}

#[test]
fn our_decoder_reads_what_their_client_and_server_write() {
    for seed in 0..300 {
        let mut noise = Noise::new(seed);
        for (role, their_role) in
            [(Role::Server, protocol::Role::Client), (Role::Client, protocol::Role::Server)]
        {
            let mut socket = tungstenite_socket(their_role, Vec::new());
            let mut expected: Vec<_> = (0..10).map(|_| random_message(&mut noise)).collect();
            expected.push(random_close(&mut noise));
            for message in &expected {
                socket.send(theirs(message)).unwrap();
            }
            let wire = &socket.get_ref().outgoing;
            assert_eq!(decode_all(role, wire, &mut noise), (expected, None), "seed {seed}");
        }
    }
}

#[test]
fn their_client_reads_what_our_server_writes() {
    for seed in 0..300 {
        let mut noise = Noise::new(seed);
        let mut expected: Vec<_> = (0..10).map(|_| random_message(&mut noise)).collect();
        let mut wire = Vec::new();
        for message in &expected {
            let (opcode, payload) = parts(message);
            ws::write_frame(&mut wire, opcode, &payload);
        }
        ws::write_close(&mut wire, close::GOING_AWAY, "bye");
        expected.push(Owned::Close(Some((close::GOING_AWAY, "bye".to_owned()))));
        let mut socket = tungstenite_socket(protocol::Role::Client, wire);
        let (messages, error) = read_all(&mut socket);
        assert!(error.is_none(), "seed {seed}: {error:?}");
        assert_eq!(messages, expected, "seed {seed}");
    }
}

#[test]
fn both_servers_read_the_same_of_fragmented_streams() {
    for seed in 0..500 {
        let mut noise = Noise::new(seed);
        let mut wire = Vec::new();
        let expected: Vec<_> = (0..10).map(|_| random_message(&mut noise)).collect();
        for message in &expected {
            write_fragmented(message, &mut noise, &mut wire);
        }
        let mut socket = tungstenite_socket(protocol::Role::Server, wire.clone());
        let (messages, error) = read_all(&mut socket);
        assert!(error.is_none(), "seed {seed}: {error:?}");
        assert_eq!(messages, expected, "seed {seed}");
        assert_eq!(decode_all(Role::Server, &wire, &mut noise), (expected, None), "seed {seed}");
    }
}

/// Both must take the same messages and refuse the same faults, but for what is known to differ: we
/// refuse earlier, where a fault shows before the frame is whole, and refuse lengths that are not
/// minimal and close codes that may not travel.
fn compare(wire: &[u8], noise: &mut Noise, seed: u64) {
    let (ours, refusal) = decode_all(Role::Server, wire, noise);
    let mut socket = tungstenite_socket(protocol::Role::Server, wire.to_vec());
    let (theirs, error) = read_all(&mut socket);
    match (refusal, error) {
        (None, None) => assert_eq!(ours, theirs, "seed {seed}"),
        (Some(ProtocolError::LengthNotMinimal | ProtocolError::InvalidCloseCode), _)
        | (Some(_), None) => assert!(theirs.starts_with(&ours), "seed {seed}"),
        (Some(refusal), Some(error)) => {
            assert_eq!(ours, theirs, "seed {seed}");
            // A frame can be at fault in two ways; being too long is the last that we look for.
            if refusal.close_code() == close::TOO_BIG {
                assert!(matches!(error, Error::Capacity(_)), "seed {seed}: {error:?}");
            }
        }
        (None, Some(error)) => panic!("seed {seed}: only tungstenite refuses: {error:?}"),
    }
}

#[test]
fn both_servers_judge_damaged_streams_alike() {
    for seed in 0..20_000 {
        let mut noise = Noise::new(seed);
        let mut wire = Vec::new();
        for _ in 0..1 + noise.below(4) {
            let message = match noise.below(10) {
                0 => random_close(&mut noise),
                1 | 2 => Owned::Binary(noise.bytes(130)),
                _ => Owned::Text(noise.text(6)),
            };
            write_fragmented(&message, &mut noise, &mut wire);
        }
        for _ in 0..noise.below(4) {
            let place = noise.below(wire.len().min(200));
            wire[place] ^= 1 << noise.below(8);
        }
        compare(&wire, &mut noise, seed);
    }
}

#[test]
fn both_servers_judge_noise_alike() {
    for seed in 0..20_000 {
        let mut noise = Noise::new(seed);
        let length = noise.below(60);
        let mut wire = noise.bytes(length);
        // Enough sense at the start to reach beyond the first byte.
        if let [first, second, ..] = &mut wire[..] {
            *first &= 0x8b;
            *second |= 0x80;
        }
        compare(&wire, &mut noise, seed);
    }
}
