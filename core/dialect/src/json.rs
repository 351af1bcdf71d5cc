//! Walks through JSON text without building anything, and without recursion.
//!
//! Everything here that a client sent goes on as it is, to handlers, other clients and other nodes.
//! So it is checked to the last character as RFC 8259 has it, which parsers that skip over values
//! do not always do.
use std::borrow::Cow;

use crate::payload::NESTING_MAX;

/// Whether the text is one JSON value, nested at most [`NESTING_MAX`] levels deep. The members of
/// an object are visited on the way, raw, names with their quotes; before it is known whether all
/// of the text is right.
pub(crate) fn check<'a>(text: &'a str, mut visit: impl FnMut(&'a str, &'a str)) -> bool {
    let mut scanner = Scanner::new(text);
    let is_right = if scanner.eat(b'{') {
        scanner.levels -= 1;
        scanner.rest_of_object(&mut visit)
    } else {
        scanner.value().map(drop)
    };
    scanner.space();
    is_right.is_some() && scanner.at == text.len()
}

/// The value that `text` begins with, checked, as part of an object, and what is behind it.
pub(crate) fn split_value(text: &str) -> Option<(&str, &str)> {
    let mut scanner = Scanner { levels: NESTING_MAX - 1, ..Scanner::new(text) };
    let value = scanner.value()?;
    Some((value, text.get(scanner.at..)?))
}

/// The string that goes on here, behind its first quote, if it has no escapes, and what is behind
/// its last one.
pub(crate) fn split_plain_string(text: &str) -> Option<(&str, &str)> {
    let mut scanner = Scanner::new(text);
    loop {
        scanner.skip_ordinary();
        match scanner.next()? {
            b'"' => return Some((text.get(..scanner.at - 1)?, text.get(scanner.at..)?)),
            b'\\' | 0..=0x1f => return None,
            _ => {}
        }
    }
}

/// The members of an object, raw: names with their quotes. Of anything else none. The text must
/// have been checked.
pub(crate) fn members(object: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut scanner = Scanner::new(object);
    let mut more = scanner.eat(b'{');
    std::iter::from_fn(move || {
        if !more {
            return None;
        }
        let name = scanner.name()?;
        let value = scanner.value()?;
        more = scanner.eat(b',');
        Some((name, value))
    })
}

/// The elements of an array, raw. Of anything else none. The text must have been checked.
pub(crate) fn elements(array: &str) -> impl Iterator<Item = &str> {
    let mut scanner = Scanner::new(array);
    let mut more = scanner.eat(b'[');
    std::iter::from_fn(move || {
        if !more {
            return None;
        }
        let value = scanner.value()?;
        more = scanner.eat(b',');
        Some(value)
    })
}

/// The last member of this name, raw.
pub(crate) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let is_it = |(known, _): &(&str, &str)| string(known).is_some_and(|known| known == name);
    members(object).filter(is_it).last().map(|(_, value)| value)
}

