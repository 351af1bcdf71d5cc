//! A value on its way between a client and a handler or room, in the cheapest form it came in.
use std::{borrow::Cow, cell::Cell};

use serde::{Serialize, de::DeserializeOwned};

use crate::{CallError, Value, value};

/// Which form a dialect wants results in. Decided once per connection, known to the handler's glue,
/// so a plain dialect never builds a [`Value`] and a rich one never loses a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON text: serde straight to bytes.
    Json,
    /// A [`Value`]: dates, big integers, objects and stubs survive.
    Rich,
    /// The message is the value: strings unquoted, [`crate::Bytes`] as they are, `None` like `()`
    /// nothing at all, everything else JSON.
    Raw,
}

/// One value. Borrowed on the way in, owned (`'static`) on the way across threads.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// Nothing: JavaScript's `undefined`, Rust's `()`.
    Undefined,
    /// One JSON text, not looked into.
    Json(Cow<'a, str>),
    /// A string, not quoted: text routes and raw rooms.
    Text(Cow<'a, str>),
    /// Bytes, not encoded.
    Binary(Cow<'a, [u8]>),
    /// More than JSON can say.
    Rich(Value),
}

impl<'a> Payload<'a> {
    /// Text that is known to be JSON.
    #[must_use]
    pub fn json(text: &'a str) -> Self {
        Payload::Json(Cow::Borrowed(text))
    }

    /// Any `Serialize` in the form a dialect wants.
    ///
    /// # Errors
    ///
    /// If the form has no words for it (objects, stubs and streams in anything but
    /// [`Form::Rich`]), or its `Serialize` fails.
    pub fn from<T: Serialize + ?Sized>(
        value: &T,
        form: Form,
    ) -> Result<Payload<'static>, CallError> {
        if value::is_undefined(value) {
            return Ok(Payload::Undefined);
        }
        match form {
            Form::Json => Ok(Payload::Json(Cow::Owned(json_of(value)?))),
            Form::Rich => Ok(Payload::Rich(value::to_value(value)?)),
            Form::Raw => match value::to_raw(value) {
                Some(raw) => Ok(raw),
                None => Ok(Payload::Json(Cow::Owned(json_of(value)?))),
            },
        }
    }

    /// Into a typed value: monomorphic for each form, no tree in between for JSON.
    ///
    /// # Errors
    ///
    /// Code 400 if it does not fit, with the place where it does not.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, CallError> {
        match self {
            Payload::Undefined => value::from_value(Value::Undefined),
            Payload::Json(text) => decode_json(&text),
            Payload::Text(text) => value::from_value(Value::String(text.into())),
            Payload::Binary(bytes) => value::from_value(Value::bytes(bytes.into_owned())),
            Payload::Rich(value) => value::from_value(value),
        }
    }

    /// The tree; for JSON text this parses.
    ///
    /// # Errors
    ///
    /// Code 400 if it is not JSON.
    pub fn into_value(self) -> Result<Value, CallError> {
        match self {
            Payload::Rich(value) => Ok(value),
            other => other.decode(),
        }
    }

    /// Appends JSON. Strings are quoted, bytes become base64, rich values their JSON projection
    /// (dates as ISO text, big integers as text), `Undefined` becomes null.
    ///
    /// # Errors
    ///
    /// If it holds objects, stubs or streams; part of it may have been appended then.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), CallError> {
        match self {
            Payload::Undefined => out.extend_from_slice(b"null"),
            Payload::Json(text) => out.extend_from_slice(text.as_bytes()),
            Payload::Text(text) => sonic_rs::to_writer(out, &**text)?,
            Payload::Binary(bytes) => sonic_rs::to_writer(out, &value::base64(bytes, true))?,
            Payload::Rich(value) => sonic_rs::to_writer(out, value)?,
        }
        Ok(())
    }

    /// The one copy made when a call leaves its shard.
    #[must_use]
    pub fn into_owned(self) -> Payload<'static> {
        match self {
            Payload::Undefined => Payload::Undefined,
            Payload::Json(text) => Payload::Json(Cow::Owned(text.into_owned())),
            Payload::Text(text) => Payload::Text(Cow::Owned(text.into_owned())),
            Payload::Binary(bytes) => Payload::Binary(Cow::Owned(bytes.into_owned())),
            Payload::Rich(value) => Payload::Rich(value),
        }
    }

    /// Whether dropping it may run an embedder's code, and whether it belongs to one connection.
    #[must_use]
    pub fn holds_objects(&self) -> bool {
        matches!(self, Payload::Rich(value) if value.holds_objects())
    }
}

