//! Keys that check signatures. Each is bound to one algorithm when it is made: what a token's
//! header says can only select among keys, never change how a key is used.
use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{hmac, signature};

use super::pem::{self, PublicKey, without_zeros};
use crate::{Refusal, SetupError};

/// Shortest secret for HS256, in bytes: as long as the hash (RFC 7518, 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// Most keys in one set.
pub const KEYS_MAX: usize = 100;

/// How many keys are tried for a token whose key id does not single one out. Each try costs a
/// verification, and the token may be anybody's.
const TRIES_MAX: usize = 4;

/// Size of an RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A signature algorithm (RFC 7518, 3.1; RFC 8037, 3.1). `none` is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: who can check tokens can make them.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 to 8192 bits.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519; also known under this name (RFC 9864, 2.2).
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// By its name in a header; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// Its name in a header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A key with its one algorithm and, where it has one, its id.
#[derive(Clone)]
pub struct VerifyingKey {
    id: Option<Box<str>>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Hmac(hmac::Key),
    Rsa(signature::RsaPublicKeyComponents<Vec<u8>>),
    P256(Box<[u8; 65]>),
    Ed25519([u8; 32]),
}

impl VerifyingKey {
    /// A secret for HS256: its bytes, not base64.
    ///
    /// # Errors
    /// Shorter than [`SECRET_BYTES_MIN`] (it could be guessed offline from one token), or PEM: a
    /// public key as secret would let anybody make tokens.
    pub fn secret(secret: &[u8]) -> Result<Self, SetupError> {
        if secret.len() < SECRET_BYTES_MIN {
            let detail =
                format!("has {} bytes; HS256 needs at least {SECRET_BYTES_MIN}", secret.len());
            return Err(SetupError::new("secret", detail));
        }
        Self::weak_secret(secret)
    }

    /// As [`VerifyingKey::secret`], of any length but 0. For tests and for tokens of others.
    ///
    /// # Errors
    /// An empty secret, or PEM.
    pub fn weak_secret(secret: &[u8]) -> Result<Self, SetupError> {
        if secret.is_empty() {
            return Err(SetupError::new("secret", "is empty"));
        }
        if secret.windows(10).any(|window| window == b"-----BEGIN") {
            return Err(SetupError::new("secret", "is PEM; configure it as a public key"));
        }
        Ok(Material::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret)).into())
    }

    /// A public key in PEM: RSA (`PUBLIC KEY` or `RSA PUBLIC KEY`), EC P-256, Ed25519.
    ///
    /// # Errors
    /// Any other text, or an RSA key with less than 2048 or more than 8192 bits.
    pub fn public_pem(text: &str) -> Result<Self, SetupError> {
        Self::public(pem::public_key(text)?)
    }

    pub(crate) fn public(key: PublicKey) -> Result<Self, SetupError> {
        Ok(match key {
            PublicKey::Rsa { n, e } => {
                let zeros = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
                let bits = n.len() * 8 - zeros;
                if !RSA_BITS.contains(&bits) {
                    let detail = format!("has {bits} bits; RSA must have 2048 to 8192");
                    return Err(SetupError::new("public key", detail));
                }
                if e.last().is_none_or(|byte| byte % 2 == 0) || e == [1] || e.len() > 4 {
                    return Err(SetupError::new("public key", "has a bad RSA exponent"));
                }
                Material::Rsa(signature::RsaPublicKeyComponents { n, e })
            }
            PublicKey::P256(point) => Material::P256(Box::new(point)),
            PublicKey::Ed25519(key) => Material::Ed25519(key),
        }
        .into())
    }

    /// RSA from base64url numbers (RFC 7518, 6.3.1).
    pub(crate) fn rsa_parts(n: &str, e: &str) -> Result<Self, SetupError> {
        let n = without_zeros(&decoded(n)?);
        Self::public(PublicKey::Rsa { n, e: without_zeros(&decoded(e)?) })
    }

    /// P-256 from base64url coordinates (RFC 7518, 6.2.1).
    pub(crate) fn p256_parts(x: &str, y: &str) -> Result<Self, SetupError> {
        let mut point = [4; 65];
        let (x, y) = (decoded(x)?, decoded(y)?);
        if x.len() != 32 || y.len() != 32 {
            return Err(SetupError::new("jwks", "a coordinate of P-256 must have 32 bytes"));
        }
        point[1..33].copy_from_slice(&x);
        point[33..].copy_from_slice(&y);
        Self::public(PublicKey::P256(point))
    }

    /// Ed25519 from base64url (RFC 8037, 2).
    pub(crate) fn ed25519_part(x: &str) -> Result<Self, SetupError> {
        let key = decoded(x)?.try_into();
        let key =
            key.map_err(|_| SetupError::new("jwks", "a key of Ed25519 must have 32 bytes"))?;
        Self::public(PublicKey::Ed25519(key))
    }

    /// With this key id. A key without one is tried for tokens with any id.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Its id, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The one algorithm that it is used with.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hmac(_) => Algorithm::Hs256,
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether `signature` is this key's over `message`. HMAC is compared in constant time.
    pub(crate) fn fits(&self, message: &[u8], signature: &[u8]) -> bool {
        use signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
        match &self.material {
            Material::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rsa(key) => {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.as_ref())
                    .verify(message, signature)
                    .is_ok()
            }
            Material::Ed25519(key) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature).is_ok()
            }
        }
    }
}

