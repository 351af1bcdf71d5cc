//! Endpoints: a path, the protocols spoken there, and the functions that answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fulmar_dialect::{Dialect, Gate, Object};

use crate::config::Backpressure;
use crate::handler::{Guard, Handler, Methods, Placed, With, ordered};

/// One path of a server: its protocols, routes, hooks and limits.
///
/// ```
/// use fulmar::{Arg, Endpoint, text::Text};
///
/// let shout: Endpoint<()> = Endpoint::new("/shout")
///     .speaks(Text::default())
///     .on_message(|Arg(text): Arg<String>| text.to_uppercase());
/// ```
///
/// # Defaults
/// Any origin; limits, times and backpressure of the server; no routes, no hooks.
pub struct Endpoint<S> {
    pub(crate) path: Box<str>,
    pub(crate) dialects: Vec<Arc<dyn Dialect>>,
    pub(crate) routes: Methods<S>,
    pub(crate) hooks: Methods<S>,
    pub(crate) gates: Vec<Gate>,
    pub(crate) options: EndpointOptions,
    #[cfg(feature = "types")]
    pub(crate) signatures: fulmar_types::Signatures,
    has_routes: bool,
}

/// Where an endpoint differs from the server's configuration.
#[derive(Clone, Debug, Default)]
pub struct EndpointOptions {
    /// What happens to connections that do not read.
    pub backpressure: Option<Backpressure>,
    /// Bytes of a message, inflated.
    pub message_bytes_max: Option<usize>,
    /// How long a connection may be silent; `Some(None)`: for ever.
    pub idle: Option<Option<Duration>>,
    /// Silence after which a connection is pinged; `Some(None)`: never.
    pub ping_interval: Option<Option<Duration>>,
    /// Origins that browsers may come from (RFC 6454), such as `https://example.org`; empty: any.
    pub origins: Vec<Box<str>>,
    /// Subprotocols that are agreed to although no protocol of the endpoint names them (RFC 6455,
    /// 1.9); the client's first wish among them is granted, and the first protocol is spoken. `*`
    /// grants the client's first wish whatever it is.
    pub subprotocols: Vec<Box<str>>,
    /// Turns permessage-deflate off here, if the server has it.
    pub no_deflate: bool,
}

