//! The envelope `{"event": ..., "data": ..., "id": ...}`, read and written.
use std::{borrow::Cow, ops::Range};

use super::names;
use crate::json;
use crate::{CallError, Identity, Payload, Value, value};

/// An envelope, borrowed from its message. Members that come twice count as JavaScript has them:
/// the last one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// The event; `None` for what is true to JavaScript, but no text.
    pub event: Option<Cow<'a, str>>,
    /// What was sent with it, raw.
    pub data: Option<&'a str>,
    /// The client's own id for it, raw.
    pub id: Option<&'a str>,
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// No JSON, or nested too deeply.
    Invalid,
    /// JSON that says no event.
    Nothing,
    /// An event.
    Event(Envelope<'a>),
}

/// Reads a message. Allocates nothing unless names are written with escapes.
pub(super) fn parse(text: &str) -> Parsed<'_> {
    let (mut event, mut data, mut id) = (None, None, None);
    let is_json = json::check(text, |name, value| match json::string(name).as_deref() {
        Some("event") => event = Some(value),
        Some("data") => data = Some(value),
        Some("id") => id = Some(value).filter(|id| *id != "null"),
        _ => {}
    });
    match event.filter(|event| json::is_truthy(event)) {
        _ if !is_json => Parsed::Invalid,
        None => Parsed::Nothing,
        Some(event) => Parsed::Event(Envelope { event: json::string(event), data, id }),
    }
}

/// Whether a message could be this protocol's: a JSON object with an `event`.
pub(super) fn is_envelope(text: &str) -> bool {
    let mut has_event = false;
    json::check(text, |name, _| has_event |= json::string(name).is_some_and(|n| n == "event"))
        && has_event
}

/// The rooms that `join` and `leave` are about: `{"rooms": [...]}`. What a client may not name is
/// left away.
pub(super) fn rooms(data: Option<&str>) -> Vec<Cow<'_, str>> {
    let rooms = data.and_then(|data| json::member(data, "rooms"));
    let names = rooms.into_iter().flat_map(json::elements).filter_map(json::string);
    names.filter(|name| is_room_name(name)).collect()
}

fn is_room_name(name: &str) -> bool {
    // As JavaScript counts. No unit takes more than three bytes, and no byte more than one unit.
    let fits = name.len() <= NAME_MAX
        || (name.len() <= 3 * NAME_MAX && name.encode_utf16().count() <= NAME_MAX);
    !name.is_empty() && fits && !name.starts_with(names::RESERVED)
}

/// Longest name of a room that a client may ask for, in UTF-16 units.
const NAME_MAX: usize = 256;

/// Bytes of an envelope without what is in it.
const AROUND: usize = r#"{"event":"","data":"","id":}"#.len();

/// Appends `{"event":...,"data":...}`, without data for nothing, and tells where the data lies,
/// counted from the first appended byte.
///
/// # Errors
///
/// If the payload has no JSON; nothing has been appended then.
pub(super) fn write(
    event: &str,
    payload: &Payload<'_>,
    out: &mut Vec<u8>,
) -> Result<Range<usize>, CallError> {
    write_with_id(&[event], payload, None, out)
}

/// The same for an event whose name is made of parts, and with the client's own id, raw.
pub(super) fn write_with_id(
    event: &[&str],
    payload: &Payload<'_>,
    id: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<Range<usize>, CallError> {
    let start = out.len();
    let known = match payload {
        Payload::Json(text) | Payload::Text(text) => text.len(),
        Payload::Binary(bytes) => bytes.len().div_ceil(3) * 4,
        Payload::Undefined | Payload::Rich(_) => 0,
    };
    let names: usize = event.iter().map(|part| part.len()).sum();
    out.reserve(known + names + id.map_or(0, str::len) + AROUND);
    out.extend_from_slice(b"{\"event\":\"");
    event.iter().for_each(|part| quote(part, out));
    out.push(b'"');
    let mut data = out.len()..out.len();
    if !matches!(payload, Payload::Undefined) {
        out.extend_from_slice(b",\"data\":");
        data.start = out.len();
        if let Err(error) = payload.write_json(out) {
            out.truncate(start);
            return Err(error);
        }
        data.end = out.len();
    }
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id.as_bytes());
    }
    out.push(b'}');
    Ok(data.start - start..data.end - start)
}

/// Appends text as it is inside of a JSON string.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        return out.extend_from_slice(text.as_bytes());
    }
    let start = out.len();
    if sonic_rs::to_writer(&mut *out, text).is_ok() {
        // Without the quotes.
        out.pop();
        out.remove(start);
    }
}

