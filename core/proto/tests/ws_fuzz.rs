//! The fuzzed properties of the WebSocket half over seeded inputs, as an ordinary test.

use fulmar_proto::fuzzing;
use fulmar_proto::ws::{self, Opcode};
use ws_support::Noise;

mod ws_support;

/// Frames with some sense in them, so that the fuzzed code is reached, and a few flipped bits.
fn frames(noise: &mut Noise) -> Vec<u8> {
    let mut input = noise.bytes(2);
    let opcodes = [Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Ping, Opcode::Close];
    for _ in 0..noise.below(8) {
        let opcode = opcodes[noise.below(opcodes.len())];
        let length = if noise.below(4) == 0 { noise.below(1500) } else { noise.below(20) };
        let payload = match noise.below(3) {
            0 => noise.bytes(length),
            _ => noise.text(length / 2).into_bytes(),
        };
        let (fin, rsv1) = (noise.below(3) != 0, noise.below(8) == 0);
        if input[0] & 1 == 0 {
            ws::write_masked_frame(&mut input, fin, rsv1, opcode, &payload, noise.key());
        } else {
            input.extend_from_slice(&ws::head(fin, rsv1, opcode, payload.len()));
            input.extend_from_slice(&payload);
        }
    }
    for _ in 0..noise.below(3) {
        let place = noise.below(input.len());
        input[place] ^= 1 << noise.below(8);
    }
    input
}

#[test]
fn the_decoder_keeps_its_properties() {
    for seed in 0..20_000 {
        let mut noise = Noise::new(seed);
        fuzzing::fuzz_ws_decoder(&frames(&mut noise));
        let length = noise.below(80);
        fuzzing::fuzz_ws_decoder(&noise.bytes(length));
    }
}

#[test]
fn compression_keeps_its_properties() {
    let words = [
        "permessage-deflate",
        "server_max_window_bits",
        "client_max_window_bits",
        "=",
        ";",
        ",",
        "\"",
        " ",
        "8",
        "9",
        "10",
        "15",
        "16",
        "server_no_context_takeover",
        "client_no_context_takeover",
    ];
    for seed in 0..500 {
        let mut noise = Noise::new(seed);
        let length = noise.below(2000);
        fuzzing::fuzz_deflate(&noise.bytes(length));
        fuzzing::fuzz_deflate(noise.text(length).as_bytes());
        let header: String =
            (0..noise.below(12)).map(|_| words[noise.below(words.len())]).collect();
        fuzzing::fuzz_deflate(header.as_bytes());
    }
}
