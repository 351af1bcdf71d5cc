//! What is known when a connection opens.
use std::{borrow::Cow, fmt, net::SocketAddr};

use crate::{CallError, Link, Object};

/// Who a connection acts for. One type for all dialects and authenticators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of the user; `None` for anonymous.
    pub user: Option<Box<str>>,
    /// JSON object; empty for none.
    pub claims: Box<str>,
    /// Milliseconds since 1970; `None` for never.
    pub expires: Option<u64>,
}

impl Identity {
    /// A user by this name, without claims, for ever.
    pub fn user(name: impl Into<Box<str>>) -> Self {
        Self { user: Some(name.into()), ..Self::default() }
    }

    /// The same with what else is known: something that serialises to a JSON object.
    ///
    /// # Errors
    /// If its `Serialize` fails.
    pub fn with_claims(mut self, claims: &impl serde::Serialize) -> Result<Self, CallError> {
        self.claims = sonic_rs::to_string(claims)?.into();
        Ok(self)
    }

    /// The same until then, in milliseconds since 1970: its connection is closed unless the client
    /// has proved itself again by then.
    #[must_use]
    pub fn until(mut self, expires: u64) -> Self {
        self.expires = Some(expires);
        self
    }
}

/// The request that opened a connection. Borrowed: a session copies what it needs.
#[derive(Clone, Copy)]
pub struct OpenRequest<'a> {
    /// The path, as it was asked for (percent-encoded), without the query.
    pub path: &'a str,
    /// Behind the `?`, still percent-encoded; empty without one.
    pub query: &'a str,
    /// Path parameters by name, decoded: `/rooms/:room` gives `room`.
    pub parameters: &'a [(&'a str, &'a str)],
    /// Header fields in the order in which they came.
    pub headers: &'a [(&'a str, &'a str)],
    /// What was agreed on (RFC 6455, 4.2.2).
    pub subprotocol: Option<&'a str>,
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// UUID of the connection, as bits; a room of its own in dialects that have one.
    pub id: u128,
    /// What the upgrade's guard found out.
    pub identity: Option<&'a Identity>,
    /// For dialects that make stubs.
    pub link: &'a Link,
    /// The endpoint as an object, for dialects that can pass it on.
    pub main: &'a Object,
}

impl<'a> OpenRequest<'a> {
    /// A path parameter by name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The first query parameter of this name, decoded ([`query_parameter`]).
    #[must_use]
    pub fn query_parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        query_parameter(self.query, name)
    }

    /// The first header field of this name, in any case (RFC 9110, 5.1).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// [`id`](Self::id) as text.
    #[must_use]
    pub fn id_text(&self) -> String {
        uuid_text(self.id)
    }
}

impl fmt::Debug for OpenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and the query may hold secrets.
        f.debug_struct("OpenRequest")
            .field("path", &self.path)
            .field("peer", &self.peer)
            .field("id", &self.id_text())
            .finish_non_exhaustive()
    }
}

/// A UUID in its usual form (RFC 9562, 4): `a925b2a5-d553-4033-ac90-5690237da265`.
#[must_use]
pub fn uuid_text(id: u128) -> String {
    let digits = format!("{id:032x}");
    let mut text = String::with_capacity(36);
    for (position, digit) in digits.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// The first parameter of this name in a query string. `+` is a space and `%XX` a byte, as forms
/// write them; bytes that are not UTF-8 become U+FFFD. A name without `=` has an empty value.
#[must_use]
pub fn query_parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query_parameters(query).find(|(known, _)| known == name).map(|(_, value)| value)
}

/// All parameters of a query string in order, decoded as in [`query_parameter`].
pub fn query_parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match behind.first_chunk::<2>().and_then(|digits| hex_byte(*digits)) {
                Some(byte) => {
                    bytes.push(byte);
                    rest = behind.get(2..).unwrap_or_default();
                }
                // Not an escape: left as it is, as browsers do.
                None => bytes.push(b'%'),
            },
            other => bytes.push(other),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_uuid_in_its_usual_form() {
        let id = 0xa925_b2a5_d553_4033_ac90_5690_237d_a265;
        assert_eq!(uuid_text(id), "a925b2a5-d553-4033-ac90-5690237da265");
        assert_eq!(uuid_text(1), "00000000-0000-0000-0000-000000000001");
    }

    #[test]
    fn decodes_query_parameters() {
        let query = "room=a%20b+c&&flag&bad=%zz%f&room=second&%6eame=%C3%A9&x=%ff";
        assert_eq!(query_parameter(query, "room").as_deref(), Some("a b c"));
        assert_eq!(query_parameter(query, "flag").as_deref(), Some(""));
        assert_eq!(query_parameter(query, "bad").as_deref(), Some("%zz%f"));
        assert_eq!(query_parameter(query, "name").as_deref(), Some("é"));
        assert_eq!(query_parameter(query, "x").as_deref(), Some("\u{fffd}"));
        assert_eq!(query_parameter(query, "none"), None);
        assert!(matches!(query_parameter("a=plain", "a"), Some(Cow::Borrowed("plain"))));
    }
}