/// JSON in one allocation, or in none if one was given back.
fn json_of<T: Serialize + ?Sized>(value: &T) -> Result<String, CallError> {
    let mut text = SPARE.take();
    if value::write_scalar(value, &mut text) {
        return Ok(text);
    }
    if text.capacity() > 0 {
        let mut json = text.into_bytes();
        sonic_rs::to_writer(&mut json, value)?;
        return Ok(utf8(json));
    }
    // Most results are small, and growing to them costs more than the copy.
    let mut buffer = BUFFER.take();
    buffer.clear();
    let json = sonic_rs::to_writer(&mut buffer, value).map(|()| utf8(buffer.clone()));
    if buffer.capacity() <= BUFFER_KEPT {
        BUFFER.set(buffer);
    }
    Ok(json?)
}

/// A `Serialize` of raw values may pass on what it likes; a client may not get it.
fn utf8(json: Vec<u8>) -> String {
    String::from_utf8(json)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SPARE: Cell<String> = const { Cell::new(String::new()) };
}

/// A buffer that is larger than this is not kept for the next value, in bytes.
const BUFFER_KEPT: usize = 64 << 10;

/// The same for one that the next value keeps.
const SPARE_KEPT: usize = 1 << 10;

/// Gives back what a result was held in, for the next one on this thread.
pub(crate) fn recycle(payload: Payload<'static>) {
    if let Payload::Json(Cow::Owned(mut text)) = payload
        && text.capacity() <= SPARE_KEPT
    {
        text.clear();
        SPARE.set(text);
    }
}

fn decode_json<T: DeserializeOwned>(text: &str) -> Result<T, CallError> {
    if is_deep(text) {
        return Err(CallError::bad_arguments("JSON is nested too deeply"));
    }
    sonic_rs::from_str(text).map_err(|_| value::misfit::<T>(text))
}

/// The same for arguments, which are mostly few and simple.
fn decode_arguments<T: DeserializeOwned>(text: &str) -> Result<T, CallError> {
    value::read_scalars(text).map_or_else(|| decode_json(text), Ok)
}

/// The text of [`Args::Text`].
fn inner(list: &str) -> Option<&str> {
    list.strip_prefix("[\"")?.strip_suffix("\"]")
}

