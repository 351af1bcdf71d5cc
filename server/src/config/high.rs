//! The resolved configuration: every value valid, every default filled in.

use super::auth::{self, Auth};
use super::endpoint::{self, Access, EndpointConfiguration};
use super::fabric::{self, Fabric};
use super::low::Node;
use super::read::{Reader, Scope};
use super::units::{show_duration, show_size};
use super::unknown::report_unknown;
use crate::log::{Format, Level};
use std::net::SocketAddr;
use std::time::Duration;

/// Everything the server needs to know. Field meanings are those of the keys in `docs/CONFIG.md`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Configuration {
    /// Where to accept connections; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Event loops, at least 1.
    pub(crate) shards: usize,
    /// Threads for handlers that may block, at least 1.
    pub(crate) workers: usize,
    /// The kernel interface of the event loops.
    pub(crate) io: fulmar::Io,
    /// How long event loops look for work before they sleep.
    pub(crate) busy_poll: Option<Duration>,
    /// Whether shards are pinned to cores.
    pub(crate) pin: bool,
    /// Whether the demo page is served at `/`.
    pub(crate) demo: bool,
    /// The form of log lines.
    pub(crate) log: Format,
    /// The least important lines that are logged.
    pub(crate) log_level: Level,
    /// `[limits]`.
    pub(crate) limits: Limits,
    /// `[timeouts]`.
    pub(crate) timeouts: Timeouts,
    /// `[backpressure]`; each endpoint has its own resolved copy.
    pub(crate) backpressure: Backpressure,
    /// `[deflate]`.
    pub(crate) deflate: Deflate,
    /// `[auth]`; which endpoints ask for it is up to them.
    pub(crate) auth: Auth,
    /// `[fabric]`.
    pub(crate) fabric: Fabric,
    /// At least one; no two match the same requests.
    pub(crate) endpoints: Vec<EndpointConfiguration>,
}

/// In the order of the key's words.
const INTERFACES: [fulmar::Io; 3] = [fulmar::Io::Auto, fulmar::Io::Epoll, fulmar::Io::IoUring];

/// `[limits]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) connections_max: usize,
    /// Connections at once from one address; none is no limit.
    pub(crate) connections_per_address_max: Option<usize>,
    /// Connections at once whose handshake is not finished.
    pub(crate) connections_pending_max: usize,
    /// Bytes of a request head.
    pub(crate) head_bytes_max: usize,
    /// Header fields of a request.
    pub(crate) headers_max: usize,
    /// Bytes of a request's target.
    pub(crate) target_bytes_max: usize,
    /// Bytes of a message; each endpoint has its own resolved copy.
    pub(crate) message_bytes_max: usize,
    /// Frames of a message.
    pub(crate) fragments_max: usize,
    /// Rooms that one connection is in at once.
    pub(crate) rooms_per_connection_max: usize,
    /// Handler calls of one connection that run at once.
    pub(crate) calls_in_flight_max: usize,
    /// Handler calls of one connection that wait.
    pub(crate) calls_queued_max: usize,
    /// Messages that wait between two shards.
    pub(crate) mailbox_max: usize,
    /// Messages that are encrypted at once.
    pub(crate) sealing_max: usize,
}

/// `[timeouts]`; none is off.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Timeouts {
    /// For the whole request head.
    pub(crate) handshake: Duration,
    /// Without anything received; each endpoint has its own resolved copy.
    pub(crate) idle: Option<Duration>,
    /// Of silence before a ping; each endpoint has its own resolved copy.
    pub(crate) ping_interval: Option<Duration>,
    /// For the answer to a ping.
    pub(crate) pong: Option<Duration>,
    /// For the answer to a close.
    pub(crate) close: Duration,
    /// The window of a graceful stop; may be zero.
    pub(crate) stop: Duration,
}

/// `[backpressure]`: what happens to slow clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Backpressure {
    /// Bytes that wait before the policy applies.
    pub(crate) bytes_max: usize,
    /// Recovered at or below this; at most `bytes_max`.
    pub(crate) low_bytes: usize,
    /// The policy.
    pub(crate) policy: Policy,
}

