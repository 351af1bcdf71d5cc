//! What endpoints call: the guard of an upgrade, `authenticate` of the event dialect, and who may
//! join which rooms.

use super::Authenticators;
use super::answer::Answer;
use crate::config::endpoint::Access;
use fulmar::dialect::payload::is_deep;
use fulmar::dialect::{Args, Payload, Value, Verdict};
use fulmar::handler::{CallParts, FromCall};
use fulmar::{Arg, CallError, Connection, Identity, Local, event::RoomFilter};
use fulmar_auth::{ConnectionFacts, Refusal, RoomPatterns};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};
use std::future::Future;
use std::sync::Arc;

/// Who is let in by the token of its upgrade request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Without {
    /// Those without a token are refused, unless a method takes them.
    Refused,
    /// Those without a token are nobody in particular: that is allowed, or they say later who they
    /// are.
    Anonymous,
}

impl Authenticators {
    /// Decides about an upgrade request.
    pub(crate) fn guard(
        self: &Arc<Self>,
        without: Without,
    ) -> impl Fn(Connection) -> Deciding + Send + Sync + 'static {
        let own = self.clone();
        move |connection| {
            let answer = match own.token(&connection) {
                Err(refusal) => Answer::ready(Err(refusal)),
                Ok(None) if without == Without::Anonymous => Answer::ready(Ok(Identity::default())),
                Ok(token) => own.ask_about(&token.unwrap_or_default(), "", &connection),
            };
            let own = own.clone();
            Box::pin(async move { own.verdict(answer.await, &connection) })
        }
    }

    /// Decides about an upgrade request where both those may come who prove now who they are, and
    /// those who do so later. [`Standing::is_proven`] tells whether it was proved.
    pub(crate) fn guard_both(
        self: &Arc<Self>,
    ) -> impl Fn(Connection, Local<Standing>) -> Deciding + Send + Sync + 'static {
        let own = self.clone();
        move |connection, standing| {
            let token = own.token(&connection);
            let has_none = matches!(token, Ok(None));
            let answer = match token {
                Err(refusal) => Answer::ready(Err(refusal)),
                // Some need none: nobody in particular, or who is known by a cookie.
                Ok(token) => own.ask_about(&token.unwrap_or_default(), "", &connection),
            };
            let own = own.clone();
            Box::pin(async move {
                match answer.await {
                    Ok(identity) => {
                        standing.with(|standing| standing.is_proven = true);
                        Ok(Verdict::Accepted(identity))
                    }
                    Err(_) if has_none => Ok(Verdict::Accepted(Identity::default())),
                    refused => own.verdict(refused, &connection),
                }
            })
        }
    }

    /// Decides about `authenticate`.
    pub(crate) fn authenticate(
        self: &Arc<Self>,
        access: Access,
    ) -> impl Fn(Connection, Credential, Local<Standing>) -> Deciding + Send + Sync + 'static {
        let own = self.clone();
        move |connection, credential, standing| {
            let answer = own.ask_in_band(&connection, &credential.0, access, &standing);
            let own = own.clone();
            Box::pin(async move {
                let result = answer.await;
                standing.with(|standing| standing.is_proven |= result.is_ok());
                own.verdict(result, &connection)
            })
        }
    }

    /// Has an HTTP service decide which rooms may be joined.
    pub(crate) fn allow_rooms(
        self: &Arc<Self>,
    ) -> impl Fn(Connection, Arg<Vec<String>>) -> Choosing + Send + Sync + 'static {
        let own = self.clone();
        move |connection, Arg(rooms)| {
            let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
            let (settler, answer) = Answer::pair();
            match &own.rooms {
                Some(callbacks) => {
                    let identity = connection.identity();
                    callbacks.rooms(identity.as_ref(), &rooms, |result| settler.settle(result));
                }
                // Nobody allows any.
                None => settler.settle(Ok(Vec::new())),
            }
            let own = own.clone();
            Box::pin(async move {
                answer.await.map_err(|refusal| {
                    own.note(refusal, &connection.id());
                    CallError::with_code(503, refusal.code())
                })
            })
        }
    }

    fn ask_in_band(
        &self,
        connection: &Connection,
        data: &str,
        access: Access,
        standing: &Local<Standing>,
    ) -> Answer<Identity> {
        let is_first = standing.with(|standing| {
            standing.attempts = standing.attempts.saturating_add(1);
            standing.attempts == 1
        });
        let shown = Shown::of(data);
        match shown.token {
            Token::Text(token) => return self.ask_about(&token, data, connection),
            Token::Other if !self.has_callback => {
                return Answer::ready(Err(Refusal::Malformed));
            }
            Token::Other | Token::Missing => {}
        }
        if shown.token == Token::Missing {
            // Who showed a token with its upgrade need not do so again; who wants to stay longer
            // must.
            let known = connection.identity().filter(|known| *known != Identity::default());
            if let Some(known) = known.filter(|_| is_first) {
                return Answer::ready(Ok(known));
            }
            if access == Access::Optional && !(self.has_callback && shown.has_more) {
                return Answer::ready(Ok(Identity::default()));
            }
        }
        self.ask_about("", data, connection)
    }

    fn verdict(
        &self,
        result: Result<Identity, Refusal>,
        connection: &Connection,
    ) -> Result<Verdict, CallError> {
        match result {
            Ok(identity) => Ok(Verdict::Accepted(identity)),
            Err(refusal) => {
                self.note(refusal, &connection.id());
                if refusal.is_ours() {
                    // "Try again", not "go away".
                    return Err(CallError::with_code(503, refusal.code()));
                }
                Ok(Verdict::Refused)
            }
        }
    }

    fn ask_about(&self, token: &str, data: &str, connection: &Connection) -> Answer<Identity> {
        let headers: Vec<(&str, &str)> = connection.headers().collect();
        let (id, path) = (connection.id(), connection.path());
        let facts = ConnectionFacts { id: &id, ip: connection.ip(), path, headers: &headers };
        self.ask(token, data, facts)
    }
}

