//! Request heads read in the plainest way there is: a byte at a time, then by another parser. What
//! is made for speed has to agree with it in every result and in every error.

use fulmar_proto::http::{BodyLength, HeadLimits, HttpError};

const METHOD_BYTES_MAX: usize = 32;

/// A scanner that takes one step per byte.
#[derive(Default)]
pub(crate) struct Scanner {
    position: usize,
    target_bytes: usize,
    fields: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Method,
    Target,
    Version,
    LineStart,
    Name,
    Value,
    LineFeed,
    LastLineFeed,
    Done,
}

impl Scanner {
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, HttpError> {
        if self.phase == Phase::Done {
            return Ok(Some(self.position));
        }
        for byte in bytes.get(self.position..).unwrap_or_default() {
            if self.position >= limits.head_bytes_max {
                return Err(HEAD_TOO_LARGE);
            }
            self.phase = self.step(*byte, limits)?;
            self.position += 1;
            if self.phase == Phase::Done {
                return Ok(Some(self.position));
            }
        }
        if self.position >= limits.head_bytes_max { Err(HEAD_TOO_LARGE) } else { Ok(None) }
    }

    fn step(&mut self, byte: u8, limits: &HeadLimits) -> Result<Phase, HttpError> {
        match (self.phase, byte) {
            (Phase::Method, byte) if is_token(byte) && self.position < METHOD_BYTES_MAX => {
                Ok(Phase::Method)
            }
            (Phase::Method, b' ') if self.position > 0 => Ok(Phase::Target),
            (Phase::Target, b'!'..=b'~') => {
                self.target_bytes += 1;
                let too_long = self.target_bytes > limits.target_bytes_max;
                if too_long { Err(TARGET_TOO_LONG) } else { Ok(Phase::Target) }
            }
            (Phase::Target, b' ') if self.target_bytes > 0 => Ok(Phase::Version),
            (Phase::Version, b'!'..=b'~') => Ok(Phase::Version),
            (Phase::Version | Phase::Value, b'\r') => Ok(Phase::LineFeed),
            (Phase::LineFeed, b'\n') => Ok(Phase::LineStart),
            (Phase::LineStart, byte) if is_token(byte) => {
                self.fields += 1;
                let too_many = self.fields > limits.headers_max;
                if too_many { Err(TOO_MANY_HEADERS) } else { Ok(Phase::Name) }
            }
            (Phase::LineStart, b'\r') => Ok(Phase::LastLineFeed),
            (Phase::Name, byte) if is_token(byte) => Ok(Phase::Name),
            (Phase::Name, b':') | (Phase::Value, b'\t' | b' '..=b'~' | 0x80..) => Ok(Phase::Value),
            (Phase::LastLineFeed, b'\n') => Ok(Phase::Done),
            (phase, byte) => Err(wrong(phase, byte)),
        }
    }
}

const HEAD_TOO_LARGE: HttpError =
    HttpError::new(431, "head_too_large", "the request head is too large");
const TOO_MANY_HEADERS: HttpError =
    HttpError::new(431, "too_many_headers", "the request head has too many fields");
const TARGET_TOO_LONG: HttpError =
    HttpError::new(414, "target_too_long", "the request target is too long");

