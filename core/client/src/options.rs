//! What a client can be told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::slots::ReconnectSlots;
use crate::socket::{Connector, TcpConnector};

/// How a client behaves. All times are [`Duration`]s; a time of zero where one may be left out
/// means that it is.
///
/// ```
/// use std::time::Duration;
/// use fulmar_client::{ClientOptions, Retry};
///
/// let options = ClientOptions {
///     request_timeout: Some(Duration::from_secs(30)),
///     retry: Retry { limit: 5, ..Retry::default() },
///     ..ClientOptions::default()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// More URLs of the same service. They are tried in order after the client's own, each time a
    /// connection is made. None unless told.
    pub failover_urls: Vec<String>,
    /// How many connections there may be. A call takes the one with the fewest calls waiting, and
    /// the first of those; so there is only one while nothing is called at the same time. 1 unless
    /// told. With more than one, calls and notifications can overtake each other.
    pub pool: usize,
    /// Fields of the request that opens a connection, such as `Authorization`. None unless told.
    pub headers: Vec<(String, String)>,
    /// After how much silence in both directions a ping goes out; `None` for never. 20 seconds
    /// unless told.
    pub ping_interval: Option<Duration>,
    /// How long the server may take to say anything after a ping before the connection counts as
    /// lost. 20 seconds unless told.
    pub pong_timeout: Duration,
    /// How long a connection without calls is kept; `None` for always. `None` unless told.
    pub idle_timeout: Option<Duration>,
    /// How long a request may take, connecting and retrying included; `None` for as long as it
    /// takes. Subscriptions are exempt. `None` unless told. Every call can have its own.
    pub request_timeout: Option<Duration>,
    /// How long a connection to one address may take to be made, and its handshake again. Looking
    /// up a name comes on top. 10 seconds unless told.
    pub connect_timeout: Duration,
    /// How long the server may take to read what is sent before the connection counts as lost. A
    /// call can be held up for as long before it begins to wait, whatever its timeout. 10 seconds
    /// unless told.
    pub send_timeout: Duration,
    /// How long the server may take to confirm a close before the connection is cut. 1 second
    /// unless told.
    pub close_timeout: Duration,
    /// What is done about lost and failed connections. Twice again unless told.
    pub retry: Retry,
    /// What this client shares with others so that they do not all connect at once. `None` for
    /// nothing shared: its own connections are then made one after the other. `None` unless told.
    pub reconnect_slots: Option<ReconnectSlots>,
    /// Most calls that wait at the same time, per connection. 65,536 unless told.
    pub pending_max: usize,
    /// Longest message, both ways, in bytes. A longer one from the server ends the connection with
    /// code 1009. 16 MiB unless told.
    pub message_bytes_max: usize,
    /// How much may wait to be sent, per connection, in bytes; a call that finds more waits, or is
    /// refused if there is no connection yet. 4 MiB unless told.
    pub send_buffer_bytes_max: usize,
    /// Most items of a subscription that wait to be taken. 1,000 unless told.
    pub stream_items_max: usize,
    /// Most bytes of a subscription's items that wait to be taken; one item may be longer. 16 MiB
    /// unless told.
    pub stream_bytes_max: usize,
    /// What happens when a subscription's buffer is full. [`StreamOverflow::Pause`] unless told.
    pub stream_overflow: StreamOverflow,
    /// How long a full buffer may hold up other calls of the connection before its subscription is
    /// ended with [`ClientError::Overflow`](crate::ClientError::Overflow). It may take for ever
    /// while there are no others. 10 seconds unless told.
    pub stream_pause_max: Duration,
    /// What opens sockets. [`TcpConnector`] unless told, which knows no TLS.
    pub connector: Arc<dyn Connector>,
    /// Is told of every frame and what becomes of connections, a line each. `None` unless told.
    pub debug: Option<Logger>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            failover_urls: Vec::new(),
            pool: 1,
            headers: Vec::new(),
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Duration::from_secs(20),
            idle_timeout: None,
            request_timeout: None,
            connect_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(1),
            retry: Retry::default(),
            reconnect_slots: None,
            pending_max: 65_536,
            message_bytes_max: 16 << 20,
            send_buffer_bytes_max: 4 << 20,
            stream_items_max: 1_000,
            stream_bytes_max: 16 << 20,
            stream_overflow: StreamOverflow::default(),
            stream_pause_max: Duration::from_secs(10),
            connector: Arc::new(TcpConnector),
            debug: None,
        }
    }
}