/// `,"name":"text"`, for objects.
pub(super) fn write_member(name: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    quote(text, out);
    out.push(b'"');
}

/// The client's half of a key exchange in what it authenticated with: a text `publicKey`.
///
/// `data` is JSON, as the handshake's gate is called with it.
#[must_use]
pub fn client_public_key(data: &str) -> Option<Cow<'_, str>> {
    json::member(data, "publicKey").and_then(json::string)
}

/// Who an authenticator means that answers with plain JSON: an object with `userId`, `metadata` (or
/// `claims`) and `expires` in milliseconds since 1970, all optional, or `true` for anybody. `None`
/// for all else.
pub(super) fn identity(answer: &Payload<'_>) -> Option<Identity> {
    let mut json = Vec::new();
    if matches!(answer, Payload::Undefined) || answer.write_json(&mut json).is_err() {
        return None;
    }
    let text = str::from_utf8(&json).ok()?.trim();
    if text == "true" {
        return Some(Identity::default());
    }
    if !text.starts_with('{') {
        return None;
    }
    let mut identity = Identity::default();
    let is_json = json::check(text, |name, value| match json::string(name).as_deref() {
        Some("userId") => identity.user = user(value),
        Some("metadata" | "claims") if value.starts_with('{') => identity.claims = value.into(),
        Some("expires") => identity.expires = milliseconds(value),
        _ => {}
    });
    is_json.then_some(identity)
}

/// Numbers count as text: databases have them as names.
fn user(raw: &str) -> Option<Box<str>> {
    match raw.as_bytes().first() {
        Some(b'"') => json::string(raw).filter(|user| !user.is_empty()).map(Into::into),
        Some(b'-' | b'0'..=b'9') => Some(raw.into()),
        _ => None,
    }
}

fn milliseconds(raw: &str) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    raw.parse::<f64>().ok().map(|number| number as u64)
}

/// A moment as JavaScript writes it.
pub(super) fn time(milliseconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 285 thousand years")]
    value::iso(milliseconds as f64)
}