/// What a string says. `None` for what is no string, and for strings that are no Unicode (halves of
/// surrogate pairs).
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        sonic_rs::from_str::<String>(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Whether JavaScript takes the value for true.
pub(crate) fn is_truthy(raw: &str) -> bool {
    match raw.as_bytes().first() {
        None | Some(b'n' | b'f') => false,
        Some(b'"') => raw.len() > 2,
        Some(b'-' | b'0'..=b'9') => raw.parse::<f64>().is_ok_and(|number| number != 0.0),
        Some(_) => true,
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// How deep a value may be nested.
    levels: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, levels: NESTING_MAX }
    }

    fn rest_of_object(&mut self, visit: &mut impl FnMut(&'a str, &'a str)) -> Option<()> {
        if self.eat(b'}') {
            return Some(());
        }
        loop {
            let name = self.name()?;
            visit(name, self.value()?);
            if !self.eat(b',') {
                return self.eat(b'}').then_some(());
            }
        }
    }

    /// The value that begins here, behind space.
    fn value(&mut self) -> Option<&'a str> {
        self.space();
        let start = self.at;
        // One bit for each open container, the innermost lowest: whether it is an object.
        let (mut kinds, mut depth) = (0_u128, 0);
        loop {
            self.space();
            let first = self.next()?;
            let is_object = first == b'{';
            match first {
                b'"' => self.rest_of_string()?,
                b'{' | b'[' => {
                    if depth == self.levels {
                        return None;
                    }
                    // '[' and ']', '{' and '}' are two apart.
                    if !self.eat(first + 2) {
                        depth += 1;
                        kinds = kinds << 1 | u128::from(is_object);
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b't' => self.literal("rue")?,
                b'f' => self.literal("alse")?,
                b'n' => self.literal("ull")?,
                b'-' | b'0'..=b'9' => self.rest_of_number(first)?,
                _ => return None,
            }
            loop {
                if depth == 0 {
                    return self.text.get(start..self.at);
                }
                self.space();
                match (self.next()?, kinds & 1 == 1) {
                    (b',', true) => {
                        self.name()?;
                        break;
                    }
                    (b',', false) => break,
                    (b'}', true) | (b']', false) => {
                        depth -= 1;
                        kinds >>= 1;
                    }
                    _ => return None,
                }
            }
        }
    }

    /// The name of a member, with its quotes, and the colon.
    fn name(&mut self) -> Option<&'a str> {
        self.space();
        let start = self.at;
        if self.next()? != b'"' {
            return None;
        }
        self.rest_of_string()?;
        let name = self.text.get(start..self.at)?;
        self.eat(b':').then_some(name)
    }

    fn rest_of_string(&mut self) -> Option<()> {
        loop {
            self.skip_ordinary();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            if !self.next()?.is_ascii_hexdigit() {
                                return None;
                            }
                        }
                    }
                    _ => return None,
                },
                0..=0x1f => return None,
                _ => {}
            }
        }
    }

    /// Goes on while eight bytes at a time are neither quotes, backslashes nor control characters.
    fn skip_ordinary(&mut self) {
        self.at += self.text.as_bytes().get(self.at..).map_or(0, ordinary);
    }

    fn rest_of_number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.next()?.is_ascii_digit().then(|| self.digits())?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.next()?.is_ascii_digit().then(|| self.digits())?;
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn literal(&mut self, rest: &str) -> Option<()> {
        let is_it = self.text.as_bytes().get(self.at..)?.starts_with(rest.as_bytes());
        self.at += rest.len();
        is_it.then_some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes past this byte, if it is the next one behind space.
    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }
}

/// Whether a string can stand between quotes as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let rest = bytes.get(ordinary(bytes)..).unwrap_or_default();
    !rest.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
}

/// How many bytes are known not to be quotes, backslashes or control characters: up to the first
/// that is one, or to within eight bytes of the end.
fn ordinary(bytes: &[u8]) -> usize {
    // Most strings end within the first words; those that do not are looked at in larger pieces.
    let mut at = 0;
    while at < 32 {
        match word(bytes, at) {
            Some(0) => at += 8,
            Some(special) => return at + special.trailing_zeros() as usize / 8,
            None => return at,
        }
    }
    at = ordinary_chunks::<64>(bytes, at);
    at = ordinary_chunks::<16>(bytes, at);
    while let Some(special) = word(bytes, at) {
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// The same in pieces of so many bytes, each of which the compiler looks at in a few steps.
fn ordinary_chunks<const BYTES: usize>(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<BYTES>) {
        let special = chunk.iter().fold(0, |seen: u8, byte| {
            seen | u8::from(*byte == b'"') | u8::from(*byte == b'\\') | u8::from(*byte < 0x20)
        });
        if special != 0 {
            break;
        }
        at += BYTES;
    }
    at
}

/// [`specials`] of the eight bytes that begin here, if there are so many.
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>)?;
    Some(specials(u64::from_le_bytes(*eight)))
}