/// What happens to a slow client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Policy {
    /// What waits is kept, new room messages are dropped.
    DropNewest,
    /// What waits is dropped, the client jumps to the newest.
    Skip,
    /// The connection is closed with a reason.
    Close,
}

impl Policy {
    /// In the order of the key's words.
    pub(crate) const ALL: [Self; 3] = [Self::DropNewest, Self::Skip, Self::Close];
}

/// `[deflate]`: compression of messages (RFC 7692).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Deflate {
    /// Whether it is offered.
    pub(crate) enabled: bool,
    /// The shortest message that is compressed, in bytes.
    pub(crate) min_bytes: usize,
    /// Whether the window is kept between messages.
    pub(crate) context_takeover: bool,
    /// 9 to 15.
    pub(crate) window_bits: u8,
    /// 1 to 9.
    pub(crate) level: u8,
}

/// Something allowed but probably not wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Warning {
    /// The key that governs it.
    pub(crate) key: String,
    /// What is so, and what it means.
    pub(crate) message: String,
}

/// Resolves a tree. What is wrong is left in the reader; the result counts only without that.
pub(crate) fn resolve(reader: &mut Reader, root: &Node) -> Configuration {
    report_unknown(reader, root);
    let scope = Scope { node: root, endpoint: None, route: None };
    let limits = resolve_limits(reader, scope);
    let timeouts = resolve_timeouts(reader, scope);
    let backpressure = Backpressure {
        bytes_max: reader.number(scope, "backpressure.bytes_max"),
        low_bytes: reader.number(scope, "backpressure.low_bytes"),
        policy: reader.choice(scope, "backpressure.policy", &Policy::ALL),
    };
    check_backpressure(reader, scope, "backpressure", backpressure);
    let auth = auth::resolve(reader, scope);
    let inherited =
        endpoint::Inherited { limits: &limits, timeouts: &timeouts, backpressure, auth: &auth };
    let endpoints = endpoint::resolve_all(reader, root, &inherited);
    let demo_typed = reader.switch(scope, "demo");
    let demo = if scope.find("demo").is_some() { demo_typed } else { !has_endpoints(root) };
    Configuration {
        listen: reader.address(scope, "listen"),
        shards: reader.number(scope, "shards"),
        workers: reader.number(scope, "workers"),
        io: reader.choice(scope, "io", &INTERFACES),
        busy_poll: reader.optional_duration(scope, "busy_poll"),
        pin: reader.switch(scope, "pin"),
        demo,
        log: reader.choice(scope, "log", &Format::ALL),
        log_level: reader.choice(scope, "log_level", &Level::ALL),
        limits,
        timeouts,
        backpressure,
        deflate: resolve_deflate(reader, scope),
        fabric: fabric::resolve(reader, scope),
        auth,
        endpoints,
    }
}

/// Reports a low mark above the limit, at whichever of the two was typed.
pub(crate) fn check_backpressure(
    reader: &mut Reader,
    scope: Scope<'_>,
    section: &str,
    values: Backpressure,
) {
    if values.low_bytes <= values.bytes_max {
        return;
    }
    let (low, limit) = (format!("{section}.low_bytes"), format!("{section}.bytes_max"));
    let message = format!(
        "low_bytes ({}) is above bytes_max ({})",
        show_size(values.low_bytes as u64),
        show_size(values.bytes_max as u64)
    );
    let at = if scope.find(&low).is_some() { low } else { limit };
    reader.report(scope, &at, message);
}

