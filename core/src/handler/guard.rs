//! Guards: what has a say in a call before its handler.
use std::{any::Any, ops::Deref, sync::Arc};

use fulmar_dialect::CallError;

use super::{CallParts, FromCall};

/// A function that lets a call pass or answers it with an error. Its arguments are those that
/// handlers may take; its result is `Result<T, E>`. What it lets calls pass with, if that is
/// anything but `()`, its handler and the guards behind it can take as [`Context<T>`]. It runs
/// where the handler runs. `M` is found by the compiler.
///
/// ```
/// use fulmar::handler::{Context, worker};
/// use fulmar::{Args, CallError, Connection, Endpoint};
///
/// struct User { name: String }
///
/// fn signed_in(peer: Connection) -> fulmar::Result<User> {
///     let name = peer.user().ok_or_else(|| CallError::with_code(401, "Who are you?"))?;
///     Ok(User { name: name.into() })
/// }
///
/// fn greet(user: Context<User>, Args((greeting,)): Args<(String,)>) -> String {
///     format!("{greeting}, {}!", user.name)
/// }
///
/// let greet = worker(greet).guard(signed_in);
/// let endpoint: Endpoint<()> = Endpoint::new("/ws").route("greet", greet);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a guard",
    note = "a guard is a function whose arguments all implement `FromCall`",
    note = "and whose result is `Result<T, E>`, `E` being an error that can answer a call"
)]
pub trait Guard<M, S>: Send + Sync + 'static {
    /// Lets the call pass or not.
    ///
    /// # Errors
    /// What the call is answered with; the handler does not run then.
    fn check(&self, parts: &mut CallParts<'_, '_, S>) -> Result<(), CallError>;
}

macro_rules! guards {
    ($(($($argument:ident),*)),* $(,)?) => { $(
        impl<S, F, T, E, $($argument: FromCall<S>),*> Guard<(T, E, $($argument,)*), S> for F
        where
            F: Fn($($argument),*) -> Result<T, E> + Send + Sync + 'static,
            T: Send + Sync + 'static,
            E: Into<CallError>,
        {
            #[allow(non_snake_case, reason = "the names of types are those of variables here")]
            fn check(&self, parts: &mut CallParts<'_, '_, S>) -> Result<(), CallError> {
                let given = parts.lent(|parts| {
                    $(let $argument = $argument::from_call(parts)?;)*
                    // So that a guard without arguments uses them, too.
                    let _ = &parts;
                    self($($argument),*).map_err(Into::into)
                })?;
                parts.give(given);
                Ok(())
            }
        }
    )* };
}

guards! { (), (A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, G) }

/// Guards one behind the other: `()` are none, `(L, G)` is `G` behind `L`.
#[doc(hidden)]
pub trait Guards<M, S>: Send + Sync + 'static {
    /// Asks them all, in order.
    ///
    /// # Errors
    /// That of the first that refuses.
    fn check_all(&self, parts: &mut CallParts<'_, '_, S>) -> Result<(), CallError>;
}

impl<S> Guards<(), S> for () {
    fn check_all(&self, _: &mut CallParts<'_, '_, S>) -> Result<(), CallError> {
        Ok(())
    }
}

impl<ML, MG, S, L: Guards<ML, S>, G: Guard<MG, S>> Guards<(ML, MG), S> for (L, G) {
    fn check_all(&self, parts: &mut CallParts<'_, '_, S>) -> Result<(), CallError> {
        self.0.check_all(parts)?;
        self.1.check(parts)
    }
}

/// What a guard in front of the handler has found out. With several of one type, the last.
#[derive(Debug)]
pub struct Context<T>(pub Arc<T>);

impl<T> Deref for Context<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Context<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, T: Any + Send + Sync> FromCall<S> for Context<T> {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        parts.given().map(Self).ok_or_else(|| {
            // A mistake in the server, of which its clients learn nothing.
            let detail = format!("no guard gives {}", std::any::type_name::<T>());
            CallError { detail: Some(detail.into()), ..CallError::with_code(500, "Internal error") }
        })
    }
}
