//! What the wire formats do per connection and per message, as operations to be repeated: timed by
//! `codec`, counted in instructions by the bench of that name in `fulmar`.
#![allow(dead_code, reason = "each of the benches that share this uses its share of it")]

use std::hint::black_box;

use fulmar_proto::http::{self, HeadLimits, HeadScanner};
use fulmar_proto::ws::{self, Decoder, Incoming, MessageLimits, Opcode, Role, Scratch};

/// Something that a server does often.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Operations to count: enough that a growing buffer here or there does not show.
    pub(crate) times: u32,
    /// Messages, members or timers that one operation is about.
    pub(crate) elements: u64,
    /// Prepares the operation.
    pub(crate) make: fn() -> Operation,
}

/// Can be repeated for ever, at the same cost.
pub(crate) type Operation = Box<dyn FnMut()>;

/// Per connection.
pub(crate) const HANDSHAKE: &[Part] = &[
    Part { name: "parse/upgrade-browser", times: 100, elements: 1, make: || parse(BROWSER) },
    Part { name: "parse/upgrade-program", times: 200, elements: 1, make: || parse(PROGRAM) },
    Part { name: "encode/upgrade-response", times: 100, elements: 1, make: response },
    Part { name: "encode/accept-key", times: 100, elements: 1, make: accept_key },
    Part { name: "handshake/browser", times: 100, elements: 1, make: || handshake(BROWSER) },
    Part { name: "handshake/program", times: 100, elements: 1, make: || handshake(PROGRAM) },
];

/// Per message.
pub(crate) const FRAMES: &[Part] = &[
    Part { name: "parse/frame-20", times: 2000, elements: 1, make: || decode(1, 20) },
    Part { name: "parse/frame-1024", times: 1000, elements: 1, make: || decode(1, 1024) },
    Part { name: "parse/frame-16384", times: 200, elements: 1, make: || decode(1, 16_384) },
    Part { name: "parse/frames-16x20", times: 200, elements: 16, make: || decode(16, 20) },
    Part { name: "encode/heads", times: 5000, elements: 3, make: heads },
    Part { name: "encode/frame-20", times: 2000, elements: 1, make: || frame(20) },
];

/// What a browser sends: nearly half a kilobyte of which the server needs a fifth.
const BROWSER: &str = "GET /rooms/tea?since=1024 HTTP/1.1\r\n\
    Host: realtime.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://www.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    Sec-WebSocket-Protocol: json\r\n\r\n";

/// What a client library sends.
const PROGRAM: &str = "GET /echo HTTP/1.1\r\n\
    Host: 127.0.0.1:9000\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Both ASCII payload and its masked form are ASCII with this key. A payload that is unmasked where
/// it lies is therefore good text the next time too, and need not be copied anew.
const MASK: [u8; 4] = [0x37, 0x7a, 0x21, 0x3d];

/// A whole head in one read: found, read, and checked.
fn parse(request: &'static str) -> Operation {
    let limits = HeadLimits::default();
    Box::new(move || {
        let received = black_box(request.as_bytes());
        let end = HeadScanner::default().scan(received, &limits).unwrap().unwrap();
        let head = http::parse(&received[..end], &limits).unwrap();
        black_box(http::upgrade(&head).unwrap().key());
    })
}

fn response() -> Operation {
    let mut out = Vec::with_capacity(256);
    Box::new(move || {
        out.clear();
        http::write_switching_protocols(&mut out, black_box(KEY), Some("json"), None);
        black_box(&out);
    })
}

fn accept_key() -> Operation {
    Box::new(|| {
        black_box(http::accept_key(black_box(KEY)));
    })
}

/// From the request's bytes to the answer's.
fn handshake(request: &'static str) -> Operation {
    let limits = HeadLimits::default();
    let mut out = Vec::with_capacity(256);
    Box::new(move || {
        out.clear();
        let received = black_box(request.as_bytes());
        let end = HeadScanner::default().scan(received, &limits).unwrap().unwrap();
        let head = http::parse(&received[..end], &limits).unwrap();
        let asked = http::upgrade(&head).unwrap();
        let subprotocol = http::choose_subprotocol(asked.subprotocols(), &["json"]);
        http::write_switching_protocols(&mut out, asked.key(), subprotocol, None);
        black_box(&out);
    })
}

fn decode(frames: usize, payload_bytes: usize) -> Operation {
    let mut wire = Vec::new();
    for _ in 0..frames {
        let payload = vec![b'x'; payload_bytes];
        ws::write_masked_frame(&mut wire, true, false, Opcode::Text, &payload, MASK);
    }
    let limits = MessageLimits::default();
    let (mut decoder, mut scratch) = (Decoder::new(Role::Server, None), Scratch::default());
    Box::new(move || {
        let mut input = black_box(wire.as_mut_slice());
        let mut bytes = 0;
        while let Some(message) = decoder.next(&mut input, &mut scratch, &limits).unwrap() {
            let Incoming::Text(text) = message else { panic!("not what was sent") };
            bytes += black_box(text).len();
        }
        assert_eq!(bytes, frames * payload_bytes);
    })
}

/// One head of each length.
fn heads() -> Operation {
    Box::new(|| {
        for payload_bytes in [20, 1024, 65_536] {
            black_box(ws::head(true, false, Opcode::Text, black_box(payload_bytes)));
        }
    })
}

fn frame(payload_bytes: usize) -> Operation {
    let payload = vec![b'x'; payload_bytes];
    let mut out = Vec::with_capacity(payload_bytes + 10);
    Box::new(move || {
        out.clear();
        ws::write_frame(&mut out, Opcode::Text, black_box(&payload));
        black_box(&out);
    })
}
