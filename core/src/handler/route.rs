//! Handlers as entries of a table: where they run, and what is in front of them.
use std::{fmt, sync::Arc, time::Duration};

use fulmar_dialect::{Call, Order, Outcome, Place, Placement};

use super::{
    CallParts, Handler,
    guard::Guards,
    rate::{Limiter, Rate},
};

/// A handler without its type.
pub type Erased<S> = Box<dyn Fn(&mut CallParts<'_, '_, S>) -> Outcome + Send + Sync>;

/// One entry of a table: a handler and how it is to be run.
pub struct Route<S> {
    placement: Placement,
    run: Erased<S>,
}

impl<S> Route<S> {
    /// An entry.
    pub fn new<M>(handler: impl Handler<M, S>, placement: Placement) -> Self {
        Self { placement, run: Box::new(move |parts| handler.handle(parts)) }
    }

    /// Where and in what order it runs.
    #[must_use]
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Runs it here and now.
    pub fn call(&self, state: &Arc<S>, call: Call<'_>) -> Outcome {
        self.run(&mut CallParts::new(state, call))
    }

    pub(super) fn run(&self, parts: &mut CallParts<'_, '_, S>) -> Outcome {
        (self.run)(parts)
    }
}

impl<S> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("placement", &self.placement).finish_non_exhaustive()
    }
}

/// A handler with its placement and what is in front of it: what [`worker`], [`inline`],
/// [`concurrent`] and [`ordered`] make.
#[derive(Clone, Copy, Debug)]
pub struct With<H, L = ()> {
    handler: H,
    guards: L,
    placement: Placement,
    rate: Option<Rate>,
}

/// Runs the handler on a worker, in the protocol's order: as one that comes alone. For what can be
/// added to it.
pub fn worker<H>(handler: H) -> With<H> {
    With { handler, guards: (), placement: Placement::default(), rate: None }
}

/// Runs the handler on the shard, at once. It must not block, and should be done in microseconds:
/// while it runs, no other connection of the shard is served.
pub fn inline<H>(handler: H) -> With<H> {
    placed(handler, Place::Shard, None)
}

/// Lets calls overlap with others of their connection, whatever the protocol's order.
pub fn concurrent<H>(handler: H) -> With<H> {
    placed(handler, Place::Worker, Some(Order::Free))
}

/// Runs calls one after another within a connection, whatever the protocol's order.
pub fn ordered<H>(handler: H) -> With<H> {
    placed(handler, Place::Worker, Some(Order::Strict))
}

fn placed<H>(handler: H, place: Place, order: Option<Order>) -> With<H> {
    With { placement: Placement { place, order, ..Placement::default() }, ..worker(handler) }
}

impl<H, L> With<H, L> {
    /// How long a call may take to be answered from when it starts, to the first item if the answer
    /// is a stream. Then it is cancelled and answered with code 504, to within some 32
    /// milliseconds; a handler that neither waits nor looks at [`Cancelled`](super::Cancelled) is
    /// still at work. Default: for ever.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.placement.timeout = Some(timeout);
        self
    }

    /// How often each connection may call it; the rest is refused before guards are asked. Default:
    /// as often as it likes.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Has the call pass a [`Guard`](super::Guard), behind those that it has already.
    #[must_use]
    pub fn guard<G>(self, guard: G) -> With<H, (L, G)> {
        let Self { handler, guards, placement, rate } = self;
        With { handler, guards: (guards, guard), placement, rate }
    }
}

/// A handler, with or without a placement. `M` is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is a function whose arguments all implement `FromCall`",
    note = "and whose result can answer a call"
)]
pub trait Placed<M, S> {
    /// As an entry of a route table.
    fn place(self) -> Route<S>;
}

impl<M, S, H: Handler<M, S>> Placed<Bare<M>, S> for H {
    fn place(self) -> Route<S> {
        Route::new(self, Placement::default())
    }
}

impl<M, ML, S, H, L> Placed<Wrapped<M, ML>, S> for With<H, L>
where
    H: Handler<M, S>,
    L: Guards<ML, S>,
{
    fn place(self) -> Route<S> {
        let Self { handler, guards, placement, rate } = self;
        let limiter = rate.map(Limiter::new);
        let run: Erased<S> = Box::new(move |parts| {
            let passed = limiter.as_ref().map_or(Ok(()), |limiter| limiter.check(parts));
            match passed.and_then(|()| guards.check_all(parts)) {
                Ok(()) => handler.handle(parts),
                Err(error) => Outcome::Ready(Err(error)),
            }
        });
        Route { placement, run }
    }
}

/// Tells the two kinds of [`Placed`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Bare<M>(std::marker::PhantomData<M>);

/// Tells the two kinds of [`Placed`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Wrapped<M, ML = ()>(std::marker::PhantomData<(M, ML)>);
