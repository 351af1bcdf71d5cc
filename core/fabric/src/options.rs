//! What a node says about its fabric, and what the fabric tells the node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::handle::StartError;

/// How a fabric is set up. [`Options::new`] has the defaults.
#[derive(Clone)]
pub struct Options {
    /// `redis://[user:password@]host[:port]`, or `rediss://` with the feature `tls`. Several are
    /// nodes of one Redis Cluster, or addresses of one and the same server: they are tried in this
    /// order at each attempt. A replica outside of a cluster does not pass messages on to its
    /// primary, so it is no fallback.
    pub urls: Vec<String>,
    /// The connections are named `<name>-pub` and `<name>-sub` (`CLIENT SETNAME`). Printable ASCII
    /// without spaces. Default `fulmar`.
    pub name: String,
    /// How the node hears of messages. Default [`Subscriptions::ByInterest`] with 10 s.
    pub subscriptions: Subscriptions,
    /// What happens while Redis cannot be reached at start. Default: wait 30 s.
    pub start: StartPolicy,
    /// Letters that may wait for being published; more are dropped. Default 65,536.
    pub queue_max: usize,
    /// Bytes that may wait, for parcels that know theirs. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// The longest envelope in bytes; longer ones are dropped, both ways. Default 1 MiB.
    pub message_bytes_max: usize,
    /// The first pause before connecting again; doubles up to `backoff_max`. Default 100 ms.
    pub backoff_first: Duration,
    /// The longest pause before connecting again. Default 2 s.
    pub backoff_max: Duration,
    /// How long one address may take to connect and log in. Default 2 s.
    pub connect_timeout: Duration,
    /// How long Redis may take to answer before the connection is given up. Default 2 s.
    pub response_timeout: Duration,
    /// How often an idle connection is tried, so that a dead peer is noticed. Default 5 s.
    pub ping_interval: Duration,
    /// Told about connections. Default none.
    pub observe: Option<Observer>,
}

/// Told about a fabric's connections, on the fabric's thread: must not block.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// How a node hears of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscriptions {
    /// One channel for each room, user and client the node has.
    ByInterest {
        /// How long a channel stays after the node's last interest in it.
        linger: Duration,
    },
    /// The patterns `ws:room:*`, `ws:client:*` and `ws:user:*`: every node hears everything.
    Patterns,
}

/// What happens while Redis cannot be reached at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPolicy {
    /// [`Fabric::start`](crate::Fabric::start) waits this long, then fails.
    Wait(Duration),
    /// The node serves what it can alone; the fabric connects in the background.
    ServeLocally,
}

/// One of a fabric's two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// The one that publishes.
    Publisher,
    /// The one that listens.
    Subscriber,
}

/// What happened to a connection. Texts never contain passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection can be used; for the subscriber, all of interest is subscribed.
    Connected {
        /// Which one.
        link: Link,
        /// The address without user and password.
        address: Arc<str>,
    },
    /// A connection was lost.
    Disconnected {
        /// Which one.
        link: Link,
        /// The address without user and password.
        address: Arc<str>,
        /// The reason.
        why: Arc<str>,
    },
    /// No address could be connected to; another attempt follows.
    Waiting {
        /// Which one.
        link: Link,
        /// What was tried, and what came of it.
        why: Arc<str>,
        /// The time until the next attempt.
        pause: Duration,
    },
    /// All of interest is subscribed on a new connection.
    Resubscribed {
        /// Channels and patterns.
        count: usize,
    },
}

impl Options {
    /// The defaults, for one server.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], ..Self::default() }
    }

    pub(crate) fn addresses(&self) -> Result<Vec<Address>, StartError> {
        let well_named = !self.name.is_empty() && self.name.bytes().all(|b| b.is_ascii_graphic());
        if !well_named {
            return Err(StartError::Option("name must be printable ASCII without spaces"));
        }
        if self.queue_max == 0 || self.queue_bytes_max == 0 || self.message_bytes_max == 0 {
            return Err(StartError::Option("the fabric's limits must be above zero"));
        }
        let times = [
            self.backoff_first,
            self.backoff_max,
            self.connect_timeout,
            self.response_timeout,
            self.ping_interval,
        ];
        if times.contains(&Duration::ZERO) {
            return Err(StartError::Option("the fabric's times must be above zero"));
        }
        Address::parse_all(&self.urls).map_err(|(index, why)| StartError::Address { index, why })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            name: "fulmar".into(),
            subscriptions: Subscriptions::ByInterest { linger: Duration::from_secs(10) },
            start: StartPolicy::Wait(Duration::from_secs(30)),
            queue_max: 65_536,
            queue_bytes_max: 64 << 20,
            message_bytes_max: 1 << 20,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            ping_interval: Duration::from_secs(5),
            observe: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &String| match Address::parse(url) {
            Ok(address) => address.label().to_string(),
            Err(_) => "(invalid)".into(), // it may hold a password
        };
        f.debug_struct("Options")
            .field("urls", &self.urls.iter().map(shown).collect::<Vec<_>>())
            .field("name", &self.name)
            .field("subscriptions", &self.subscriptions)
            .field("start", &self.start)
            .field("queue_max", &self.queue_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let options = Options::new("redis://user:secret@localhost:7000/0");
        let shown = format!("{options:?}");
        assert!(shown.contains("redis://localhost:7000") && !shown.contains("secret"), "{shown}");
        let options = Options::new("redis:/user:secret@localhost:7000");
        assert!(!format!("{options:?}").contains("secret"));
        let error = options.addresses().expect_err("no such address");
        assert!(!format!("{error:?} {error}").contains("secret"));
    }

    #[test]
    fn senseless_options_are_refused() {
        let good = Options::new("redis://localhost");
        assert!(good.addresses().is_ok());
        assert!(Options { name: "a b".into(), ..good.clone() }.addresses().is_err());
        assert!(Options { queue_max: 0, ..good.clone() }.addresses().is_err());
        assert!(Options { ping_interval: Duration::ZERO, ..good }.addresses().is_err());
        assert!(Options::default().addresses().is_err(), "no address");
    }
}
