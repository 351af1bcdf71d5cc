//! A request head, parsed and checked.

use std::borrow::Cow;

use super::HttpError;
use super::body::BodyLength;
use super::scanner::{HeadLimits, HeadScanner};
use super::syntax::{decimal, elements, trim};

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
    headers: Vec<httparse::Header<'a>>,
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
    // httparse is lenient in places (line ends, leading blank lines); what the scanner lets through
    // it reads in only one way.
    let mut scanner = HeadScanner::default();
    let end = scanner.scan(head, limits)?.ok_or(INCOMPLETE)?;
    let head = head.get(..end).ok_or(INCOMPLETE)?;
    check_version(head)?;
    let mut headers = vec![httparse::EMPTY_HEADER; scanner.fields()];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(INCOMPLETE),
        Err(_) => return Err(MALFORMED),
    }
    let (Some(method), Some(target), Some(minor_version)) =
        (parsed.method, parsed.path, parsed.version)
    else {
        return Err(MALFORMED);
    };
    let (path, query) = split_target(method, target)?;
    let body = BodyLength::Known(0);
    let mut request = Request { method, target, path, query, minor_version, headers, body };
    request.check_host()?;
    request.body = request.find_body_length()?;
    Ok(request)
}

impl<'a> Request<'a> {
    /// All fields in the order they came. Values are trimmed, and need not be UTF-8.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, trim(header.value)))
    }

    /// The values of all fields of a name, in order. Names are compared without regard to case.
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.headers()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
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
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let is_it = |element: &[u8]| element.eq_ignore_ascii_case(token.as_bytes());
        self.values(name).flat_map(elements).any(is_it)
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

    fn check_host(&self) -> Result<(), HttpError> {
        let mut hosts = self.values("host");
        match (hosts.next(), hosts.next()) {
            (Some(_), Some(_)) => {
                Err(HttpError::bad("duplicate_host", "the request has more than one Host"))
            }
            (Some(host), None) if is_host(host) => Ok(()),
            (Some(_), None) => Err(HttpError::bad("bad_host", "the request's Host is malformed")),
            (None, _) if self.minor_version == 0 => Ok(()),
            (None, _) => Err(HttpError::bad("missing_host", "the request has no Host")),
        }
    }

    fn find_body_length(&self) -> Result<BodyLength, HttpError> {
        let mut lengths = self.values("content-length");
        let mut codings = self.values("transfer-encoding");
        match (lengths.next(), codings.next()) {
            (None, None) => Ok(BodyLength::Known(0)),
            (Some(length), None) if lengths.next().is_none() => {
                decimal(length).map(BodyLength::Known).ok_or(BAD_LENGTH)
            }
            (Some(_), None) => Err(BAD_LENGTH),
            (Some(_), Some(_)) => Err(HttpError::bad(
                "ambiguous_length",
                "the request has both Content-Length and Transfer-Encoding",
            )),
            (None, Some(_)) if self.minor_version == 0 || codings.next().is_some() => {
                Err(HttpError::bad("bad_transfer_encoding", "Transfer-Encoding may not stand here"))
            }
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(BodyLength::Chunked)
            }
            (None, Some(_)) => Err(HttpError::new(
                501,
                "unsupported_transfer_encoding",
                "the only transfer coding known here is chunked",
            )),
        }
    }
}

const INCOMPLETE: HttpError = HttpError::bad("head_incomplete", "the request head has no end");
const MALFORMED: HttpError = HttpError::bad("bad_head", "the request head is malformed");
const BAD_TARGET: HttpError = HttpError::bad("bad_target", "the request target is malformed");
const BAD_LENGTH: HttpError =
    HttpError::bad("bad_content_length", "Content-Length is not one plain number");

/// RFC 9112, 2.3: `HTTP/` and two digits, in capitals.
fn check_version(head: &[u8]) -> Result<(), HttpError> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match line.rsplit(|byte| *byte == b' ').next().unwrap_or_default() {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
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
    let (host, port) = match value {
        [b'[', rest @ ..] => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        _ => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    let in_brackets = value.first() == Some(&b'[');
    let is_host_byte = |byte: &u8| match byte {
        b':' => in_brackets,
        b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*'
        | b'+' | b';' | b'=' => true,
        byte => byte.is_ascii_alphanumeric(),
    };
    let port_is_good = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit) && digits.len() <= 5,
        _ => false,
    };
    !host.is_empty() && host.iter().all(is_host_byte) && port_is_good
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
