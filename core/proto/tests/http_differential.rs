//! The scanner and the parser of heads, made for speed, against a reference that is made to be
//! plain: the same results and errors for any bytes, in any split, under any limits.

mod http_reference;

use fulmar_proto::http::{self, HeadLimits, HeadScanner, HttpError};
use http_reference as reference;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const FIRST_LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET /rooms/tea?since=1024&token=abcdefghijklmnopqrstuvwxyz HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "CONNECT here:443 HTTP/1.1",
    "GET wss://[::1]:9/p HTTP/1.0",
    "GET / HTTP/2.0",
    "GET / http/1.1",
    "AVERYLONGMETHODOFJUST32CHARACTER / HTTP/1.1",
    "AVERYLONGMETHODOF33CHARACTERSHERE / HTTP/1.1",
    "GET  / HTTP/1.1",
    "GET /",
    "",
];

const FIELDS: &[&str] = &[
    "Host: realtime.example.com",
    "hOST:[fe80::1%25en0]:9000",
    "Host: a,b",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Content-Length: 3",
    "content-length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "X: \u{e9}t\u{e9}\t \t",
    "X-Tabs:\t\ta\tb\t",
    "Empty:",
    "A:b",
    ": no name",
    "Space : x",
    " folded",
    "no colon",
    "Null: a\0b",
    "Delete: \u{7f}",
];

/// Bytes that end or spoil something, or nearly do.
const SPOILERS: &[u8] = b"\r\n\t :\0\x1f\x20\x21\x7e\x7f\x80\xff(A,/";

/// What happens to a head on its way.
#[derive(Clone, Debug)]
enum Damage {
    Replaced(Index, u8),
    Inserted(Index, u8),
    Removed(Index),
    CutOff(Index),
    Repeated(Index, usize),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match *self {
            Self::Replaced(at, byte) => bytes[at.index(length)] = byte,
            Self::Inserted(at, byte) => bytes.insert(at.index(length), byte),
            Self::Removed(at) => drop(bytes.remove(at.index(length))),
            Self::CutOff(at) => bytes.truncate(at.index(length)),
            Self::Repeated(at, times) => {
                let at = at.index(length);
                let byte = bytes[at];
                bytes.splice(at..at, std::iter::repeat_n(byte, times));
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || prop_oneof![select(SPOILERS), any::<u8>()];
    prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Replaced(at, byte)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Inserted(at, byte)),
        any::<Index>().prop_map(Damage::Removed),
        any::<Index>().prop_map(Damage::CutOff),
        (any::<Index>(), 1_usize..80).prop_map(|(at, times)| Damage::Repeated(at, times)),
    ]
}

