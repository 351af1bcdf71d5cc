//! Several authenticators, tried in order.
use std::sync::Arc;

use crate::{Attempt, Callbacks, Identity, JwtVerifier, Refusal, SetupError, StaticTokens};

/// Called once with what came of an attempt, on a thread of the callback pool.
pub type Done = Box<dyn FnOnce(Result<Identity, Refusal>) + Send>;

/// One way of finding out who a client is.
#[derive(Debug)]
pub enum Authenticator {
    /// Accepts clients that show no token, as nobody in particular. A client that shows one is
    /// not let in by it, so that a bad token never turns into an anonymous visitor; except where
    /// it is alone in its [`Chain`]: then there is nothing to hold a token against.
    Anonymous,
    /// Tokens listed in the configuration.
    Tokens(StaticTokens),
    /// JSON Web Tokens.
    Jwt(Box<JwtVerifier>),
    /// An HTTP service. Must be the last of a chain. Asked even without a token: it may go by
    /// cookies.
    Callback(Arc<Callbacks>),
}

/// Authenticators in order: the first that accepts decides; if none does, the most telling refusal
/// is given ("expired" tells more than "not one of my tokens").
#[derive(Debug)]
pub struct Chain(Vec<Authenticator>);

impl Chain {
    /// # Errors
    /// None at all; or a callback that is not the last. (A callback's answer comes later; behind
    /// it nothing could run without the credential being kept.)
    pub fn new(authenticators: Vec<Authenticator>) -> Result<Self, SetupError> {
        let Some((_, before)) = authenticators.split_last() else {
            return Err(SetupError::new("authenticators", "at least one is needed"));
        };
        if before.iter().any(|one| matches!(one, Authenticator::Callback(_))) {
            return Err(SetupError::new("authenticators", "a callback must be the last one"));
        }
        Ok(Self(authenticators))
    }

    /// Whoever comes is let in as nobody in particular.
    pub fn open() -> Self {
        Self(vec![Authenticator::Anonymous])
    }

    /// Whether every attempt is answered at once (there is no callback in the chain).
    pub fn is_immediate(&self) -> bool {
        !self.0.iter().any(|one| matches!(one, Authenticator::Callback(_)))
    }

    /// Finds out who it is. Never blocks. `Some`: the answer, and `later` was dropped unused.
    /// `None`: `later` is called exactly once, on another thread or before this returns (a full
    /// queue).
    pub fn authenticate(
        &self,
        attempt: &Attempt<'_>,
        later: impl FnOnce(Result<Identity, Refusal>) + Send + 'static,
    ) -> Option<Result<Identity, Refusal>> {
        let mut refusal = Refusal::Missing;
        for authenticator in &self.0 {
            let result = match authenticator {
                Authenticator::Anonymous if attempt.token.is_empty() || self.0.len() == 1 => {
                    Ok(Identity::default())
                }
                Authenticator::Anonymous => Err(Refusal::Unknown),
                Authenticator::Tokens(tokens) => tokens.verify(attempt.token, attempt.now),
                Authenticator::Jwt(verifier) => verifier.verify(attempt.token, attempt.now),
                Authenticator::Callback(callbacks) => {
                    let before = refusal;
                    callbacks.authenticate(attempt, move |result| {
                        later(result.map_err(|after| more_telling(before, after)));
                    });
                    return None;
                }
            };
            match result {
                Ok(identity) => return Some(Ok(identity)),
                Err(another) => refusal = more_telling(refusal, another),
            }
        }
        Some(Err(refusal))
    }
}

fn more_telling(first: Refusal, second: Refusal) -> Refusal {
    if second.weight() > first.weight() { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConnectionFacts, JwtOptions, KeySet, Keys, SigningKey, VerifyingKey};

    const SECRET: &[u8] = b"a secret of more than 32 bytes, for tests only";

    fn ask(chain: &Chain, token: &str) -> Result<Identity, Refusal> {
        let attempt = Attempt {
            token,
            data: "",
            now: 1_000_000,
            connection: ConnectionFacts {
                id: "1",
                ip: [127, 0, 0, 1].into(),
                path: "/",
                headers: &[],
            },
        };
        chain.authenticate(&attempt, |_| {}).expect("no callback in this chain")
    }

    fn tokens() -> Authenticator {
        let mut tokens = StaticTokens::new();
        let identity = Identity { user: Some("ada".into()), ..Identity::default() };
        tokens.insert("static-token", identity).unwrap();
        Authenticator::Tokens(tokens)
    }

    fn jwt() -> Authenticator {
        let keys = KeySet::new(vec![VerifyingKey::secret(SECRET).unwrap()]);
        let options = JwtOptions::new(Keys::Fixed(keys));
        Authenticator::Jwt(Box::new(JwtVerifier::new(options).unwrap()))
    }

    #[test]
    fn accepts_what_any_of_them_accepts() {
        let chain = Chain::new(vec![tokens(), jwt(), Authenticator::Anonymous]).unwrap();
        let token = SigningKey::secret(SECRET).sign(r#"{"sub":"bob","exp":2000}"#).unwrap();
        assert_eq!(ask(&chain, "static-token").unwrap().user.as_deref(), Some("ada"));
        assert_eq!(ask(&chain, &token).unwrap().user.as_deref(), Some("bob"));
        assert_eq!(ask(&chain, "").unwrap(), Identity::default());
    }

    #[test]
    fn gives_the_most_telling_refusal() {
        let chain = Chain::new(vec![jwt(), tokens()]).unwrap();
        let token = SigningKey::secret(SECRET).sign(r#"{"sub":"bob","exp":20}"#).unwrap();
        assert_eq!(ask(&chain, &token), Err(Refusal::Expired));
        assert_eq!(ask(&chain, "garbage"), Err(Refusal::Unknown));
        assert_eq!(ask(&chain, ""), Err(Refusal::Missing));
    }

    #[test]
    fn a_bad_token_does_not_become_an_anonymous_visitor() {
        let chain = Chain::new(vec![Authenticator::Anonymous, tokens()]).unwrap();
        assert_eq!(ask(&chain, "garbage"), Err(Refusal::Unknown));
        assert_eq!(ask(&Chain::open(), "garbage"), Ok(Identity::default()));
    }

    #[test]
    fn an_empty_chain_is_an_error() {
        assert!(Chain::new(Vec::new()).is_err());
    }
}
