//! Paths of endpoints: literal segments and `:name` parameters.

use std::borrow::Cow;

use crate::error::Error;

/// A pattern such as `/rooms/:room`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Parameter(Box<str>),
}

/// Values of a path's parameters, in the order of the pattern.
pub(crate) type Parameters<'a> = Vec<(&'a str, Cow<'a, str>)>;

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it does not begin with `/`, or a parameter has no name or is named twice.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| Err(Error::Path { path: text.into(), what: what.into() });
        let Some(rest) = text.strip_prefix('/') else { return bad("does not begin with '/'") };
        let mut segments: Vec<Segment> = Vec::new();
        for segment in rest.split('/') {
            let parsed = match segment.strip_prefix(':') {
                Some("") => return bad("has a parameter without a name"),
                Some(name) => Segment::Parameter(name.into()),
                None => Segment::Literal(segment.into()),
            };
            if matches!(parsed, Segment::Parameter(_)) && segments.contains(&parsed) {
                return bad("names a parameter twice");
            }
            segments.push(parsed);
        }
        Ok(Self { segments })
    }

    /// How many of its segments are parameters: the fewer, the earlier it is tried.
    pub(crate) fn parameters(&self) -> usize {
        self.segments.iter().filter(|segment| matches!(segment, Segment::Parameter(_))).count()
    }

    /// The parameters' values if `path` fits. A parameter takes one non-empty segment, decoded.
    pub(crate) fn matches<'a>(&'a self, path: &'a str) -> Option<Parameters<'a>> {
        let mut rest = path.strip_prefix('/')?.split('/');
        let mut values = Vec::new();
        for segment in &self.segments {
            let given = rest.next()?;
            match segment {
                Segment::Literal(literal) if **literal == *given => {}
                Segment::Literal(_) => return None,
                Segment::Parameter(_) if given.is_empty() => return None,
                Segment::Parameter(name) => values.push((&**name, decode(given)?)),
            }
        }
        rest.next().is_none().then_some(values)
    }
}

/// Decodes percent escapes (RFC 3986, 2.1); `None` if they are broken or not UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        let pattern = PathPattern::parse(pattern).unwrap();
        let values = pattern.matches(path)?;
        Some(values.into_iter().map(|(name, value)| (name.into(), value.into_owned())).collect())
    }

    #[test]
    fn parameters_take_one_decoded_segment() {
        let room = |value: &str| Some(vec![("room".to_owned(), value.to_owned())]);
        assert_eq!(matches("/r/:room", "/r/lobby"), room("lobby"));
        assert_eq!(matches("/r/:room", "/r/caf%C3%A9%2fx"), room("café/x"));
        assert_eq!(matches("/r/:room", "/r/"), None);
        assert_eq!(matches("/r/:room", "/r/a/b"), None);
        assert_eq!(matches("/r/:room", "/r/%zz"), None);
        assert_eq!(matches("/", "/"), Some(vec![]));
        assert_eq!(matches("/echo", "/echo/"), None);
    }

    #[test]
    fn broken_patterns_are_refused() {
        for pattern in ["echo", "/:", "/:a/:a", ""] {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
