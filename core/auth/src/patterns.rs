//! Which rooms an identity may join, by patterns of the configuration.
//!
//! `*` stands for any run of characters, also none; `{user_id}` for the user's name;
//! `{claim.NAME}` for a claim (`NAME` is a key of the claims object, to the closing brace). All
//! else stands for itself. There is no way to write a literal `*`, `{` or `}`.
//!
//! What is filled in is literal: a user called `*` joins `user:*` and nothing else. But it is part
//! of one string: with `room:{user_id}:*`, user `a` may join what user `a:b` may. Put what users
//! choose at the end, or keep the separator out of names.
use std::{borrow::Cow, fmt};

use sonic_rs::{JsonContainerTrait, JsonValueTrait};

use crate::{Identity, json};

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;

/// Most patterns in one list.
pub const PATTERNS_MAX: usize = 1000;

/// A list of patterns; a room is allowed if any of them fits the whole of its name.
#[derive(Clone, Debug, Default)]
pub struct RoomPatterns {
    patterns: Vec<Pattern>,
    uses_claims: bool,
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// Which pattern of the list, from 0.
    pub index: usize,
    /// Where in it, in bytes from 0.
    pub position: usize,
    /// What is wrong there.
    pub message: &'static str,
}

/// Patterns with one identity's values filled in. Cheap to make unless claims are used; then it
/// parses them once.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    globs: Vec<Cow<'a, Glob>>,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// Without names to fill in.
    Fixed(Glob),
    Template(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Any,
    User,
    Claim(Box<str>),
}

/// Literal pieces with a `*` between each two; one piece has no `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Glob(Vec<Box<str>>);

impl RoomPatterns {
    /// # Errors
    /// The first pattern that cannot be read, and where.
    pub fn parse(patterns: &[impl AsRef<str>]) -> Result<Self, PatternError> {
        if patterns.len() > PATTERNS_MAX {
            let message = "there are more than 1000 patterns";
            return Err(PatternError { index: PATTERNS_MAX, position: 0, message });
        }
        let mut parsed = Self::default();
        for (index, pattern) in patterns.iter().enumerate() {
            let parts = parse(pattern.as_ref()).map_err(|(position, message)| PatternError {
                index,
                position,
                message,
            })?;
            parsed.uses_claims |= parts.iter().any(|part| matches!(part, Part::Claim(_)));
            let is_fixed = parts.iter().all(|part| matches!(part, Part::Literal(_) | Part::Any));
            parsed.patterns.push(match fill(&parts, &|_| None) {
                Some(glob) if is_fixed => Pattern::Fixed(glob),
                _ => Pattern::Template(parts),
            });
        }
        Ok(parsed)
    }

    /// Whether `identity` may join `room`. For several rooms of one identity use
    /// [`RoomPatterns::for_identity`].
    pub fn allows(&self, room: &str, identity: Option<&Identity>) -> bool {
        self.for_identity(identity).allows(room)
    }

    /// Fills in one identity's values. Patterns that need a value which it does not have (or has
    /// empty) fit nothing; so do all templates for nobody. A claim counts if it is a string or an
    /// integer.
    pub fn for_identity(&self, identity: Option<&Identity>) -> Prepared<'_> {
        let user = identity.and_then(|identity| identity.user.as_deref());
        let claims = identity
            .filter(|_| self.uses_claims)
            .and_then(|identity| json::object(&identity.claims));
        let value = |part: &Part| match part {
            Part::User => user.map(str::to_owned),
            Part::Claim(name) => claim_text(claims.as_ref()?.as_object()?.get(&&**name)?),
            Part::Literal(_) | Part::Any => None,
        };
        let globs = self.patterns.iter().filter_map(|pattern| match pattern {
            Pattern::Fixed(glob) => Some(Cow::Borrowed(glob)),
            Pattern::Template(parts) => fill(parts, &value).map(Cow::Owned),
        });
        Prepared { globs: globs.collect() }
    }
}

impl Prepared<'_> {
    /// Whether a pattern fits the whole of `room`. Takes time in proportion to the length of the
    /// name and of the patterns.
    pub fn allows(&self, room: &str) -> bool {
        self.globs.iter().any(|glob| glob.fits(room))
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "pattern {} at byte {}: {}", self.index, self.position, self.message)
    }
}

