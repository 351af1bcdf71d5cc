//! JSON Web Key Sets (RFC 7517) as text.
use std::borrow::Cow;

use serde::Deserialize;

use super::keys::{KEYS_MAX, KeySet, VerifyingKey};
use crate::{SetupError, json};

/// Longest text of a set, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "use")]
    usage: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_ops: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow)]
    y: Option<Cow<'a, str>>,
    #[serde(borrow)]
    k: Option<Cow<'a, str>>,
}

impl KeySet {
    /// Reads a set. Keys that cannot be used here (other types, for encryption, too small) are
    /// left out and named in [`KeySet::skipped`] (RFC 7517, 5). Secrets (`oct`) count only where
    /// `secrets_allowed`: a set that is published must not have any.
    ///
    /// # Errors
    /// Text that is no key set, is longer than [`JWKS_BYTES_MAX`], has more than [`KEYS_MAX`]
    /// keys, or none that can be used.
    pub fn from_jwks(text: &str, secrets_allowed: bool) -> Result<Self, SetupError> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(SetupError::new("jwks", format!("is longer than {JWKS_BYTES_MAX} bytes")));
        }
        let set: Set<'_> = json::parse(text)
            // Not the parser's error: it quotes the text, which may have secrets in it.
            .ok_or_else(|| SetupError::new("jwks", "is not a JSON Web Key Set"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(SetupError::new("jwks", format!("has more than {KEYS_MAX} keys")));
        }
        let mut result = Self::default();
        for (index, entry) in set.keys.iter().enumerate() {
            match key(entry, secrets_allowed) {
                Ok(key) => result.keys.push(key),
                Err(error) => {
                    result.skipped.push(format!(
                        "key {index} ({:?}): {}",
                        entry.kid,
                        error.detail()
                    ));
                }
            }
        }
        if result.keys.is_empty() {
            let reasons = result.skipped.join("; ");
            return Err(SetupError::new("jwks", format!("has no key that can be used. {reasons}")));
        }
        Ok(result)
    }
}

fn key(entry: &Entry<'_>, secrets_allowed: bool) -> Result<VerifyingKey, SetupError> {
    let wrong = |detail: &str| SetupError::new("jwks", detail);
    if entry.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err(wrong("is not for signatures"));
    }
    if entry
        .key_ops
        .as_ref()
        .is_some_and(|operations| !operations.iter().any(|one| one == "verify"))
    {
        return Err(wrong("is not for verifying"));
    }
    let part = |part: &Option<Cow<'_, str>>| {
        part.as_deref().map(str::to_owned).ok_or_else(|| wrong("lacks a part"))
    };
    let key = match (&*entry.kty, entry.crv.as_deref()) {
        ("RSA", _) => VerifyingKey::rsa_parts(&part(&entry.n)?, &part(&entry.e)?)?,
        ("EC", Some("P-256")) => VerifyingKey::p256_parts(&part(&entry.x)?, &part(&entry.y)?)?,
        ("OKP", Some("Ed25519")) => VerifyingKey::ed25519_part(&part(&entry.x)?)?,
        ("oct", _) if secrets_allowed => VerifyingKey::secret(
            &super::base64url(&part(&entry.k)?).ok_or_else(|| wrong("is not base64url"))?,
        )?,
        ("oct", _) => return Err(wrong("is a secret in a published set")),
        _ => return Err(wrong("is of a type or curve that is not supported")),
    };
    if let Some(name) = entry.alg.as_deref()
        && super::Algorithm::from_name(name) != Some(key.algorithm())
    {
        return Err(wrong("is for another algorithm"));
    }
    Ok(match entry.kid.as_deref() {
        Some(id) => key.with_id(id),
        None => key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    /// The public part of RFC 8037, A.2.
    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","use":"sig",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn skipped(entry: &str) -> String {
        let set = KeySet::from_jwks(&format!(r#"{{"keys":[{ED},{entry}]}}"#), false).unwrap();
        assert_eq!(set.keys().len(), 1);
        set.skipped().concat()
    }

    #[test]
    fn reads_keys_and_leaves_out_what_it_cannot_use() {
        assert_eq!(
            KeySet::from_jwks(&format!(r#"{{"keys":[{ED}]}}"#), false).unwrap().keys()[0]
                .algorithm(),
            Algorithm::EdDsa
        );
        assert!(skipped(r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#).contains("not supported"));
        assert!(skipped(r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#).contains("17 bits"));
        assert!(skipped(r#"{"kty":"RSA","e":"AQAB"}"#).contains("lacks a part"));
        assert!(skipped(r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#).contains("32 bytes"));
        assert!(skipped(&ED.replace("sig", "enc")).contains("not for signatures"));
        let other = ED.replace(r#""use":"sig""#, r#""alg":"HS256""#);
        assert!(skipped(&other).contains("another algorithm"));
        let signer = ED.replace(r#""use":"sig""#, r#""key_ops":["sign"]"#);
        assert!(skipped(&signer).contains("not for verifying"));
    }

    #[test]
    fn a_published_set_has_no_secrets() {
        let secret = r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        assert!(skipped(secret).contains("secret in a published set"));
        let set = KeySet::from_jwks(&format!(r#"{{"keys":[{secret}]}}"#), true).unwrap();
        assert_eq!(set.keys()[0].algorithm(), Algorithm::Hs256);
    }

    #[test]
    fn refuses_text_that_is_no_set() {
        let deep = "[".repeat(JWKS_BYTES_MAX);
        for text in ["", "{}", "[]", r#"{"keys":[]}"#, r#"{"keys":1}"#, &deep] {
            assert!(KeySet::from_jwks(text, true).is_err());
        }
        let many = vec![ED; KEYS_MAX + 1].join(",");
        assert!(KeySet::from_jwks(&format!(r#"{{"keys":[{many}]}}"#), true).is_err());
        let long = " ".repeat(JWKS_BYTES_MAX + 1);
        assert!(KeySet::from_jwks(&long, true).unwrap_err().detail().contains("longer"));
    }
}
