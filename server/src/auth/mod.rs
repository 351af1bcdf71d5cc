//! Who clients are: the configuration's authenticators, and a count of everybody who was refused.
//!
//! [`hooks`] is what endpoints call. Nothing here blocks for longer than a signature takes to be
//! checked, and all of it runs on workers.

pub(crate) mod answer;
pub(crate) mod hooks;

use crate::clock;
use crate::config::auth::{Auth, Jwt, Method};
use crate::exit::{Code, Failure};
use crate::log::{Field, Level, Logger};
use answer::Answer;
use fulmar::{Connection, Identity};
use fulmar_auth::{
    Attempt, Authenticator, Callbacks, Chain, ConnectionFacts, JwksSource, Keys, Refusal,
    SetupError, TokenSource,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The authenticators of a configuration, shared by all endpoints.
pub(crate) struct Authenticators {
    chain: Chain,
    /// Whether what a client sends besides a token may count.
    has_callback: bool,
    token_bytes_max: usize,
    sources: Vec<TokenSource>,
    /// Asked which rooms a client may join.
    rooms: Option<Callbacks>,
    /// Keys that are fetched.
    fetched: Option<Arc<JwksSource>>,
    refused: [AtomicU64; Refusal::ALL.len()],
    logger: Option<Arc<Logger>>,
}

/// How many clients were refused, by [`Refusal::index`].
pub(crate) type Counts = [u64; Refusal::ALL.len()];

impl Authenticators {
    /// Makes them: reads files, starts the threads that ask others. Without a logger no refusal is
    /// logged.
    ///
    /// # Errors
    /// What cannot be used although it looked well.
    pub(crate) fn new(auth: &Auth, logger: Option<Arc<Logger>>) -> Result<Self, Failure> {
        let mut fetched = None;
        let mut chain = Vec::new();
        for method in &auth.methods {
            chain.push(match method {
                Method::Anonymous => Authenticator::Anonymous,
                Method::Tokens => {
                    Authenticator::Tokens(auth.static_tokens().map_err(invalid("auth.tokens"))?)
                }
                Method::Jwt => {
                    let Some(jwt) = &auth.jwt else { continue };
                    jwt_authenticator(jwt, &mut fetched).map_err(invalid("auth.jwt"))?
                }
                Method::Callback => {
                    let Some(url) = &auth.callback.url else { continue };
                    let callbacks = Callbacks::start(auth.callback.options(url));
                    Authenticator::Callback(Arc::new(callbacks.map_err(invalid("auth.callback"))?))
                }
            });
        }
        let chain = if chain.is_empty() { Ok(Chain::open()) } else { Chain::new(chain) };
        let rooms = match &auth.callback.rooms_url {
            Some(url) => {
                let callbacks = Callbacks::start(auth.callback.options(url));
                Some(callbacks.map_err(invalid("auth.callback.rooms_url"))?)
            }
            None => None,
        };
        Ok(Self {
            chain: chain.map_err(invalid("auth.methods"))?,
            has_callback: auth.methods.contains(&Method::Callback),
            token_bytes_max: auth.token_bytes_max,
            sources: sources(auth),
            rooms,
            fetched,
            refused: Default::default(),
            logger,
        })
    }

    /// Whether there is an HTTP service that decides about rooms.
    pub(crate) fn decides_rooms(&self) -> bool {
        self.rooms.is_some()
    }

    /// How many clients were refused so far, for what.
    pub(crate) fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        std::array::from_fn(|index| load(&self.refused[index]))
    }

    /// Why nobody can be let in yet.
    pub(crate) fn trouble(&self) -> Option<String> {
        let status = self.fetched.as_ref()?.status();
        let why = || status.last_error.unwrap_or_else(|| "not fetched yet".to_owned());
        (status.keys == 0).then(|| format!("auth: no keys for tokens: {}", why()))
    }

    /// Finds out who it is that shows this token, or this credential.
    pub(crate) fn ask(
        &self,
        token: &str,
        data: &str,
        facts: ConnectionFacts<'_>,
    ) -> Answer<Identity> {
        if token.len() > self.token_bytes_max {
            return Answer::ready(Err(Refusal::TooLong));
        }
        let now = clock::unix_milliseconds();
        let attempt = Attempt { token, data, now, connection: facts };
        let (settler, answer) = Answer::pair();
        let later = move |result| settler.settle(result);
        match self.chain.authenticate(&attempt, later) {
            Some(result) => Answer::ready(result),
            None => answer,
        }
    }

    /// Counts a refusal and notes it for whoever searches for a fault.
    fn note(&self, refusal: Refusal, id: &str) {
        self.refused[refusal.index()].fetch_add(1, Ordering::Relaxed);
        if let Some(logger) = &self.logger {
            let fields = [("reason", Field::Text(refusal.code())), ("id", Field::Text(id))];
            logger.event(Level::Debug, "auth", "refused", &fields);
        }
    }

    /// The token that an upgrade request carries.
    fn token(&self, connection: &Connection) -> Result<Option<String>, Refusal> {
        let headers: Vec<(&str, &str)> = connection.headers().collect();
        let token = TokenSource::find_first(&self.sources, &headers, connection.query());
        token.map(|token| token.map(std::borrow::Cow::into_owned))
    }
}

/// The refusals since an earlier count, in words: `expired 12, denied 3`; `None` if there are none.
pub(crate) fn since(earlier: &Counts, now: &Counts) -> Option<String> {
    let more = Refusal::ALL.iter().map(|refusal| {
        let index = refusal.index();
        (refusal.code(), now[index].saturating_sub(earlier[index]))
    });
    let words = more.filter(|(_, count)| *count > 0).map(|(code, count)| format!("{code} {count}"));
    let words = words.collect::<Vec<String>>().join(", ");
    (!words.is_empty()).then_some(words)
}

fn sources(auth: &Auth) -> Vec<TokenSource> {
    let mut sources = vec![TokenSource::Bearer, TokenSource::Subprotocol];
    sources.extend(auth.query.as_deref().map(|name| TokenSource::Query(name.into())));
    sources.extend(auth.cookie.as_deref().map(|name| TokenSource::Cookie(name.into())));
    sources
}

fn jwt_authenticator(
    jwt: &Jwt,
    fetched: &mut Option<Arc<JwksSource>>,
) -> Result<Authenticator, SetupError> {
    let keys = jwt.keys()?;
    if let Keys::Source(source) = &keys {
        *fetched = Some(source.clone());
    }
    Ok(Authenticator::Jwt(Box::new(jwt.verifier(keys)?)))
}

fn invalid(key: &'static str) -> impl Fn(SetupError) -> Failure {
    move |error| Failure::new(Code::Configuration, format!("{key}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_words_and_only_the_new_ones() {
        let (mut earlier, mut now) = (Counts::default(), Counts::default());
        assert_eq!(since(&earlier, &now), None);
        now[Refusal::Expired.index()] = 12;
        now[Refusal::Denied.index()] = 3;
        assert_eq!(since(&earlier, &now).as_deref(), Some("expired 12, denied 3"));
        earlier[Refusal::Expired.index()] = 12;
        assert_eq!(since(&earlier, &now).as_deref(), Some("denied 3"));
    }
}
