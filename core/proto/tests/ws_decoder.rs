//! The decoder, through its public face.

use fulmar_proto::ProtocolError;
use fulmar_proto::ws::{
    self, Decoder, Deflate, Incoming, MessageLimits, Opcode, Role, Scratch, close,
};
use ws_support::{Owned, feed};

mod ws_support;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ws::write_masked_frame(&mut out, fin, false, opcode, payload, KEY);
    out
}

/// All messages of an input in pieces, and the error that ended it.
fn decode_with(
    mut decoder: Decoder,
    limits: &MessageLimits,
    input: &[u8],
    piece_bytes: usize,
) -> (Vec<Owned>, Option<ProtocolError>) {
    let (mut scratch, mut messages) = (Scratch::default(), Vec::new());
    for piece in input.chunks(piece_bytes) {
        if let Err(error) = feed(&mut decoder, &mut scratch, limits, piece, &mut messages) {
            assert!(decoder.is_idle() && decoder.is_finished());
            let late = frame(true, Opcode::Text, b"nothing after an error counts");
            assert_eq!(feed(&mut decoder, &mut scratch, limits, &late, &mut Vec::new()), Ok(()));
            return (messages, Some(error));
        }
    }
    (messages, None)
}

/// The same in one piece and byte by byte, which must agree.
fn decode(limits: &MessageLimits, input: &[u8]) -> (Vec<Owned>, Option<ProtocolError>) {
    let server = || Decoder::new(Role::Server, None);
    let whole = decode_with(server(), limits, input, input.len().max(1));
    assert_eq!(whole, decode_with(server(), limits, input, 1));
    whole
}

fn refusal(limits: &MessageLimits, input: &[u8]) -> ProtocolError {
    decode(limits, input).1.expect("a refusal")
}

#[test]
fn a_message_wholly_in_the_input_is_lent_out_of_it() {
    for length in [5, 125, 126, 70_000] {
        let mut bytes = frame(true, Opcode::Binary, &vec![7; length]);
        let range = bytes.as_ptr_range();
        let (mut decoder, mut scratch) = (Decoder::new(Role::Server, None), Scratch::default());
        let mut input = bytes.as_mut_slice();
        let message = decoder.next(&mut input, &mut scratch, &MessageLimits::default());
        let Ok(Some(Incoming::Binary(payload))) = message else { panic!("{message:?}") };
        assert_eq!(payload, vec![7; length]);
        assert!(range.contains(&payload.as_ptr()));
        assert!(decoder.is_idle());
        assert_eq!(decoder.buffered_bytes(), 0);
    }
}

#[test]
fn fragments_are_joined_and_control_frames_between_them_are_served() {
    let (start, end) = "café!".as_bytes().split_at(4);
    let input = [
        frame(false, Opcode::Text, start),
        frame(true, Opcode::Ping, b"?"),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Pong, b""),
        frame(true, Opcode::Continuation, end),
        frame(true, Opcode::Text, b""),
    ]
    .concat();
    let expected = vec![
        Owned::Ping(b"?".to_vec()),
        Owned::Pong(Vec::new()),
        Owned::Text("café!".to_owned()),
        Owned::Text(String::new()),
    ];
    assert_eq!(decode(&MessageLimits::default(), &input), (expected, None));
}

#[test]
fn after_a_close_everything_is_swallowed() {
    let mut input = frame(false, Opcode::Text, b"never ended");
    input.extend(frame(true, Opcode::Close, b"\x03\xe8bye"));
    input.extend(frame(true, Opcode::Text, b"too late"));
    input.extend([0xff; 20]);
    let closed = vec![Owned::Close(Some((close::NORMAL, "bye".to_owned())))];
    assert_eq!(decode(&MessageLimits::default(), &input), (closed, None));
    let empty = frame(true, Opcode::Close, b"");
    assert_eq!(decode(&MessageLimits::default(), &empty), (vec![Owned::Close(None)], None));
}

#[test]
fn frames_out_of_order_are_refused() {
    let limits = MessageLimits::default();
    let stray = frame(true, Opcode::Continuation, b"x");
    assert_eq!(refusal(&limits, &stray), ProtocolError::UnexpectedContinuation);
    let after_a_whole_one = [frame(true, Opcode::Text, b"a"), stray].concat();
    assert_eq!(refusal(&limits, &after_a_whole_one), ProtocolError::UnexpectedContinuation);
    let nested = [frame(false, Opcode::Text, b"a"), frame(true, Opcode::Binary, b"b")].concat();
    assert_eq!(refusal(&limits, &nested), ProtocolError::InterleavedMessage);
}

