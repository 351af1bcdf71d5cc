//! Routes about rooms: which room a call is about, whether its client may name it, and what is
//! published there.

use super::parameters::refused;
use crate::config::template::{Part, Template};
use fulmar::{CallError, Connection, Identity, Room};
use fulmar_auth::RoomPatterns;
use sonic_rs::{JsonValueTrait, LazyValue};
use std::borrow::Cow;
use std::sync::Arc;

/// The rooms that a route names.
pub(super) struct Rooms {
    template: Template,
    /// Those that may be named; none for any.
    join: Option<Arc<RoomPatterns>>,
    /// The parameters that only name the room.
    spent: Vec<usize>,
}

/// Longer names are refused, in bytes: as other protocols have it.
const NAME_BYTES_MAX: usize = 256;

/// What names of the server's own rooms begin with.
const RESERVED: &str = "ws:";

impl Rooms {
    /// By the template's name, restricted to `join`.
    pub(super) fn new(template: &Template, join: Option<&Arc<RoomPatterns>>) -> Self {
        let spent = template.parts.iter().filter_map(|part| match part {
            Part::Parameter { index, members } if members.is_empty() => Some(*index),
            _ => None,
        });
        Self { spent: spent.collect(), template: template.clone(), join: join.cloned() }
    }

    /// Whether claims are read, which takes time in proportion to their length.
    pub(super) fn reads_claims(&self) -> bool {
        let by_claim = self.template.parts.iter().any(|part| matches!(part, Part::Claim(_)));
        by_claim || self.join.is_some()
    }

    /// The room that a call is about.
    ///
    /// # Errors
    /// 400 for parameters that make no name, 403 for a room that the client may not name.
    pub(super) fn name(
        &self,
        connection: &Connection,
        params: &[LazyValue<'_>],
    ) -> Result<String, CallError> {
        let needs_identity = self.join.is_some()
            || self.template.parts.iter().any(|part| matches!(part, Part::User | Part::Claim(_)));
        let identity = if needs_identity { connection.identity() } else { None };
        let mut name = String::new();
        for part in &self.template.parts {
            let text = match part {
                Part::Literal(text) => Cow::Borrowed(text.as_str()),
                Part::Path(known) => Cow::Borrowed(connection.parameter(known).unwrap_or_default()),
                Part::Query(known) => connection.query_parameter(known).unwrap_or_default().into(),
                Part::Parameter { index, members } => parameter(params, *index, members)?.into(),
                Part::User => user(identity.as_ref()).ok_or_else(forbidden)?.into(),
                Part::Claim(known) => claim(identity.as_ref(), known).ok_or_else(forbidden)?.into(),
            };
            if text.is_empty() {
                return Err(CallError::bad_arguments("The call names no room"));
            }
            name.push_str(&text);
        }
        if name.len() > NAME_BYTES_MAX {
            let message = "The name of the room is longer than 256 bytes";
            return Err(CallError::bad_arguments(message));
        }
        let is_allowed =
            self.join.as_ref().is_none_or(|join| join.allows(&name, identity.as_ref()));
        if name.starts_with(RESERVED) || !is_allowed { Err(forbidden()) } else { Ok(name) }
    }

    /// Publishes the parameters that do not name the room: one as it is, several as a list.
    ///
    /// # Errors
    /// 400 where there are none, 503 for a room that is busy.
    pub(super) fn publish(
        &self,
        room: &Room,
        event: &str,
        params: &[LazyValue<'_>],
    ) -> Result<(), CallError> {
        let is_left = |(index, _): &(usize, _)| !self.spent.contains(index);
        let left = params.iter().enumerate().filter(is_left);
        let left: Vec<&LazyValue<'_>> = left.map(|(_, param)| param).collect();
        let published = match *left.as_slice() {
            [] => return Err(CallError::bad_arguments("There is nothing to publish")),
            // Clients of other protocols get it without quotes.
            [one] if one.is_str() => room.publish(event, one.as_str().unwrap_or_default()),
            [one] => room.publish(event, one),
            _ => room.publish(event, &left),
        };
        published.map_err(CallError::from)
    }
}

fn forbidden() -> CallError {
    CallError::with_code(403, "Forbidden")
}

/// A text or a whole number, as they are in names.
fn parameter(
    params: &[LazyValue<'_>],
    index: usize,
    members: &[String],
) -> Result<String, CallError> {
    let text = params.get(index).ok_or(None).and_then(|value| within(value, members));
    text.map_err(|found| {
        let steps = members.iter().map(|member| format!("/{member}"));
        let path = format!("/{index}{}", steps.collect::<String>());
        refused(&path, "Expected string or integer that is not empty", found.as_deref())
    })
}

/// The word at the end of this way, or what is there instead.
fn within(value: &LazyValue<'_>, members: &[String]) -> Result<String, Option<String>> {
    match members.split_first() {
        Some((first, rest)) => within(&value.get(first.as_str()).ok_or(None)?, rest),
        None => word(value).ok_or_else(|| Some(value.as_raw_str().to_owned())),
    }
}

fn user(identity: Option<&Identity>) -> Option<String> {
    identity?.user.as_deref().filter(|user| !user.is_empty()).map(str::to_owned)
}

fn claim(identity: Option<&Identity>, name: &str) -> Option<String> {
    let claims = &*identity?.claims;
    let claims: LazyValue<'_> = sonic_rs::from_str(claims).ok()?;
    word(&claims.get(name)?)
}

fn word(value: &LazyValue<'_>) -> Option<String> {
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.as_i64().is_some() || value.as_u64().is_some() => {
            value.as_raw_str().to_owned()
        }
        None => return None,
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(params: &str, index: usize, members: &[&str]) -> Result<String, Option<i32>> {
        let params: Vec<LazyValue<'_>> = sonic_rs::from_str(params).unwrap();
        let members: Vec<String> = members.iter().map(|&member| member.to_owned()).collect();
        parameter(&params, index, &members).map_err(|error| error.code)
    }

    #[test]
    fn texts_and_whole_numbers_make_names() {
        assert_eq!(named(r#"["a\u0062",5]"#, 0, &[]), Ok("ab".to_owned()));
        assert_eq!(named("[1,-5]", 1, &[]), Ok("-5".to_owned()));
        assert_eq!(named(r#"[{"a":{"b":"x"}}]"#, 0, &["a", "b"]), Ok("x".to_owned()));
        for (params, members) in [
            ("[]", &[][..]),
            ("[null]", &[]),
            ("[1.5]", &[]),
            ("[true]", &[]),
            ("[[\"x\"]]", &[]),
            ("[\"\"]", &[]),
            ("[{}]", &["a"]),
            ("[\"text\"]", &["a"]),
            ("[[1]]", &["0"]),
        ] {
            assert_eq!(named(params, 0, members), Err(Some(400)), "{params}");
        }
    }

    #[test]
    fn claims_name_rooms_if_they_are_words() {
        let claims = r#"{"team":"red","number":7,"list":["x"],"none":""}"#;
        let identity = Identity { claims: claims.into(), ..Identity::user("ada") };
        let of = |name| claim(Some(&identity), name);
        assert_eq!(of("team").as_deref(), Some("red"));
        assert_eq!(of("number").as_deref(), Some("7"));
        assert!(of("list").is_none() && of("none").is_none() && of("other").is_none());
        assert!(claim(Some(&Identity::default()), "team").is_none() && claim(None, "a").is_none());
        assert_eq!(user(Some(&identity)).as_deref(), Some("ada"));
        assert_eq!(user(Some(&Identity::default())), None);
    }
}
