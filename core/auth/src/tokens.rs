//! Tokens listed in the configuration.
use std::{collections::HashMap, fmt};

use ring::digest::{SHA256, digest};

use crate::{Identity, Refusal, SetupError};

/// Longest static token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Prefix of a configured token that is given by its digest: `sha256:` and 64 hexadecimal digits.
const DIGEST_PREFIX: &str = "sha256:";

/// Tokens and whom each stands for. Keeps SHA-256 digests, not the tokens: a lookup is by digest,
/// so how long it takes says nothing about how near a guess was, and a memory dump has no tokens.
#[derive(Default)]
pub struct StaticTokens {
    by_digest: HashMap<[u8; 32], Identity>,
}

impl StaticTokens {
    /// Without any token.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a token, given in full or as `sha256:` with the 64 hexadecimal digits of its digest.
    ///
    /// # Errors
    /// An empty token, one longer than [`TOKEN_BYTES_MAX`], a bad digest, or one that was added
    /// before.
    pub fn insert(&mut self, token: &str, identity: Identity) -> Result<(), SetupError> {
        let key = match token.strip_prefix(DIGEST_PREFIX) {
            Some(hex) => from_hex(hex).ok_or_else(|| {
                SetupError::new("token", "sha256: must be followed by 64 hexadecimal digits")
            })?,
            None if token.is_empty() => return Err(SetupError::new("token", "is empty")),
            None if token.len() > TOKEN_BYTES_MAX => {
                return Err(SetupError::new(
                    "token",
                    format!("is longer than {TOKEN_BYTES_MAX} bytes"),
                ));
            }
            None => digest_of(token),
        };
        if self.by_digest.insert(key, identity).is_some() {
            return Err(SetupError::new("token", "is listed twice"));
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Whom the token stands for, at `now` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`Refusal::Missing`], [`Refusal::TooLong`], [`Refusal::Unknown`], and
    /// [`Refusal::Expired`] where the identity has an end and it is over.
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, Refusal> {
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let identity = self.by_digest.get(&digest_of(token)).ok_or(Refusal::Unknown)?;
        if identity.expires.is_some_and(|expires| now >= expires) {
            return Err(Refusal::Expired);
        }
        Ok(identity.clone())
    }
}

impl fmt::Debug for StaticTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StaticTokens({})", self.by_digest.len())
    }
}

fn digest_of(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Identity {
        Identity { user: Some(name.into()), ..Identity::default() }
    }

    #[test]
    fn knows_its_tokens_only() {
        let mut tokens = StaticTokens::new();
        tokens.insert("alpha", user("ada")).unwrap();
        assert_eq!(tokens.verify("alpha", 0), Ok(user("ada")));
        assert_eq!(tokens.verify("alpha ", 0), Err(Refusal::Unknown));
        assert_eq!(tokens.verify("", 0), Err(Refusal::Missing));
        assert_eq!(tokens.verify(&"a".repeat(TOKEN_BYTES_MAX + 1), 0), Err(Refusal::TooLong));
    }

    #[test]
    fn takes_a_digest_instead_of_a_token() {
        let mut tokens = StaticTokens::new();
        // The SHA-256 of "abc" (FIPS 180-2, B.1).
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        tokens.insert(&format!("sha256:{digest}"), user("ada")).unwrap();
        assert_eq!(tokens.verify("abc", 0), Ok(user("ada")));
        assert_eq!(tokens.verify(&format!("sha256:{digest}"), 0), Err(Refusal::Unknown));
        assert!(tokens.insert("abc", user("bob")).is_err());
        assert!(tokens.insert("sha256:12", user("bob")).is_err());
        assert!(tokens.insert("", user("bob")).is_err());
    }

    #[test]
    fn an_identity_with_an_end_ends() {
        let mut tokens = StaticTokens::new();
        tokens.insert("alpha", Identity { expires: Some(1000), ..user("ada") }).unwrap();
        assert!(tokens.verify("alpha", 999).is_ok());
        assert_eq!(tokens.verify("alpha", 1000), Err(Refusal::Expired));
    }
}
