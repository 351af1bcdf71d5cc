//! Writing JSON text: the few shapes that the logger and `fulmar check --json` need. And whether a
//! text is JSON.

use fulmar::dialect::payload::is_deep;
use std::fmt::{self, Display, Write};

/// Whether a text is one JSON value, nested no deeper than the server takes it.
pub(crate) fn is_json(text: &str) -> bool {
    // The parser recurses.
    !is_deep(text) && sonic_rs::from_str::<sonic_rs::Value>(text).is_ok()
}

/// A JSON object under construction; members keep their order.
#[derive(Debug)]
pub(crate) struct Object {
    text: String,
}

impl Object {
    /// An empty object.
    pub(crate) fn new() -> Self {
        Self { text: String::from("{") }
    }

    /// Adds a string member.
    pub(crate) fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(name, &Quoted(value))
    }

    /// Adds a member whose text is JSON already: a number, a literal, a list, an object.
    pub(crate) fn raw(&mut self, name: &str, value: &dyn Display) -> &mut Self {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        let _ = write!(self.text, "{}:{value}", Quoted(name));
        self
    }

    /// The finished text.
    pub(crate) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

/// A list of texts that are JSON already.
pub(crate) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::from("[");
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let _ = write!(text, "{item}");
    }
    text.push(']');
    text
}

/// A text as a JSON string (RFC 8259 section 7): quoted, with control characters escaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => out.write_str("\\\"")?,
                '\\' => out.write_str("\\\\")?,
                '\n' => out.write_str("\\n")?,
                '\r' => out.write_str("\\r")?,
                '\t' => out.write_str("\\t")?,
                // C1 controls and DEL are legal in JSON, but a terminal obeys them.
                _ if character.is_control() => write!(out, "\\u{:04x}", u32::from(character))?,
                _ => out.write_char(character)?,
            }
        }
        out.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonic_rs::JsonValueTrait;

    #[test]
    fn an_object_survives_a_real_parser() {
        let nasty = "a\"b\\c\n\r\t\u{0}\u{1b}[31m\u{7f}\u{9b}é🦤";
        let mut object = Object::new();
        object.string("text", nasty).raw("number", &7).raw("list", &list([Quoted("x")]));
        let text = object.finish();
        assert!(!text.chars().any(char::is_control));
        let parsed: sonic_rs::Value = sonic_rs::from_str(&text).unwrap();
        assert_eq!(parsed["text"].as_str(), Some(nasty));
        assert_eq!(parsed["number"].as_u64(), Some(7));
        assert_eq!(parsed["list"][0].as_str(), Some("x"));
    }

    #[test]
    fn empty_shapes_are_valid() {
        assert_eq!(Object::new().finish(), "{}");
        assert_eq!(list(Vec::<String>::new()), "[]");
    }
}
