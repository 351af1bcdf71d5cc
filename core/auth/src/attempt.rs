//! What an authenticator is given.
use std::{fmt, net::IpAddr};

/// One client's wish to be somebody. Borrowed: an authenticator that answers later copies.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The token, where the dialect or the upgrade request had one; else empty.
    pub token: &'a str,
    /// The whole credential as the client sent it: JSON, or empty for none. Only for callbacks.
    pub data: &'a str,
    /// Now, in milliseconds since 1970.
    pub now: u64,
    /// The connection it came over. Only for callbacks.
    pub connection: ConnectionFacts<'a>,
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the token or the data.
        formatter
            .debug_struct("Attempt")
            .field("token_bytes", &self.token.len())
            .field("data_bytes", &self.data.len())
            .field("now", &self.now)
            .field("id", &self.connection.id)
            .field("ip", &self.connection.ip)
            .finish_non_exhaustive()
    }
}

/// What a callback may be told about a connection.
#[derive(Clone, Copy)]
pub struct ConnectionFacts<'a> {
    /// Its id, as logs have it.
    pub id: &'a str,
    /// The client's address (behind proxies: the one that the server trusts).
    pub ip: IpAddr,
    /// Path of the upgrade request, without the query.
    pub path: &'a str,
    /// Header fields of the upgrade request; a callback sends the configured ones only.
    pub headers: &'a [(&'a str, &'a str)],
}

impl fmt::Debug for ConnectionFacts<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Header fields hold cookies and tokens.
        formatter
            .debug_struct("ConnectionFacts")
            .field("id", &self.id)
            .field("ip", &self.ip)
            .field("path", &self.path)
            .field("headers", &self.headers.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_tokens_and_headers() {
        let headers = [("cookie", "session=hidden")];
        let attempt = Attempt {
            token: "hidden",
            data: "\"hidden\"",
            now: 1,
            connection: ConnectionFacts {
                id: "c1",
                ip: IpAddr::from([127, 0, 0, 1]),
                path: "/ws",
                headers: &headers,
            },
        };
        assert!(!format!("{attempt:?} {:?}", attempt.connection).contains("hidden"));
    }
}
