//! What handlers take from a call.
use std::{
    any::Any,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fulmar_dialect::{self as dialect, Call, CallError, Cancelled, End, Form, Payload, open};
use serde::de::DeserializeOwned;

use super::words::Words;
use crate::connection::Connection;
use crate::hub::Hub;

/// A call while its arguments are taken.
#[derive(Debug)]
pub struct CallParts<'a, 'b, S> {
    state: &'a Arc<S>,
    /// Without its arguments once they are taken.
    call: Call<'b>,
    /// Whether whoever takes the arguments leaves them for others.
    keeps_args: bool,
    /// What guards gave.
    given: Vec<Arc<dyn Any + Send + Sync>>,
}

impl<'a, 'b, S> CallParts<'a, 'b, S> {
    /// The parts of a call on an endpoint or object with this state.
    #[doc(hidden)]
    #[must_use]
    pub fn new(state: &'a Arc<S>, call: Call<'b>) -> Self {
        Self { state, call, keeps_args: false, given: Vec::new() }
    }

    /// The arguments, once; afterwards there are none. Guards get a copy.
    pub fn take_args(&mut self) -> dialect::Args<'b> {
        if self.keeps_args {
            return self.call.args.clone();
        }
        std::mem::replace(&mut self.call.args, dialect::Args::none())
    }

    /// Lends itself to a guard.
    pub(super) fn lent<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        self.keeps_args = true;
        let done = work(self);
        self.keeps_args = false;
        done
    }

    /// Keeps what a guard gave, if that is anything.
    pub(super) fn give<T: Send + Sync + 'static>(&mut self, given: T) {
        if size_of::<T>() > 0 {
            self.given.push(Arc::new(given));
        }
    }

    /// What a guard gave.
    pub(super) fn given<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.given.iter().rev().find_map(|given| given.clone().downcast().ok())
    }

    /// When the call started, on the server's monotonic clock, to within some 16 milliseconds.
    #[must_use]
    pub fn at(&self) -> Duration {
        self.call.at
    }

    /// The state of the endpoint or object.
    #[must_use]
    pub fn state(&self) -> &'a Arc<S> {
        self.state
    }

    /// The form in which results are wanted.
    #[must_use]
    pub fn form(&self) -> Form {
        self.call.form
    }

    /// Who calls.
    ///
    /// # Errors
    ///
    /// Where the call does not come from a connection.
    pub fn connection(&self) -> Result<Connection, CallError> {
        Connection::from_erased(self.call.connection)
            .ok_or_else(|| CallError::new("the call does not come from a connection"))
    }

    /// Tells whether anybody still waits.
    #[must_use]
    pub fn cancelled(&self) -> Cancelled {
        self.call.cancelled.get_or_init(Cancelled::default).clone()
    }
}

/// Something a handler may take as an argument. Embedders implement it for types of their own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken from a call",
    note = "use `State`, `Arg`, `Args`, `Message`, `Connection`, `Path`, `Query`, `Local`",
    note = "or `Cancelled`, or implement `FromCall`"
)]
pub trait FromCall<S>: Sized {
    /// Takes it.
    ///
    /// # Errors
    ///
    /// The error that the call is answered with; the handler does not run then.
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError>;
}

/// The endpoint's state, or the object that is being called.
#[derive(Debug)]
pub struct State<S>(pub Arc<S>);

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> FromCall<S> for State<S> {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        Ok(Self(parts.state().clone()))
    }
}

/// All arguments as a tuple: exactly as many as it has fields. A `Vec` takes any number.
#[derive(Clone, Copy, Debug)]
pub struct Args<T>(pub T);

impl<S, T: DeserializeOwned> FromCall<S> for Args<T> {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        parts.take_args().decode_list().map(Self)
    }
}

/// The only argument: a message (`Arg<String>` for text, `Arg<Bytes>` for binary), an event's data,
/// or a list of one.
#[derive(Clone, Copy, Debug)]
pub struct Arg<T>(pub T);

impl<S, T: DeserializeOwned> FromCall<S> for Arg<T> {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        parts.take_args().decode_one().map(Self)
    }
}

/// An event with its name and the client's own id for it. `T` is its data; an event without any
/// decodes as `()` or `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<T> {
    /// Its name.
    pub name: String,
    /// What was sent with it.
    pub data: T,
    /// The client's own id for it.
    pub id: Option<String>,
}

impl<S, T: DeserializeOwned> FromCall<S> for Event<T> {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        match parts.take_args() {
            dialect::Args::Event(event) => {
                let id = event.id.map(|id| match Payload::json(&id).decode::<String>() {
                    Ok(text) => text,
                    Err(_) => id.into_owned(), // a number, say
                });
                Ok(Self { name: event.name.into_owned(), data: event.data.decode()?, id })
            }
            other => Ok(Self { name: String::new(), data: other.decode_one()?, id: None }),
        }
    }
}

/// A message of a text endpoint, whichever kind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

impl<S> FromCall<S> for Message {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        match parts.take_args() {
            dialect::Args::One(Payload::Text(text)) => Ok(Self::Text(text.into_owned())),
            dialect::Args::One(Payload::Binary(bytes)) => Ok(Self::Binary(bytes.into_owned())),
            other => other.decode_one().map(Self::Text),
        }
    }
}

impl<S> FromCall<S> for Connection {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        parts.connection()
    }
}

impl<S> FromCall<S> for Hub {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        let hub = parts.connection()?.hub().cloned();
        hub.ok_or_else(|| CallError::new("the connection belongs to no server"))
    }
}

impl<S> FromCall<S> for Cancelled {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        Ok(parts.cancelled())
    }
}

/// Has something done when the call is over: answered, the stream at its end, the subscription
/// cancelled, the connection gone.
///
/// ```
/// use fulmar::handler::{Defer, End};
/// use fulmar::Args;
///
/// fn book(defer: Defer, Args((seat,)): Args<(u32,)>) -> String {
///     defer.run(move |end| match end {
///         End::Done => println!("{seat} is taken"),
///         _ => println!("{seat} is free again: {end:?}"),
///     });
///     format!("seat {seat}")
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Defer(Cancelled);

impl Defer {
    /// Does this on a worker when the call is over, and tells how it ended; at once if it is.
    /// Several are done in the order in which they were asked for. Also for notifications.
    pub fn run(&self, work: impl FnOnce(&End) + Send + 'static) {
        self.0.defer(work);
    }
}

impl<S> FromCall<S> for Defer {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        Ok(Self(parts.cancelled()))
    }
}

/// Connection-local state, made with `Default` on first use, gone with the connection. One for each
/// type.
#[derive(Debug)]
pub struct Local<T>(Arc<Mutex<T>>);

impl<T> Local<T> {
    /// Works with the state, which is locked meanwhile: only calls of the same connection that
    /// overlap wait for each other.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // What a panicking handler left behind is still the connection's state.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Local<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, T: Default + Send + 'static> FromCall<S> for Local<T> {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        parts.connection()?.local().map(Self).ok_or_else(CallError::closed)
    }
}

/// Parameters of the path: a struct with fields of their names, a tuple in their order, or the only
/// one as a bare value. Text is read as the numbers and booleans that the type wants.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<S, T: DeserializeOwned> FromCall<S> for Path<T> {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        let connection = parts.connection()?;
        Words::of(connection.parameters()).decode().map(Self)
    }
}

/// Parameters of the query, as in [`Path`].
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S, T: DeserializeOwned> FromCall<S> for Query<T> {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        let connection = parts.connection()?;
        Words::of(open::query_parameters(connection.query())).decode().map(Self)
    }
}
