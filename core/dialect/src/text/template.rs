//! Names of rooms, made of a request's parameters.
use std::{borrow::Cow, fmt, str::FromStr};

use super::room::ROOM_BYTES_MAX;
use crate::OpenRequest;

/// The name of a room with parameters in braces: `{room}`, `chat/{team}/{query.topic}`.
///
/// `{name}` is a parameter of the path, or of the query where the path has none of that name;
/// `{query.name}` is one of the query. The default is `{room}`. Parsed once per endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Parameter(Box<str>),
    Query(Box<str>),
}

/// Why a template is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateError {
    /// It is empty.
    Empty,
    /// A brace has no partner; its position in bytes.
    Brace(usize),
    /// A parameter has no name, or one with other characters than letters, digits, `_`, `-`.
    Name(String),
}

impl RoomTemplate {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError`], for whoever wrote the configuration.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut position = 0;
        while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
            let literal = rest.find(['{', '}']).unwrap_or(rest.len());
            if literal > 0 {
                pieces.push(Piece::Literal(rest.get(..literal).unwrap_or_default().into()));
                position += literal;
                continue;
            }
            let inner = rest.strip_prefix('{').ok_or(TemplateError::Brace(position))?;
            let (name, _) = inner.split_once('}').ok_or(TemplateError::Brace(position))?;
            pieces.push(parameter(name)?);
            position += name.len() + 2;
        }
        if pieces.is_empty() { Err(TemplateError::Empty) } else { Ok(Self(pieces)) }
    }

    /// Names of the parameters that may come from the path, so that a configuration can be checked
    /// against it. Those of the form `{query.name}` are not among them.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Parameter(name) => Some(&**name),
            Piece::Literal(_) | Piece::Query(_) => None,
        })
    }

    /// The name for this request; `None` if a parameter is missing or empty. Stops growing once it
    /// is too long to be a name.
    #[must_use]
    pub fn expand(&self, request: &OpenRequest<'_>) -> Option<String> {
        let mut name = String::new();
        for piece in &self.0 {
            let text = match piece {
                Piece::Literal(text) => Cow::Borrowed(&**text),
                Piece::Parameter(known) => match request.parameter(known) {
                    Some(text) => Cow::Borrowed(text),
                    None => request.query_parameter(known)?,
                },
                Piece::Query(known) => request.query_parameter(known)?,
            };
            if text.is_empty() {
                return None;
            }
            name.push_str(&text);
            if name.len() > ROOM_BYTES_MAX {
                break;
            }
        }
        Some(name)
    }
}

impl Default for RoomTemplate {
    fn default() -> Self {
        Self(vec![Piece::Parameter("room".into())])
    }
}

impl FromStr for RoomTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text)
    }
}

impl fmt::Display for RoomTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => f.write_str(text)?,
                Piece::Parameter(name) => write!(f, "{{{name}}}")?,
                Piece::Query(name) => write!(f, "{{query.{name}}}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name of a room cannot be empty"),
            Self::Brace(position) => write!(f, "the brace at byte {position} has no partner"),
            Self::Name(name) => write!(f, "'{{{name}}}' does not name a parameter"),
        }
    }
}

impl std::error::Error for TemplateError {}

fn parameter(text: &str) -> Result<Piece, TemplateError> {
    let (name, query) = match text.strip_prefix("query.") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let named = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !named {
        return Err(TemplateError::Name(text.to_owned()));
    }
    Ok(if query { Piece::Query(name.into()) } else { Piece::Parameter(name.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_shows_templates() {
        for text in ["{room}", "chat/{team}/{query.topic}", "lobby", "a{b}{c}d"] {
            assert_eq!(RoomTemplate::parse(text).unwrap().to_string(), text);
        }
        let template = RoomTemplate::parse("{a}/{query.b}/{c}").unwrap();
        assert_eq!(template.parameters().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(RoomTemplate::default().to_string(), "{room}");
    }

    #[test]
    fn says_what_is_wrong_with_a_template() {
        assert_eq!(RoomTemplate::parse(""), Err(TemplateError::Empty));
        assert_eq!(RoomTemplate::parse("a{b"), Err(TemplateError::Brace(1)));
        assert_eq!(RoomTemplate::parse("ab}"), Err(TemplateError::Brace(2)));
        assert_eq!(RoomTemplate::parse("{}"), Err(TemplateError::Name(String::new())));
        assert_eq!(RoomTemplate::parse("{query.}"), Err(TemplateError::Name("query.".into())));
        assert_eq!(RoomTemplate::parse("{a b}"), Err(TemplateError::Name("a b".into())));
    }
}
