//! The client's side of the handshake: for tests, load generators and links between servers.

use super::HttpError;
use super::response::write_header;

const RESPONSE_BYTES_MAX: usize = 16 * 1024;
const RESPONSE_HEADERS_MAX: usize = 100;

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, such as 101 or 426.
    pub status: u16,
    /// All fields in order. Bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
}

impl Response {
    /// The first value of a name, compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let has_name = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().find(has_name).map(|(_, value)| &**value)
    }
}

/// Appends a request for a WebSocket (RFC 6455, 4.1). `key` is 16 random bytes in Base64;
/// `subprotocol` and `extensions` may be comma-separated lists.
pub fn write_upgrade_request(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &str,
    subprotocol: Option<&str>,
    extensions: Option<&str>,
) {
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_header(out, "Host", host);
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
    write_header(out, "Sec-WebSocket-Key", key);
    write_header(out, "Sec-WebSocket-Version", "13");
    if let Some(subprotocol) = subprotocol {
        write_header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(extensions) = extensions {
        write_header(out, "Sec-WebSocket-Extensions", extensions);
    }
    out.extend_from_slice(b"\r\n");
}

/// Reads the head of a response off the start of `bytes`, with its length in bytes; `None` if its
/// end has yet to come. What follows it is a body, or frames.
///
/// # Errors
/// 502 if it is not a response, has more than 100 fields, or has no end within 16 KiB.
pub fn parse_response(bytes: &[u8]) -> Result<Option<(Response, usize)>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; RESPONSE_HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let bad = HttpError::new(502, "bad_response", "the response head is malformed");
    let bytes_in_reach = &bytes[..bytes.len().min(RESPONSE_BYTES_MAX)];
    let end = match parsed.parse(bytes_in_reach) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) if bytes.len() < RESPONSE_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(bad),
    };
    let owned = |header: &httparse::Header<'_>| {
        (header.name.to_owned(), String::from_utf8_lossy(header.value).trim().to_owned())
    };
    let headers = parsed.headers.iter().map(owned).collect();
    let status = parsed.code.ok_or(bad)?;
    Ok(Some((Response { status, headers }, end)))
}

#[cfg(test)]
mod tests {
    use super::super::{HeadLimits, parse, upgrade};
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn asks_for_what_the_server_takes() {
        let mut out = Vec::new();
        write_upgrade_request(&mut out, "h:1", "/p?q", KEY, Some("a, b"), Some("x"));
        let request = parse(&out, &HeadLimits::default()).expect("a good head");
        assert_eq!((request.path, request.query), ("/p", "q"));
        assert_eq!(request.header("host").as_deref(), Some("h:1"));
        let asked = upgrade(&request).expect("a good handshake");
        assert_eq!(asked.key(), KEY);
        assert_eq!(asked.subprotocols().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(asked.extensions().as_deref(), Some("x"));
    }

    #[test]
    fn reads_a_response_and_leaves_what_follows() {
        let bytes = b"HTTP/1.1 101 Switching Protocols\r\nA: b \r\na: \xff\r\n\r\n\x81\x00";
        let (response, end) = parse_response(bytes).expect("good").expect("whole");
        assert_eq!(&bytes[end..], b"\x81\x00");
        assert_eq!(response.status, 101);
        assert_eq!(response.header("a"), Some("b"));
        assert_eq!(response.headers[1].1, "\u{fffd}");
        assert_eq!(response.header("c"), None);
    }

    #[test]
    fn waits_for_the_end_of_a_response_within_bounds() {
        let bytes = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        for end in 0..bytes.len() {
            assert_eq!(parse_response(&bytes[..end]), Ok(None), "{end}");
        }
        let mut endless = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        endless.resize(RESPONSE_BYTES_MAX - 1, b'b');
        assert_eq!(parse_response(&endless), Ok(None));
        endless.push(b'b');
        assert_eq!(parse_response(&endless).expect_err("a refusal").status, 502);
        assert!(parse_response(b"SSH-2.0-x\r\n\r\n").is_err());
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
        assert!(parse_response(many.as_bytes()).is_err());
    }
}
