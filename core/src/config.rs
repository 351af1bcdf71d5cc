//! What a server is made with: limits, times, and what happens to slow readers.

use std::time::Duration;

use fulmar_driver::listener::ListenOptions;
use fulmar_proto::ws::deflate::DeflateOptions;

use crate::io::Io;

/// Everything about a server that is not an endpoint.
///
/// # Defaults
/// - `shards`, `workers`: one per core
/// - `io`: [`Io::Auto`]
/// - `busy_poll`: zero
/// - `pin`: true
/// - the rest: see each type
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that own sockets; at least one. Default: the number of cores.
    pub shards: usize,
    /// Threads that run handlers; at least one. Default: the number of cores.
    pub workers: usize,
    /// Which of the kernel's interfaces the shards use. Default: io_uring where it can be had.
    pub io: Io,
    /// How long a shard looks for work before it sleeps. A processor that sleeps takes tens of
    /// microseconds to wake, in virtual machines more; one that looks does nothing else. Default
    /// zero: it sleeps at once.
    pub busy_poll: Duration,
    /// Whether each shard is bound to a core of its own, if there are enough. Default true.
    pub pin: bool,
    /// Bounds on what peers may do.
    pub limits: Limits,
    /// Bounds on how long they may take.
    pub timeouts: Timeouts,
    /// What happens to those that do not read; endpoints may differ.
    pub backpressure: Backpressure,
    /// permessage-deflate (RFC 7692). Default: not offered.
    pub deflate: Option<DeflateOptions>,
    /// How listening sockets are set up.
    pub listen: ListenOptions,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shards: cores,
            workers: cores,
            io: Io::default(),
            busy_poll: Duration::ZERO,
            pin: true,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            backpressure: Backpressure::default(),
            deflate: None,
            listen: ListenOptions::default(),
        }
    }
}

/// Bounds on what peers may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of the whole server; one more is answered 503. Default 1,000,000.
    pub connections_max: usize,
    /// Connections of one address; one more is answered 429. 0: no limit, the default.
    pub connections_per_address_max: usize,
    /// Connections whose request is still awaited; one more is answered 503. Default 65,536.
    pub connections_pending_max: usize,
    /// Bytes of a request's head, request line included; more is answered 431. Default 8 KiB.
    pub head_bytes_max: usize,
    /// Fields of a request's head; more are answered 431. Default 64.
    pub headers_max: usize,
    /// Bytes of a request's target; more are answered 414. Default 4 KiB.
    pub target_bytes_max: usize,
    /// Bytes of a message, inflated; more close with 1009. Default 1 MiB.
    pub message_bytes_max: usize,
    /// Frames of one message; more close with 1008. Default 1,048,576.
    pub fragments_max: u32,
    /// Rooms one connection may be in; one more closes with 1008. Default 1,024.
    pub rooms_per_connection_max: usize,
    /// Calls of one connection that run at a time; further ones wait. Default 32.
    pub calls_in_flight_max: usize,
    /// Calls of one connection that wait; then receiving stops, or they are refused where the
    /// protocol has words for it. Default 128.
    pub calls_queued_max: usize,
    /// Messages that are encrypted (or rewritten by a transformer) at a time, on workers; further
    /// ones wait in their connections' order. Default 10.
    pub sealing_max: usize,
    /// Letters in a shard's mailbox beyond which deliveries and publications are refused and
    /// publishers are not read. Default 65,536.
    pub mailbox_max: usize,
    /// Bytes of recent messages a room keeps for members behind; one that falls further behind
    /// loses messages. At least twice `message_bytes_max`. Default 4 MiB.
    pub room_retain_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1_000_000,
            connections_per_address_max: 0,
            connections_pending_max: 65_536,
            head_bytes_max: 8 << 10,
            headers_max: 64,
            target_bytes_max: 4 << 10,
            message_bytes_max: 1 << 20,
            fragments_max: 1 << 20,
            rooms_per_connection_max: 1024,
            calls_in_flight_max: 32,
            calls_queued_max: 128,
            sealing_max: 10,
            mailbox_max: 65_536,
            room_retain_bytes_max: 4 << 20,
        }
    }
}

/// Bounds on how long things may take. They are kept to within two ticks of 16 ms, never early.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the connection to the end of its request's head. Default 10 s.
    pub handshake: Duration,
    /// Without a byte from the peer, pongs included. `None`: for ever, the default.
    pub idle: Option<Duration>,
    /// Silence after which the peer is pinged. `None`: never. Default 25 s.
    pub ping_interval: Option<Duration>,
    /// From a ping to any byte of the peer. `None`: answers are not awaited. Default 20 s.
    pub pong: Option<Duration>,
    /// From our close frame to the peer's, and from there to its TCP end. Default 5 s.
    pub close: Duration,
    /// For a graceful stop: then what is left is cut. So long may also take what a client said
    /// before its end and is still being handled. Default 10 s.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: None,
            ping_interval: Some(Duration::from_secs(25)),
            pong: Some(Duration::from_secs(20)),
            close: Duration::from_secs(5),
            stop: Duration::from_secs(10),
        }
    }
}

/// What happens to a connection that reads more slowly than it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backpressure {
    /// Bytes that may wait for one connection: its queue, its send in flight and its lag in every
    /// room together. Default 1 MiB.
    pub bytes_max: u32,
    /// Waiting bytes at which a connection that was over the limit counts as drained. Default
    /// 256 KiB.
    pub low_bytes: u32,
    /// What happens beyond. Default [`SlowPolicy::DropNewest`].
    pub policy: SlowPolicy,
}

impl Default for Backpressure {
    fn default() -> Self {
        Self { bytes_max: 1 << 20, low_bytes: 256 << 10, policy: SlowPolicy::DropNewest }
    }
}

/// What happens to a slow consumer. Control frames and answers to calls are never dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// New messages are left out until it has read what waits.
    DropNewest,
    /// What waits in rooms is left out; it goes on with what is new.
    Skip,
    /// It is closed with 1013.
    Close,
}
