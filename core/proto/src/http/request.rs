//! A request head, parsed and checked.

use std::borrow::Cow;

use super::HttpError;
use super::body::BodyLength;
use super::scanner::{HeadLimits, HeadScanner, Phase};
use super::syntax::{decimal, elements, host_name_bytes, is_same, trim};

/// Room for the fields of a usual request: a browser sends 13 or so.
const HEADERS_USUAL: usize = 16;

/// The head of a request. It borrows the received bytes.
///
/// What it holds has been checked: see [`parse`].
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method as it was sent: methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'a str,
    /// The request target as it was sent: printable ASCII.
    pub target: &'a str,
    /// The target's path, not decoded: it begins with `/`, unless the target is `*` or a
    /// `CONNECT`'s authority, of which it is all.
    pub path: &'a str,
    /// What follows the target's first `?`, not decoded; empty if there is none.
    pub query: &'a str,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// Names, and trimmed values.
    headers: Vec<(&'a str, &'a [u8])>,
    body: BodyLength,
}

/// Parses a whole request head, as far as its blank line; bytes after that are left alone.
///
/// # Errors
/// Everything [`HeadScanner::scan`] refuses, and with
/// - 400: a head without its end; a target that is no path, URI or `*`, or has a fragment; other
///   than one `Host` in HTTP/1.1, or a malformed one (RFC 9112, 3.2); more than one
///   `Content-Length` or one that is no number; `Content-Length` together with `Transfer-Encoding`,
///   or the latter twice or in HTTP/1.0 (RFC 9112, 6.3);
/// - 501: a transfer coding other than `chunked` (RFC 9112, 6.1);
/// - 505: a version other than HTTP/1.1 and HTTP/1.0.
pub fn parse<'a>(head: &'a [u8], limits: &HeadLimits) -> Result<Request<'a>, HttpError> {
    let Parts { method, target, version, headers } = find_parts(head, limits)?;
    let minor_version = check_version(version)?;
    let (path, query) = split_target(method, target)?;
    let body = BodyLength::Known(0);
    let mut request = Request { method, target, path, query, minor_version, headers, body };
    request.body = request.check_fields()?;
    Ok(request)
}

impl<'a> Request<'a> {
    /// All fields in the order they came. Values are trimmed, and need not be UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().copied()
    }

    /// The values of all fields of a name, in order. Names are compared without regard to case.
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.headers()
            .filter(move |(known, _)| is_same(known.as_bytes(), name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The first value of a name as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.header_bytes(name).map(String::from_utf8_lossy)
    }

    /// The first value of a name as it was sent, trimmed.
    #[must_use]
    pub fn header_bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// How many fields have that name.
    #[must_use]
    pub fn header_count(&self, name: &str) -> usize {
        self.values(name).count()
    }

    /// Whether one of the comma-separated values of a name is `token`, without regard to case.
    /// `token` is neither empty nor a list itself.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let is_it = |element: &[u8]| is_same(element, token.as_bytes());
        // Mostly there is no list.
        self.values(name).any(|value| is_it(value) || elements(value).any(is_it))
    }

    /// Whether the peer asks for a WebSocket, rightly or not: see [`upgrade`](fn@super::upgrade).
    #[must_use]
    pub fn wants_upgrade(&self) -> bool {
        self.has_token("upgrade", "websocket")
    }

    /// The length the peer announced for the body in bytes, if it did.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        match self.body {
            BodyLength::Known(length) if self.header_count("content-length") > 0 => Some(length),
            BodyLength::Known(_) | BodyLength::Chunked => None,
        }
    }

    /// Whether the body comes in chunks (RFC 9112, 7.1).
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        self.body == BodyLength::Chunked
    }

    /// How the body's end is found; a known length of 0 if there is no body (RFC 9112, 6.3).
    #[must_use]
    pub fn body_length(&self) -> BodyLength {
        self.body
    }

    /// Checks what the fields say of the host and of the body; returns the body's length.
    fn check_fields(&self) -> Result<BodyLength, HttpError> {
        let (mut hosts, mut lengths, mut codings) = Default::default();
        for (name, value) in self.headers() {
            let (known, found): (_, &mut FirstTwo<'a>) = match name.len() {
                4 => ("host", &mut hosts),
                14 => ("content-length", &mut lengths),
                17 => ("transfer-encoding", &mut codings),
                _ => continue,
            };
            if is_same(name.as_bytes(), known.as_bytes()) {
                *found =
                    if found.0.is_none() { (Some(value), None) } else { (found.0, Some(value)) };
            }
        }
        self.check_host(hosts)?;
        self.find_body_length(lengths, codings)
    }

    fn check_host(&self, hosts: FirstTwo<'_>) -> Result<(), HttpError> {
        match hosts {
            (Some(_), Some(_)) => {
                Err(HttpError::bad("duplicate_host", "the request has more than one Host"))
            }
            (Some(host), None) if is_host(host) => Ok(()),
            (Some(_), None) => Err(HttpError::bad("bad_host", "the request's Host is malformed")),
            (None, _) if self.minor_version == 0 => Ok(()),
            (None, _) => Err(HttpError::bad("missing_host", "the request has no Host")),
        }
    }

    fn find_body_length(
        &self,
        lengths: FirstTwo<'_>,
        codings: FirstTwo<'_>,
    ) -> Result<BodyLength, HttpError> {
        match (lengths, codings) {
            ((None, _), (None, _)) => Ok(BodyLength::Known(0)),
            ((Some(length), None), (None, _)) => {
                decimal(length).map(BodyLength::Known).ok_or(BAD_LENGTH)
            }
            ((Some(_), Some(_)), (None, _)) => Err(BAD_LENGTH),
            ((Some(_), _), (Some(_), _)) => Err(HttpError::bad(
                "ambiguous_length",
                "the request has both Content-Length and Transfer-Encoding",
            )),
            ((None, _), (Some(_), second)) if self.minor_version == 0 || second.is_some() => {
                Err(HttpError::bad("bad_transfer_encoding", "Transfer-Encoding may not stand here"))
            }
            ((None, _), (Some(coding), _)) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(BodyLength::Chunked)
            }
            ((None, _), (Some(_), _)) => Err(HttpError::new(
                501,
                "unsupported_transfer_encoding",
                "the only transfer coding known here is chunked",
            )),
        }
    }
}