impl From<Material> for VerifyingKey {
    fn from(material: Material) -> Self {
        Self { id: None, material }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VerifyingKey({}, {:?})", self.algorithm().name(), self.id)
    }
}

/// The keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    pub(super) keys: Vec<VerifyingKey>,
    pub(super) skipped: Vec<String>,
}

impl KeySet {
    /// These keys, the first [`KEYS_MAX`] of them.
    pub fn new(mut keys: Vec<VerifyingKey>) -> Self {
        keys.truncate(KEYS_MAX);
        Self { keys, skipped: Vec::new() }
    }

    /// The keys.
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// What a key set's text had besides usable keys, and why each was left out: for logs.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Checks a signature with the keys that may have made it.
    pub(super) fn check(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refusal> {
        let is_named = |key: &&VerifyingKey| id.is_some() && key.id() == id;
        let named = self.keys.iter().any(|key| is_named(&key));
        // Without an id in the token every key is a candidate; with one that no key has, only
        // those keys that have none themselves.
        let mut candidates = self
            .keys
            .iter()
            .filter(|key| if named { is_named(key) } else { id.is_none() || key.id.is_none() })
            .filter(|key| key.algorithm() == algorithm)
            .take(TRIES_MAX)
            .peekable();
        if candidates.peek().is_none() {
            let refusal = if named { Refusal::UnsupportedAlgorithm } else { Refusal::UnknownKey };
            return Err(refusal);
        }
        if candidates.any(|key| key.fits(message, signature)) {
            Ok(())
        } else {
            Err(Refusal::BadSignature)
        }
    }
}

/// Some issuers pad although RFC 7515, 2 says not to.
fn decoded(text: &str) -> Result<Vec<u8>, SetupError> {
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| SetupError::new("jwks", "a number is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_secrets_that_are_short_or_public_keys() {
        assert!(VerifyingKey::secret(&[b'x'; 31]).is_err());
        assert!(VerifyingKey::secret(&[b'x'; 32]).is_ok());
        assert!(VerifyingKey::weak_secret(b"x").is_ok());
        assert!(VerifyingKey::weak_secret(b"").is_err());
        let pem = include_str!("../../tests/keys/rsa.public.pem");
        assert!(VerifyingKey::secret(pem.as_bytes()).is_err());
    }

    #[test]
    fn refuses_small_rsa_keys() {
        let small = include_str!("../../tests/keys/rsa1024.public.pem");
        assert!(VerifyingKey::public_pem(small).unwrap_err().detail().contains("1024 bits"));
    }

    #[test]
    fn debug_output_hides_secrets() {
        let key = VerifyingKey::weak_secret(b"hidden").unwrap().with_id("one");
        assert_eq!(format!("{key:?}"), "VerifyingKey(HS256, Some(\"one\"))");
    }
}
