//! What callbacks are asked and what they answer: JSON.
use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sonic_rs::{JsonValueTrait, LazyValue};

use crate::{Attempt, Identity, Refusal, json};

#[derive(Serialize)]
struct AuthenticateAsk<'a> {
    kind: &'static str,
    token: &'a str,
    data: Option<LazyValue<'a>>,
    connection: ConnectionAsk<'a>,
}

#[derive(Serialize)]
struct ConnectionAsk<'a> {
    id: &'a str,
    ip: String,
    path: &'a str,
    /// Pairs: a name may be there several times.
    headers: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize)]
struct RoomsAsk<'a> {
    kind: &'static str,
    user_id: Option<&'a str>,
    claims: Option<LazyValue<'a>>,
    rooms: &'a [&'a str],
}

#[derive(Deserialize)]
struct AuthenticateAnswer<'a> {
    /// Must be there, so that an error page with status 200 lets nobody in; `null` for anonymous.
    #[serde(borrow)]
    user_id: LazyValue<'a>,
    #[serde(borrow)]
    claims: Option<LazyValue<'a>>,
    expires_in: Option<f64>,
}

#[derive(Deserialize)]
struct RoomsAnswer {
    rooms: Vec<String>,
}

pub(super) fn ask_authenticate(
    attempt: &Attempt<'_>,
    header_names: &[String],
) -> Result<String, Refusal> {
    let facts = attempt.connection;
    let is_wanted =
        |name: &str| header_names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
    let ask = AuthenticateAsk {
        kind: "authenticate",
        token: attempt.token,
        data: raw(attempt.data)?,
        connection: ConnectionAsk {
            id: facts.id,
            ip: facts.ip.to_string(),
            path: facts.path,
            headers: facts.headers.iter().filter(|(name, _)| is_wanted(name)).copied().collect(),
        },
    };
    sonic_rs::to_string(&ask).map_err(|_| Refusal::Malformed)
}

pub(super) fn ask_rooms(identity: Option<&Identity>, rooms: &[&str]) -> Result<String, Refusal> {
    let ask = RoomsAsk {
        kind: "rooms",
        user_id: identity.and_then(|identity| identity.user.as_deref()),
        claims: raw(identity.map_or("", |identity| &identity.claims))?,
        rooms,
    };
    sonic_rs::to_string(&ask).map_err(|_| Refusal::Malformed)
}

/// An answer that cannot be read is the callback's fault, so the client may try again.
pub(super) fn read_identity(text: &str, now: u64) -> Result<Identity, Refusal> {
    let answer: AuthenticateAnswer<'_> = json::parse(text).ok_or(Refusal::Unavailable)?;
    let user = &answer.user_id;
    let user: Option<Box<str>> = if user.is_null() {
        None
    } else if let Some(name) = user.as_str() {
        Some(name.into())
    } else if user.as_u64().is_some() || user.as_i64().is_some() {
        Some(user.as_raw_str().into())
    } else {
        return Err(Refusal::Unavailable);
    };
    // An empty name is a mistake: it is neither a user nor anonymous.
    if user.as_deref() == Some("") {
        return Err(Refusal::Unavailable);
    }
    let claims = match &answer.claims {
        None => "",
        Some(claims) if claims.is_object() => claims.as_raw_str(),
        Some(_) => return Err(Refusal::Unavailable),
    };
    let expires = match answer.expires_in {
        None => None,
        Some(seconds) if seconds.is_finite() && seconds > 0.0 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            Some(now.saturating_add((seconds * 1000.0) as u64))
        }
        Some(_) => return Err(Refusal::Unavailable),
    };
    Ok(Identity { user, claims: claims.into(), expires })
}

/// The rooms of `asked` that the answer allows, in the order in which they were asked for.
pub(super) fn read_rooms(text: &str, asked: Vec<Box<str>>) -> Result<Vec<Box<str>>, Refusal> {
    let answer: RoomsAnswer = json::parse(text).ok_or(Refusal::Unavailable)?;
    let allowed: HashSet<&str> = answer.rooms.iter().map(String::as_str).collect();
    Ok(asked.into_iter().filter(|room| allowed.contains(&**room)).collect())
}