/// The first two values of a field; that there are more is of no interest.
type FirstTwo<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

const INCOMPLETE: HttpError = HttpError::bad("head_incomplete", "the request head has no end");
const BAD_TARGET: HttpError = HttpError::bad("bad_target", "the request target is malformed");
const BAD_LENGTH: HttpError =
    HttpError::bad("bad_content_length", "Content-Length is not one plain number");

/// What a head consists of: the scanner's grammar holds for each part, and nothing else yet.
#[derive(Default)]
struct Parts<'a> {
    method: &'a str,
    target: &'a str,
    version: &'a [u8],
    headers: Vec<(&'a str, &'a [u8])>,
}

/// Takes a head apart as the scanner goes through it: there is one grammar, and one reading of it.
fn find_parts<'a>(head: &'a [u8], limits: &HeadLimits) -> Result<Parts<'a>, HttpError> {
    let head = head.get(..limits.head_bytes_max).unwrap_or(head);
    // One check for all names. Only a value can spoil it: then each name is checked by itself.
    let text = simdutf8::basic::from_utf8(head).ok();
    let bytes_of = |start: usize, end: usize| head.get(start..end).unwrap_or_default();
    // The scanner lets only ASCII into these parts.
    let text_of = |start: usize, end: usize| match text {
        Some(text) => text.get(start..end).unwrap_or_default(),
        None => std::str::from_utf8(bytes_of(start, end)).unwrap_or_default(),
    };
    let mut parts = Parts {
        headers: Vec::with_capacity(limits.headers_max.min(HEADERS_USUAL)),
        ..Parts::default()
    };
    let (mut start, mut name) = (0, "");
    let end = HeadScanner::default().scan_parts(head, limits, |part, end| match part {
        Phase::Method => (parts.method, start) = (text_of(start, end), end + 1),
        Phase::Target => (parts.target, start) = (text_of(start, end), end + 1),
        Phase::Version => (parts.version, start) = (bytes_of(start, end), end + "\r\n".len()),
        Phase::Name => (name, start) = (text_of(start, end), end + 1),
        Phase::Value => {
            parts.headers.push((name, trim(bytes_of(start, end))));
            start = end + "\r\n".len();
        }
        _ => {}
    })?;
    end.map(|_| parts).ok_or(INCOMPLETE)
}

/// RFC 9112, 2.3: `HTTP/` and two digits, in capitals. Returns the second.
fn check_version(version: &[u8]) -> Result<u8, HttpError> {
    match version {
        b"HTTP/1.1" => Ok(1),
        b"HTTP/1.0" => Ok(0),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(HttpError::new(505, "http_version", "the HTTP version has to be 1.1"))
        }
        _ => Err(HttpError::bad("bad_request_line", "the first line is not an HTTP request line")),
    }
}