fn wrong(phase: Phase, byte: u8) -> HttpError {
    match (phase, byte) {
        (_, b'\n') => bad("bare_line_feed", "a line of the head does not end in CRLF"),
        (Phase::LineFeed | Phase::LastLineFeed, _) => {
            bad("bare_carriage_return", "a CR in the head is not followed by LF")
        }
        (Phase::Method | Phase::Target | Phase::Version, _) => {
            bad("bad_request_line", "the first line is not an HTTP request line")
        }
        (Phase::LineStart, b' ' | b'\t') => {
            bad("folded_header", "a field continues on the next line")
        }
        (Phase::Value, _) => bad("bad_header_value", "a field value has a control character"),
        (Phase::LineStart | Phase::Name | Phase::Done, _) => {
            bad("bad_header_name", "a field name has a character that names may not have")
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a head says; all but what its target is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) minor_version: u8,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: BodyLength,
}

/// Reads a head with another parser, once the scanner has found that it is strict. The caller
/// judges the target, from the method and itself.
pub(crate) fn parse(
    head: &[u8],
    limits: &HeadLimits,
    check_target: impl Fn(&str, &str) -> Result<(), HttpError>,
) -> Result<Head, HttpError> {
    let incomplete = bad("head_incomplete", "the request head has no end");
    let end = Scanner::default().scan(head, limits)?.ok_or(incomplete)?;
    check_version(&head[..end])?;
    let mut headers = vec![httparse::EMPTY_HEADER; end];
    let mut parsed = httparse::Request::new(&mut headers);
    assert_eq!(parsed.parse(&head[..end]), Ok(httparse::Status::Complete(end)));
    let (method, target) = (parsed.method.expect("a method"), parsed.path.expect("a target"));
    check_target(method, target)?;
    let minor_version = parsed.version.expect("a version");
    let headers: Vec<_> = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), trim(header.value).to_owned()))
        .collect();
    check_host(&headers, minor_version)?;
    let body = body_length(&headers, minor_version)?;
    Ok(Head { method: method.to_owned(), target: target.to_owned(), minor_version, headers, body })
}

fn bad(reason: &'static str, message: &'static str) -> HttpError {
    HttpError::new(400, reason, message)
}

fn trim(value: &[u8]) -> &[u8] {
    let is_visible = |byte: &u8| !b" \t".contains(byte);
    let start = value.iter().position(is_visible).unwrap_or(value.len());
    let end = value.iter().rposition(is_visible).map_or(start, |last| last + 1);
    &value[start..end]
}

fn check_version(head: &[u8]) -> Result<(), HttpError> {
    let line = head.split(|byte| *byte == b'\r').next().expect("a line");
    match line.rsplit(|byte| *byte == b' ').next().expect("a version") {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(HttpError::new(505, "http_version", "the HTTP version has to be 1.1"))
        }
        _ => Err(bad("bad_request_line", "the first line is not an HTTP request line")),
    }
}

fn values<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    let named = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    named.map(|(_, value)| &**value).collect()
}

fn check_host(headers: &[(String, Vec<u8>)], minor_version: u8) -> Result<(), HttpError> {
    match *values(headers, "host") {
        [] if minor_version == 0 => Ok(()),
        [] => Err(bad("missing_host", "the request has no Host")),
        [host] if is_host(host) => Ok(()),
        [_] => Err(bad("bad_host", "the request's Host is malformed")),
        [..] => Err(bad("duplicate_host", "the request has more than one Host")),
    }
}

fn body_length(headers: &[(String, Vec<u8>)], minor: u8) -> Result<BodyLength, HttpError> {
    let bad_length = bad("bad_content_length", "Content-Length is not one plain number");
    match (&*values(headers, "content-length"), &*values(headers, "transfer-encoding")) {
        ([], []) => Ok(BodyLength::Known(0)),
        ([length], []) if length.iter().all(u8::is_ascii_digit) => str::from_utf8(length)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .map(BodyLength::Known)
            .ok_or(bad_length),
        (_, []) => Err(bad_length),
        ([], [coding]) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(BodyLength::Chunked)
        }
        ([], [_]) if minor == 1 => Err(HttpError::new(
            501,
            "unsupported_transfer_encoding",
            "the only transfer coding known here is chunked",
        )),
        ([], _) => Err(bad("bad_transfer_encoding", "Transfer-Encoding may not stand here")),
        (_, _) => Err(bad(
            "ambiguous_length",
            "the request has both Content-Length and Transfer-Encoding",
        )),
    }
}

pub(crate) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        _ => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    let in_brackets = value.first() == Some(&b'[');
    let is_host_byte = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || b"-._~%!$&'()*+;=".contains(byte)
            || (in_brackets && *byte == b':')
    };
    let port_is_good = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit) && digits.len() <= 5,
        _ => false,
    };
    !host.is_empty() && host.iter().all(is_host_byte) && port_is_good
}
