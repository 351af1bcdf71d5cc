//! What a server answers.

use super::HttpError;
use super::upgrade::accept;

/// Appends the answer that turns the connection into a WebSocket (RFC 6455, 4.2.2).
///
/// `key` is the client's, `subprotocol` one it offered, `extensions` what was agreed on.
pub fn write_switching_protocols(
    out: &mut Vec<u8>,
    key: &str,
    subprotocol: Option<&str>,
    extensions: Option<&str>,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(&accept(key));
    out.extend_from_slice(b"\r\n");
    if let Some(subprotocol) = subprotocol {
        write_header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(extensions) = extensions {
        write_header(out, "Sec-WebSocket-Extensions", extensions);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole response, after which the connection is to be closed: it says `Connection:
/// close`.
///
/// `Content-Length` tells the length of `body` even if `is_head` keeps the body itself back (RFC
/// 9110, 9.3.2). A 204 has neither. `headers` must not hold `Content-Length`, `Transfer-Encoding`
/// or `Connection`; control characters in their values become spaces, so that none can forge
/// another.
pub fn write_response(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
    is_head: bool,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        write_header(out, name, value);
    }
    // RFC 9110, 8.6: no length where there can be no content.
    let has_content = status != 204;
    if has_content {
        write_header(out, "Content-Length", &body.len().to_string());
    }
    // RFC 9110, 7.8: whoever sends `Upgrade` names it in `Connection`.
    let has_upgrade = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    write_header(out, "Connection", if has_upgrade { "close, Upgrade" } else { "close" });
    out.extend_from_slice(b"\r\n");
    if has_content && !is_head {
        out.extend_from_slice(body);
    }
}

/// Appends the response that tells a peer why its request is refused: the error's reason and
/// message as text, and the fields its status calls for: `Allow` with 405 (RFC 9110, 15.5.6),
/// `Upgrade` and the version with 426 (RFC 9110, 15.5.22; RFC 6455, 4.4).
pub fn write_refusal(out: &mut Vec<u8>, error: &HttpError) {
    let mut headers = vec![("Content-Type", "text/plain; charset=utf-8")];
    match error.status {
        405 => headers.push(("Allow", "GET")),
        426 => headers.extend([("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]),
        _ => {}
    }
    let body = format!("{}: {}\n", error.reason, error.message);
    write_response(out, error.status, &headers, body.as_bytes(), false);
}

/// The phrase that goes with a status code (RFC 9110, 15); `Unknown` for one that is not in use
/// here.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let start = out.len();
    out.extend_from_slice(value.as_bytes());
    // In place, where the compiler takes many bytes at a time.
    for byte in out.iter_mut().skip(start) {
        *byte = if byte.is_ascii_control() { b' ' } else { *byte };
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn switches_protocols_as_the_standard_shows() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(
            text(|out| write_switching_protocols(out, key, Some("chat"), None)),
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: chat\r\n\r\n"
        );
        let answer = text(|out| write_switching_protocols(out, key, None, Some("x; y")));
        assert!(answer.ends_with("xOo=\r\nSec-WebSocket-Extensions: x; y\r\n\r\n"), "{answer}");
    }

    #[test]
    fn writes_a_response_with_its_length() {
        assert_eq!(
            text(|out| write_response(
                out,
                200,
                &[("Content-Type", "text/plain")],
                b"hello",
                false
            )),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
             Connection: close\r\n\r\nhello"
        );
    }

    #[test]
    fn keeps_the_body_back_from_a_head_request_but_tells_its_length() {
        let answer = text(|out| write_response(out, 200, &[], b"hello", true));
        assert!(answer.contains("Content-Length: 5\r\n"));
        assert!(answer.ends_with("\r\n\r\n"));
        let none = text(|out| write_response(out, 204, &[], b"hello", false));
        assert_eq!(none, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn lets_no_value_forge_another_header() {
        let answer = text(|out| write_response(out, 200, &[("A", "b\r\nC: d\0")], b"", false));
        assert!(answer.contains("\r\nA: b  C: d \r\n"), "{answer}");
    }

    #[test]
    fn appends_to_what_is_there() {
        let mut out = b"before".to_vec();
        write_response(&mut out, 404, &[], b"", false);
        assert!(out.starts_with(b"beforeHTTP/1.1 404 Not Found\r\n"));
    }

    #[test]
    fn tells_with_a_refusal_what_would_be_taken() {
        let required = HttpError::new(426, "upgrade_required", "only WebSockets are served here");
        assert_eq!(
            text(|out| write_refusal(out, &required)),
            "HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nContent-Length: 50\r\n\
             Connection: close, Upgrade\r\n\r\nupgrade_required: only WebSockets are served here\n"
        );
        let method = HttpError::new(405, "method_not_allowed", "no");
        assert!(text(|out| write_refusal(out, &method)).contains("\r\nAllow: GET\r\n"));
        let bad = text(|out| write_refusal(out, &HttpError::bad("bad_host", "no")));
        assert!(bad.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert!(bad.ends_with("\r\n\r\nbad_host: no\n"));
    }
}
