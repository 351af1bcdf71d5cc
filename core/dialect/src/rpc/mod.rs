//! The `rpc` dialect: alien-rpc's notifications, requests and subscriptions over one socket.
//!
//! A client calls a route with `{"method": ..., "params": [...]}`. With an `id` it is a request or
//! a subscription, as the handler's answer will have it; without one it is a notification, and
//! nothing is ever said about it.
//!
//! | what became of it | frame |
//! |---|---|
//! | a result; nothing | `{"id":1,"result":...}`; `{"id":1}` |
//! | an item of a stream, or a message of a room | the same, many times |
//! | the end of a stream | `{"id":1,"close":true}` |
//! | a failure | `{"id":1,"error":{"code":500,"message":"...","data":{...}}}` |
//! | no such route | `{"error":{"code":404,"message":"Not Found"},"id":1}` |
//!
//! Methods that begin with a dot are the protocol's own: `.ping` is answered `{"pong":true}`, and
//! `.cancel` ends a call. All others are names of routes, those of scopes with dots within
//! (`admin.stats`). Binary messages count as text in UTF-8.
//!
//! Requests overlap and are answered as they are done; notifications are handled one after the
//! other. A handler that answers with a room makes a subscription of it: each message of the room
//! is a result, until the client cancels or the server leaves the room. Where the handler wants it
//! so, each comes with its place in the room, `{"epoch":1,"number":7,"data":...}`.
//!
//! Where alien-rpc's own server answers nothing or goes on for ever, this one does not:
//!
//! * Both forms of `.cancel` are understood, `{"id":1}` and the client's `{"params":[1]}`. Who used
//!   the first still waits and is told of the end; who used the second has forgotten the call and
//!   hears no more of it.
//! * Calls with an `id` whose `params` are no list are answered with code 400 and where in `params`
//!   the fault is, as is an `id` that a pending call has, or one too long to keep.
//! * When the server closes a connection, what is pending is answered with code 503 before: clients
//!   would wait for ever.
//!
//! What is no JSON, or no object, is ignored, as there.
mod calls;
mod session;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{Dialect, Encoded, Message, OpenRequest, Payload, Said, Session};
use session::RpcSession;

/// The `rpc` dialect; see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Rpc(Arc<RpcOptions>);

/// How an endpoint speaks alien-rpc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcOptions {
    /// Calls of one connection that may be pending, subscriptions among them; further ones are
    /// answered with code 503. How many of them run at a time is the server's to limit.
    /// Default: 65,536.
    pub calls_max: usize,
    /// Subscriptions of rooms that one connection may have; further ones are answered with code
    /// 503. Should be less than the rooms that the server allows a connection, which is closed
    /// when it has more. Default: 1000.
    pub subscriptions_max: usize,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self { calls_max: 65_536, subscriptions_max: 1000 }
    }
}

impl Rpc {
    /// With these options.
    #[must_use]
    pub fn new(options: RpcOptions) -> Self {
        Self(Arc::new(options))
    }

    /// How it speaks.
    #[must_use]
    pub fn options(&self) -> &RpcOptions {
        &self.0
    }
}

impl Dialect for Rpc {
    fn name(&self) -> &'static str {
        "rpc"
    }

    fn claims(&self, first: &Message<'_>) -> bool {
        wire::text_of(*first).is_some_and(wire::has_method)
    }

    fn is_addressable(&self) -> bool {
        true
    }

    fn open(&self, _request: &OpenRequest<'_>) -> Box<dyn Session> {
        Box::new(RpcSession::new(self.0.clone()))
    }

    /// The data with its place in the room around it: members that did not ask for places get the
    /// bare data, all of them in frames of their own.
    fn encode(&self, said: &Said<'_>, out: &mut Vec<u8>) -> Encoded {
        let whole = out.len();
        wire::write_position(said.position, out);
        if !matches!(said.payload, Payload::Undefined) {
            out.extend_from_slice(b",\"data\":");
        }
        let start = out.len();
        // Nothing has no `result`; the envelope knows it by its length.
        if !matches!(said.payload, Payload::Undefined) && said.payload.write_json(out).is_err() {
            // Only what `Publication::new` refuses cannot be said.
            out.truncate(start);
            out.extend_from_slice(b"null");
        }
        let data = start - whole..out.len() - whole;
        out.push(b'}');
        Encoded { binary: false, data }
    }
}