/// The texts of a JSON array; what is no text is left away. Of all else none.
pub(super) fn texts(answer: &Payload<'_>) -> Vec<Box<str>> {
    let mut json = Vec::new();
    match answer {
        Payload::Rich(Value::Array(_)) | Payload::Json(_) => {}
        _ => return Vec::new(),
    }
    if answer.write_json(&mut json).is_err() {
        return Vec::new();
    }
    let text = str::from_utf8(&json).unwrap_or_default();
    json::elements(text).filter_map(json::string).map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(event: &'a str, data: Option<&'a str>, id: Option<&'a str>) -> Parsed<'a> {
        Parsed::Event(Envelope { event: Some(event.into()), data, id })
    }

    #[test]
    fn reads_envelopes() {
        let all = r#" {"id":"7","x":[],"data":{"a":[1]},"event":"chat"} "#;
        assert_eq!(parse(all), event("chat", Some("{\"a\":[1]}"), Some("\"7\"")));
        assert_eq!(parse(r#"{"event":"a","data":null,"id":null}"#), event("a", Some("null"), None));
        assert_eq!(
            parse(r#"{"event":"a","event":"b","data":1,"data":2}"#),
            event("b", Some("2"), None)
        );
        assert_eq!(parse(r#"{"\u0065vent":"\u00e9"}"#), event("é", None, None));
        assert_eq!(parse(r#"{"event":"a","event":""}"#), Parsed::Nothing);
        let Parsed::Event(envelope) = parse(r#"{"event":"chat","data":"x"}"#) else { panic!() };
        assert!(matches!(envelope.event, Some(Cow::Borrowed("chat"))));
    }

    #[test]
    fn events_are_what_javascript_takes_for_true() {
        for other in ["1", "-0.5", "true", "{}", "[]", r#""\ud800""#] {
            let text = format!("{{\"event\":{other}}}");
            assert_eq!(parse(&text), Parsed::Event(Envelope::default()), "{other}");
        }
        for nothing in [
            "null",
            "1",
            "\"event\"",
            "[1]",
            "true",
            "{}",
            r#"{"event":null}"#,
            r#"{"event":0}"#,
            r#"{"event":false}"#,
            r#"{"event":""}"#,
            r#"{"Event":"a"}"#,
            r#"{"data":{"event":1}}"#,
        ] {
            assert_eq!(parse(nothing), Parsed::Nothing, "{nothing}");
        }
        for invalid in ["", "{", "{event:1}", r#"{"event":"a"}x"#, r#"{"event":"\u"}"}"#] {
            assert_eq!(parse(invalid), Parsed::Invalid, "{invalid}");
        }
        assert!(is_envelope(r#"{"event":0}"#) && !is_envelope("{}") && !is_envelope("[\"event\"]"));
        assert!(!is_envelope(r#"{"event":0"#));
    }

    #[test]
    fn sorts_out_names_of_rooms() {
        let long = ["x".repeat(256), "x".repeat(257), "é".repeat(256), "é".repeat(257)];
        let wide = ["😀".repeat(128), "😀".repeat(129), "€".repeat(256), "€".repeat(257)];
        let all = [long, wide].concat();
        let data = format!(
            r#"{{"rooms":["",5,null,"a","ws:a","WS:a","ws-a"," ws:","a",["b"],"{}"]}}"#,
            all.join("\",\"")
        );
        let names = rooms(Some(&data));
        let expected = ["a", "WS:a", "ws-a", " ws:", "a", &all[0], &all[2], &all[4], &all[6]];
        assert_eq!(names, expected);
        for data in
            ["null", "\"a\"", "{}", "[\"a\"]", r#"{"rooms":{"length":1}}"#, r#"{"rooms":"a"}"#]
        {
            assert!(rooms(Some(data)).is_empty(), "{data}");
        }
        assert!(rooms(None).is_empty());
    }

    #[test]
    fn writes_envelopes() {
        let written = |event: &str, payload: Payload<'_>| {
            let mut out = b"before".to_vec();
            let data = write(event, &payload, &mut out).unwrap();
            let frame = String::from_utf8(out.split_off(6)).unwrap();
            (frame[data].to_owned(), frame)
        };
        let whole = |data: &str, frame: &str| (data.to_owned(), frame.to_owned());
        assert_eq!(written("a", Payload::Undefined), whole("", r#"{"event":"a"}"#));
        let frame = r#"{"event":"say \"a\"\n","data":{"x":1}}"#;
        assert_eq!(written("say \"a\"\n", Payload::json("{\"x\":1}")), whole("{\"x\":1}", frame));
        let frame = r#"{"event":"a","data":"\"é\""}"#;
        assert_eq!(written("a", Payload::Text("\"é\"".into())), whole(r#""\"é\"""#, frame));
        let bytes = Payload::Binary(vec![1].into());
        assert_eq!(written("a", bytes), whole("\"AQ==\"", r#"{"event":"a","data":"AQ=="}"#));
        let rich = Payload::Rich(Value::Array(vec![Value::Date(0.0), Value::BigInt("1".into())]));
        let data = r#"["1970-01-01T00:00:00.000Z","1"]"#;
        assert_eq!(written("a", rich), whole(data, &format!(r#"{{"event":"a","data":{data}}}"#)));
        let mut out = Vec::new();
        write_with_id(&["a", ":response"], &Payload::json("1"), Some("\"7\""), &mut out).unwrap();
        assert_eq!(out, br#"{"event":"a:response","data":1,"id":"7"}"#);
    }

    #[test]
    fn plain_answers_say_who_it_is() {
        let who = |json: &str| {
            let identity = identity(&Payload::json(json))?;
            Some((identity.user.map(String::from), identity.claims.into_string(), identity.expires))
        };
        let user = |name: &str| Some(name.to_owned());
        assert_eq!(who("{}"), Some((None, String::new(), None)));
        assert_eq!(who("true"), who("{}"));
        assert_eq!(
            who(r#"{"userId":"ada","metadata":{"a":1},"expires":5}"#),
            Some((user("ada"), "{\"a\":1}".into(), Some(5)))
        );
        assert_eq!(who(r#"{"userId":7,"claims":{}}"#), Some((user("7"), "{}".into(), None)));
        assert_eq!(who(r#"{"userId":"","metadata":5,"expires":"x"}"#), who("{}"));
        for no in ["null", "false", "0", "1", "\"x\"", "[]", "[{}]", ""] {
            assert_eq!(who(no), None, "{no}");
        }
        assert_eq!(identity(&Payload::Undefined), None);
        let rich = Value::Map(vec![("userId".into(), "ada".into())]);
        assert_eq!(identity(&Payload::Rich(rich)), Some(Identity::user("ada")));
        assert_eq!(client_public_key(r#"{"publicKey":"x"}"#).as_deref(), Some("x"));
        assert_eq!(client_public_key(r#"{"publicKey":5}"#), None);
    }
}