/// What is allowed but probably not wanted, each with the key that governs it.
pub(crate) fn warnings(configuration: &Configuration, cores: usize) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |key: String, message: String| warnings.push(Warning { key, message });
    if configuration.shards > cores {
        let message = format!("{} shards share {cores} cores", configuration.shards);
        warn("shards".to_owned(), message);
    }
    if configuration.demo && !endpoint::serve_the_demo(configuration) {
        let message = "the demo page needs the endpoints /echo (mode echo) and /rooms/:room (mode \
                       room)";
        warn("demo".to_owned(), message.to_owned());
    }
    let public = !configuration.listen.ip().is_loopback();
    let open = configuration.endpoints.iter().filter(|endpoint| endpoint.auth == Access::Off);
    let open: Vec<&str> = open.map(|endpoint| endpoint.path.as_str()).collect();
    for (index, endpoint) in configuration.endpoints.iter().enumerate() {
        if public && endpoint.origins.is_empty() {
            let message = format!("{}: browsers from any origin can connect", endpoint.path);
            warn(format!("endpoint[{index}].origins"), message);
        } else if configuration.auth.cookie.is_some()
            && endpoint.auth != Access::Off
            && endpoint.origins.is_empty()
        {
            let message = format!(
                "{}: browsers send the cookie along from any page (auth.cookie)",
                endpoint.path
            );
            warn(format!("endpoint[{index}].origins"), message);
        }
        let asks_for_rooms = configuration.auth.callback.rooms_url.is_some();
        for (leaf, words) in endpoint.unwanted(asks_for_rooms) {
            warn(format!("endpoint[{index}].{leaf}"), format!("{}: {words}", endpoint.path));
        }
        if let (Some(idle), Some(interval)) = (endpoint.idle, endpoint.ping_interval)
            && idle <= interval
        {
            let message = format!(
                "{}: quiet clients are closed after {}, before the first ping at {} \
                 (timeouts.ping_interval)",
                endpoint.path,
                show_duration(idle),
                show_duration(interval)
            );
            warn("timeouts.idle".to_owned(), message);
        }
    }
    if public && !open.is_empty() {
        let more = if open.len() > PATHS_SHOWN { ", ..." } else { "" };
        let paths = open[..open.len().min(PATHS_SHOWN)].join(", ");
        let listen = configuration.listen;
        let message = format!("anybody who can reach {listen} can connect to {paths}{more}");
        warn("auth.methods".to_owned(), message);
    }
    warnings.extend(configuration.auth.warnings());
    warnings
}

/// The most paths in one warning.
const PATHS_SHOWN: usize = 3;

fn has_endpoints(root: &Node) -> bool {
    matches!(
        root.find("endpoint").map(|node| &node.value),
        Some(super::low::Value::List(items)) if !items.is_empty()
    )
}

fn resolve_limits(reader: &mut Reader, scope: Scope<'_>) -> Limits {
    let per_address = reader.number(scope, "limits.connections_per_address_max");
    Limits {
        connections_max: reader.number(scope, "limits.connections_max"),
        connections_per_address_max: (per_address > 0).then_some(per_address),
        connections_pending_max: reader.number(scope, "limits.connections_pending_max"),
        head_bytes_max: reader.number(scope, "limits.head_bytes_max"),
        headers_max: reader.number(scope, "limits.headers_max"),
        target_bytes_max: reader.number(scope, "limits.target_bytes_max"),
        message_bytes_max: reader.number(scope, "limits.message_bytes_max"),
        fragments_max: reader.number(scope, "limits.fragments_max"),
        rooms_per_connection_max: reader.number(scope, "limits.rooms_per_connection_max"),
        calls_in_flight_max: reader.number(scope, "limits.calls_in_flight_max"),
        calls_queued_max: reader.number(scope, "limits.calls_queued_max"),
        mailbox_max: reader.number(scope, "limits.mailbox_max"),
        sealing_max: reader.number(scope, "limits.sealing_max"),
    }
}

fn resolve_timeouts(reader: &mut Reader, scope: Scope<'_>) -> Timeouts {
    Timeouts {
        handshake: reader.duration(scope, "timeouts.handshake"),
        idle: reader.optional_duration(scope, "timeouts.idle"),
        ping_interval: reader.optional_duration(scope, "timeouts.ping_interval"),
        pong: reader.optional_duration(scope, "timeouts.pong"),
        close: reader.duration(scope, "timeouts.close"),
        stop: reader.duration(scope, "timeouts.stop"),
    }
}

fn resolve_deflate(reader: &mut Reader, scope: Scope<'_>) -> Deflate {
    // The ranges in the table end at 15 and 9.
    let small = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    Deflate {
        enabled: reader.switch(scope, "deflate.enabled"),
        min_bytes: reader.number(scope, "deflate.min_bytes"),
        context_takeover: reader.switch(scope, "deflate.context_takeover"),
        window_bits: small(reader.number(scope, "deflate.window_bits")),
        level: small(reader.number(scope, "deflate.level")),
    }
}