/// Mostly good: the first choices of each list are chosen more often than the others.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let first_line = prop_oneof![3 => select(&FIRST_LINES[..4]), 1 => select(FIRST_LINES)];
    let known = prop_oneof![
        8 => select(&FIELDS[3..7]),
        1 => select(FIELDS),
    ];
    let field = prop_oneof![
        2 => known.prop_map(|field| field.as_bytes().to_vec()),
        1 => ("[A-Za-z0-9-]{1,30}: ?", vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..], 0..60))
            .prop_map(|(name, value)| [name.as_bytes(), &value].concat()),
    ];
    let host = prop_oneof![9 => Just("Host: here:80\r\n"), 1 => Just("")];
    let rest = select(&["", "\x01\u{80}rest", "\r\n", "GET / HTTP/1.1\r\n"][..]);
    (first_line, host, vec(field, 0..10), rest).prop_map(|(first_line, host, fields, rest)| {
        let mut bytes = format!("{first_line}\r\n{host}").into_bytes();
        for field in fields {
            bytes.extend_from_slice(&field);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (head(), vec(damage(), 1..4)).prop_map(|(mut bytes, damages)| {
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        bytes
    });
    prop_oneof![2 => head(), 6 => damaged, 1 => vec(any::<u8>(), 0..100)]
}

fn limits() -> impl Strategy<Value = HeadLimits> {
    let tight = (0_usize..700, 0_usize..12, 0_usize..80).prop_map(
        |(head_bytes_max, headers_max, target_bytes_max)| HeadLimits {
            head_bytes_max,
            headers_max,
            target_bytes_max,
        },
    );
    let most = usize::MAX;
    let none = HeadLimits { head_bytes_max: most, headers_max: most, target_bytes_max: most };
    prop_oneof![2 => Just(HeadLimits::default()), 2 => tight, 1 => Just(none)]
}

/// The result of each call, up to the one that decides.
fn scanned(
    bytes: &[u8],
    ends: &[usize],
    mut scan: impl FnMut(&[u8]) -> Result<Option<usize>, HttpError>,
) -> Vec<Result<Option<usize>, HttpError>> {
    let mut results = Vec::new();
    for end in ends {
        results.push(scan(&bytes[..*end]));
        if results.last() != Some(&Ok(None)) {
            break;
        }
    }
    results
}

fn assert_same_scan(bytes: &[u8], ends: &[usize], limits: &HeadLimits) {
    let (mut ours, mut plain) = (HeadScanner::default(), reference::Scanner::default());
    assert_eq!(
        scanned(bytes, ends, |bytes| ours.scan(bytes, limits)),
        scanned(bytes, ends, |bytes| plain.scan(bytes, limits)),
        "{:?} cut at {ends:?}",
        bytes.escape_ascii().to_string(),
    );
}

fn parsed(bytes: &[u8], limits: &HeadLimits) -> Result<reference::Head, HttpError> {
    http::parse(bytes, limits).map(|request| reference::Head {
        method: request.method.to_owned(),
        target: request.target.to_owned(),
        minor_version: request.minor_version,
        headers: request
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: request.body_length(),
    })
}

/// Whether the parser takes a target, asked with a head that has nothing else to refuse.
fn check_target(method: &str, target: &str) -> Result<(), HttpError> {
    let all = HeadLimits { target_bytes_max: 8000, ..HeadLimits::default() };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: here\r\n\r\n");
    http::parse(head.as_bytes(), &all).map(|_| ())
}

fn assert_same_parse(bytes: &[u8], limits: &HeadLimits) {
    assert_eq!(
        parsed(bytes, limits),
        reference::parse(bytes, limits, check_target),
        "{:?}",
        bytes.escape_ascii().to_string(),
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 5000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_are_scanned_as_the_reference_scans_them(
        bytes in bytes(),
        limits in limits(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        assert_same_scan(&bytes, &[bytes.len()], &limits);
        assert_same_scan(&bytes, &ends, &limits);
        assert_same_scan(&bytes, &(0..=bytes.len()).collect::<Vec<_>>(), &limits);
    }

    #[test]
    fn any_bytes_are_parsed_as_the_reference_parses_them(bytes in bytes(), limits in limits()) {
        assert_same_parse(&bytes, &limits);
    }

    #[test]
    fn any_host_is_judged_as_the_reference_judges_it(
        host in prop_oneof![
            "[a-z0-9:.%-]{0,12}(:[0-9]{0,6})?",
            r"\[[0-9a-f:]{0,9}\]?(:[0-9]{0,6})?",
            "[!-~]{0,9}",
        ],
    ) {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let found = http::parse(head.as_bytes(), &HeadLimits::default());
        prop_assert_eq!(found.is_ok(), reference::is_host(host.as_bytes()), "{}", host);
    }
}

#[test]
fn every_byte_in_every_place_of_a_head_has_the_same_result() {
    let head: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: here\r\nX-Long-Name: J\xfcrgen's \tvalue\r\n\
        Connection: a, b\r\nE:\r\n\r\n\x81\x80";
    let limits = HeadLimits { head_bytes_max: 200, headers_max: 5, target_bytes_max: 5 };
    for place in 0..head.len() {
        for byte in 0..=u8::MAX {
            let mut replaced = head.to_vec();
            replaced[place] = byte;
            let mut inserted = head.to_vec();
            inserted.insert(place, byte);
            for bytes in [replaced, inserted] {
                assert_same_scan(&bytes, &[bytes.len()], &limits);
                assert_same_scan(&bytes, &[place, place + 1, bytes.len()], &limits);
                assert_same_parse(&bytes, &limits);
            }
        }
    }
}

#[test]
fn every_limit_around_a_head_has_the_same_result() {
    let head =
        b"OPTIONS /abc HTTP/1.1\r\nHost: here\r\nA: b\r\nLonger-Name: with a value\r\n\r\n\r\n";
    for head_bytes_max in 0..head.len() + 2 {
        for (headers_max, target_bytes_max) in [(0, 9), (1, 3), (2, 4), (3, 5), (9, 9)] {
            let limits = HeadLimits { head_bytes_max, headers_max, target_bytes_max };
            assert_same_scan(head, &[head.len()], &limits);
            assert_same_scan(head, &(0..=head.len()).collect::<Vec<_>>(), &limits);
            assert_same_parse(head, &limits);
        }
    }
}
