//! Where and why JSON does not fit a type.
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::{Value, de::FromValueDeserializer};
use crate::CallError;

/// The error for JSON that did not decode as `T`: code 400, `path` as a JSON pointer (RFC 6901)
/// that begins at the arguments, and the `value` there if it is short. Decodes once more, slowly:
/// almost all fits the first time.
pub(crate) fn misfit<T: DeserializeOwned>(json: &str) -> CallError {
    let value: Value = match sonic_rs::from_str(json) {
        Ok(value) => value,
        Err(_) => return CallError::bad_arguments("This is no JSON"),
    };
    let found = value.clone();
    let decoded = serde_path_to_error::deserialize::<_, T>(FromValueDeserializer::new(value));
    // A type that fails before it takes what was carried must not leave it to the next one.
    drop(super::carried::take());
    let Err(error) = decoded else {
        return CallError::bad_arguments("The arguments do not fit");
    };
    let (mut path, mut place) = (String::new(), Some(&found));
    for segment in error.path() {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.clone(),
            // It has no place of its own in the JSON, or none that is known.
            Segment::Enum { .. } | Segment::Unknown => continue,
        };
        place = place.and_then(|place| child(place, segment));
        path.push('/');
        path.push_str(&name.replace('~', "~0").replace('/', "~1"));
    }
    CallError::bad_arguments(error.inner().0.clone()).at(&path, place)
}

fn child<'a>(value: &'a Value, segment: &Segment) -> Option<&'a Value> {
    match (value, segment) {
        (Value::Array(items), Segment::Seq { index }) => items.get(*index),
        (Value::Map(fields), Segment::Map { key }) => {
            fields.iter().rfind(|(name, _)| **name == **key).map(|(_, value)| value)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct User {
        #[serde(rename = "a/b")]
        name: String,
        tags: Vec<u8>,
    }

    fn told<T: DeserializeOwned>(json: &str) -> String {
        let error = misfit::<T>(json);
        assert_eq!(error.code, Some(400));
        let fields = error.fields.iter();
        let fields = fields.map(|(name, value)| format!("{name}={}", value.to_text()));
        format!("{} | {}", error.message, fields.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn says_where_and_what() {
        assert_eq!(
            told::<(u8, String)>(r#"[1,2]"#),
            "invalid type: integer `2`, expected a string | path=/1 value=2"
        );
        assert_eq!(
            told::<(User,)>(r#"[{"a/b":"x","tags":[1,"no"]}]"#),
            "invalid type: string \"no\", expected u8 | path=/0/tags/1 value=no"
        );
        assert_eq!(
            told::<(User,)>(r#"[{"a/b":7,"tags":[]}]"#),
            "invalid type: integer `7`, expected a string | path=/0/a~1b value=7"
        );
        assert!(told::<(User,)>(r#"[{"tags":[]}]"#).starts_with("missing field `a/b` | path=/0 "));
        let short = "invalid length 1, expected a tuple of size 2 | path= value=[1]";
        assert_eq!(told::<(u8, u8)>("[1]"), short);
        assert!(told::<(u8,)>("[1,2]").ends_with("| path= value=[1,2]"));
        let long = format!("[\"{}\"]", "x".repeat(2000));
        assert!(told::<(bool,)>(&long).ends_with("path=/0"));
    }
}
