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
//! | [`Defer`] | what is to be done when the call is over |
//! | [`crate::Timer`] | a way to wait |
//! | [`Context<T>`] | what a guard has found out |
//!
//! A handler answers with anything that is `Serialize`, a `Result` of it, a [`Stream`], a
//! [`Subscription`], or a future of these (so `async fn` works too, polled on the worker pool).
//!
//! Handlers run on workers, where they may block, in the order that the protocol wants. [`inline`],
//! [`concurrent`] and [`ordered`] say otherwise; of what they make, and of [`worker`], calls can be
//! given a [timeout](With::timeout), a [rate](With::rate) and [guards](With::guard).
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
mod guard;
mod methods;
mod rate;
mod reply;
mod route;
#[cfg(feature = "tokio")]
mod runtime;
mod stream;
mod words;

pub use call::{Arg, Args, CallParts, Defer, Event, FromCall, Local, Message, Path, Query, State};
pub use fulmar_dialect::{Cancelled, End, Place, Placement};
#[doc(hidden)]
pub use guard::Guards;
pub use guard::{Context, Guard};
pub use methods::{Methods, function};
pub use rate::Rate;
#[doc(hidden)]
pub use reply::{Decided, Fallible, Later, Plain, Roomed, Streamed};
pub use reply::{IntoOutcome, Numbered, Subscription, Unknown};
#[doc(hidden)]
pub use route::{Bare, Wrapped};
pub use route::{Erased, Placed, Route, With, concurrent, inline, ordered, worker};
pub use stream::{Emitter, Stream};

use fulmar_dialect::Outcome;

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

#[cfg(test)]
mod tests;