/// The path and the query of each of the four forms of a target (RFC 9112, 3.2).
fn split_target<'a>(method: &str, target: &'a str) -> Result<(&'a str, &'a str), HttpError> {
    // RFC 9110, 7.1 and RFC 6455, 3: a fragment is never sent.
    if target.contains('#') {
        return Err(BAD_TARGET);
    }
    if target.starts_with('/') {
        return Ok(target.split_once('?').unwrap_or((target, "")));
    }
    if (method == "OPTIONS" && target == "*") || (method == "CONNECT" && is_host(target.as_bytes()))
    {
        return Ok((target, ""));
    }
    let (scheme, rest) = target.split_once("://").ok_or(BAD_TARGET)?;
    let known = ["http", "https", "ws", "wss"].iter().any(|name| scheme.eq_ignore_ascii_case(name));
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !known || !is_host(authority.as_bytes()) {
        return Err(BAD_TARGET);
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Ok((if path.is_empty() { "/" } else { path }, query))
}

/// A host with an optional port (RFC 9110, 7.2; RFC 3986, 3.2.2), by its characters: no user, no
/// list, no path.
fn is_host(value: &[u8]) -> bool {
    let (host_is_good, port) = match value {
        [b'[', rest @ ..] => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (is_host_in_brackets(&rest[..end]), &rest[end + 1..]),
            None => return false,
        },
        _ => {
            let (host, port) = value.split_at(host_name_bytes(value));
            (!host.is_empty(), port)
        }
    };
    let port_is_good = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit) && digits.len() <= 5,
        _ => false,
    };
    host_is_good && port_is_good
}

