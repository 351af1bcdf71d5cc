//! The opening handshake from the client's side (RFC 6455, 4.1).

use fulmar_proto::http;

use crate::frames::Random;

/// Longest response head taken, in bytes.
const RESPONSE_BYTES_MAX: usize = 16 << 10;

/// A `Sec-WebSocket-Key`: 16 random bytes in base64.
pub(crate) fn key(random: &mut Random) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut key = String::with_capacity(24);
    for place in 0..22 {
        // The last character carries only two bits; the others of it are zero.
        let bits = if place == 21 { random.next() & 0x30 } else { random.next() & 0x3f };
        key.push(char::from(ALPHABET[usize::from(bits.to_le_bytes()[0])]));
    }
    key.push_str("==");
    key
}

/// The request that opens a connection.
pub(crate) fn request(host: &str, path: &str, key: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let mut request = Vec::with_capacity(192);
    http::write_upgrade_request(&mut request, host, path, key, subprotocol, None);
    request
}

/// Checks a response: `None` while it is incomplete, then how many bytes it has. If `key` is given,
/// the response has to be made from it.
///
/// # Errors
/// Why it does not open a WebSocket, in words.
pub(crate) fn accepted(response: &[u8], key: Option<&str>) -> Result<Option<usize>, String> {
    let (head, consumed) = match http::parse_response(response) {
        Ok(Some(parsed)) => parsed,
        Ok(None) if response.len() > RESPONSE_BYTES_MAX => {
            return Err("a response head without end".to_owned());
        }
        Ok(None) => return Ok(None),
        Err(error) => return Err(format!("not an HTTP response: {error}")),
    };
    if head.status != 101 {
        return Err(format!("status {}", head.status));
    }
    let accept = head.header("sec-websocket-accept").unwrap_or_default();
    if key.is_some_and(|key| accept != http::accept_key(key)) {
        return Err("a wrong Sec-WebSocket-Accept (see --any-accept)".to_owned());
    }
    if head.header("sec-websocket-extensions").is_some() {
        return Err("an extension that was not offered".to_owned());
    }
    Ok(Some(consumed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_example_of_the_standard() {
        let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let mut more = response.to_vec();
        more.extend(b"\x81\x02hi");
        assert_eq!(accepted(&more, Some("dGhlIHNhbXBsZSBub25jZQ==")), Ok(Some(response.len())));
        assert_eq!(accepted(&more[..40], Some("dGhlIHNhbXBsZSBub25jZQ==")), Ok(None));
        assert_eq!(accepted(&more, None), Ok(Some(response.len())));
        assert!(accepted(&more, Some("AAAAAAAAAAAAAAAAAAAAAA==")).is_err());
    }

    #[test]
    fn refuses_other_answers() {
        for response in [
            &b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            &[b'a'; 20_000],
        ] {
            assert!(accepted(response, Some("dGhlIHNhbXBsZSBub25jZQ==")).is_err());
        }
    }

    #[test]
    fn keys_are_the_base64_of_16_bytes() {
        let mut random = Random::new(9);
        let (one, two) = (key(&mut random), key(&mut random));
        assert_ne!(one, two);
        assert!(one.len() == 24 && one.ends_with("=="));
        assert!("AQgw".contains(&one[21..22]));
    }
}
