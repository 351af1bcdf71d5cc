//! What handlers answer with.
use std::{future::Future, marker::PhantomData};

use fulmar_dialect::{CallError, Form, Identity, Outcome, Payload, Subscribed, Verdict};
use serde::{Deserialize, Serialize};

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

impl<T> IntoOutcome<Roomed> for Subscription<T> {
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

/// Answers a call with a room, whose messages are of type `T`; made by
/// [`Room::subscribe`](crate::room::Room::subscribe). Nothing checks the type: it is what clients
/// are told where [types](crate#features) are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription<T = Unknown>(Subscribed, PhantomData<fn() -> T>);

/// Messages of which no type is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {}

/// A message with its place in its room, for protocols that have words for it: alien-rpc's clients
/// get `{"epoch":1,"number":7,"data":...}`. Numbers of one epoch rise by one, so that a client sees
/// what it has missed; a room that was empty meanwhile may begin another epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "types", derive(fulmar_types::schemars::JsonSchema))]
#[cfg_attr(feature = "types", schemars(crate = "fulmar_types::schemars"))]
pub struct Numbered<T = Unknown> {
    /// The life of the room in which the number counts.
    pub epoch: u64,
    /// One more than that of the message before.
    pub number: u64,
    /// The message.
    pub data: T,
}

impl Subscription {
    /// A subscription of the room of this name.
    #[must_use]
    pub fn new(room: &str) -> Self {
        Self(Subscribed::to(room), PhantomData)
    }

    /// The same with each message's place in the room.
    #[must_use]
    pub fn numbered(self) -> Subscription<Numbered> {
        Subscription(Subscribed { is_numbered: true, ..self.0 }, PhantomData)
    }
}

impl<T> Subscription<T> {
    /// The same, said to have messages of the type that the handler returns, such as
    /// `Subscription<Chat>` or `Subscription<Numbered<Chat>>`.
    #[must_use]
    pub fn typed<U>(self) -> Subscription<U> {
        Subscription(self.0, PhantomData)
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
