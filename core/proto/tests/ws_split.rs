//! What is written is read, however it is fragmented, compressed and cut into reads.

use fulmar_proto::ws::deflate::Compressor;
use fulmar_proto::ws::{self, Decoder, Deflate, MessageLimits, Opcode, Role, Scratch};
use proptest::prelude::*;
use ws_support::{Noise, Owned, feed};

mod ws_support;

const FORGETFUL: Deflate = Deflate {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

/// Some messages, as a client's frames.
fn stream(noise: &mut Noise, compressor: &mut Option<Compressor>) -> (Vec<u8>, Vec<Owned>) {
    let (mut wire, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..=noise.below(12) {
        let length = noise.length();
        let message = match noise.below(2) {
            0 => Owned::Text(noise.text(length)),
            _ => Owned::Binary(noise.bytes(length)),
        };
        let (opcode, payload) = match &message {
            Owned::Text(text) => (Opcode::Text, text.as_bytes()),
            Owned::Binary(bytes) => (Opcode::Binary, &bytes[..]),
            other => panic!("not made here: {other:?}"),
        };
        let mut smaller = Vec::new();
        let compressed = noise.below(2) == 0
            && compressor.as_mut().is_some_and(|c| c.compress(payload, &mut smaller));
        let payload = if compressed { &smaller } else { payload };
        write_fragments(opcode, compressed, payload, noise, &mut wire, &mut expected);
        expected.push(message);
    }
    (wire, expected)
}

/// One message in fragments of any lengths, with pings between them.
fn write_fragments(
    opcode: Opcode,
    compressed: bool,
    payload: &[u8],
    noise: &mut Noise,
    wire: &mut Vec<u8>,
    expected: &mut Vec<Owned>,
) {
    let (mut opcode, mut rsv1, mut rest) = (opcode, compressed, payload);
    while noise.below(3) == 0 {
        let (part, later) = rest.split_at(noise.below(rest.len() + 1));
        ws::write_masked_frame(wire, false, rsv1, opcode, part, noise.key());
        (opcode, rsv1, rest) = (Opcode::Continuation, false, later);
        if noise.below(3) == 0 {
            let ping = noise.bytes(5);
            ws::write_masked_frame(wire, true, false, Opcode::Ping, &ping, noise.key());
            expected.push(Owned::Ping(ping));
        }
    }
    ws::write_masked_frame(wire, true, rsv1, opcode, rest, noise.key());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere_the_messages_are_the_same(
        seed in any::<u64>(),
        pieces in prop::collection::vec(1_usize..400, 1..50),
        choice in 0_usize..3,
    ) {
        let keeping = Deflate { client_no_context_takeover: false, ..FORGETFUL };
        let deflate = [None, Some(FORGETFUL), Some(keeping)][choice];
        let mut compressor = deflate.map(|deflate| deflate.compressor(Role::Client, 3));
        let (wire, expected) = stream(&mut Noise::new(seed), &mut compressor);
        let mut decoder = Decoder::new(Role::Server, deflate);
        let (mut scratch, mut messages) = (Scratch::default(), Vec::new());
        let (mut rest, mut pieces) = (&wire[..], pieces.iter().cycle());
        while !rest.is_empty() {
            let length = pieces.next().map_or(1, |piece| *piece).min(rest.len());
            let (piece, later) = rest.split_at(length);
            let limits = MessageLimits::default();
            feed(&mut decoder, &mut scratch, &limits, piece, &mut messages).unwrap();
            rest = later;
        }
        prop_assert!(decoder.is_idle());
        prop_assert_eq!(decoder.buffered_bytes(), 0);
        prop_assert_eq!(messages, expected);
    }
}