/// The high bit of the first byte that is a quote, a backslash or below a space; zero if there is
/// none. Bits behind the first one mean nothing.
fn specials(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let below = |limit: u64, eight: u64| eight.wrapping_sub(ONES * limit);
    let equal = |byte: u8| below(1, eight ^ (ONES * u64::from(byte)));
    (below(0x20, eight) | equal(b'"') | equal(b'\\')) & !eight & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::is_deep;

    fn is_json(text: &str) -> bool {
        check(text, |_, _| {})
    }

    #[test]
    fn accepts_json() {
        for text in [
            "null",
            " true\t",
            "\r\n false ",
            "0",
            "-0",
            "-0.0",
            "10",
            "1e5",
            "1E+5",
            "1.5e-09",
            "1e999",
            "\"\"",
            "\"a b\"",
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
            "\"\\u00e9\\uD800\"",
            "\"\u{7f}é😀 a long text with words\"",
            "[]",
            "[ ]",
            "{}",
            "{ }",
            "[1,[2,{}],\"]\"]",
            "{\"a\":1,\"a\":{\"b\":[{}]} , \"\":\"}\"}",
            "\"12345678\"",
            "\"1234567\\n\"",
        ] {
            assert!(is_json(text), "{text}");
        }
    }

    #[test]
    fn refuses_all_else() {
        for text in [
            "",
            " ",
            "nul",
            "nulls",
            "True",
            "NaN",
            "Infinity",
            "undefined",
            "'a'",
            "00",
            "01",
            "-",
            "-a",
            "+1",
            ".5",
            "1.",
            "1.e5",
            "1e",
            "1e+",
            "0x1",
            "\"",
            "\"a",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\u}\"}\"",
            "\"\\",
            "\"a\nb\"",
            "\"\0\"",
            "\"1234567\t\"",
            "\"12345678\u{1f}\"",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            "{",
            "}",
            "{]",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{1:1}",
            "{,}",
            "{\"a\":1]",
            "1 2",
            "{}{}",
            "[]]",
            "\u{feff}{}",
            "\u{a0}1",
            "// a\n1",
            "[1]x",
        ] {
            assert!(!is_json(text), "{text}");
        }
    }

    #[test]
    fn nests_as_deeply_as_the_rest_of_the_server() {
        for depth in [1, 126, 127, 128, 129, 130, 5000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let inner = if open == "[" { "" } else { "0" };
                let text = open.repeat(depth) + inner + &close.repeat(depth);
                assert_eq!(!is_json(&text), is_deep(&text), "{depth}");
            }
        }
        let text = "[".repeat(127) + "[],{}" + &"]".repeat(127);
        assert!(is_json(&text) && !is_json(&format!("[{text}]")));
    }

    #[test]
    fn finds_members_and_elements() {
        let object = r#"{"a" : [1, 2] ,"b":"x", "\u0061":{"a":0}}"#;
        let raw: Vec<_> = members(object).collect();
        assert_eq!(raw, [("\"a\"", "[1, 2]"), ("\"b\"", "\"x\""), ("\"\\u0061\"", "{\"a\":0}")]);
        assert_eq!(member(object, "a"), Some("{\"a\":0}"));
        assert_eq!(member(object, "c"), None);
        assert_eq!(elements("[ 1, [2,3] ,\"]\"]").collect::<Vec<_>>(), ["1", "[2,3]", "\"]\""]);
        for none in ["[]", "{}", "5", "\"[1]\"", "null"] {
            assert_eq!((members(none).count(), elements(none).count()), (0, 0), "{none}");
        }
    }

    #[test]
    fn reads_strings() {
        assert!(matches!(string("\"plain\""), Some(Cow::Borrowed("plain"))));
        assert_eq!(string(r#""\u00e9\n\ud83d\ude00""#).as_deref(), Some("é\n😀"));
        assert_eq!(string(r#""\ud800""#), None);
        assert_eq!((string("5"), string("null"), string("[\"\"]")), (None, None, None));
    }

    #[test]
    fn knows_what_is_true_to_javascript() {
        for raw in ["null", "false", "0", "-0", "0.0", "-0e7", "1e-999", "\"\""] {
            assert!(!is_truthy(raw), "{raw}");
        }
        for raw in ["true", "1", "-1", "1e999", "\" \"", "\"\\u0000\"", "[]", "{}"] {
            assert!(is_truthy(raw), "{raw}");
        }
    }

    #[test]
    fn agrees_with_the_parser_about_mutated_texts() {
        let seeds = [
            r#"{"event":"join","data":{"rooms":["a","é\u00e9"]},"id":-1.5e3}"#,
            r#"[true,false,null,[],{},"long enough for eight bytes at a time",0]"#,
        ];
        let alphabet = b"{}[]\",:\\u0a1-.e tn\x1f\x80";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut valid = 0;
        for round in 0..40_000 {
            let mut bytes = seeds[round % 2].as_bytes().to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = alphabet[random(alphabet.len())],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, alphabet[random(alphabet.len())]),
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            let parsed = sonic_rs::from_str::<crate::Value>(&text).is_ok();
            valid += usize::from(parsed);
            if parsed {
                assert!(is_json(&text), "{text}");
            } else if is_json(&text) {
                // The one thing that the parser refuses and JSON allows, and numbers too large.
                assert!(text.contains("\\u") || text.contains('e'), "{text}");
            }
        }
        assert!(valid > 1000, "{valid}");
    }
}
