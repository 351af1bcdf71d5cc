//! The WebSocket handshake as the server sees it (RFC 6455, 4.2).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose};
use sha1::{Digest as _, Sha1};

use super::syntax::elements;
use super::{BodyLength, HttpError, Request};

/// RFC 6455, 1.3: what is put after the key before it is hashed.
const ACCEPT_SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;
/// A hash of 20 bytes in base64.
const ACCEPT_BYTES: usize = 28;

/// Keys are padded, as they must be, but the bits that the padding leaves over may be anything:
/// many a client makes up its 22 characters without regard to them.
const KEY_ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A valid request for a WebSocket: what it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade<'r> {
    request: &'r Request<'r>,
    key: &'r str,
}

/// Checks that a request is a WebSocket handshake (RFC 6455, 4.2.1).
///
/// # Errors
/// - 405 if the method is not GET;
/// - 426 if the request asks for no WebSocket, or for a version other than 13;
/// - 400 if it is HTTP/1.0, or its `Connection` does not name the upgrade, or it has not exactly
///   one key of 16 bytes, or it has a body, whose bytes would be taken for frames.
pub fn upgrade<'r>(request: &'r Request<'_>) -> Result<Upgrade<'r>, HttpError> {
    if request.method != "GET" {
        return Err(HttpError::new(405, "method_not_allowed", "a WebSocket begins with a GET"));
    }
    if !request.wants_upgrade() {
        return Err(HttpError::new(426, "upgrade_required", "only WebSockets are served here"));
    }
    if request.minor_version != 1 {
        return Err(HttpError::bad("http_version", "a WebSocket begins with HTTP/1.1"));
    }
    if !request.has_token("connection", "upgrade") {
        return Err(HttpError::bad("bad_connection", "Connection does not name the upgrade"));
    }
    let mut versions = request.values("sec-websocket-version");
    if (versions.next(), versions.next()) != (Some(b"13"), None) {
        return Err(HttpError::new(426, "websocket_version", "the WebSocket version has to be 13"));
    }
    let key = find_key(request)?;
    if request.body_length() != BodyLength::Known(0) {
        return Err(HttpError::bad("unexpected_body", "the request for a WebSocket has a body"));
    }
    Ok(Upgrade { request, key })
}

impl<'r> Upgrade<'r> {
    /// The client's key as it was sent: see [`accept_key`].
    #[must_use]
    pub fn key(&self) -> &'r str {
        self.key
    }

    /// The subprotocols the client offers, the one it likes most first. Several fields count as
    /// one.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'r str> + use<'r> {
        self.request
            .values("sec-websocket-protocol")
            .flat_map(elements)
            .filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// The extensions the client offers, as one list: several fields are joined with `", "`. `None`
    /// if it offers none.
    #[must_use]
    pub fn extensions(&self) -> Option<Cow<'r, str>> {
        let mut values =
            self.request.values("sec-websocket-extensions").filter(|value| !value.is_empty());
        let mut offers = String::from_utf8_lossy(values.next()?);
        for value in values {
            let all = offers.to_mut();
            all.push_str(", ");
            all.push_str(&String::from_utf8_lossy(value));
        }
        Some(offers)
    }

    /// Which page's script asks, if a browser does (RFC 6454, 7).
    #[must_use]
    pub fn origin(&self) -> Option<Cow<'r, str>> {
        self.request.header("origin")
    }
}

/// What `Sec-WebSocket-Accept` answers to a key (RFC 6455, 4.2.2): 28 characters.
#[must_use]
pub fn accept_key(key: &str) -> String {
    general_purpose::STANDARD.encode(hash(key))
}

/// The characters of [`accept_key`], without an allocation.
pub(super) fn accept(key: &str) -> [u8; ACCEPT_BYTES] {
    let mut accept = [0; ACCEPT_BYTES];
    general_purpose::STANDARD
        .encode_slice(hash(key), &mut accept)
        .expect("the 20 bytes of a hash make 28 characters");
    accept
}