fn raw(text: &str) -> Result<Option<LazyValue<'_>>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    // Parsed as a whole first: what goes into the request must be one well-formed value, and a
    // lazy value is looked at only where it is used.
    json::parse::<sonic_rs::Value>(text).ok_or(Refusal::Malformed)?;
    json::parse(text).map(Some).ok_or(Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectionFacts;

    const HEADERS: &[(&str, &str)] = &[("Origin", "https://a"), ("cookie", "x=1"), ("host", "h")];

    fn attempt(data: &str) -> Attempt<'_> {
        let connection = ConnectionFacts {
            id: "c\"1",
            ip: [127, 0, 0, 1].into(),
            path: "/ws",
            headers: HEADERS,
        };
        Attempt { token: "t", data, now: 5000, connection }
    }

    #[test]
    fn asks_with_the_wanted_headers_only() {
        let ask = ask_authenticate(&attempt(r#"{"a":[1,2]}"#), &["origin".to_owned()]).unwrap();
        assert_eq!(
            ask,
            concat!(
                r#"{"kind":"authenticate","token":"t","data":{"a":[1,2]},"#,
                r#""connection":{"id":"c\"1","ip":"127.0.0.1","path":"/ws","#,
                r#""headers":[["Origin","https://a"]]}}"#,
            )
        );
        assert!(ask_authenticate(&attempt(""), &[]).unwrap().contains(r#""data":null"#));
    }

    #[test]
    fn data_cannot_break_out_of_its_place() {
        for data in
            ["{", "1,\"token\":\"x\"", "1}", "[1]]", "\"", "{\"a\":tru}", "[1,]", "{\"a\" 1}"]
        {
            assert_eq!(ask_authenticate(&attempt(data), &[]), Err(Refusal::Malformed), "{data}");
        }
        let deep = "[".repeat(60_000);
        assert_eq!(ask_authenticate(&attempt(&deep), &[]), Err(Refusal::Malformed));
    }

    #[test]
    fn reads_identities() {
        let read = |text| read_identity(text, 5000);
        assert_eq!(
            read(r#"{"user_id":"ada","claims":{"a":1},"expires_in":2.5}"#),
            Ok(Identity {
                user: Some("ada".into()),
                claims: r#"{"a":1}"#.into(),
                expires: Some(7500)
            })
        );
        assert_eq!(read(r#"{"user_id":7}"#).unwrap().user.as_deref(), Some("7"));
        assert_eq!(read(r#"{"user_id":null}"#), Ok(Identity::default()));
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"error":"x"}"#,
            r#"{"user_id":""}"#,
            r#"{"user_id":[]}"#,
            r#"{"user_id":true}"#,
            r#"{"user_id":"a","claims":[]}"#,
            r#"{"user_id":"a","expires_in":-1}"#,
            r#"{"user_id":"a","expires_in":"1"}"#,
        ] {
            assert_eq!(read(bad), Err(Refusal::Unavailable), "{bad}");
        }
    }

    #[test]
    fn drops_rooms_that_were_not_asked_for() {
        let asked = || vec!["a".into(), "b".into(), "c".into()];
        let read = |text| read_rooms(text, asked());
        let answer = read(r#"{"rooms":["x","c","a","*"]}"#).unwrap();
        assert_eq!(answer, ["a".into(), "c".into()] as [Box<str>; 2]);
        assert_eq!(read(r#"{"rooms":[]}"#), Ok(Vec::new()));
        assert_eq!(read(r#"{"rooms":"a"}"#), Err(Refusal::Unavailable));
        assert_eq!(read("{}"), Err(Refusal::Unavailable));
    }

    #[test]
    fn asks_for_rooms() {
        let identity =
            Identity { user: Some("ada".into()), claims: "{\"a\":1}".into(), expires: None };
        assert_eq!(
            ask_rooms(Some(&identity), &["x", "y"]).unwrap(),
            r#"{"kind":"rooms","user_id":"ada","claims":{"a":1},"rooms":["x","y"]}"#
        );
        assert_eq!(
            ask_rooms(None, &["x"]).unwrap(),
            r#"{"kind":"rooms","user_id":null,"claims":null,"rooms":["x"]}"#
        );
    }
}