#[test]
fn a_client_takes_only_plain_frames_and_a_server_only_masked_ones() {
    let limits = MessageLimits::default();
    let mut plain = Vec::new();
    ws::write_frame(&mut plain, Opcode::Text, b"plain");
    assert_eq!(refusal(&limits, &plain), ProtocolError::UnmaskedFrame);
    let client = || Decoder::new(Role::Client, None);
    let read = vec![Owned::Text("plain".to_owned())];
    assert_eq!(decode_with(client(), &limits, &plain, 3), (read, None));
    let masked = frame(true, Opcode::Text, b"masked");
    let (_, error) = decode_with(client(), &limits, &masked, 100);
    assert_eq!(error, Some(ProtocolError::MaskedFrame));
}

#[test]
fn faulty_heads_and_closes_are_refused() {
    let limits = MessageLimits::default();
    assert_eq!(refusal(&limits, &[0xc1, 0x80]), ProtocolError::ReservedBits);
    let short = frame(true, Opcode::Close, b"\x03");
    assert_eq!(refusal(&limits, &short), ProtocolError::CloseTruncated);
    let unsent = frame(true, Opcode::Close, b"\x03\xee");
    assert_eq!(refusal(&limits, &unsent), ProtocolError::InvalidCloseCode);
    let compressing = Decoder::new(Role::Server, Some(Deflate::default()));
    let (_, error) = decode_with(compressing, &limits, &[0xc9, 0x80], 2);
    assert_eq!(error, Some(ProtocolError::ReservedBits));
}

#[test]
fn text_is_refused_as_soon_as_it_cannot_become_utf8() {
    let limits = MessageLimits::default();
    let refused = |input: &[u8]| assert_eq!(refusal(&limits, input), ProtocolError::InvalidUtf8);
    refused(&frame(true, Opcode::Text, b"\xff"));
    // A character cut off by the end of the message.
    refused(&frame(true, Opcode::Text, &[&[b'x'; 200], &b"\xc3"[..]].concat()));
    let cut = [frame(false, Opcode::Text, b"\xc3"), frame(true, Opcode::Continuation, b"")];
    refused(&cut.concat());
    // In the middle of a frame of which most is still to come.
    refused(&frame(true, Opcode::Text, &[&b"ab\xf4\x90"[..], &[b'x'; 500]].concat())[..12]);
    refused(&frame(false, Opcode::Text, b"\xed\xa0\x80"));
    // In a fragment that continues a character of the one before.
    let start = frame(false, Opcode::Text, b"\xce\xba\xf4");
    assert_eq!(decode(&limits, &start), (Vec::new(), None));
    refused(&[start, frame(false, Opcode::Continuation, b"\x90")].concat());
}

#[test]
fn closes_with_1009_when_a_message_is_too_long() {
    let limits = MessageLimits { message_bytes_max: 100, frame_bytes_max: 60, fragments_max: 3 };
    let start = frame(false, Opcode::Binary, &[1; 60]);
    let fits = [start.clone(), frame(true, Opcode::Continuation, &[1; 40])].concat();
    assert_eq!(decode(&limits, &fits).1, None);
    // The head alone is enough, and no length is too long for it.
    let over = [start.clone(), frame(true, Opcode::Continuation, &[1; 41])[..6].to_vec()].concat();
    assert_eq!(refusal(&limits, &over), ProtocolError::MessageTooBig);
    let over = &frame(true, Opcode::Text, &[1; 61])[..6];
    assert_eq!(refusal(&limits, over), ProtocolError::FrameTooBig);
    let mut huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let error = refusal(&limits, &huge);
    assert_eq!((error, error.close_code()), (ProtocolError::MessageTooBig, close::TOO_BIG));
    huge[0] = 0x80;
    assert_eq!(refusal(&limits, &[&start[..], &huge].concat()), ProtocolError::MessageTooBig);
}

#[test]
fn empty_fragments_count_against_their_limit() {
    let limits = MessageLimits { fragments_max: 3, ..MessageLimits::default() };
    let mut input = frame(false, Opcode::Text, b"");
    input.extend(frame(false, Opcode::Continuation, b""));
    let fits = [input.clone(), frame(true, Opcode::Continuation, b"end")].concat();
    assert_eq!(decode(&limits, &fits).0, vec![Owned::Text("end".to_owned())]);
    input.extend(frame(false, Opcode::Continuation, b""));
    input.extend(frame(true, Opcode::Continuation, b""));
    assert_eq!(refusal(&limits, &input), ProtocolError::TooManyFragments);
}

