//! The opening handshake from the client's side (RFC 6455, 4.1).

use std::io;
use std::time::{Duration, Instant};

use fulmar_proto::http::{self, Response};

use crate::clock;
use crate::entropy;
use crate::error::ConnectionError;
use crate::socket::Socket;
use crate::url::Target;

/// How often a handshake looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// Fields that belong to the handshake itself.
const RESERVED: [&str; 5] =
    ["host", "upgrade", "connection", "content-length", "transfer-encoding"];

/// Checks fields that are to be added to the request.
///
/// # Errors
/// Why one of them may not, in words.
pub(crate) fn check_headers(headers: &[(String, String)]) -> Result<(), String> {
    for (name, value) in headers {
        // RFC 9110, 5.6.2.
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("`headers`: {name:?} is no name of a field"));
        }
        if RESERVED.contains(&&*lower) || lower.starts_with("sec-websocket-") {
            return Err(format!("`headers`: {name} belongs to the handshake"));
        }
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(format!("`headers`: {name} has a control character in its value"));
        }
    }
    Ok(())
}

/// Makes a WebSocket of a socket. Returns what has come after the server's answer, or nothing if
/// nobody wants it any more.
///
/// # Errors
/// Why there is none.
pub(crate) fn shake(
    socket: &dyn Socket,
    target: &Target,
    headers: &[(String, String)],
    timeout: Duration,
    is_unwanted: &dyn Fn() -> bool,
) -> Result<Option<Vec<u8>>, ConnectionError> {
    let failed = |error: &io::Error| {
        ConnectionError::connect(format!("the handshake with {target} failed: {error}"), "")
    };
    let deadline = clock::after(timeout);
    let key = entropy::websocket_key();
    let request = request(target, headers, &key);
    write_all(socket, &request, deadline).map_err(|error| failed(&error))?;
    let mut received = Vec::new();
    loop {
        let left = deadline.map_or(LOOK, clock::until);
        if left.is_zero() {
            let hint = "is it a WebSocket server, and is it up? See `connect_timeout`";
            return Err(ConnectionError::connect(format!("{target} does not answer"), hint));
        }
        if is_unwanted() {
            return Ok(None);
        }
        let mut piece = [0; 4096];
        let wait = left.clamp(Duration::from_millis(1), LOOK);
        let read = socket.set_read_timeout(wait).and_then(|()| socket.read(&mut piece));
        match read {
            Ok(0) => return Err(failed(&io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => received.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if is_wait(&error) => continue,
            Err(error) => return Err(failed(&error)),
        }
        if let Some(end) = accepted(&received, &key, target)? {
            return Ok(Some(received.split_off(end)));
        }
    }
}

/// Whether an error of a read means that there was nothing to read in time.
pub(crate) fn is_wait(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn request(target: &Target, headers: &[(String, String)], key: &str) -> Vec<u8> {
    let mut request = Vec::with_capacity(256);
    let authority = target.authority();
    http::write_upgrade_request(&mut request, &authority, target.path(), key, None, None);
    // More fields go before the empty line.
    request.truncate(request.len() - 2);
    for (name, value) in headers {
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

fn write_all(socket: &dyn Socket, mut bytes: &[u8], deadline: Option<Instant>) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = deadline.map_or(LOOK, clock::until);
        socket.set_write_timeout(left.max(Duration::from_millis(1)))?;
        match socket.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Checks the answer: `None` while it is incomplete, then how many bytes it has.
fn accepted(received: &[u8], key: &str, target: &Target) -> Result<Option<usize>, ConnectionError> {
    let refused = |what: &str, hint: &str| {
        Err(ConnectionError::connect(format!("{target} is no WebSocket: {what}"), hint))
    };
    let (response, end) = match http::parse_response(received) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(error) => return refused(&error.to_string(), "is it the right port?"),
    };
    if response.status != 101 {
        let phrase = http::reason_phrase(response.status);
        let what = format!("it answers {} {phrase}", response.status);
        return refused(&what, hint(response.status));
    }
    match fault(&response, key) {
        Some(what) => refused(what, ""),
        None => Ok(Some(end)),
    }
}

/// RFC 6455, 4.1, for a client that offers neither subprotocols nor extensions.
fn fault(response: &Response, key: &str) -> Option<&'static str> {
    let has = |name: &str, token: &str| {
        let values = response.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut tokens = values.flat_map(|(_, value)| value.split(','));
        tokens.any(|known| known.trim().eq_ignore_ascii_case(token))
    };
    if !has("upgrade", "websocket") || !has("connection", "upgrade") {
        return Some("it does not switch protocols");
    }
    if response.header("sec-websocket-accept") != Some(&*http::accept_key(key)) {
        return Some("its Sec-WebSocket-Accept is wrong");
    }
    if response.header("sec-websocket-extensions").is_some() {
        return Some("it chose an extension that was not offered");
    }
    if response.header("sec-websocket-protocol").is_some() {
        return Some("it chose a subprotocol that was not offered");
    }
    None
}

fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => "use the URL that it redirects to",
        401 | 403 => "check `headers` and the origin",
        404 | 405 | 426 => "check the path: `/ws` is added to the URL's",
        429 | 503 => "the server is full or stopping",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    fn target() -> Target {
        Target::parse("ws://h:1/a?b").unwrap()
    }

    #[test]
    fn fields_are_added_to_the_request() {
        let headers = [("X-A".to_owned(), "b".to_owned())];
        let request = String::from_utf8(request(&target(), &headers, KEY)).unwrap();
        assert!(request.starts_with("GET /a/ws?b HTTP/1.1\r\nHost: h:1\r\n"), "{request}");
        assert!(request.ends_with("\r\nX-A: b\r\n\r\n"), "{request}");
        assert_eq!(request.matches("\r\n\r\n").count(), 1);
    }

    #[test]
    fn fields_that_would_break_the_handshake_are_refused() {
        let check = |name: &str, value: &str| check_headers(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(check("Authorization", "Bearer x"), Ok(()));
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("a", "x\r\ny: z"),
            ("Host", "x"),
            ("sec-WebSocket-Key", "x"),
            ("Transfer-Encoding", "chunked"),
        ] {
            assert!(check(name, value).is_err(), "{name}");
        }
    }

    #[test]
    fn only_a_whole_and_right_answer_is_accepted() {
        let answer = |more: &str| {
            let text = format!("{ACCEPTED}{more}\r\n\x01");
            accepted(text.as_bytes(), KEY, &target()).map(|end| end.map(|end| text.len() - end))
        };
        assert_eq!(answer(""), Ok(Some(1)));
        assert_eq!(accepted(ACCEPTED.as_bytes(), KEY, &target()), Ok(None));
        assert!(answer("Sec-WebSocket-Extensions: permessage-deflate\r\n").is_err());
        assert!(answer("Sec-WebSocket-Protocol: x\r\n").is_err());
        let other_key = accepted(format!("{ACCEPTED}\r\n").as_bytes(), "other", &target());
        assert!(other_key.unwrap_err().message.contains("Accept"));
        let missing = accepted(b"HTTP/1.1 404 Not Found\r\n\r\n", KEY, &target()).unwrap_err();
        assert!(missing.message.contains("404 Not Found") && missing.hint.contains("/ws"));
        assert!(accepted(b"SSH-2.0-x\r\n\r\n", KEY, &target()).is_err());
    }
}
