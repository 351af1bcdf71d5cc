//! Why connections end, requests are refused and messages are dropped.
//!
//! Every such event has one static code, one counter ([`Stats::reasons`](crate::Stats)) and, where
//! a limit decided, the configuration key that governs it.

/// A table of reasons: variant, code, what the peer is told (WebSocket close code or HTTP status;
/// 0: nothing), configuration key.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $code:literal, $told:literal, $key:literal;)+) => {
        /// One way in which something ends, is refused or is dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])+ $name,)+ }

        impl Reason {
            /// All of them, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The stable name in logs, counters and close frames.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What the peer is told: a WebSocket close code, an HTTP status, or 0.
            pub fn told(self) -> u16 {
                match self { $(Self::$name => $told,)+ }
            }

            /// The configuration key that governs it; empty if none does.
            pub fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)+ }
            }
        }
    };
}

reasons! {
    /// The peer closed and was answered.
    ClosedByPeer = "closed_by_peer", 0, "";
    /// A handler, a session or the embedder closed it.
    ClosedByServer = "closed_by_server", 1000, "";
    /// The server stops.
    Stopping = "stopping", 1001, "timeouts.stop";
    /// The server stops and another takes over.
    Restarting = "restarting", 1012, "timeouts.stop";
    /// The TCP connection ended without a close frame.
    Lost = "lost", 0, "";
    /// Nothing was received for too long.
    IdleTimeout = "idle_timeout", 1001, "timeouts.idle";
    /// A ping was not answered in time.
    PongTimeout = "pong_timeout", 1011, "timeouts.pong";
    /// The closing handshake or its TCP end took too long.
    CloseTimeout = "close_timeout", 0, "timeouts.close";
    /// The peer does not read as fast as it is sent to.
    SlowConsumer = "slow_consumer", 1013, "backpressure.bytes_max";
    /// A frame broke RFC 6455 or RFC 7692.
    ProtocolError = "protocol_error", 1002, "";
    /// Text that is not UTF-8.
    InvalidText = "invalid_text", 1007, "";
    /// A message is longer than allowed, inflated or not.
    MessageTooBig = "message_too_big", 1009, "limits.message_bytes_max";
    /// A message came in too many fragments.
    TooManyFragments = "too_many_fragments", 1008, "limits.fragments_max";
    /// The endpoint's rules forbid what the client did.
    PolicyViolation = "policy_violation", 1008, "endpoint.role";
    /// More rooms than a connection may be in.
    TooManyRooms = "too_many_rooms", 1008, "limits.rooms_per_connection_max";
    /// The client did not prove itself in time.
    AuthenticationTimeout = "authentication_timeout", 4001, "endpoint.event.auth_timeout";
    /// The client sent nothing, not even a heartbeat, for too long.
    HeartbeatTimeout = "heartbeat_timeout", 4002, "endpoint.event.heartbeat_timeout";
    /// The client could not prove itself.
    AuthenticationFailed = "authentication_failed", 4003, "endpoint.auth";
    /// The client does not encrypt where it must.
    EncryptionRequired = "encryption_required", 4004, "endpoint.event.encryption";
    /// What the client proved itself with has expired.
    TokenExpired = "token_expired", 4005, "endpoint.auth";
    /// A session failed; a bug.
    InternalError = "internal_error", 1011, "";

    /// The request is not HTTP/1.1 as RFC 9112 has it.
    BadRequest = "bad_request", 400, "";
    /// The request does not prove whose it is.
    Unauthorized = "unauthorized", 401, "endpoint.auth";
    /// The request proves whose it is, and that one is not let in.
    Forbidden = "forbidden", 403, "endpoint.auth";
    /// Whoever decides about the request cannot be asked now.
    GuardUnavailable = "guard_unavailable", 503, "endpoint.auth";
    /// The client is not allowed here.
    OriginRefused = "origin_refused", 403, "endpoint.origins";
    /// No endpoint or page has this path.
    NotFound = "not_found", 404, "endpoint.path";
    /// The page cannot be asked for in this way.
    MethodNotAllowed = "method_not_allowed", 405, "";
    /// The request did not come in time.
    HandshakeTimeout = "handshake_timeout", 408, "timeouts.handshake";
    /// The request's target is too long.
    TargetTooLong = "target_too_long", 414, "limits.target_bytes_max";
    /// A WebSocket endpoint was asked without an upgrade, or for another version.
    UpgradeRequired = "upgrade_required", 426, "";
    /// One address has too many connections.
    AddressConnectionsMax = "address_connections_max", 429, "limits.connections_per_address_max";
    /// The request's head is too large or has too many fields.
    HeadTooLarge = "head_too_large", 431, "limits.head_bytes_max";
    /// The server has too many connections.
    ConnectionsMax = "connections_max", 503, "limits.connections_max";
    /// Too many connections have not sent their request yet.
    PendingMax = "connections_pending_max", 503, "limits.connections_pending_max";
    /// The server is stopping.
    Draining = "draining", 503, "timeouts.stop";
    /// The peer went away, or sent nothing, before its request was complete.
    NoRequest = "no_request", 0, "";
    /// A page was served; the connection ends.
    PageServed = "page_served", 200, "";

    /// Dropped: the newest message, for a connection over its limit.
    DroppedBacklog = "dropped_backlog", 0, "backpressure.bytes_max";
    /// Answered: a call that its handler did not answer in time.
    CallTimeout = "call_timeout", 504, "endpoint.route.timeout";
    /// Answered: a call with code 429, as the rates of routes have it.
    RateLimited = "rate_limited", 429, "endpoint.route.rate";
    /// Dropped: a publication that its room's home had no room for.
    DroppedMailbox = "dropped_mailbox", 0, "limits.mailbox_max";
    /// Refused: a call beyond those that may wait.
    CallsMax = "calls_max", 503, "limits.calls_queued_max";
    /// Failed: a handler panicked.
    HandlerPanicked = "handler_panicked", 500, "";
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The one with this stable name.
    pub(crate) fn by_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }

    /// Whether the connection ended because the client broke a rule.
    pub fn is_peers_fault(self) -> bool {
        matches!(
            self,
            Self::ProtocolError
                | Self::InvalidText
                | Self::MessageTooBig
                | Self::TooManyFragments
                | Self::PolicyViolation
                | Self::TooManyRooms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_fit_a_close_frame() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::COUNT);
        assert!(codes.iter().all(|code| code.len() <= 60));
        assert!(Reason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }
}
