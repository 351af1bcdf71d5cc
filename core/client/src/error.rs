//! What can go wrong with a call.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

/// Why a call gave no result. [`name`](Self::name) is what alien-rpc's clients call the error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The server answered with an error.
    Request(RequestError),
    /// There is no connection: it could not be made, or it is gone. The call may have been carried
    /// out or not.
    Connection(ConnectionError),
    /// The time given for the call is over. The server was told to stop.
    Timeout,
    /// The call's [`CancelToken`](crate::CancelToken) was cancelled. The server was told to stop.
    Aborted,
    /// The client was closed, or dropped, while the call was waiting.
    Closed,
    /// The options or the URL cannot work. In words.
    Setup(String),
    /// The arguments are no JSON array, or too long. Nothing was sent.
    Arguments(String),
    /// The result is not of the type that was asked for.
    Decode(String),
    /// As many calls are waiting already as [`pending_max`](crate::ClientOptions::pending_max) and
    /// [`send_buffer_bytes_max`](crate::ClientOptions::send_buffer_bytes_max) let. Nothing was
    /// sent.
    TooManyCalls,
    /// A subscription's buffer stayed full for longer than
    /// [`stream_pause_max`](crate::ClientOptions::stream_pause_max) while other calls were waiting
    /// behind it. It was cancelled.
    Overflow,
}

impl ClientError {
    /// The error's name, the same in all languages: `ws.RequestError`, `ws.ConnectionError`,
    /// `TimeoutError`, `AbortError`, and so on.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Request(error) => error.name(),
            Self::Connection(error) => error.name(),
            Self::Timeout => "TimeoutError",
            Self::Aborted => "AbortError",
            Self::Closed => "ws.ClosedError",
            Self::Setup(_) => "ws.SetupError",
            Self::Arguments(_) => "ws.ArgumentsError",
            Self::Decode(_) => "ws.DecodeError",
            Self::TooManyCalls => "ws.TooManyCallsError",
            Self::Overflow => "ws.OverflowError",
        }
    }

    /// What the server answered, if it did.
    #[must_use]
    pub const fn as_request(&self) -> Option<&RequestError> {
        if let Self::Request(error) = self { Some(error) } else { None }
    }

    /// What became of the connection, if it is that.
    #[must_use]
    pub const fn as_connection(&self) -> Option<&ConnectionError> {
        if let Self::Connection(error) = self { Some(error) } else { None }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => return error.fmt(formatter),
            Self::Connection(error) => return error.fmt(formatter),
            _ => write!(formatter, "{}: ", self.name())?,
        }
        match self {
            Self::Request(_) | Self::Connection(_) => Ok(()),
            Self::Timeout => formatter.write_str("the time for the call is over"),
            Self::Aborted => formatter.write_str("the call was cancelled"),
            Self::Closed => formatter.write_str("the client was closed"),
            Self::Setup(message) | Self::Arguments(message) | Self::Decode(message) => {
                formatter.write_str(message)
            }
            Self::TooManyCalls => formatter.write_str("too many calls are waiting"),
            Self::Overflow => formatter.write_str("the items were not taken in time"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::Connection(error) => Some(error),
            _ => None,
        }
    }
}

/// The server's answer, if it is an error. Such calls are never retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// The status code, such as 400 for arguments that do not fit, or 404 for an unknown method.
    pub code: i32,
    /// In words; may be empty.
    pub message: String,
    /// What the server adds, such as `{"path":...,"value":...}` with code 400.
    pub data: Option<Json>,
    /// The server's stack, if it shows it.
    pub stack: Option<String>,
}

impl RequestError {
    /// `ws.RequestError`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        "ws.RequestError"
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} (code {})", self.name(), self.message, self.code)
    }
}

impl std::error::Error for RequestError {}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// What happened, with the URL or the close code.
    pub message: String,
    /// What to look at; may be empty.
    pub hint: String,
    /// When it happened.
    pub kind: ConnectionErrorKind,
}

/// When a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionErrorKind {
    /// It could not be made.
    Connect,
    /// It was lost: cut, silent for too long, or broken by what came over it.
    Lost,
    /// The server closed it with a close frame, and with this code if it named one.
    Closed(Option<u16>),
}

impl ConnectionError {
    /// `ws.ConnectionError`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        "ws.ConnectionError"
    }

    pub(crate) fn connect(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let kind = ConnectionErrorKind::Connect;
        Self { message: message.into(), hint: hint.into(), kind }
    }

    pub(crate) fn lost(message: impl Into<String>) -> Self {
        let kind = ConnectionErrorKind::Lost;
        Self { message: message.into(), hint: String::new(), kind }
    }

    pub(crate) fn silent(pong_timeout: Duration) -> Self {
        let message = format!("lost connection: no answer to a ping within {pong_timeout:?}");
        let hint = "the server or the network hangs; see `pong_timeout`".to_owned();
        Self { message, hint, kind: ConnectionErrorKind::Lost }
    }

    pub(crate) fn closed(code: Option<u16>, reason: &str) -> Self {
        let mut message = match code {
            Some(code) => format!("the server closed the connection with code {code}"),
            None => "the server closed the connection without a code".to_owned(),
        };
        if !reason.is_empty() {
            message.push_str(": ");
            message.push_str(reason);
        }
        Self { message, hint: String::new(), kind: ConnectionErrorKind::Closed(code) }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.name(), self.message)?;
        if !self.hint.is_empty() {
            write!(formatter, " ({})", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectionError {}

/// A JSON value as text, yet to be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Json(Box<str>);

impl Json {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the value.
    ///
    /// # Errors
    /// [`ClientError::Decode`] if it is not of the type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        crate::wire::decode(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_their_names_and_what_to_do() {
        let data = Some(Json::new(r#"{"path":"/0"}"#));
        let error = RequestError { code: 400, message: "bad".to_owned(), data, stack: None };
        let error = ClientError::Request(error);
        assert_eq!(error.to_string(), "ws.RequestError: bad (code 400)");
        let error = ClientError::Connection(ConnectionError::connect("no", "is it up?"));
        assert_eq!(error.to_string(), "ws.ConnectionError: no (is it up?)");
        assert_eq!(ClientError::Aborted.name(), "AbortError");
        assert_eq!(
            ConnectionError::closed(Some(1001), "bye").message,
            "the server closed the connection with code 1001: bye"
        );
    }
}
