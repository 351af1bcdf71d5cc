//! Frames, read and written.
use std::{borrow::Cow, cell::Cell, io::Write as _};

use super::calls::Id;
use crate::{CallError, Host, Message, Payload, Position, Value, json};

/// What a client says, borrowed from its message. Members that come twice count as JavaScript has
/// them: the last one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The route; `None` for what is no text.
    pub method: Option<Cow<'a, str>>,
    /// What it is called with, raw.
    pub params: Option<&'a str>,
    /// Whether that is a list of one string without escapes, and nothing else.
    pub is_one_text: bool,
    /// The client's own id for it, raw; null is one, too.
    pub id: Option<&'a str>,
}

/// A message as text: binary ones count if they are UTF-8.
pub(super) fn text_of(message: Message<'_>) -> Option<&str> {
    match message {
        Message::Text(text) | Message::Batch(text) => Some(text),
        Message::Binary(bytes) => str::from_utf8(bytes).ok(),
    }
}

/// Reads a message; `None` for what is no JSON, or nested too deeply. JSON that is no object says
/// nothing. Allocates nothing unless names are written with escapes.
pub(super) fn parse(text: &str) -> Option<Frame<'_>> {
    if let Some(frame) = parse_usual(text) {
        return Some(frame);
    }
    let (mut method, mut params, mut id) = (None, None, None);
    let is_json = json::check(text, |name, value| match json::string(name).as_deref() {
        Some("method") => method = Some(value),
        Some("params") => params = Some(value),
        Some("id") => id = Some(value),
        _ => {}
    });
    is_json.then(|| Frame { method: method.and_then(json::string), params, is_one_text: false, id })
}

/// The same for a call as alien-rpc's client writes it, to the letter: nothing has to be looked
/// for. `None` for everything else.
fn parse_usual(text: &str) -> Option<Frame<'_>> {
    let rest = behind(text, b"{\"method\":\"")?;
    let (method, rest) = json::split_plain_string(rest)?;
    let rest = behind(rest, b",\"params\":")?;
    let one_text = split_one_text(rest);
    let is_one_text = one_text.is_some();
    let (params, rest) = match one_text {
        Some(split) => split,
        None => json::split_value(rest)?,
    };
    let id = match rest {
        "}" => None,
        _ => {
            let id = behind(rest, b",\"id\":")?.strip_suffix('}')?;
            let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
            let is_canonical = is_number && (id.len() == 1 || !id.starts_with('0'));
            Some(is_canonical.then_some(id)?)
        }
    };
    let method = Some(Cow::Borrowed(method));
    Some(Frame { method, params: Some(params), is_one_text, id })
}

/// The list of one string without escapes that this begins with, and what is behind it.
fn split_one_text(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = json::split_plain_string(behind(text, b"[\"")?)?;
    let rest = rest.strip_prefix(']')?;
    text.split_at_checked(text.len() - rest.len()).map(|(list, _)| (list, rest))
}

/// What is behind these bytes. Of a length that the compiler knows they are compared in place.
fn behind<'a, const N: usize>(text: &'a str, bytes: &[u8; N]) -> Option<&'a str> {
    if text.as_bytes().first_chunk::<N>()? == bytes { text.get(N..) } else { None }
}

/// Whether a message could be this protocol's: a JSON object with a `method`.
pub(super) fn has_method(text: &str) -> bool {
    let mut has_method = false;
    json::check(text, |name, _| {
        has_method |= json::string(name).is_some_and(|name| name == "method");
    }) && has_method
}

/// The first of a list of parameters, raw.
pub(super) fn first(params: &str) -> Option<&str> {
    json::elements(params).next()
}

/// `params` that are no list, in the words of alien-rpc's schema errors: where in them the fault
/// is (the empty path is all of them), and what is there.
pub(super) fn not_a_list(params: Option<&str>) -> CallError {
    CallError::with_code(400, "Expected params to be an array").at_json("", params)
}

/// Sends one frame.
pub(super) fn say(host: &mut dyn Host, write: impl FnOnce(&mut Vec<u8>)) {
    let write = |out: &mut Vec<u8>| {
        write(out);
        Ok(())
    };
    // This cannot fail.
    let _ = try_say(host, write);
}

/// Sends one frame if it can be written, in a buffer that all connections of the thread share.
///
/// # Errors
///
/// As `write` has them; nothing has been sent then.
pub(super) fn try_say(
    host: &mut dyn Host,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), CallError>,
) -> Result<(), CallError> {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.take();
    buffer.clear();
    let written = write(&mut buffer);
    if written.is_ok()
        && let Ok(text) = str::from_utf8(&buffer)
    {
        host.send(text);
    }
    if buffer.capacity() <= BUFFER_KEPT {
        BUFFER.set(buffer);
    }
    written
}

