//! Handlers: plain functions whose arguments are taken from a call by type.
//!
//! | argument | what |
//! |---|---|
//! | [`State<S>`] | the server's state, or the object that is being called |
//! | [`Args<(A, B)>`] | the whole list of arguments, exactly as many |
//! | [`Arg<T>`] | the only argument: a text or binary message, an event's data |
//! | [`Event<T>`] | an event with its name and the client's id for it |
//! | [`Message`] | a message of a text endpoint, whichever kind it is |
//! | [`crate::connection::Connection`] | who calls |
//! | [`crate::Hub`] | the way to everybody else |
//! | [`Path<T>`], [`Query<T>`] | parameters of the path and of the query |
//! | [`Local<T>`] | state of this connection |
//! | [`Cancelled`] | whether anybody still waits |
//!
//! A handler answers with anything that is `Serialize`, a `Result` of it, a [`Stream`], a
//! [`Subscription`], or a future of these (so `async fn` works too, polled on the worker pool).
//!
//! Handlers run on workers, where they may block, in the order that the protocol wants. [`inline`],
//! [`concurrent`] and [`ordered`] say otherwise.
//!
//! ```
//! use fulmar::handler::{Args, Methods, State, inline};
//! use fulmar_dialect::CallError;
//! use std::sync::{Arc, Mutex};
//!
//! struct Counter { value: Mutex<i64> }
//!
//! fn add(counter: State<Counter>, Args((by,)): Args<(i64,)>) -> Result<i64, CallError> {
//!     let mut value = counter.value.lock()?;
//!     *value += by;
//!     Ok(*value)
//! }
//!
//! let counters = Arc::new(Methods::new().method("add", add).method("ping", inline(|| "pong")));
//! let counter = counters.object(Counter { value: Mutex::new(0) });
//! # drop(counter);
//! ```
mod call;
mod methods;
mod reply;
mod stream;
mod words;

pub use call::{Arg, Args, CallParts, Event, FromCall, Local, Message, Path, Query, State};
pub use fulmar_dialect::{Cancelled, Place, Placement};
pub use methods::{Erased, Methods, Route, function};
#[doc(hidden)]
pub use reply::{Decided, Fallible, Later, Plain, Roomed, Streamed};
pub use reply::{IntoOutcome, Subscription};
pub use stream::{Emitter, Stream};

use fulmar_dialect::{Order, Outcome};

/// A function whose arguments all implement [`FromCall`] and whose result can answer a call. `M` is
/// found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is a function whose arguments all implement `FromCall`",
    note = "and whose result can answer a call"
)]
pub trait Handler<M, S>: Send + Sync + 'static {
    /// Takes the arguments and calls the function; an argument that does not fit is the answer.
    fn handle(&self, parts: &mut CallParts<'_, '_, S>) -> Outcome;
}

macro_rules! handlers {
    ($(($($argument:ident),*)),* $(,)?) => { $(
        impl<S, F, R, K, $($argument: FromCall<S>),*> Handler<(K, $($argument,)*), S> for F
        where
            F: Fn($($argument),*) -> R + Send + Sync + 'static,
            R: IntoOutcome<K>,
        {
            #[allow(non_snake_case, reason = "the names of types are those of variables here")]
            fn handle(&self, parts: &mut CallParts<'_, '_, S>) -> Outcome {
                let form = parts.form();
                $(let $argument = match $argument::from_call(parts) {
                    Ok(argument) => argument,
                    Err(error) => return Outcome::Ready(Err(error)),
                };)*
                self($($argument),*).into_outcome(form)
            }
        }
    )* };
}

handlers! {
    (), (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E), (A, B, C, D, E, F1),
    (A, B, C, D, E, F1, G),
}

/// A handler with its placement: what [`inline`], [`concurrent`] and [`ordered`] make.
#[derive(Clone, Copy, Debug)]
pub struct With<H> {
    handler: H,
    placement: Placement,
}

/// Runs the handler on the shard, at once. It must not block, and should be done in microseconds:
/// while it runs, no other connection of the shard is served.
pub fn inline<H>(handler: H) -> With<H> {
    With { handler, placement: Placement { place: Place::Shard, order: None } }
}

/// Lets calls overlap with others of their connection, whatever the protocol's order.
pub fn concurrent<H>(handler: H) -> With<H> {
    With { handler, placement: Placement { place: Place::Worker, order: Some(Order::Free) } }
}

/// Runs calls one after another within a connection, whatever the protocol's order.
pub fn ordered<H>(handler: H) -> With<H> {
    With { handler, placement: Placement { place: Place::Worker, order: Some(Order::Strict) } }
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

impl<M, S, H: Handler<M, S>> Placed<Wrapped<M>, S> for With<H> {
    fn place(self) -> Route<S> {
        Route::new(self.handler, self.placement)
    }
}

/// Tells the two kinds of [`Placed`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Bare<M>(std::marker::PhantomData<M>);

/// Tells the two kinds of [`Placed`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Wrapped<M>(std::marker::PhantomData<M>);

#[cfg(test)]
mod tests;
