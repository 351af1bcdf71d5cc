//! permessage-deflate (RFC 7692) against peers that do not mean well.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use fulmar::rpc::Rpc;
use fulmar::text::Text;
use fulmar::{
    Arg, Args, Backpressure, Config, Connection, DeflateOptions, Endpoint, EndpointOptions, Reason,
    Running, SlowPolicy, inline,
};
use fulmar_proto::ws::Opcode::{self, Binary, Continuation, Ping};
use fulmar_tests::client::{Client, Next, frame};
use fulmar_tests::{eventually, memory, server, timed};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const LIMIT: usize = 100_000;

fn options(takeover: bool) -> DeflateOptions {
    DeflateOptions {
        client_context_takeover: takeover,
        server_context_takeover: takeover,
        min_bytes: 64,
        ..DeflateOptions::default()
    }
}

fn deflating(takeover: bool) -> Running {
    let mut config = server::config();
    config.limits.message_bytes_max = LIMIT;
    config.deflate = Some(options(takeover));
    server::echo(config)
}

fn agreed(server: &Running) -> Client {
    let mut client = Client::tcp(server.local_addr());
    let response = client.upgrade("/echo", OFFER);
    assert!(response.header("sec-websocket-extensions").is_some(), "{}", response.head);
    client
}

/// A peer's side of the compression.
struct Codec {
    compress: Compress,
    decompress: Decompress,
    takeover: bool,
}

impl Codec {
    fn new(takeover: bool) -> Self {
        let compress = Compress::new(Compression::new(6), false);
        Self { compress, decompress: Decompress::new(false), takeover }
    }

    fn deflated(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 128);
        self.compress.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        if !self.takeover {
            self.compress.reset();
        }
        out
    }

    fn inflated(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 << 20);
        let input = [payload, &[0, 0, 0xff, 0xff]].concat();
        self.decompress.decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
        if !self.takeover {
            self.decompress.reset(false);
        }
        out
    }
}

#[test]
fn only_offers_that_can_be_kept_are_agreed_to() {
    let server = deflating(true);
    for (offer, answer) in [
        ("permessage-deflate", Some("permessage-deflate")),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=010", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate; unknown, permessage-deflate", Some("permessage-deflate")),
        (
            "permessage-deflate; server_max_window_bits=10",
            Some("permessage-deflate; server_max_window_bits=10"),
        ),
    ] {
        let mut client = Client::tcp(server.local_addr());
        let fields = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let response = client.upgrade("/echo", &fields);
        assert_eq!(response.header("sec-websocket-extensions"), answer, "{offer}");
        let text = "works either way ".repeat(20);
        client.text(&text);
        let frame = client.expect_frame();
        assert_eq!(frame.rsv1, answer.is_some(), "{offer}");
        if answer.is_none() {
            assert_eq!(frame.payload, text.as_bytes());
            client.send(&fulmar_tests::client::frame(true, true, Opcode::Text, b"\x02\0"));
            assert_eq!(client.expect_close().0, 1002, "RSV1 without an agreement");
        }
    }
    server.kill();
}

#[test]
fn messages_survive_both_ways_with_and_without_takeover() {
    for takeover in [false, true] {
        let server = deflating(takeover);
        let (mut client, mut codec) = (agreed(&server), Codec::new(takeover));
        for length in [0, 1, 63, 64, 1000, 65_535, LIMIT, 3] {
            let payload: Vec<u8> =
                (0..length).map(|n| u8::try_from(n * n % 251).unwrap()).collect();
            let deflated = codec.deflated(&payload);
            client.send(&frame(true, true, Binary, &deflated));
            let echo = client.expect_frame();
            let got = if echo.rsv1 { codec.inflated(&echo.payload) } else { echo.payload };
            assert_eq!(got, payload, "{length} bytes, takeover {takeover}");
        }
        client.text("plain messages are fine as well");
        assert_eq!(client.expect_text(), "plain messages are fine as well");
        server.kill();
    }
}