/// A verdict that may come later.
pub(crate) type Deciding =
    std::pin::Pin<Box<dyn Future<Output = Result<Verdict, CallError>> + Send>>;

/// Rooms, perhaps later.
pub(crate) type Choosing =
    std::pin::Pin<Box<dyn Future<Output = Result<Vec<Box<str>>, CallError>> + Send>>;

/// What is known of how a connection has proved who it is.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// How often it has sent `authenticate`.
    attempts: u32,
    /// Whether a method has accepted it.
    pub(crate) is_proven: bool,
}

/// What a client sent with `authenticate`, as it is: JSON.
#[derive(Debug)]
pub(crate) struct Credential(String);

impl<S> FromCall<S> for Credential {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        match parts.take_args() {
            Args::One(Payload::Json(text)) => Ok(Self(text.into_owned())),
            other => {
                let value: Value = other.decode_one()?;
                let mut json = Vec::new();
                Payload::Rich(value).write_json(&mut json)?;
                Ok(Self(String::from_utf8_lossy(&json).into_owned()))
            }
        }
    }
}

/// Rooms by patterns: decided at once.
#[derive(Debug)]
pub(crate) struct Patterns(RoomPatterns);

impl Patterns {
    /// By these patterns.
    pub(crate) fn new(patterns: RoomPatterns) -> Self {
        Self(patterns)
    }
}

impl RoomFilter for Patterns {
    fn allows(&self, room: &str, identity: &Identity) -> bool {
        self.0.allows(room, Some(identity))
    }
}

/// Rooms by patterns that look into claims: on a worker, since a client may name thousands of rooms
/// and its claims are read for them.
pub(crate) fn allow_by_claims(
    patterns: RoomPatterns,
) -> impl Fn(Connection, Arg<Vec<String>>) -> Vec<String> + Send + Sync + 'static {
    move |connection, Arg(rooms)| {
        let identity = connection.identity();
        let prepared = patterns.for_identity(identity.as_ref());
        rooms.into_iter().filter(|room| prepared.allows(room)).collect()
    }
}

/// What is in a credential.
struct Shown {
    token: Token,
    /// Whether there is anything besides the token and the key for an exchange.
    has_more: bool,
}

#[derive(Debug, Eq, PartialEq)]
enum Token {
    Missing,
    Text(String),
    /// Something that is not a text.
    Other,
}

impl Shown {
    fn of(data: &str) -> Self {
        // The parser recurses.
        let parsed = if is_deep(data) { None } else { sonic_rs::from_str(data).ok() };
        let parsed: sonic_rs::Value = parsed.unwrap_or_default();
        let Some(object) = parsed.as_object() else {
            return Self { token: Token::Missing, has_more: !parsed.is_null() };
        };
        let token = match object.get(&"token") {
            None => Token::Missing,
            Some(value) => match value.as_str() {
                Some("") => Token::Missing,
                Some(text) => Token::Text(text.to_owned()),
                None if value.is_null() => Token::Missing,
                None => Token::Other,
            },
        };
        let has_more = object.iter().any(|(name, _)| name != "token" && name != "publicKey");
        Self { token, has_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_token_in_a_credential() {
        let token = |data| Shown::of(data).token;
        assert_eq!(token("{}"), Token::Missing);
        assert_eq!(token(r#"{"token":"a"}"#), Token::Text("a".to_owned()));
        assert_eq!(token(r#"{"token":""}"#), Token::Missing);
        assert_eq!(token(r#"{"token":null}"#), Token::Missing);
        assert_eq!(token(r#"{"token":5}"#), Token::Other);
        assert_eq!(token("[1]"), Token::Missing);
        assert_eq!(token("no json"), Token::Missing);
    }

    #[test]
    fn a_key_for_an_exchange_is_no_credential() {
        assert!(!Shown::of(r#"{"publicKey":"x"}"#).has_more);
        assert!(Shown::of(r#"{"publicKey":"x","session":"y"}"#).has_more);
        assert!(Shown::of("5").has_more && !Shown::of("{}").has_more);
    }
}