impl<S: Send + Sync + 'static> Endpoint<S> {
    /// An endpoint at `path`, such as `/chat` or `/rooms/:room`: a segment that begins with a colon
    /// is a parameter. The path is checked when the server starts.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.into(),
            dialects: Vec::new(),
            routes: Methods::new(),
            hooks: Methods::new(),
            gates: Vec::new(),
            options: EndpointOptions::default(),
            #[cfg(feature = "types")]
            signatures: fulmar_types::Signatures::new(),
            has_routes: false,
        }
    }

    /// Adds a protocol. With several, the client's subprotocol decides, else its first message.
    #[must_use]
    pub fn speaks(mut self, dialect: impl Dialect) -> Self {
        self.dialects.push(Arc::new(dialect));
        self
    }

    /// Adds a function that clients call by name.
    #[must_use]
    pub fn route<M>(mut self, name: &str, handler: impl Placed<M, S>) -> Self {
        self.routes = self.routes.method(name, handler);
        self.has_routes = true;
        self
    }

    /// Adds a property that is computed when it is read, for protocols that read properties.
    #[must_use]
    pub fn getter<M>(mut self, name: &str, handler: impl Placed<M, S>) -> Self {
        self.routes = self.routes.getter(name, handler);
        self.has_routes = true;
        self
    }

    /// The function for messages of the text protocol: what it returns is sent back, unless it is
    /// nothing.
    #[must_use]
    pub fn on_message<M>(self, handler: impl Placed<M, S>) -> Self {
        self.route("message", handler)
    }

    /// Answers for every request before it becomes a connection, whatever the protocol: may it, and
    /// whose is it? `Some(Identity)` lets it in, `None` answers 401, an error 401, 403 or, with any
    /// other code, 503. It may take as long as a request may (`timeouts.handshake`).
    #[must_use]
    pub fn guard<M>(self, handler: impl Handler<M, S>) -> Self {
        self.hook(Gate::Upgrade, ordered(handler))
    }

    /// Has every call of a route pass this [guard](crate::handler::Guard), before those of the
    /// route itself. Those of several are asked in order.
    #[must_use]
    pub fn guard_calls<M>(mut self, guard: impl Guard<M, S>) -> Self {
        self.routes = self.routes.guard(guard);
        self
    }

    /// Runs what async handlers and hooks leave to be done on this runtime, as its tasks, which end
    /// when their calls are cancelled. Without one, futures are polled by the server's own workers,
    /// where tokio's timers and sockets panic.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn runtime(mut self, runtime: &tokio::runtime::Handle) -> Self {
        self.routes = self.routes.runtime(runtime);
        self.hooks = self.hooks.runtime(runtime);
        self
    }

    /// Answers events that have no route of their own; take it as [`Event`](crate::Event).
    #[must_use]
    pub fn on_event<M>(mut self, handler: impl Placed<M, S>) -> Self {
        self.routes = self.routes.fallback(handler);
        self.has_routes = true;
        self
    }

    /// Runs when a client has been accepted by [`authenticate`](Self::authenticate) and told so.
    #[must_use]
    pub fn on_authenticated<M>(self, handler: impl Handler<M, S>) -> Self {
        self.hook(Gate::Authenticated, ordered(handler))
    }

    /// Our side of a key exchange, for protocols that encrypt what the server says: takes what the
    /// client sent to prove itself, answers with a [`Verdict`](crate::dialect::Verdict).
    #[must_use]
    pub fn handshake<M>(self, handler: impl Handler<M, S>) -> Self {
        self.hook(Gate::Handshake, ordered(handler))
    }

    /// Runs when a connection opens, before its messages are handled. An error closes it with 1008
    /// and the error's message.
    #[must_use]
    pub fn on_connect<M>(self, handler: impl Handler<M, S>) -> Self {
        self.hook(Gate::Connect, ordered(handler))
    }

    /// Runs once when a connection has ended, after everything it called.
    #[must_use]
    pub fn on_disconnect<M>(self, handler: impl Handler<M, S>) -> Self {
        self.hook(Gate::Disconnect, ordered(handler))
    }

    /// Runs when a connection that had not read for too long has caught up.
    #[must_use]
    pub fn on_drain<M>(self, handler: impl Handler<M, S>) -> Self {
        self.hook(Gate::Drain, ordered(handler))
    }

    /// Answers protocols that authenticate with a message: who is this client?
    #[must_use]
    pub fn authenticate<M>(self, handler: impl Handler<M, S>) -> Self {
        self.hook(Gate::Authenticate, ordered(handler))
    }

    /// Answers protocols whose clients name rooms: which of them may this one join?
    #[must_use]
    pub fn allow_rooms<M>(self, handler: impl Handler<M, S>) -> Self {
        self.hook(Gate::Join, ordered(handler))
    }

    /// Limits and times that differ from the server's.
    #[must_use]
    pub fn options(mut self, options: EndpointOptions) -> Self {
        self.options = options;
        self
    }

    fn hook<M>(mut self, gate: Gate, handler: With<impl Handler<M, S>>) -> Self {
        self.hooks = self.hooks.method(gate.name(), handler);
        self.gates.push(gate);
        self
    }

    /// Routes and hooks over the server's state.
    pub(crate) fn bind(self, state: &Arc<S>) -> Bound {
        let has_handlers = self.has_routes || !self.gates.is_empty();
        Bound {
            path: self.path,
            dialects: self.dialects,
            main: Arc::new(self.routes).bind(state.clone()),
            hooks: Arc::new(self.hooks).bind(state.clone()),
            gates: self.gates,
            has_handlers,
            options: self.options,
        }
    }
}

impl<S> fmt::Debug for Endpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("path", &self.path)
            .field("dialects", &self.dialects)
            .finish_non_exhaustive()
    }
}

/// An endpoint without the type of its state.
pub(crate) struct Bound {
    pub(crate) path: Box<str>,
    pub(crate) dialects: Vec<Arc<dyn Dialect>>,
    pub(crate) main: Object,
    pub(crate) hooks: Object,
    pub(crate) gates: Vec<Gate>,
    pub(crate) has_handlers: bool,
    pub(crate) options: EndpointOptions,
}
