//! Where a server is.

use std::fmt;

/// What a URL such as `https://host/api` says about a WebSocket: the endpoint is `ws` below its
/// path, and its query is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    /// Reads `http`, `https`, `ws` and `wss` URLs. A fragment is dropped.
    ///
    /// # Errors
    /// Why it is no URL of a server, in words.
    pub fn parse(url: &str) -> Result<Self, String> {
        let fault = |what: &str| format!("`{url}`: {what}");
        if url.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(fault("a URL has no spaces, control characters or letters beyond ASCII"));
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| fault("a URL begins with http://, https://, ws:// or wss://"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(fault("the scheme is none of http, https, ws and wss")),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(fault("a password does not belong here: use `headers`"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| fault("host or port is wrong"))?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host: host.to_owned(), port, path: endpoint(tail) })
    }

    /// Whether the connection has to be encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host's name or address; an address of IPv6 without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: 80 or 443 unless the URL says so.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of the WebSocket, and the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the header `Host` says (RFC 9110, 7.2): the port only if it is not the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        // The query may hold a secret, and this goes into messages.
        let path = self.path.split_once('?').map_or(&*self.path, |(path, _)| path);
        write!(formatter, "{scheme}://{}{path}", self.authority())
    }
}

/// Host and port; `None` if they cannot be.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return None;
        }
        (host, port)
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        authority.split_at(end)
    };
    if host.is_empty() {
        return None;
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        Some("") => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok()?)))
        }
        None | Some(_) => None,
    }
}

/// The path gets a `/` if it has none at its end, and `ws`.
fn endpoint(tail: &str) -> String {
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (tail, None),
    };
    let slash = if path.ends_with('/') { "" } else { "/" };
    match query {
        Some(query) => format!("{path}{slash}ws?{query}"),
        None => format!("{path}{slash}ws"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_ws_below_its_path() {
        for (url, authority, path, secure, port) in [
            ("http://h", "h", "/ws", false, 80),
            ("ws://h:3000", "h:3000", "/ws", false, 3000),
            ("http://h/api", "h", "/api/ws", false, 80),
            ("http://h/api/", "h", "/api/ws", false, 80),
            ("https://h:443/a/b?x=1&y", "h", "/a/b/ws?x=1&y", true, 443),
            ("WSS://h?token=a/b#f", "h", "/ws?token=a/b", true, 443),
            ("ws://[::1]:9/", "[::1]:9", "/ws", false, 9),
            ("http://127.0.0.1:/x", "127.0.0.1", "/x/ws", false, 80),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.authority(), authority, "{url}");
            assert_eq!((target.path(), target.is_secure(), target.port()), (path, secure, port));
        }
        let target = Target::parse("ws://[::1]:9/a?token=secret").unwrap();
        assert_eq!(target.host(), "::1");
        assert_eq!(target.to_string(), "ws://[::1]:9/a/ws");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in [
            "",
            "/api",
            "h:80",
            "ftp://h",
            "http://",
            "http://:80",
            "http://h:x",
            "http://h:+1",
            "http://h:65536",
            "http://user:password@h",
            "http://h/a b",
            "http://h/\r\nX: y",
            "http://[::1",
            "http://[x]",
            "http://[::1]9",
            "http://ü",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