#[test]
fn an_announced_length_reserves_nothing() {
    let limits = MessageLimits::default();
    let (mut decoder, mut scratch) = (Decoder::new(Role::Server, None), Scratch::default());
    let announced = frame(true, Opcode::Binary, &vec![1; 10 << 20]);
    let mut messages = Vec::new();
    for piece in announced[..20_000].chunks(1000) {
        feed(&mut decoder, &mut scratch, &limits, piece, &mut messages).unwrap();
    }
    assert!(!decoder.is_idle());
    assert!(decoder.buffered_bytes() < 50_000, "{}", decoder.buffered_bytes());
    feed(&mut decoder, &mut scratch, &limits, &announced[20_000..], &mut messages).unwrap();
    assert!(decoder.is_idle() && messages.len() == 1);
    assert_eq!(decoder.buffered_bytes(), 0);
}

#[cfg(feature = "deflate")]
mod compressed {
    use super::*;
    use fulmar_proto::ws::deflate::Compressor;

    const FORGETFUL: Deflate = Deflate {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };

    /// A compressed text in fragments.
    fn frames(compressor: &mut Compressor, payload: &[u8], fragments: usize) -> Vec<Vec<u8>> {
        let mut smaller = Vec::new();
        assert!(compressor.compress(payload, &mut smaller));
        let parts: Vec<_> = smaller.chunks(smaller.len().div_ceil(fragments)).collect();
        let write = |(index, part): (usize, &&[u8])| {
            let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
            let fin = index + 1 == parts.len();
            let mut out = Vec::new();
            ws::write_masked_frame(&mut out, fin, index == 0, opcode, part, KEY);
            out
        };
        parts.iter().enumerate().map(write).collect()
    }

    #[test]
    fn messages_are_inflated_within_the_limit() {
        let limits = MessageLimits { message_bytes_max: 1000, ..MessageLimits::default() };
        for takeover in [false, true] {
            let deflate = Deflate { client_no_context_takeover: !takeover, ..FORGETFUL };
            let mut compressor = deflate.compressor(Role::Client, 6);
            let text = "repeated ".repeat(100);
            let mut input = Vec::new();
            for fragments in 1..4 {
                input.extend(frames(&mut compressor, text.as_bytes(), fragments).concat());
                input.extend(frame(true, Opcode::Text, b"plain"));
                input.extend(frames(&mut compressor, b"", 1).concat());
            }
            let one = [text, "plain".to_owned(), String::new()].map(Owned::Text);
            let decoder = || Decoder::new(Role::Server, Some(deflate));
            for piece_bytes in [1, 7, 1 << 20] {
                let (messages, error) = decode_with(decoder(), &limits, &input, piece_bytes);
                assert_eq!((messages, error), (vec![one.clone(); 3].concat(), None));
            }
            for (length, is_over) in [(1000, false), (1001, true)] {
                let mut fresh = deflate.compressor(Role::Client, 6);
                let input = frames(&mut fresh, &vec![b'0'; length], 2).concat();
                let (_, error) = decode_with(decoder(), &limits, &input, 1 << 20);
                assert_eq!(error, is_over.then_some(ProtocolError::MessageTooBig));
            }
        }
    }

    #[test]
    fn connections_that_share_an_inflater_do_not_mix() {
        let mut compressor = FORGETFUL.compressor(Role::Client, 6);
        let texts = ["first connection ".repeat(20), "second connection ".repeat(20)];
        let parts = texts.clone().map(|text| frames(&mut compressor, text.as_bytes(), 3));
        let (limits, mut scratch) = (MessageLimits::default(), Scratch::default());
        let mut decoders = [(); 2].map(|()| Decoder::new(Role::Server, Some(FORGETFUL)));
        let mut received = [const { Vec::new() }; 2];
        for step in 0..parts[0].len().max(parts[1].len()) {
            for (index, decoder) in decoders.iter_mut().enumerate() {
                let piece = parts[index].get(step).map_or(&[][..], |piece| piece);
                feed(decoder, &mut scratch, &limits, piece, &mut received[index]).unwrap();
            }
        }
        assert_eq!(received, texts.map(|text| vec![Owned::Text(text)]));
    }

    #[test]
    fn what_does_not_inflate_is_refused_with_1007() {
        let mut bad = Vec::new();
        ws::write_masked_frame(&mut bad, true, true, Opcode::Binary, &[0xff; 30], KEY);
        let decoder = Decoder::new(Role::Server, Some(FORGETFUL));
        let (_, error) = decode_with(decoder, &MessageLimits::default(), &bad, 1 << 20);
        let error = error.expect("a refusal");
        assert_eq!(error, ProtocolError::InvalidCompression);
        assert_eq!(error.close_code(), close::INVALID_PAYLOAD);
    }
}
