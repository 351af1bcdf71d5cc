//! Properties of the decoder and of compression, as functions of arbitrary bytes: for a fuzzer, and
//! for tests that feed them seeded noise. Each panics where its property does not hold.

use super::deflate::{self, Compressor};
use super::{Decoder, Deflate, DeflateOptions, Incoming, MessageLimits, Role, Scratch};
use crate::ProtocolError;

/// Small, so that a fuzzer reaches them.
const LIMITS: MessageLimits =
    MessageLimits { message_bytes_max: 4096, frame_bytes_max: 2048, fragments_max: 16 };

/// Frames cut anywhere give the same messages and the same end as in one piece; no message is over
/// the limit; nothing is held beyond twice the limit, nor after the end.
///
/// The first byte chooses the role and the compression, the second the cuts; the rest is the input.
pub fn fuzz_ws_decoder(data: &[u8]) {
    let [choice, cut, input @ ..] = data else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let deflate = (choice & 2 != 0).then_some(Deflate {
        client_no_context_takeover: choice & 4 != 0,
        server_no_context_takeover: choice & 4 != 0,
        ..Deflate::default()
    });
    let whole = decode(Decoder::new(role, deflate), input, input.len().max(1));
    let pieces = decode(Decoder::new(role, deflate), input, usize::from(*cut).max(1));
    assert_eq!(whole, pieces);
}

/// Compressed messages inflate to what they were, with and without context takeover; noise never
/// inflates beyond the limit; no header makes the negotiation panic, and what it agrees on is its
/// own answer.
pub fn fuzz_deflate(data: &[u8]) {
    for takeover in [false, true] {
        let parameters = Deflate {
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            ..Deflate::default()
        };
        round_trip(data, parameters);
        let mut noise = Vec::new();
        noise.extend_from_slice(&super::head(true, true, super::Opcode::Binary, data.len()));
        noise.extend_from_slice(data);
        decode(Decoder::new(Role::Client, Some(parameters)), &noise, noise.len());
        let Ok(header) = str::from_utf8(data) else { continue };
        let options = DeflateOptions {
            client_context_takeover: takeover,
            server_context_takeover: takeover,
            ..DeflateOptions::default()
        };
        for header in [header, &format!("permessage-deflate; {header}")] {
            if let Some((agreed, answer)) = deflate::negotiate(header, &options) {
                assert!((9..=15).contains(&agreed.server_max_window_bits));
                assert!((8..=15).contains(&agreed.client_max_window_bits));
                assert!(deflate::negotiate(&answer, &options).is_some());
            }
            let _never_panics = deflate::accept_response(header, &options);
        }
    }
}

fn round_trip(data: &[u8], parameters: Deflate) {
    let mut compressor: Compressor = parameters.compressor(Role::Server, 3);
    let mut frames = Vec::new();
    let limit = data.len().min(LIMITS.message_bytes_max);
    let parts = [&data[..limit], &[], &data[..limit / 2], &data[..limit]];
    for part in parts {
        let mut compressed = Vec::new();
        if !compressor.compress(part, &mut compressed) {
            return;
        }
        let head = super::head(true, true, super::Opcode::Binary, compressed.len());
        frames.extend_from_slice(&head);
        frames.extend_from_slice(&compressed);
    }
    let limits = MessageLimits { frame_bytes_max: usize::MAX, ..LIMITS };
    let mut decoder = Decoder::new(Role::Client, Some(parameters));
    let (mut scratch, mut input) = (Scratch::default(), frames.as_mut_slice());
    for part in parts {
        assert_eq!(
            decoder.next(&mut input, &mut scratch, &limits),
            Ok(Some(Incoming::Binary(part)))
        );
    }
    assert_eq!(decoder.next(&mut input, &mut scratch, &limits), Ok(None));
}

/// All that comes of an input in pieces of a length, and the error at its end.
fn decode(
    mut decoder: Decoder,
    input: &[u8],
    piece_bytes: usize,
) -> (Vec<(u8, Vec<u8>)>, Option<ProtocolError>) {
    let (mut scratch, mut messages) = (Scratch::default(), Vec::new());
    for piece in input.chunks(piece_bytes) {
        let mut piece = piece.to_vec();
        let mut rest = piece.as_mut_slice();
        loop {
            match decoder.next(&mut rest, &mut scratch, &LIMITS) {
                Ok(Some(message)) => messages.push(flatten(message)),
                Ok(None) => break,
                Err(error) => {
                    assert!(decoder.is_idle() && decoder.is_finished());
                    return (messages, Some(error));
                }
            }
        }
        assert!(rest.is_empty(), "what is not remembered would be lost");
        assert!(decoder.buffered_bytes() <= 4 * LIMITS.message_bytes_max);
    }
    (messages, None)
}

fn flatten(message: Incoming<'_>) -> (u8, Vec<u8>) {
    let (kind, payload) = match message {
        Incoming::Text(text) => (1, text.as_bytes().to_vec()),
        Incoming::Binary(bytes) => (2, bytes.to_vec()),
        Incoming::Ping(bytes) => (9, bytes.to_vec()),
        Incoming::Pong(bytes) => (10, bytes.to_vec()),
        Incoming::Close(None) => (8, Vec::new()),
        Incoming::Close(Some(frame)) => {
            let mut payload = frame.code.to_be_bytes().to_vec();
            payload.extend_from_slice(frame.reason.as_bytes());
            (8, payload)
        }
    };
    assert!(payload.len() <= LIMITS.message_bytes_max);
    (kind, payload)
}
