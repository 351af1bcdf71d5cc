//! Properties of the HTTP side: where the reads are cut is of no consequence, what is written can
//! be read, and nothing a peer sends makes it panic.

use fulmar_proto::fuzzing::{fuzz_body, fuzz_upgrade_request};
use fulmar_proto::http::{self, Body, BodyLength, HeadLimits, HeadScanner};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Pieces of heads, good and bad, that random order makes into heads of every kind.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "GET ws://here/chat?a HTTP/1.1\r\n",
    "POST / HTTP/1.0\r\n",
    "GET /\r\n",
    "Host: here\r\n",
    "Host : here\r\n",
    "Upgrade: websocket\r\n",
    "Connection: keep-alive, Upgrade\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "Sec-WebSocket-Version: 8\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Sec-WebSocket-Protocol: json, \r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; x=\"1\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X: \u{e9}\t\r\n",
    " folded\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
];

const CHUNKS: &[&str] = &[
    "0\r\n",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "A: b\r\n",
    "\r\n",
    "ff\r\n",
    "3\r\nab",
    "\n",
    "7",
];

fn head() -> impl Strategy<Value = Vec<u8>> {
    vec(select(PIECES), 0..16).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A good handshake with fields of its own, in a random place damaged if told so.
fn handshake() -> impl Strategy<Value = Vec<u8>> {
    let fields = vec(("[A-Za-z-]{1,12}", "[ -~]{0,40}"), 0..8);
    (fields, any::<prop::sample::Index>(), prop::option::of(any::<u8>())).prop_map(
        |(fields, place, damage)| {
            let mut bytes = Vec::new();
            http::write_upgrade_request(
                &mut bytes,
                "here",
                "/a?b",
                "dGhlIHNhbXBsZSBub25jZQ==",
                None,
                None,
            );
            bytes.truncate(bytes.len() - 2);
            for (name, value) in fields {
                bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            bytes.extend_from_slice(b"\r\n\x81\x80rest");
            if let Some(damage) = damage {
                let place = place.index(bytes.len());
                bytes[place] = damage;
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_head_cut_anywhere_is_the_same_head(
        bytes in prop_oneof![head(), handshake(), vec(any::<u8>(), 0..300)],
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        head_bytes_max in 1_usize..600,
    ) {
        let limits = HeadLimits { head_bytes_max, headers_max: 10, target_bytes_max: 30 };
        let at_once = HeadScanner::default().scan(&bytes, &limits);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut scanner = HeadScanner::default();
        let mut in_parts = Ok(None);
        for end in ends {
            in_parts = scanner.scan(&bytes[..end], &limits);
            if in_parts != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(at_once, in_parts);
    }

    #[test]
    fn a_handshake_keeps_the_properties_of_requests(step: u8, bytes in handshake()) {
        fuzz_upgrade_request(&[&[step], &*bytes].concat());
    }

    #[test]
    fn any_head_keeps_the_properties_of_requests(step: u8, bytes in head()) {
        fuzz_upgrade_request(&[&[step], &*bytes].concat());
    }

    #[test]
    fn noise_keeps_the_properties_of_requests(bytes in vec(any::<u8>(), 0..400)) {
        fuzz_upgrade_request(&bytes);
    }

    #[test]
    fn any_body_keeps_the_properties_of_bodies(
        [max, known, step]: [u8; 3],
        pieces in vec(select(CHUNKS), 0..12),
    ) {
        fuzz_body(&[&[max, known, step], pieces.concat().as_bytes()].concat());
    }

    #[test]
    fn noise_keeps_the_properties_of_bodies(bytes in vec(any::<u8>(), 0..300)) {
        fuzz_body(&bytes);
    }

    #[test]
    fn what_is_sent_in_chunks_comes_out(
        chunks in vec(vec(any::<u8>(), 1..50), 0..8),
        step in 1_usize..40,
    ) {
        let mut sent = Vec::new();
        for chunk in &chunks {
            sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            sent.extend_from_slice(chunk);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
        let whole = chunks.concat();
        let mut body = Body::new(BodyLength::Chunked, whole.len()).expect("nothing is announced");
        for piece in sent.chunks(step) {
            let fed = body.feed(piece).expect("well-formed chunks");
            prop_assert_eq!(fed.consumed, piece.len());
        }
        prop_assert!(body.is_done());
        prop_assert_eq!(body.into_bytes(), whole);
    }

    #[test]
    fn a_response_is_read_as_it_was_written(
        status in 200_u16..600,
        headers in vec(("[A-Za-z][A-Za-z-]{0,12}", "[!-~]([ -~]{0,30}[!-~])?"), 0..8),
        body in vec(any::<u8>(), 0..100),
    ) {
        let pairs: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut out = Vec::new();
        http::write_response(&mut out, status, &pairs, &body, false);
        let (response, end) = http::parse_response(&out).expect("good").expect("whole");
        prop_assert_eq!(response.status, status);
        prop_assert_eq!(&response.headers[..headers.len()], &*headers);
        prop_assert_eq!(&out[end..], if status == 204 { &[][..] } else { &*body });
    }
}