fn is_empty_list(json: &str) -> bool {
    let inner = json.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

/// JSON nested more deeply than this is refused before it is parsed, in levels.
pub const NESTING_MAX: usize = 128;

/// Whether JSON is nested more deeply than [`NESTING_MAX`]. The parser recurses, and would take the
/// whole process with it when the stack ends.
#[must_use]
pub fn is_deep(json: &str) -> bool {
    if json.len() <= NESTING_MAX {
        return false;
    }
    // Almost every text has fewer brackets in all. Counted in bytes, which a chunk cannot overflow,
    // this is one vectorised pass; the two brackets differ in one bit.
    let opening = |byte: &u8| u8::from(byte | 0x20 == b'{');
    let count = |chunk: &[u8]| chunk.iter().fold(0, |count: u8, byte| count + opening(byte));
    if json.as_bytes().chunks(128).map(|chunk| usize::from(count(chunk))).sum::<usize>()
        <= NESTING_MAX
    {
        return false;
    }
    let (mut depth, mut quoted) = (0_usize, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if quoted => drop(bytes.next()),
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > NESTING_MAX {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// The arguments of a call: positional, or the one thing an envelope carries.
#[derive(Clone, Debug)]
pub enum Args<'a> {
    /// `{event, data}`, a text message: one argument.
    One(Payload<'a>),
    /// alien-rpc, Cap'n Web: a JSON array or `Value::Array`.
    List(Payload<'a>),
    /// The same where its session has seen that it is exactly `["`, a text without escapes, and
    /// `"]`: the whole array, which nobody has to read again.
    Text(Cow<'a, str>),
    /// An event with its name and the client's own id for it: one argument, the data, to whoever
    /// asks for no more.
    Event(EventArgs<'a>),
}

/// An event as its client sent it.
#[derive(Clone, Debug)]
pub struct EventArgs<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What was sent with it; [`Payload::Undefined`] for nothing.
    pub data: Payload<'a>,
    /// The client's own id for it, as JSON.
    pub id: Option<Cow<'a, str>>,
}

impl Args<'_> {
    /// No arguments at all.
    #[must_use]
    pub fn none() -> Self {
        Args::List(Payload::json("[]"))
    }

    /// The one copy made when a call leaves its shard.
    #[must_use]
    pub fn into_owned(self) -> Args<'static> {
        match self {
            Args::One(payload) => Args::One(payload.into_owned()),
            Args::List(payload) => Args::List(payload.into_owned()),
            Args::Text(list) => Args::Text(list.into_owned().into()),
            Args::Event(event) => Args::Event(EventArgs {
                name: event.name.into_owned().into(),
                data: event.data.into_owned(),
                id: event.id.map(|id| id.into_owned().into()),
            }),
        }
    }

    /// As a tuple: exactly as many arguments as it has fields.
    ///
    /// # Errors
    ///
    /// Code 400 if they do not fit.
    pub fn decode_list<T: DeserializeOwned>(self) -> Result<T, CallError> {
        match self {
            Args::Text(list) => {
                let text = inner(&list).and_then(value::read_text);
                text.map_or_else(|| Args::List(Payload::Json(list)).decode_list(), Ok)
            }
            Args::List(Payload::Json(text)) => decode_arguments(&text).or_else(|misfit| {
                // To serde `()` is nothing rather than a list of nothing.
                let nothing = is_empty_list(&text).then(|| value::from_value(Value::Undefined));
                nothing.and_then(Result::ok).ok_or(misfit)
            }),
            Args::List(list) => list.decode(),
            Args::One(one) | Args::Event(EventArgs { data: one, .. }) => {
                value::from_value(Value::Array(vec![one.into_value()?]))
            }
        }
    }

    /// As the call's only argument.
    ///
    /// # Errors
    ///
    /// Code 400 if there is not exactly one, or it does not fit.
    pub fn decode_one<T: DeserializeOwned>(self) -> Result<T, CallError> {
        match self {
            Args::One(one) | Args::Event(EventArgs { data: one, .. }) => one.decode(),
            list @ (Args::List(_) | Args::Text(_)) => list.decode_list::<(T,)>().map(|(one,)| one),
        }
    }

    /// As trees.
    ///
    /// # Errors
    ///
    /// Code 400 if they are not a list.
    pub fn into_values(self) -> Result<Vec<Value>, CallError> {
        match self {
            Args::One(one) | Args::Event(EventArgs { data: one, .. }) => {
                Ok(vec![one.into_value()?])
            }
            Args::Text(list) => Args::List(Payload::Json(list)).into_values(),
            Args::List(list) => match list.into_value()? {
                Value::Array(values) => Ok(values),
                _ => Err(CallError::bad_arguments("arguments are not a list")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{Bytes, Date};

    fn raw<T: Serialize>(value: T) -> String {
        match Payload::from(&value, Form::Raw).unwrap() {
            Payload::Undefined => "undefined".into(),
            Payload::Json(text) => format!("json {text}"),
            Payload::Text(text) => format!("text {text}"),
            Payload::Binary(bytes) => format!("binary {bytes:?}"),
            Payload::Rich(value) => format!("rich {value:?}"),
        }
    }

    #[test]
    fn the_raw_form_neither_quotes_strings_nor_encodes_bytes() {
        assert_eq!(raw("say \"hi\""), "text say \"hi\"");
        assert_eq!(raw(String::from("x")), "text x");
        assert_eq!(raw(Some("x")), "text x");
        assert_eq!(raw(Value::from("x")), "text x");
        assert_eq!(raw(Bytes(vec![1, 2])), "binary [1, 2]");
        assert_eq!(raw(Value::bytes(vec![3])), "binary [3]");
        assert_eq!(raw(Date(0.0)), "text 1970-01-01T00:00:00.000Z");
        assert_eq!(raw(()), "undefined");
        assert_eq!(raw(None::<String>), "undefined");
        assert_eq!(raw(5), "json 5");
        assert_eq!(raw(vec!["a"]), "json [\"a\"]");
        assert_eq!(raw(vec![Bytes(vec![0])]), "json [\"AA==\"]");
    }

    #[test]
    fn text_and_binary_messages_decode_to_strings_and_bytes() {
        let text = Args::One(Payload::Text("hello".into()));
        assert_eq!(text.decode_one::<String>().unwrap(), "hello");
        let bytes = Args::One(Payload::Binary(vec![1, 2].into()));
        assert_eq!(bytes.decode_one::<Bytes>().unwrap(), Bytes(vec![1, 2]));
        let wrong = Args::One(Payload::Binary(vec![1, 2].into()));
        assert_eq!(wrong.decode_one::<String>().unwrap_err().code, Some(400));
    }

    #[test]
    fn a_list_has_exactly_as_many_arguments_as_the_tuple() {
        let list = || Args::List(Payload::json("[1,\"b\"]"));
        assert_eq!(list().decode_list::<(i64, String)>().unwrap(), (1, "b".into()));
        assert_eq!(list().decode_list::<(i64,)>().unwrap_err().code, Some(400));
        assert_eq!(list().decode_list::<(i64, String, i64)>().unwrap_err().code, Some(400));
        assert_eq!(list().decode_one::<i64>().unwrap_err().code, Some(400));
        let none = || Args::List(Payload::json(" [ ]"));
        none().decode_list::<()>().unwrap();
        none().decode_list::<[(); 0]>().unwrap();
        assert!(none().decode_list::<Vec<u8>>().unwrap().is_empty());
        let missing = none().decode_list::<(u8,)>().unwrap_err();
        assert_eq!(missing.message, "invalid length 0, expected a tuple of size 1");
        assert_eq!(list().decode_list::<()>().unwrap_err().code, Some(400));
        let one = Args::One(Payload::json("1"));
        assert_eq!(one.decode_list::<(i64,)>().unwrap(), (1,));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        #[derive(Debug, Deserialize)]
        struct Other {
            #[expect(dead_code, reason = "only parsed")]
            known: i64,
        }
        #[derive(Debug, Deserialize)]
        struct Nested(#[expect(dead_code, reason = "only parsed")] Vec<Self>);
        for deep in [129, 100_000] {
            let open = "[".repeat(deep);
            let whole = open.clone() + &"]".repeat(deep);
            for text in [&open, &whole] {
                assert!(Payload::json(text).decode::<Value>().is_err());
                assert!(Payload::json(text).decode::<Nested>().is_err());
                let ignored = format!("{{\"unknown\":{text}}}");
                assert!(Payload::json(&ignored).decode::<Other>().is_err());
            }
        }
        let deepest = "[".repeat(128) + &"]".repeat(128);
        assert!(Payload::json(&deepest).decode::<Nested>().is_ok());
        let wide = "[".to_owned() + &"[{}],".repeat(1000) + "\"\\\"" + &"[".repeat(200) + "\"]";
        assert!(Payload::json(&wide).decode::<Value>().is_ok());
    }
}