fn is_host_in_brackets(host: &[u8]) -> bool {
    !host.is_empty()
        && host.split(|byte| *byte == b':').all(|part| host_name_bytes(part) == part.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fields: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: here\r\n{fields}\r\n")
    }

    fn refusal(head: &str) -> (u16, &'static str) {
        let error = parse(head.as_bytes(), &HeadLimits::default()).expect_err(head);
        (error.status, error.reason)
    }

    fn parsed(head: &str) -> Request<'_> {
        parse(head.as_bytes(), &HeadLimits::default()).expect(head)
    }

    #[test]
    fn tells_method_target_path_query_and_version() {
        let request = parsed("POST /a/b%20?c=d?e HTTP/1.1\r\nHost: x:80\r\n\r\nbody");
        assert_eq!((request.method, request.target), ("POST", "/a/b%20?c=d?e"));
        assert_eq!((request.path, request.query), ("/a/b%20", "c=d?e"));
        assert_eq!(request.minor_version, 1);
        assert_eq!(parsed("GET / HTTP/1.0\r\n\r\n").minor_version, 0);
    }

    #[test]
    fn looks_headers_up_without_regard_to_case_and_trims_them() {
        let head = with("X-One: \t a b \t\r\nx-ONE: c\r\nEmpty:\r\n");
        let request = parsed(&head);
        assert_eq!(request.header("x-one").as_deref(), Some("a b"));
        assert_eq!(request.header_count("X-ONE"), 2);
        assert_eq!(request.header("empty").as_deref(), Some(""));
        assert_eq!(request.header("absent"), None);
        let all: Vec<_> = request.headers().collect();
        assert_eq!(all[0], ("Host", &b"here"[..]));
        assert_eq!(all[2], ("x-ONE", &b"c"[..]));
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn bears_header_values_that_are_not_utf_8() {
        let head = b"GET / HTTP/1.1\r\nHost: here\r\nX: J\xfcrg\r\nUpgrade: \xff\r\n\r\n";
        let request = parse(head, &HeadLimits::default()).expect("a good head");
        assert_eq!(request.header_bytes("x"), Some(&b"J\xfcrg"[..]));
        assert_eq!(request.header("x").as_deref(), Some("J\u{fffd}rg"));
        assert!(!request.wants_upgrade());
    }

    #[test]
    fn takes_every_form_of_target() {
        for (head, path, query) in [
            ("GET http://h HTTP/1.1", "/", ""),
            ("GET http://h?q HTTP/1.1", "/", "q"),
            ("GET WS://h:1/p?q=/ HTTP/1.1", "/p", "q=/"),
            ("GET wss://[::1]:9/p HTTP/1.1", "/p", ""),
            ("OPTIONS * HTTP/1.1", "*", ""),
            ("CONNECT h:443 HTTP/1.1", "h:443", ""),
            ("GET //x HTTP/1.1", "//x", ""),
        ] {
            let head = format!("{head}\r\nHost: h\r\n\r\n");
            let request = parsed(&head);
            assert_eq!((request.path, request.query), (path, query), "{head}");
        }
    }

    #[test]
    fn refuses_other_targets() {
        for target in
            ["*", "chat", "?q", "/a#b", "ftp://h/", "http://", "http:///p", "http://u@h/", "h:1"]
        {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(refusal(&head), (400, "bad_target"), "{target}");
        }
    }

    #[test]
    fn demands_exactly_one_good_host() {
        assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), (400, "missing_host"));
        assert_eq!(refusal(&with("Host: here\r\n")), (400, "duplicate_host"));
        assert_eq!(refusal(&with("hOST: there\r\n")), (400, "duplicate_host"));
        for host in
            ["", "a b", "a,b", "a/b", "u@a", "a:b", "a:123456", "[::1", "[]", "[::1]x", "a:1:2"]
        {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(refusal(&head), (400, "bad_host"), "{host}");
        }
        for host in ["a", "a.b-c_d", "127.0.0.1:65535", "[::1]", "[fe80::1%25en0]:1", "a:"] {
            parsed(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        }
    }

    #[test]
    fn tells_other_versions_from_nonsense() {
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2"] {
            let head = format!("GET / {version}\r\nHost: h\r\n\r\n");
            assert_eq!(refusal(&head), (505, "http_version"), "{version}");
        }
        for version in ["http/1.1", "HTTP/1", "HTTP/1.1x", "HTTP/11", "HTTP/1.10", "HTTPS/1.1", "x"]
        {
            let head = format!("GET / {version}\r\nHost: h\r\n\r\n");
            assert_eq!(refusal(&head), (400, "bad_request_line"), "{version}");
        }
    }

    #[test]
    fn refuses_a_head_without_an_end() {
        assert_eq!(refusal("GET / HTTP/1.1\r\nHost: h\r\n"), (400, "head_incomplete"));
        assert_eq!(refusal(""), (400, "head_incomplete"));
    }

    #[test]
    fn is_as_strict_as_the_scanner() {
        assert_eq!(refusal("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").0, 400);
        assert_eq!(refusal("GET / HTTP/1.1\nHost: h\n\n").1, "bare_line_feed");
        assert_eq!(refusal(&with("A : b\r\n")).1, "bad_header_name");
        assert_eq!(refusal(&with("A: b\r\n c\r\n")).1, "folded_header");
        assert_eq!(refusal(&with("A: \0\r\n")).1, "bad_header_value");
        let few = HeadLimits { headers_max: 0, ..HeadLimits::default() };
        assert_eq!(parse(with("").as_bytes(), &few).expect_err("a refusal").status, 431);
        let all: String = (0..64).map(|index| format!("A{index}: b\r\n")).collect();
        assert_eq!(refusal(&with(&all)), (431, "too_many_headers"));
    }

    #[test]
    fn finds_the_length_of_the_body() {
        for (fields, length) in [
            ("", BodyLength::Known(0)),
            ("Content-Length: 0\r\n", BodyLength::Known(0)),
            ("content-length: 12 \r\n", BodyLength::Known(12)),
            ("Transfer-Encoding: Chunked\r\n", BodyLength::Chunked),
        ] {
            let head = with(fields);
            assert_eq!(parsed(&head).body_length(), length, "{fields}");
        }
        assert_eq!(parsed(&with("")).content_length(), None);
        assert_eq!(parsed(&with("Content-Length: 0\r\n")).content_length(), Some(0));
        assert!(parsed(&with("Transfer-Encoding: chunked\r\n")).is_chunked());
    }

    #[test]
    fn refuses_a_length_that_is_not_clear() {
        for value in ["", "x", "+1", "-1", "1, 1", "0x1", "1 1", "99999999999999999999"] {
            let head = with(&format!("Content-Length: {value}\r\n"));
            assert_eq!(refusal(&head), (400, "bad_content_length"), "{value}");
        }
        for (fields, reason) in [
            ("Content-Length: 1\r\nContent-Length: 1\r\n", (400, "bad_content_length")),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", (400, "ambiguous_length")),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", (400, "ambiguous_length")),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                (400, "bad_transfer_encoding"),
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", (501, "unsupported_transfer_encoding")),
            ("Transfer-Encoding: xchunked\r\n", (501, "unsupported_transfer_encoding")),
            ("Transfer-Encoding: \r\n", (501, "unsupported_transfer_encoding")),
        ] {
            assert_eq!(refusal(&with(fields)), reason, "{fields}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refusal(old), (400, "bad_transfer_encoding"));
    }
}
