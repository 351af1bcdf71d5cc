//! What handlers answer with.
use std::{future::Future, marker::PhantomData};

use fulmar_dialect::{CallError, Form, Identity, Outcome, Payload, Verdict};
use serde::Serialize;

use super::Stream;

/// Something that can answer a call: a `Serialize`, a `Result` of what can, a [`Stream`], a
/// [`Subscription`], for gates an [`Identity`] or a [`Verdict`], or a future of what can. `K` is
/// found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer a call",
    note = "return a `Serialize` type, a `Result` of one, a `Stream` or a `Subscription`",
    note = "or a future of these"
)]
pub trait IntoOutcome<K> {
    /// As the outcome of a call, in the form that the caller's protocol wants.
    fn into_outcome(self, form: Form) -> Outcome;
}

impl<T: Serialize> IntoOutcome<Plain> for T {
    fn into_outcome(self, form: Form) -> Outcome {
        Outcome::Ready(Payload::from(&self, form))
    }
}

impl<K, T: IntoOutcome<K>, E: Into<CallError>> IntoOutcome<Fallible<K>> for Result<T, E> {
    fn into_outcome(self, form: Form) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(form),
            Err(error) => Outcome::Ready(Err(error.into())),
        }
    }
}

impl<K, F> IntoOutcome<Later<K>> for F
where
    F: Future<Output: IntoOutcome<K>> + Send + 'static,
{
    fn into_outcome(self, form: Form) -> Outcome {
        Outcome::Later(Box::pin(async move { self.await.into_outcome(form) }))
    }
}

impl<T: Serialize + 'static> IntoOutcome<Streamed> for Stream<T> {
    fn into_outcome(self, _form: Form) -> Outcome {
        Outcome::Stream(Box::new(self))
    }
}

impl IntoOutcome<Roomed> for Subscription {
    fn into_outcome(self, _form: Form) -> Outcome {
        Outcome::Room(self.0)
    }
}

impl IntoOutcome<Decided> for Verdict {
    fn into_outcome(self, _form: Form) -> Outcome {
        Outcome::Verdict(self)
    }
}

impl IntoOutcome<Decided> for Identity {
    fn into_outcome(self, _form: Form) -> Outcome {
        Outcome::Verdict(Verdict::Accepted(self))
    }
}

impl IntoOutcome<Decided> for Option<Identity> {
    fn into_outcome(self, _form: Form) -> Outcome {
        Outcome::Verdict(self.into())
    }
}

/// Answers a call with a room; made by [`crate::room::Room::subscribe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription(Box<str>);

impl Subscription {
    /// A subscription of the room of this name.
    #[must_use]
    pub fn new(room: &str) -> Self {
        Self(room.into())
    }
}

/// Tells the kinds of [`IntoOutcome`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Decided;

/// Tells the kinds of [`IntoOutcome`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Plain;

/// Tells the kinds of [`IntoOutcome`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Fallible<K>(PhantomData<K>);

/// Tells the kinds of [`IntoOutcome`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Later<K>(PhantomData<K>);

/// Tells the kinds of [`IntoOutcome`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Streamed;

/// Tells the kinds of [`IntoOutcome`] apart.
#[doc(hidden)]
#[derive(Debug)]
pub struct Roomed;
