//! `[fabric]`: the Redis between this node and others.

use super::read::{Reader, Scope};
use super::secret::Secret;
use std::time::Duration;

/// `[fabric]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fabric {
    /// Where Redis is, with users and passwords; empty for a node alone.
    pub(crate) urls: Vec<Secret>,
    /// The connections are called so.
    pub(crate) name: String,
    /// What is subscribed.
    pub(crate) subscriptions: Subscriptions,
    /// How long a subscription outlives the last interest in it.
    pub(crate) linger: Duration,
    /// What happens while Redis is away at the start.
    pub(crate) start: Start,
    /// How long [`Start::Wait`] waits.
    pub(crate) start_timeout: Duration,
    /// Messages that wait for Redis.
    pub(crate) queue_max: usize,
    /// Bytes of a message between nodes.
    pub(crate) message_bytes_max: usize,
    /// How often an idle connection is tried.
    pub(crate) ping_interval: Duration,
}

/// What is subscribed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subscriptions {
    /// What this node has members of.
    Interest,
    /// Everything.
    Patterns,
}

/// What happens while Redis is away at the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Start {
    /// The start waits, then fails.
    Wait,
    /// The node serves alone meanwhile.
    Serve,
}

/// Reads `[fabric]`.
pub(crate) fn resolve(reader: &mut Reader, scope: Scope<'_>) -> Fabric {
    let urls = reader.text_list(scope, "fabric.urls");
    for (index, url) in urls.iter().enumerate() {
        if let Err(expected) = check_url(url) {
            let message = format!("address {} is not one of Redis: {expected}", index + 1);
            reader.report_item(scope, "fabric.urls", index, message);
        }
    }
    let name = reader.text(scope, "fabric.name");
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("'{name}' is not a name: expected printable ASCII without spaces");
        reader.report(scope, "fabric.name", message);
    }
    Fabric {
        urls: urls.into_iter().map(Secret::new).collect(),
        name,
        subscriptions: reader.choice(
            scope,
            "fabric.subscriptions",
            &[Subscriptions::Interest, Subscriptions::Patterns],
        ),
        linger: reader.duration(scope, "fabric.linger"),
        start: reader.choice(scope, "fabric.start", &[Start::Wait, Start::Serve]),
        start_timeout: reader.duration(scope, "fabric.start_timeout"),
        queue_max: reader.number(scope, "fabric.queue_max"),
        message_bytes_max: reader.number(scope, "fabric.message_bytes_max"),
        ping_interval: reader.duration(scope, "fabric.ping_interval"),
    }
}

/// Looks at an address as far as that goes without a parser; the rest is found at the start.
///
/// # Errors
/// What would be accepted. Never a part of the address, which may hold a password.
pub(crate) fn check_url(url: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected redis://[USER:PASSWORD@]HOST[:PORT]";
    let rest = url.strip_prefix("redis://").or_else(|| url.strip_prefix("rediss://"));
    let rest = rest.ok_or(EXPECTED)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(EXPECTED)?.1.strip_prefix(':'),
        None => host.split_once(':').map(|(_, port)| port),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_host = !host.is_empty() && !host.starts_with(':');
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    if is_host && is_port && is_plain { Ok(()) } else { Err(EXPECTED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_and_a_host() {
        for url in [
            "redis://127.0.0.1",
            "redis://127.0.0.1:6379/0",
            "redis://user:p%40ss@redis.example:6380",
            "redis://[::1]:6379",
            "rediss://redis.example",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in ["", "127.0.0.1:6379", "http://x", "redis://", "redis://:6379", "redis://x:y"] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }
}
