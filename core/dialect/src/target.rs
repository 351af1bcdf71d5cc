//! What calls land on: functions, route tables, objects. One trait for all three.
use std::{
    any::Any,
    cell::OnceCell,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{Args, CallError, Cancelled, Form, Link, Order, Payload, Subscribed, Verdict};

/// Something that can be called. A plain function answers the empty member name, an object answers
/// its methods, an endpoint its routes. Dropping the last handle disposes it.
pub trait Target: Send + Sync + 'static {
    /// Calls a method. Runs where [`placement`](Self::placement) says.
    fn call(&self, member: &str, call: Call<'_>) -> Outcome;

    /// Reads a property. Default: there is none.
    fn get(&self, _member: &str, _call: Call<'_>) -> Outcome {
        Outcome::Missing
    }

    /// Where and in what order a call of this member runs; asked before it is called, on the
    /// shard. Default: on a worker, in the dialect's order.
    fn placement(&self, _member: &str) -> Placement {
        Placement::default()
    }
}

/// Where a handler runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On the worker pool: it may block.
    #[default]
    Worker,
    /// On the shard, at once: it must not block.
    Shard,
}

/// Where and in what order a call runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Where.
    pub place: Place,
    /// Overrides the order that the session named.
    pub order: Option<Order>,
    /// How long it may take to answer from when it starts, to the first item if it streams. Who
    /// takes longer is cancelled, and the call answered with code 504. Default: for ever.
    pub timeout: Option<Duration>,
    /// Where the target has the member, handed back in [`Call::known`]: nothing to the host.
    /// Default: it is looked for by name again.
    pub known: Option<u32>,
}

/// One call as a target sees it.
pub struct Call<'a> {
    /// What it is called with.
    pub args: Args<'a>,
    /// The form in which results are wanted.
    pub form: Form,
    /// The way to the caller.
    pub link: &'a Link,
    /// What the host knows of the connection (id, address, headers, identity, local state); opaque
    /// here.
    pub connection: &'a Arc<dyn Any + Send + Sync>,
    /// Tells a handler that nobody waits any more; made for who asks for it first.
    pub cancelled: &'a OnceCell<Cancelled>,
    /// When it started, on the host's monotonic clock, to within some 16 milliseconds.
    pub at: Duration,
    /// [`Placement::known`] of the member that is called.
    pub known: Option<u32>,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("args", &self.args)
            .field("form", &self.form)
            .field("link", self.link)
            .finish_non_exhaustive()
    }
}

/// What a target did. Only `Ready` is settled; nothing here holds a thread while it waits.
pub enum Outcome {
    /// The result.
    Ready(Result<Payload<'static>, CallError>),
    /// A task for the worker pool.
    Later(Pin<Box<dyn Future<Output = Self> + Send>>),
    /// Polled only while the client keeps up.
    Stream(Box<dyn Source>),
    /// The answer is a room.
    Room(Subscribed),
    /// The answer to a gate's question about the client.
    Verdict(Verdict),
    /// There is no such member.
    Missing,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => write!(f, "Ready({result:?})"),
            Self::Later(_) => f.write_str("Later"),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Room(room) => write!(f, "Room({})", room.room),
            Self::Verdict(verdict) => write!(f, "Verdict({verdict:?})"),
            Self::Missing => f.write_str("Missing"),
        }
    }
}

/// A stream of results. Pulled by the host: backpressure is not being polled, cancellation is being
/// dropped.
pub trait Source: Send {
    /// The next item in the form that is wanted; `None` is the end, after which it is not polled
    /// again. An error ends the stream too.
    fn poll_next(
        &mut self,
        form: Form,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Payload<'static>, CallError>>>;
}

/// A handle to a target that can travel inside values.
#[derive(Clone)]
pub struct Object(Arc<dyn Target>);

impl Object {
    /// A handle to this target.
    #[must_use]
    pub fn new(target: impl Target) -> Self {
        Self(Arc::new(target))
    }

    /// A handle to a target that is shared already.
    #[must_use]
    pub fn from_shared(target: Arc<dyn Target>) -> Self {
        Self(target)
    }

    /// What it is a handle to.
    #[must_use]
    pub fn target(&self) -> &dyn Target {
        &*self.0
    }

    /// Whether both are handles to the same target.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Object")
    }
}