/// What happens to a subscription whose items are not taken as fast as they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StreamOverflow {
    /// Nothing more is read from the connection until there is room, so that the server feels it.
    /// All other calls of that connection wait as well; give slow subscriptions a client of their
    /// own.
    #[default]
    Pause,
    /// The oldest items go, and are counted.
    DropOldest,
}

/// What is done when a connection cannot be made, or is lost or closed while a call waits. Answers
/// of the server are never a reason. A call that is sent again may have been carried out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a call is tried again; 0 for never. 2 unless told.
    pub limit: u32,
    /// The longest wait before the first retry; it doubles with every further one. 300
    /// milliseconds unless told.
    pub delay: Duration,
    /// What the longest wait grows to at most. 5 seconds unless told.
    pub backoff_limit: Duration,
    /// Whether each wait is drawn evenly from nothing to the longest, so that clients that lost
    /// the same server do not return all at once. On unless told.
    pub jitter: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            limit: 2,
            delay: Duration::from_millis(300),
            backoff_limit: Duration::from_secs(5),
            jitter: true,
        }
    }
}

impl From<u32> for Retry {
    /// So many retries, everything else as usual.
    fn from(limit: u32) -> Self {
        Self { limit, ..Self::default() }
    }
}

impl Retry {
    /// How long to wait before a retry, the first of which is number 0. `draw` is a random number
    /// from 0 to below 1.
    #[must_use]
    pub fn delay_before(&self, retry: u32, draw: f64) -> Duration {
        let factor = 1_u32.checked_shl(retry).unwrap_or(u32::MAX);
        let longest = self.delay.saturating_mul(factor).min(self.backoff_limit);
        if self.jitter { longest.mul_f64(draw.clamp(0.0, 1.0)) } else { longest }
    }
}

/// Takes lines for a log.
#[derive(Clone)]
pub struct Logger(Arc<dyn Fn(&str) + Send + Sync>);

impl Logger {
    /// Hands every line to `log`, which is called on the threads of callers and of connections. It
    /// must not call the client.
    pub fn new(log: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(log))
    }

    pub(crate) fn log(&self, line: &str) {
        (self.0)(line);
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Logger")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64.
    fn draws(mut seed: u64) -> impl Iterator<Item = f64> {
        std::iter::repeat_with(move || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let word = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let high = u32::try_from((word ^ word >> 31) >> 32).expect("32 bits are left");
            f64::from(high) / (f64::from(u32::MAX) + 1.0)
        })
    }

    #[test]
    fn waits_double_up_to_a_limit() {
        let retry = Retry { jitter: false, ..Retry::default() };
        let waits: Vec<_> = (0..6).map(|k| retry.delay_before(k, 0.5).as_millis()).collect();
        assert_eq!(waits, [300, 600, 1200, 2400, 4800, 5000]);
        assert_eq!(retry.delay_before(u32::MAX, 0.5), Duration::from_secs(5));
        let endless = Retry { delay: Duration::MAX, backoff_limit: Duration::MAX, ..retry };
        assert_eq!(endless.delay_before(40, 0.0), Duration::MAX);
    }

    #[test]
    fn waits_of_a_thousand_clients_are_spread_evenly() {
        let retry = Retry::default();
        for k in 0..3 {
            let longest = Retry { jitter: false, ..retry }.delay_before(k, 0.0).as_secs_f64();
            let mut waits: Vec<f64> = draws(u64::from(k))
                .take(1000)
                .map(|draw| retry.delay_before(k, draw).as_secs_f64() / longest)
                .collect();
            waits.sort_by(f64::total_cmp);
            // Kolmogorov's distance from the uniform distribution; 1.63 / sqrt(n) is passed by 99
            // of 100 samples that are uniform, and this one is decided by its seed.
            let distance = waits.iter().enumerate().fold(0.0_f64, |most, (index, wait)| {
                let rank = f64::from(u32::try_from(index).expect("a thousand")) / 1000.0;
                most.max((wait - rank).abs()).max((wait - rank - 0.001).abs())
            });
            assert!(distance < 1.63 / 1000_f64.sqrt(), "{k}: {distance}");
        }
    }

    #[test]
    fn a_number_is_a_limit() {
        assert_eq!(Retry::from(7), Retry { limit: 7, ..Retry::default() });
    }
}
