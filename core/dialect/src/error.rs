//! One error type; each dialect spells it in its own way.
use std::borrow::Cow;

use crate::{Payload, Value};

/// Why a call failed, as a client may learn it.
///
/// | here | alien-rpc | Cap'n Web | events, text |
/// |---|---|---|---|
/// | `code` | `error.code`, default 500 | property `code`, only when set | - |
/// | `name` | - | error class | - |
/// | `message` | `error.message` | message | message of the `error` event |
/// | `fields` | `error.data` | own properties (`cause` among them) | - |
/// | `thrown` | message = its text | the bare value | - |
///
/// It does not implement [`std::error::Error`], so that any such error converts with `?`; the text
/// of a converted error is kept for the log and *not* sent (`Internal error`).
#[derive(Clone, Debug, Default)]
pub struct CallError {
    /// As HTTP has them; `None` where only a message matters.
    pub code: Option<i32>,
    /// Class of the error: `Error`, `TypeError`.
    pub name: Cow<'static, str>,
    /// For people.
    pub message: Cow<'static, str>,
    /// For programs.
    pub fields: Vec<(Box<str>, Value)>,
    /// A plain value thrown instead of an error.
    pub thrown: Option<Box<Value>>,
    /// For the log only.
    pub detail: Option<Box<str>>,
}

impl CallError {
    /// An `Error` with this message.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::named("Error", message)
    }

    /// An error of another class.
    pub fn named(
        name: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { name: name.into(), message: message.into(), ..Self::default() }
    }

    /// A `TypeError`.
    pub fn type_error(message: impl Into<Cow<'static, str>>) -> Self {
        Self::named("TypeError", message)
    }

    /// An `Error` with a code.
    pub fn with_code(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(message).code(code)
    }

    /// Arguments that do not fit: a `TypeError` with code 400.
    pub fn bad_arguments(message: impl Into<Cow<'static, str>>) -> Self {
        Self::type_error(message).code(400)
    }

    /// A bare value instead of an error, for clients whose language throws those.
    pub fn thrown(value: impl Into<Value>) -> Self {
        let value = value.into();
        let message = value.to_text();
        Self { thrown: Some(Box::new(value)), ..Self::new(message) }
    }

    /// What became of calls to a client that is gone.
    #[must_use]
    pub fn closed() -> Self {
        Self::new("Peer closed WebSocket.")
    }

    /// The same with this code.
    #[must_use]
    pub fn code(mut self, code: i32) -> Self {
        self.code = Some(code);
        self
    }

    /// The same with one more field.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same with the place in the arguments that it is about, as a JSON pointer (RFC 6901): in
    /// the field `path`, and in `value` what is there, if that is at most 1024 bytes of JSON.
    #[must_use]
    pub fn at(self, path: &str, value: Option<&Value>) -> Self {
        let error = self.field("path", path);
        let is_short = |value: &&Value| {
            sonic_rs::to_string(value).is_ok_and(|json| json.len() <= VALUE_BYTES_MAX)
        };
        match value.filter(is_short) {
            Some(value) => error.field("value", value.clone()),
            None => error,
        }
    }

    /// The same with what is there as JSON text.
    #[must_use]
    pub fn at_json(self, path: &str, json: Option<&str>) -> Self {
        let json = json.filter(|json| json.len() <= VALUE_BYTES_MAX);
        let value = json.and_then(|json| Payload::json(json).into_value().ok());
        self.at(path, value.as_ref())
    }

    /// The same with the error that led to it, as JavaScript's `cause`.
    #[must_use]
    pub fn cause(self, cause: Self) -> Self {
        self.field("cause", Value::Error(Box::new(cause)))
    }
}

/// What does not fit is shown to the client if it is not longer than this, in bytes of JSON.
const VALUE_BYTES_MAX: usize = 1024;

impl<E: std::error::Error> From<E> for CallError {
    fn from(error: E) -> Self {
        Self { detail: Some(error.to_string().into()), ..Self::with_code(500, "Internal error") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_text_of_a_converted_error() {
        let error = CallError::from(std::io::Error::other("password is hunter2"));
        assert_eq!((error.code, &*error.message), (Some(500), "Internal error"));
        assert_eq!(error.detail.as_deref(), Some("password is hunter2"));
    }
}
