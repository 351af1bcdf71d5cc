//! alien-rpc's frames, written and read.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sonic_rs::{JsonValueTrait as _, LazyValue};

use crate::error::{ClientError, Json, RequestError};

/// How deep a message may be nested.
const DEPTH_MAX: usize = 128;

/// What goes out after silence.
pub(crate) const PING: &str = r#"{"method":".ping"}"#;

/// Arguments as the text of a JSON array.
///
/// # Errors
/// [`ClientError::Arguments`].
pub(crate) fn arguments(arguments: &impl Serialize) -> Result<String, ClientError> {
    let text = sonic_rs::to_string(arguments)
        .map_err(|error| ClientError::Arguments(format!("the arguments are no JSON: {error}")))?;
    match text.as_bytes().first() {
        Some(b'[') => Ok(text),
        // What `()` becomes.
        _ if text == "null" => Ok("[]".to_owned()),
        _ => Err(ClientError::Arguments(
            "the arguments are no list: use a tuple, such as `(1,)` for one".to_owned(),
        )),
    }
}

/// A request or a subscription, or, without an id, a notification.
pub(crate) fn call(method: &str, arguments: &str, id: Option<u64>) -> String {
    let method = sonic_rs::to_string(method).unwrap_or_else(|_| "\"\"".to_owned());
    match id {
        Some(id) => format!(r#"{{"method":{method},"params":{arguments},"id":{id}}}"#),
        None => format!(r#"{{"method":{method},"params":{arguments}}}"#),
    }
}

/// What tells the server to stop.
pub(crate) fn cancel(id: u64) -> String {
    format!(r#"{{"method":".cancel","params":[{id}]}}"#)
}

/// What the server says about a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// A result, or an item of a subscription, as JSON.
    Result(Cow<'a, str>),
    /// A subscription's end.
    End,
    /// An error.
    Failure(RequestError),
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    id: Option<LazyValue<'a>>,
    #[serde(borrow, default)]
    result: Option<LazyValue<'a>>,
    #[serde(borrow, default)]
    error: Option<LazyValue<'a>>,
    #[serde(borrow, default)]
    close: Option<LazyValue<'a>>,
}

/// What is no JSON object, or nested too deeply. Whatever it was meant to say, nobody learns it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Reads a frame with an id that can be ours; `None` for all others, which are to be ignored.
pub(crate) fn parse(text: &str) -> Result<Option<(u64, Reply<'_>)>, Unreadable> {
    if is_too_deep(text) {
        return Err(Unreadable);
    }
    let frame: Frame<'_> = sonic_rs::from_str(text).map_err(|_| Unreadable)?;
    let Some(id) = frame.id.as_ref().and_then(LazyValue::as_u64) else { return Ok(None) };
    let reply = if let Some(error) = frame.error {
        Reply::Failure(failure(error.as_raw_str()))
    } else if frame.close.is_some_and(|close| close.as_bool() == Some(true)) {
        Reply::End
    } else {
        // No result is how `undefined` travels.
        Reply::Result(frame.result.map_or(Cow::Borrowed("null"), |value| value.as_raw_cow()))
    };
    Ok(Some((id, reply)))
}

/// Whether arrays and objects are nested deeper than the parser's recursion can take.
fn is_too_deep(text: &str) -> bool {
    let opens = |byte: &u8| matches!(byte, b'[' | b'{');
    // Almost no message has so many at all.
    if text.as_bytes().iter().filter(|byte| opens(byte)).count() <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// Reads a value.
///
/// # Errors
/// [`ClientError::Decode`].
pub(crate) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, ClientError> {
    sonic_rs::from_str(text).map_err(|error| {
        let expected = std::any::type_name::<T>();
        // The error shows a piece of the text over several lines.
        let error = error.to_string();
        let line = error.lines().next().unwrap_or_default();
        ClientError::Decode(format!("the result is no {expected}: {line}"))
    })
}

#[derive(Deserialize)]
struct ErrorFields<'a> {
    #[serde(borrow, default)]
    code: Option<LazyValue<'a>>,
    #[serde(borrow, default)]
    message: Option<LazyValue<'a>>,
    #[serde(borrow, default)]
    data: Option<LazyValue<'a>>,
    #[serde(borrow, default)]
    stack: Option<LazyValue<'a>>,
}

/// An error, whatever it looks like: other servers' are not thrown away.
fn failure(text: &str) -> RequestError {
    let Ok(fields) = sonic_rs::from_str::<ErrorFields<'_>>(text) else {
        let message = sonic_rs::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
        return RequestError { code: 500, message, data: None, stack: None };
    };
    let code = fields.code.and_then(|code| code.as_i64()).unwrap_or(500);
    let text = |value: Option<LazyValue<'_>>| Some(value?.as_str()?.to_owned());
    RequestError {
        code: i32::try_from(code).unwrap_or(500),
        message: text(fields.message).unwrap_or_default(),
        data: fields.data.map(|data| Json::new(data.as_raw_str())),
        stack: text(fields.stack),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_written_as_the_protocol_has_them() {
        let args = arguments(&("a\"b", 2, Some(3.5))).unwrap();
        assert_eq!(
            call("add", &args, Some(7)),
            r#"{"method":"add","params":["a\"b",2,3.5],"id":7}"#
        );
        assert_eq!(call("n\"x", "[]", None), r#"{"method":"n\"x","params":[]}"#);
        assert_eq!(cancel(21), r#"{"method":".cancel","params":[21]}"#);
    }

    #[test]
    fn arguments_are_a_list() {
        assert_eq!(arguments(&()).unwrap(), "[]");
        assert_eq!(arguments(&vec![1, 2]).unwrap(), "[1,2]");
        assert_eq!(arguments(&(1,)).unwrap(), "[1]");
        assert!(matches!(arguments(&5), Err(ClientError::Arguments(_))));
        assert!(matches!(arguments(&"x"), Err(ClientError::Arguments(_))));
    }

    #[test]
    fn replies_are_told_apart() {
        let result = |json| Ok(Some((1, Reply::Result(Cow::Borrowed(json)))));
        assert_eq!(parse(r#"{"id":1,"result": {"a":[1]} }"#), result(r#"{"a":[1]}"#));
        assert_eq!(parse(r#"{"result":null,"id":1}"#), result("null"));
        assert_eq!(parse(r#"{"id":1}"#), result("null"));
        assert_eq!(parse(r#"{"id":1,"close":true}"#), Ok(Some((1, Reply::End))));
        for ignored in [r#"{"pong":true}"#, r#"{"id":"1"}"#, r#"{"id":-1}"#, "{}"] {
            assert_eq!(parse(ignored), Ok(None), "{ignored}");
        }
    }

    #[test]
    fn what_is_no_frame_is_unreadable_however_deep_it_is() {
        let deep = "[".repeat(100_000);
        let in_frame = format!(r#"{{"id":1,"x":{deep}"#);
        for text in ["", "null", "x", "{\"id\":1", &*deep, &*in_frame] {
            assert_eq!(parse(text), Err(Unreadable));
        }
        let flat = format!(r#"{{"id":1,"result":["\"{deep}",{}]}}"#, "[],".repeat(500) + "1");
        assert!(matches!(parse(&flat), Ok(Some((1, Reply::Result(_))))));
        let nested =
            |depth| format!(r#"{{"id":1,"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(127)).is_ok() && parse(&nested(128)).is_err());
    }

    #[test]
    fn errors_are_read_whatever_they_look_like() {
        let error = |text: &str| match parse(text) {
            Ok(Some((2, Reply::Failure(error)))) => error,
            other => panic!("{other:?}"),
        };
        let full = error(
            r#"{"id":2,"error":{"code":400,"message":"bad","data":{"path":"/0"},"stack":"at"}}"#,
        );
        assert_eq!((full.code, &*full.message, full.stack.as_deref()), (400, "bad", Some("at")));
        assert_eq!(full.data.unwrap().as_str(), r#"{"path":"/0"}"#);
        let empty = error(r#"{"error":{"code":401,"message":""},"id":2}"#);
        assert_eq!((empty.code, &*empty.message, empty.data), (401, "", None));
        assert_eq!(error(r#"{"id":2,"error":"kaput"}"#).message, "kaput");
        assert_eq!(error(r#"{"id":2,"error":{"code":99999999999,"message":1}}"#).code, 500);
    }

    #[test]
    fn what_is_of_another_type_is_a_decode_error() {
        assert_eq!(decode::<i64>("5"), Ok(5));
        assert_eq!(decode::<()>("null"), Ok(()));
        assert!(matches!(decode::<i64>("\"5\""), Err(ClientError::Decode(_))));
    }
}
