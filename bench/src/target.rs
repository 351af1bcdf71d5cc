//! Where the load goes: a `ws://` address, possibly with a `{room}` in it.

use std::net::{SocketAddr, ToSocketAddrs};

/// A parsed and resolved address.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What goes into the `Host` header: the host, and the port unless it is 80.
    pub(crate) host: String,
    /// The first address the host resolves to.
    pub(crate) address: SocketAddr,
    path: String,
}

impl Target {
    /// Parses `ws://host[:port][/path][?query]` and resolves the host.
    ///
    /// # Errors
    /// A sentence for the person who typed it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let rest = match url.split_once("://") {
            Some(("ws" | "http", rest)) => rest,
            Some(("wss" | "https", _)) => {
                return Err("TLS is not supported: measure behind the TLS terminator".to_owned());
            }
            _ => return Err(format!("`{url}` is not a ws:// address")),
        };
        if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) || url.contains('#') {
            return Err(format!("`{url}` contains a character an address cannot have"));
        }
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        if authority.is_empty() || authority.contains('@') {
            return Err(format!("`{url}` has no usable host"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
        let lookup = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let address = lookup
            .to_socket_addrs()
            .map_err(|error| format!("cannot resolve `{authority}`: {error}"))?
            .next()
            .ok_or_else(|| format!("`{authority}` has no address"))?;
        Ok(Self { host: authority.to_owned(), address, path })
    }

    /// Whether the path differs from room to room.
    pub(crate) fn has_rooms(&self) -> bool {
        self.path.contains("{room}")
    }

    /// The last segment of the path, which names a room where there are no paths.
    pub(crate) fn subject(&self, room: u32) -> String {
        let path = self.path(room);
        let path = path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// The request target; `{room}` becomes the number of the room.
    pub(crate) fn path(&self, room: u32) -> String {
        self.path.replace("{room}", &room.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_host_port_path_and_query() {
        let target = Target::parse("ws://127.0.0.1:9000/rooms/{room}?k={room}").unwrap();
        assert_eq!(target.address, "127.0.0.1:9000".parse().unwrap());
        assert_eq!(target.host, "127.0.0.1:9000");
        assert_eq!(target.path(7), "/rooms/7?k=7");
        assert_eq!(target.subject(7), "7");
        assert!(target.has_rooms());
    }

    #[test]
    fn fills_in_the_port_and_the_path() {
        let target = Target::parse("ws://127.0.0.1").unwrap();
        assert_eq!((target.address.port(), target.path(0).as_str()), (80, "/"));
        assert_eq!(Target::parse("ws://[::1]:81?a").unwrap().path(0), "/?a");
    }

    #[test]
    fn refuses_what_it_cannot_drive() {
        for url in
            ["wss://127.0.0.1/", "127.0.0.1:80", "ws:///x", "ws://u@h/", "ws://127.0.0.1/a b"]
        {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
