//! JSON of others, with bounded nesting: the parser's recursion ends at no depth of its own, so a
//! few kilobytes of brackets would end the process.
use serde::Deserialize;
use sonic_rs::{JsonValueTrait, Value};

/// Deepest nesting of arrays and objects.
pub(crate) const DEPTH_MAX: usize = 64;

/// One well-formed value, if the text is that and not nested too deeply.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    if is_shallow(text) { sonic_rs::from_str(text).ok() } else { None }
}

/// As [`parse`], an object only.
pub(crate) fn object(text: &str) -> Option<Value> {
    parse::<Value>(text).filter(JsonValueTrait::is_object)
}

/// Whether brackets outside strings are nested at most [`DEPTH_MAX`] deep. Says nothing about
/// whether the text is JSON; of text that is not it may count too many, but never too few up to
/// the place where a parser stops.
fn is_shallow(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut is_escaped = false;
    for &byte in text.as_bytes() {
        if in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse::<Value>(&nested(DEPTH_MAX)).is_some());
        assert!(parse::<Value>(&nested(DEPTH_MAX + 1)).is_none());
        assert!(parse::<Value>(&"[".repeat(1_000_000)).is_none());
        assert!(parse::<Value>(&"{\"a\":".repeat(1_000_000)).is_none());
        // Brackets side by side, or in strings, do not count.
        assert!(parse::<Value>(&format!("[{}1]", "[],".repeat(1000))).is_some());
        assert!(parse::<Value>(&format!("\"\\\"{}\"", "[".repeat(1000))).is_some());
        assert!(parse::<Value>(&format!("[\"\\\\\",{}]", nested(DEPTH_MAX))).is_none());
    }
}