impl std::error::Error for PatternError {}

impl Glob {
    /// Each piece is taken at the first place where it fits: with no other metacharacter than `*`
    /// a later place never fits better, so nothing is tried twice.
    fn fits(&self, room: &str) -> bool {
        let [first, middle @ .., last] = &*self.0 else {
            return self.0.first().is_some_and(|only| **only == *room);
        };
        let Some(mut rest) = room.strip_prefix(&**first) else { return false };
        for piece in middle {
            let Some(at) = rest.find(&**piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(&**last)
    }
}

fn parse(pattern: &str) -> Result<Vec<Part>, (usize, &'static str)> {
    if pattern.is_empty() {
        return Err((0, "is empty"));
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err((PATTERN_BYTES_MAX, "is longer than 256 bytes"));
    }
    let mut parts = Vec::new();
    let mut at = 0;
    while at < pattern.len() {
        let rest = &pattern[at..];
        let literal = rest.find(['*', '{', '}']).unwrap_or(rest.len());
        if literal > 0 {
            parts.push(Part::Literal(rest[..literal].into()));
            at += literal;
        } else if rest.starts_with('*') {
            parts.push(Part::Any);
            at += 1;
        } else if rest.starts_with('}') {
            return Err((at, "'}' without '{'"));
        } else {
            let end = rest.find('}').ok_or((at, "'{' without '}'"))?;
            parts.push(match &rest[1..end] {
                "user_id" => Part::User,
                name => match name.strip_prefix("claim.") {
                    Some(claim) if !claim.is_empty() && !claim.contains(['{', '*']) => {
                        Part::Claim(claim.into())
                    }
                    _ => return Err((at, "only {user_id} and {claim.NAME} can be filled in")),
                },
            });
            at += end + 1;
        }
    }
    Ok(parts)
}

/// `None` if a value is not there. An empty one counts as not there: `user:{user_id}` must not fit
/// `user:`.
fn fill(parts: &[Part], value: &dyn Fn(&Part) -> Option<String>) -> Option<Glob> {
    let mut pieces: Vec<Box<str>> = Vec::new();
    let mut piece = String::new();
    for part in parts {
        match part {
            Part::Literal(text) => piece.push_str(text),
            // `**` is the same as `*`.
            Part::Any if piece.is_empty() && !pieces.is_empty() => {}
            Part::Any => pieces.push(std::mem::take(&mut piece).into()),
            Part::User | Part::Claim(_) => {
                piece.push_str(&value(part).filter(|text| !text.is_empty())?);
            }
        }
    }
    pieces.push(piece.into());
    Some(Glob(pieces))
}

fn claim_text(value: &sonic_rs::Value) -> Option<String> {
    value
        .as_str()
        .map(str::to_owned)
        .or_else(|| value.as_u64().map(|number| number.to_string()))
        .or_else(|| value.as_i64().map(|number| number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str, claims: &str) -> Identity {
        Identity { user: Some(user.into()), claims: claims.into(), expires: None }
    }

    fn allows(pattern: &str, room: &str) -> bool {
        RoomPatterns::parse(&[pattern]).unwrap().allows(room, None)
    }

    #[test]
    fn literals_fit_themselves() {
        assert!(allows("chat", "chat"));
        assert!(!allows("chat", "chat1"));
        assert!(!allows("chat", "Chat"));
        assert!(allows("a.b?[c]\\", "a.b?[c]\\"));
    }

    #[test]
    fn a_star_fits_any_run() {
        for room in ["chat:", "chat:a", "chat:a:b", "chat:é"] {
            assert!(allows("chat:*", room), "{room}");
        }
        assert!(!allows("chat:*", "chat"));
        assert!(!allows("chat:*", "xchat:a"));
        assert!(allows("*", ""));
        assert!(allows("**", "x"));
        assert!(allows("*:end", "a:end"));
        assert!(!allows("*:end", "a:end:"));
        assert!(allows("a*b*c", "aXbYbZc"));
        assert!(!allows("a*b*c", "acb"));
    }

    #[test]
    fn pieces_do_not_overlap() {
        assert!(!allows("aba*aba", "aba"));
        assert!(!allows("aba*aba", "ababa"));
        assert!(allows("aba*aba", "abaaba"));
        assert!(!allows("a*ab*b", "aab"));
    }

    #[test]
    fn agrees_with_a_plain_matcher() {
        fn plain(pattern: &[u8], room: &[u8]) -> bool {
            match (pattern.split_first(), room.split_first()) {
                (None, None) => true,
                (Some((b'*', after)), _) => {
                    plain(after, room) || (!room.is_empty() && plain(pattern, &room[1..]))
                }
                (Some((a, after)), Some((b, rest))) => a == b && plain(after, rest),
                _ => false,
            }
        }
        let words = |alphabet: &[u8], length: u32, number: usize| -> String {
            (0..length)
                .map(|place| {
                    char::from(alphabet[number / alphabet.len().pow(place) % alphabet.len()])
                })
                .collect()
        };
        for number in 0..3_usize.pow(5) {
            let pattern = words(b"ab*", 5, number);
            let parsed = RoomPatterns::parse(&[&pattern]).unwrap();
            for length in 0..=6 {
                for number in 0..2_usize.pow(length) {
                    let room = words(b"ab", length, number);
                    let expected = plain(pattern.as_bytes(), room.as_bytes());
                    assert_eq!(parsed.allows(&room, None), expected, "{pattern} {room}");
                }
            }
        }
    }

    #[test]
    fn fills_in_the_user_as_a_literal() {
        let patterns = RoomPatterns::parse(&["user:{user_id}"]).unwrap();
        assert!(patterns.allows("user:ada", Some(&identity("ada", ""))));
        assert!(!patterns.allows("user:bob", Some(&identity("ada", ""))));
        assert!(patterns.allows("user:*", Some(&identity("*", ""))));
        assert!(!patterns.allows("user:bob", Some(&identity("*", ""))));
        assert!(patterns.allows("user:{user_id}", Some(&identity("{user_id}", ""))));
        assert!(!patterns.allows("user:{user_id}", Some(&identity("ada", ""))));
    }

    #[test]
    fn nobody_and_empty_names_fit_no_template() {
        let patterns = RoomPatterns::parse(&["user:{user_id}", "org:{claim.org}"]).unwrap();
        assert!(!patterns.allows("user:", None));
        assert!(!patterns.allows("user:", Some(&Identity::default())));
        assert!(!patterns.allows("user:", Some(&identity("", ""))));
        assert!(!patterns.allows("org:", Some(&identity("ada", r#"{"org":""}"#))));
    }

    #[test]
    fn fills_in_claims_that_are_strings_or_integers() {
        let patterns = RoomPatterns::parse(&["org:{claim.org}:*", "{claim.https://x/y}"]).unwrap();
        let allows = |claims: &str, room: &str| patterns.allows(room, Some(&identity("a", claims)));
        assert!(allows(r#"{"org":"acme"}"#, "org:acme:news"));
        assert!(allows(r#"{"org":7}"#, "org:7:news"));
        assert!(allows(r#"{"org":-7}"#, "org:-7:news"));
        assert!(allows(r#"{"https://x/y":"z"}"#, "z"));
        assert!(!allows(r#"{"org":"*"}"#, "org:acme:news"));
        for claims in ["", "[]", "{", r#"{"org":true}"#, r#"{"org":["acme"]}"#, r#"{"org":1.5}"#] {
            assert!(!allows(claims, "org:acme:news"), "{claims}");
        }
    }

    #[test]
    fn says_where_a_pattern_is_wrong() {
        let error = |pattern: &str| {
            let error = RoomPatterns::parse(&["fine", pattern]).unwrap_err();
            assert_eq!(error.index, 1);
            error.position
        };
        assert_eq!(error("a{user_id"), 1);
        assert_eq!(error("ab}"), 2);
        assert_eq!(error("é{other}"), 2);
        assert_eq!(error("{claim.}"), 0);
        assert_eq!(error(""), 0);
        assert_eq!(error(&"x".repeat(257)), 256);
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(100) + "b";
        let room = "a".repeat(10_000);
        assert!(!allows(&pattern, &room));
    }
}