#[test]
fn answers_of_calls_are_compressed_as_other_messages_are() {
    let config = Config { deflate: Some(options(true)), ..server::config() };
    let echo = |Args((text,)): Args<(String,)>| text;
    let endpoint = Endpoint::new("/echo")
        .speaks(Rpc::default())
        .route("now", inline(echo))
        .route("soon", echo);
    let server = server::start(config, vec![endpoint]);
    let (mut client, mut codec) = (agreed(&server), Codec::new(true));
    for (id, method) in ["now", "soon", "now"].into_iter().enumerate() {
        let text = "again and again ".repeat(20);
        client.text(&format!(r#"{{"method":"{method}","params":["{text}"],"id":{id}}}"#));
        let answer = client.expect_frame();
        assert!(answer.rsv1 && answer.payload.len() < text.len() / 2);
        let result = String::from_utf8(codec.inflated(&answer.payload)).unwrap();
        assert_eq!(result, format!(r#"{{"id":{id},"result":"{text}"}}"#));
    }
    server.kill();
}

#[test]
fn empty_compressed_messages_do_not_hang_it() {
    for takeover in [false, true] {
        let server = deflating(takeover);
        let mut client = agreed(&server);
        // One byte of zero, as it should be; the same block whole; nothing at all.
        for empty in [&b"\0"[..], b"\0", b"\x02\0", b"\x02\0", b"", b"", b"\0"] {
            client.send(&frame(true, true, Opcode::Text, empty));
            assert_eq!(client.expect_frame().payload.len(), 0, "{empty:02x?}");
        }
        client.text("alive");
        assert_eq!(client.expect_text(), "alive");
        server.kill();
    }
}

#[test]
fn a_final_block_ends_a_stream_but_not_the_connection() {
    for takeover in [false, true] {
        let server = deflating(takeover);
        let mut client = agreed(&server);
        // RFC 7692, 7.2.3.4: "Hello" in a block with BFINAL set, and a byte of padding.
        let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        for _ in 0..3 {
            client.send(&frame(true, true, Opcode::Text, &hello));
            assert_eq!(client.expect_text(), "Hello");
        }
        server.kill();
    }
}

#[test]
fn what_is_not_deflate_is_refused() {
    let server = deflating(false);
    for (what, bytes, code) in [
        ("block type 3", frame(true, true, Binary, b"\x06\x06"), 1007),
        ("a stored block that lies", frame(true, true, Binary, b"\0\x05\0\0\0hello"), 1007),
        ("a distance too far back", frame(true, true, Binary, b"\x02\x12\0"), 1007),
        ("RSV1 on a ping", frame(true, true, Ping, b""), 1002),
        ("RSV1 on a close", frame(true, true, Opcode::Close, b"\x03\xe8"), 1002),
        (
            "RSV1 on a continuation",
            [frame(false, true, Binary, b"\xf3"), frame(true, true, Continuation, b"\0")].concat(),
            1002,
        ),
        ("RSV2", [&[0xe1], &frame(true, true, Binary, b"")[1..]].concat(), 1002),
    ] {
        let mut client = agreed(&server);
        client.send(&bytes);
        assert_eq!(client.expect_close().0, code, "{what}");
        client.expect_fin();
    }
    let mut codec = Codec::new(false);
    let mut client = agreed(&server);
    client.send(&frame(true, true, Opcode::Text, &codec.deflated(b"\xff\xfe")));
    assert_eq!(client.expect_close().0, 1007, "inflated text is checked too");
    server.kill();
}

#[test]
fn the_limit_holds_on_what_comes_out_exactly_to_the_byte() {
    for takeover in [false, true] {
        let server = deflating(takeover);
        for (length, fits) in [(LIMIT, true), (LIMIT + 1, false)] {
            for parts in [1, 2, 7] {
                let (mut client, mut codec) = (agreed(&server), Codec::new(takeover));
                let deflated = codec.deflated(&vec![0; length]);
                let size = deflated.len().div_ceil(parts);
                let count = deflated.chunks(size).count();
                for (index, part) in deflated.chunks(size).enumerate() {
                    let opcode = if index == 0 { Binary } else { Continuation };
                    client.send(&frame(index + 1 == count, index == 0, opcode, part));
                }
                if fits {
                    let echo = client.expect_frame();
                    assert_eq!(codec.inflated(&echo.payload).len(), length);
                } else {
                    assert_eq!(client.expect_close().0, 1009, "{parts} parts");
                    client.expect_fin();
                }
            }
        }
        server.kill();
    }
}

#[test]
fn bombs_end_with_1009_in_little_time_and_memory() {
    for takeover in ["false", "true"] {
        let toml = format!(
            "shards = 1\nworkers = 1\n[deflate]\nenabled = true\ncontext_takeover = {takeover}\n"
        );
        let server = server::Binary::start(&toml, &[]);
        // 256 MiB of zeros in a quarter of a MiB.
        let mut codec = Codec::new(true);
        let mut bomb = Vec::new();
        let zeros = vec![0; 1 << 20];
        for _ in 0..256 {
            bomb.extend(codec.deflated(&zeros));
            bomb.extend([0, 0, 0xff, 0xff]);
        }
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        let bomb = frame(true, true, Binary, &bomb);
        let throw = || {
            let mut client = Client::tcp(server.address());
            client.upgrade("/echo", OFFER);
            client.send(&bomb);
            assert_eq!(client.expect_close().0, 1009);
            client.expect_fin();
        };
        throw();
        let before = memory::resident(server.id());
        let ((), took) = timed(|| (0..20).for_each(|_| throw()));
        let growth = memory::peak(server.id()).saturating_sub(before);
        assert!(growth < 8 << 20, "takeover {takeover}: {growth} bytes more");
        assert!(took < Duration::from_secs(10), "takeover {takeover}: {took:?}");
    }
}

/// A message that was compressed and then dropped must not be missing from the window with which
/// the next ones are inflated.
#[test]
fn a_dropped_message_does_not_break_those_after_it() {
    let handler = |connection: Connection, Arg(text): Arg<String>| {
        if text == "flood" {
            // Noise, so that it does not shrink to nothing.
            let mut state = 1_u32;
            for _ in 0..4000 {
                let noise = std::iter::repeat_with(|| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    char::from(b'a' + state.to_be_bytes()[0] % 26)
                });
                connection.send_text(noise.take(4096).collect::<String>());
            }
        }
        format!("answer to {text} {}", "again ".repeat(50))
    };
    let backpressure =
        Backpressure { bytes_max: 256 << 10, low_bytes: 64 << 10, policy: SlowPolicy::DropNewest };
    let endpoint = Endpoint::new("/echo").speaks(Text::default()).on_message(handler).options(
        EndpointOptions { backpressure: Some(backpressure), ..EndpointOptions::default() },
    );
    let mut config = server::config();
    config.deflate = Some(options(true));
    config.listen.send_buffer_bytes = Some(64 << 10);
    let server = server::start(config, vec![endpoint]);
    let mut client = Client::small(server.local_addr());
    client.upgrade("/echo", OFFER);
    client.text("flood");
    eventually("some are dropped", || server.stats().reasons.of(Reason::DroppedBacklog) > 0);
    let mut codec = Codec::new(true);
    let mut answers = 0;
    client.text("last");
    while answers < 2 {
        let Next::Frame(frame) = client.next(fulmar_tests::PATIENCE) else {
            panic!("no more frames")
        };
        let text = if frame.rsv1 { codec.inflated(&frame.payload) } else { frame.payload };
        let text = String::from_utf8(text).unwrap();
        assert!(text.len() == 4096 || text.starts_with("answer to "), "garbled: {text:.80}");
        answers += usize::from(text.starts_with("answer"));
    }
    server.kill();
}