fn hash(key: &str) -> [u8; 20] {
    Sha1::new().chain_update(key).chain_update(ACCEPT_SALT).finalize().into()
}

/// The subprotocol to speak: the first that the client offers and we have. Names are compared
/// exactly (RFC 6455, 1.9).
#[must_use]
pub fn choose_subprotocol<'offered, 'ours>(
    offered: impl Iterator<Item = &'offered str>,
    ours: &[&'ours str],
) -> Option<&'ours str> {
    offered.into_iter().find_map(|name| ours.iter().find(|known| **known == name)).copied()
}

fn find_key<'r>(request: &'r Request<'_>) -> Result<&'r str, HttpError> {
    let bad = HttpError::bad("bad_websocket_key", "Sec-WebSocket-Key is not one key of 16 bytes");
    let mut keys = request.values("sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(bad) };
    let mut decoded = [0; KEY_BYTES + 2];
    match KEY_ENGINE.decode_slice(key, &mut decoded) {
        Ok(KEY_BYTES) => std::str::from_utf8(key).map_err(|_| bad),
        Ok(_) | Err(_) => Err(bad),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HeadLimits, parse};
    use super::*;

    const HOST: &str = "Host: here";
    const UPGRADE: &str = "Upgrade: websocket";
    const CONNECTION: &str = "Connection: Upgrade";
    const VERSION: &str = "Sec-WebSocket-Version: 13";
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

    fn head(line: &str, fields: &[&str]) -> Vec<u8> {
        let mut head = format!("{line}\r\n");
        for field in fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    fn get(fields: &[&str]) -> Vec<u8> {
        head("GET /chat HTTP/1.1", fields)
    }

    fn refusal(head: &[u8]) -> (u16, &'static str) {
        let request = parse(head, &HeadLimits::default()).expect("a good head");
        let error = upgrade(&request).expect_err("a refusal");
        (error.status, error.reason)
    }

    /// The offers of a good handshake with these fields added.
    fn offers(fields: &[&str]) -> (Vec<String>, Option<String>, Option<String>) {
        let head = get(&[&[HOST, UPGRADE, CONNECTION, VERSION, KEY], fields].concat());
        let request = parse(&head, &HeadLimits::default()).expect("a good head");
        let upgrade = upgrade(&request).expect("a good handshake");
        assert_eq!(upgrade.key(), "dGhlIHNhbXBsZSBub25jZQ==");
        (
            upgrade.subprotocols().map(str::to_owned).collect(),
            upgrade.extensions().map(Cow::into_owned),
            upgrade.origin().map(Cow::into_owned),
        )
    }

    #[test]
    fn answers_the_key_of_the_standard() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn takes_tokens_among_others_and_in_any_case() {
        let fields = [
            HOST,
            "upgrade: h2c, WebSocket",
            "connection: keep-alive",
            "Connection: , UPGRADE",
            VERSION,
            KEY,
            "Content-Length: 0",
        ];
        let head = get(&fields);
        let request = parse(&head, &HeadLimits::default()).expect("a good head");
        assert!(request.wants_upgrade());
        assert!(upgrade(&request).is_ok());
    }

    #[test]
    fn collects_offers_over_several_fields() {
        assert_eq!(offers(&[]), (vec![], None, None));
        let (subprotocols, extensions, origin) = offers(&[
            "Sec-WebSocket-Protocol: a, b",
            "Sec-WebSocket-Extensions: x; y=1",
            "Origin: https://page",
            "sec-websocket-protocol: ,c",
            "sec-websocket-extensions: z",
        ]);
        assert_eq!(subprotocols, ["a", "b", "c"]);
        assert_eq!(extensions.as_deref(), Some("x; y=1, z"));
        assert_eq!(origin.as_deref(), Some("https://page"));
        assert_eq!(offers(&["Sec-WebSocket-Extensions:"]).1, None);
    }

    #[test]
    fn refuses_other_methods_with_405() {
        for method in ["POST", "HEAD", "get", "OPTIONS"] {
            let line = format!("{method} / HTTP/1.1");
            let head = head(&line, &[HOST, UPGRADE, CONNECTION, VERSION, KEY]);
            assert_eq!(refusal(&head), (405, "method_not_allowed"), "{method}");
        }
    }

    #[test]
    fn refuses_http_1_0() {
        let head = head("GET / HTTP/1.0", &[HOST, UPGRADE, CONNECTION, VERSION, KEY]);
        assert_eq!(refusal(&head), (400, "http_version"));
    }

    #[test]
    fn demands_an_upgrade_to_websocket_with_426() {
        for field in ["X: y", "Upgrade: h2c", "Upgrade: websocket2", "Upgrade: web socket"] {
            let head = get(&[HOST, field, CONNECTION, VERSION, KEY]);
            assert_eq!(refusal(&head), (426, "upgrade_required"), "{field}");
        }
    }

    #[test]
    fn demands_the_connection_token() {
        for field in ["X: y", "Connection: keep-alive", "Connection: upgrades", "Connection:"] {
            let head = get(&[HOST, UPGRADE, field, VERSION, KEY]);
            assert_eq!(refusal(&head), (400, "bad_connection"), "{field}");
        }
    }

    #[test]
    fn refuses_other_versions_with_426() {
        let name = "Sec-WebSocket-Version";
        for version in ["8", "14", "", "13, 8", "013", "1 3"] {
            let head = get(&[HOST, UPGRADE, CONNECTION, &format!("{name}: {version}"), KEY]);
            assert_eq!(refusal(&head), (426, "websocket_version"), "{version}");
        }
        assert_eq!(refusal(&get(&[HOST, UPGRADE, CONNECTION, KEY])).0, 426);
        assert_eq!(refusal(&get(&[HOST, UPGRADE, CONNECTION, VERSION, VERSION, KEY])).0, 426);
    }

    #[test]
    fn demands_exactly_one_key_of_16_bytes() {
        for key in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZXg=",
            "dGhlIHNhbXBsZSBub25jZXh4",
            "dGhlIHNhbXBsZSBub24=",
            "dGhl IHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25j_Q==",
            "\u{e9}GhlIHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        ] {
            let field = format!("Sec-WebSocket-Key: {key}");
            let head = get(&[HOST, UPGRADE, CONNECTION, VERSION, &field]);
            assert_eq!(refusal(&head), (400, "bad_websocket_key"), "{key}");
        }
        assert_eq!(refusal(&get(&[HOST, UPGRADE, CONNECTION, VERSION])).1, "bad_websocket_key");
        let twice = get(&[HOST, UPGRADE, CONNECTION, VERSION, KEY, KEY]);
        assert_eq!(refusal(&twice), (400, "bad_websocket_key"));
    }

    #[test]
    fn bears_a_key_with_leftover_bits() {
        let field = "Sec-WebSocket-Key: abcdefghijklmnopqrstuv==";
        let head = get(&[HOST, UPGRADE, CONNECTION, VERSION, field]);
        let request = parse(&head, &HeadLimits::default()).expect("a good head");
        assert!(upgrade(&request).is_ok());
    }

    #[test]
    fn refuses_a_body_that_would_be_taken_for_frames() {
        for field in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let head = get(&[HOST, UPGRADE, CONNECTION, VERSION, KEY, field]);
            assert_eq!(refusal(&head), (400, "unexpected_body"), "{field}");
        }
    }

    #[test]
    fn chooses_what_the_client_likes_most() {
        let ours: &[&'static str] = &["a", "b"];
        assert_eq!(choose_subprotocol(["x", "b", "a"].into_iter(), ours), Some("b"));
        assert_eq!(choose_subprotocol(["A", "x"].into_iter(), ours), None);
        assert_eq!(choose_subprotocol(std::iter::empty(), ours), None);
        let chosen: Option<&'static str> = {
            let offered = String::from("a");
            choose_subprotocol(std::iter::once(offered.as_str()), ours)
        };
        assert_eq!(chosen, Some("a"));
    }
}