/// A buffer that is larger than this is not kept for the next frame, in bytes.
const BUFFER_KEPT: usize = 64 << 10;

/// `{"id":1,"result":...}`, without a result for nothing.
///
/// # Errors
///
/// If the payload has no JSON; nothing has been appended then.
pub(super) fn write_result(
    id: &Id,
    payload: &Payload<'_>,
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    let start = out.len();
    write_id(id, out);
    if !matches!(payload, Payload::Undefined) {
        out.extend_from_slice(RESULT);
        if let Err(error) = payload.write_json(out) {
            out.truncate(start);
            return Err(error);
        }
    }
    out.push(b'}');
    Ok(())
}

/// The same for a result that is JSON already, as almost all are: nothing has to be checked.
/// `id` is as the client wrote it.
pub(super) fn say_json_result(id: &str, json: &str, host: &mut dyn Host) {
    let len = HEAD.len() + id.len() + RESULT.len() + json.len() + 1;
    host.send_with(len, &|out| {
        out.extend_from_slice(HEAD);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(RESULT);
        out.extend_from_slice(json.as_bytes());
        out.push(b'}');
    });
}

/// What is around a result of so many bytes: no bytes are nothing, which no JSON is.
pub(super) fn write_around(id: Option<&Id>, len: usize, head: &mut Vec<u8>, tail: &mut Vec<u8>) {
    match id {
        Some(id) => write_id(id, head),
        None => head.extend_from_slice(b"{\"id\":null"),
    }
    if len > 0 {
        head.extend_from_slice(RESULT);
    }
    tail.push(b'}');
}

const HEAD: &[u8] = b"{\"id\":";
const RESULT: &[u8] = b",\"result\":";

/// The beginning of `{"epoch":1,"number":7,"data":...}`, a message of a room with its place.
pub(super) fn write_position(position: Position, out: &mut Vec<u8>) {
    let Position { epoch, number } = position;
    // Writing to a vector does not fail.
    let _ = write!(out, "{{\"epoch\":{epoch},\"number\":{number}");
}

/// `{"id":1,"close":true}`.
pub(super) fn write_end(id: &Id, out: &mut Vec<u8>) {
    write_id(id, out);
    out.extend_from_slice(b",\"close\":true}");
}

/// `{"error":{"code":404,"message":"Not Found"},"id":1}`.
pub(super) fn write_missing(id: &Id, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{\"code\":404,\"message\":\"Not Found\"},\"id\":");
    id.write(out);
    out.push(b'}');
}

/// `{"id":1,"error":{"code":500,"message":"...","data":{...}}}`, without data where there is none.
pub(super) fn write_error(id: &Id, error: &CallError, out: &mut Vec<u8>) {
    write_id(id, out);
    out.extend_from_slice(b",\"error\":{\"code\":");
    // Writing to a vector does not fail.
    let _ = write!(out, "{}", error.code.unwrap_or(500));
    out.extend_from_slice(b",\"message\":");
    write_text(&error.message, out);
    let mut before: &[u8] = b",\"data\":{";
    for (name, value) in &error.fields {
        let start = out.len();
        out.extend_from_slice(before);
        write_text(name, out);
        out.push(b':');
        if matches!(value, Value::Undefined) || sonic_rs::to_writer(&mut *out, value).is_err() {
            // What JSON cannot say is left out: the rest still says what went wrong.
            out.truncate(start);
        } else {
            before = b",";
        }
    }
    out.extend_from_slice(if before == b"," { b"}}}" } else { b"}}" });
}

fn write_id(id: &Id, out: &mut Vec<u8>) {
    out.extend_from_slice(HEAD);
    id.write(out);
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    if sonic_rs::to_writer(&mut *out, text).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"\"\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Object, testing::Nothing};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reads_frames() {
        let all = r#" {"id" : 7 ,"x":{"method":1},"params":[1, 2],"method":"a.b"} "#;
        let (method, params) = (Some("a.b".into()), Some("[1, 2]"));
        let frame = Frame { method, params, id: Some("7"), is_one_text: false };
        assert_eq!(parse(all), Some(frame));
        let method =
            |method: &'static str| Frame { method: Some(method.into()), ..Frame::default() };
        assert_eq!(parse(r#"{"\u006dethod":"\u00e9"}"#), Some(method("é")));
        assert_eq!(parse(r#"{"method":"a","method":"b"}"#), Some(method("b")));
        assert_eq!(parse(r#"{"id":null}"#), Some(Frame { id: Some("null"), ..Frame::default() }));
        for nothing in ["null", "1", "[]", r#"[{"method":"a"}]"#, "{}", r#"{"method":1}"#] {
            assert_eq!(parse(nothing), Some(Frame::default()), "{nothing}");
        }
        let deep =
            format!(r#"{{"method":"a","id":1,"params":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for invalid in ["", "{nope", r#"{"method":"a"}x"#, r#"{"method":"a","id":01}"#, &deep] {
            assert_eq!(parse(invalid), None, "{invalid}");
        }
        assert!(has_method(r#"{"method":null}"#) && !has_method(r#"["method"]"#));
        assert!(!has_method(r#"{"Method":"a"}"#) && !has_method(r#"{"method":"a""#));
        assert_eq!((first("[7,8]"), first("[]"), first("7")), (Some("7"), None, None));
    }

    #[test]
    fn sees_which_parameters_are_one_text() {
        for (params, is_one_text) in [
            (r#"["a"]"#, true),
            (r#"[""]"#, true),
            (r#"["],é"]"#, true),
            (r#"["a","b"]"#, false),
            (r#"["\n"]"#, false),
            (r#"[ "a"]"#, false),
            (r#"["a" ]"#, false),
            (r#"[["a"]]"#, false),
            ("[]", false),
            ("\"a\"", false),
        ] {
            let text = format!(r#"{{"method":"m","params":{params},"id":1}}"#);
            let frame = parse(&text).unwrap();
            assert_eq!((frame.params, frame.is_one_text), (Some(params), is_one_text), "{text}");
            let args = super::super::session::arguments(&frame);
            let list = args.and_then(|args| args.decode_list::<Vec<Value>>().ok());
            let parsed: Option<Vec<Value>> = sonic_rs::from_str(params).ok();
            assert_eq!(format!("{list:?}"), format!("{parsed:?}"));
        }
        for invalid in
            [r#"{"method":"m","params":["a"x,"id":1}"#, "{\"method\":\"m\",\"params\":[\""]
        {
            assert_eq!(parse(invalid), None);
        }
    }

    #[test]
    fn an_error_says_what_json_can_say_of_it() {
        let id = Id::Number(3);
        let error = |error: &CallError| written(|out| write_error(&id, error, out));
        assert_eq!(
            error(&CallError::new("say \"a\"\n")),
            r#"{"id":3,"error":{"code":500,"message":"say \"a\"\n"}}"#
        );
        let object = || Value::Object(Object::new(Nothing));
        let some = CallError::with_code(4711, "bad").field("o", object()).field("a\"", 1);
        let some = some.field("p", object()).field("u", ()).field("b", Value::Null);
        assert_eq!(
            error(&some),
            r#"{"id":3,"error":{"code":4711,"message":"bad","data":{"a\"":1,"b":null}}}"#
        );
        let none = CallError::with_code(-1, "").field("o", object());
        assert_eq!(error(&none), r#"{"id":3,"error":{"code":-1,"message":""}}"#);
        let thrown = CallError::thrown("just a string");
        assert_eq!(error(&thrown), r#"{"id":3,"error":{"code":500,"message":"just a string"}}"#);
        let hidden = CallError::from(std::io::Error::other("hunter2"));
        assert_eq!(error(&hidden), r#"{"id":3,"error":{"code":500,"message":"Internal error"}}"#);
        let mut out = b"before".to_vec();
        assert!(write_result(&id, &Payload::Rich(object()), &mut out).is_err());
        assert_eq!(out, b"before");
    }

    #[test]
    fn an_envelope_and_its_body_are_a_result() {
        let framed = |id: Option<&Id>, body: &str| {
            let (mut head, mut tail) = (Vec::new(), Vec::new());
            write_around(id, body.len(), &mut head, &mut tail);
            String::from_utf8([&head, body.as_bytes(), &tail].concat()).unwrap()
        };
        let id = Id::from_raw("\"x\"");
        for (body, payload) in [("{}", Payload::json("{}")), ("", Payload::Undefined)] {
            let result = written(|out| write_result(&id, &payload, out).unwrap());
            assert_eq!(framed(Some(&id), body), result);
        }
        assert_eq!(framed(None, "1"), r#"{"id":null,"result":1}"#);
    }
}
