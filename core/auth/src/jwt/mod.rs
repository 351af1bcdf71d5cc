//! JSON Web Tokens (RFC 7519) in compact form (RFC 7515, 7.1), with the precautions of RFC 8725.
//!
//! Checks run from cheap to dear: length, shape, header, algorithm; then the signature and the
//! claims. A public-key signature costs some thirty times what reading claims does, so there the
//! claims come first: when thousands of clients return with tokens that have ended, none of them
//! costs a verification. Unverified claims can only refuse; nothing is accepted, no key chosen and
//! no URL fetched because of them. Keys and URLs in a header (`jku`, `x5u`, `jwk`, `x5c`) are not
//! even looked at.
mod claims;
mod jwks;
mod keys;
mod pem;
mod set;

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sonic_rs::{JsonContainerTrait, JsonValueTrait};

pub(crate) use pem::decode as pem_decode;

pub use jwks::{JwksOptions, JwksSource, JwksStatus};
pub use keys::{Algorithm, KEYS_MAX, KeySet, SECRET_BYTES_MIN, VerifyingKey};
pub use set::JWKS_BYTES_MAX;

use crate::{Identity, Refusal, SetupError, json};

/// Longest token unless configured, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Where the keys of an issuer come from.
#[derive(Debug)]
pub enum Keys {
    /// Given in the configuration; the same until it is reloaded.
    Fixed(KeySet),
    /// A file or a URL; may change at any time.
    Source(Arc<JwksSource>),
}

/// What a verifier accepts. One issuer: for several, put several verifiers into a
/// [`crate::Chain`]; a key of one is never tried for another.
#[derive(Debug)]
#[non_exhaustive]
pub struct JwtOptions {
    /// The issuer's keys.
    pub keys: Keys,
    /// Accepted algorithms. Empty (default): those of the keys; for keys by URL all but HS256.
    pub algorithms: Vec<Algorithm>,
    /// `iss` must be there and equal to it. Default: not looked at.
    pub issuer: Option<String>,
    /// `aud` must be there and have one of these. Default: none, then a token that has an `aud` is
    /// for somebody else and is refused (RFC 7519, 4.1.3).
    pub audience: Vec<String>,
    /// How far the issuer's clock may be off. Default 30 s, at most 10 minutes.
    pub leeway: Duration,
    /// Longest token, in bytes. Default [`TOKEN_BYTES_MAX`].
    pub token_bytes_max: usize,
    /// Claim that names the user: a string, not empty, or an integer. Default `sub`.
    pub user_claim: String,
    /// Whether `exp` must be there. Default true: a token without an end cannot be taken back.
    pub require_expiry: bool,
}

impl JwtOptions {
    /// The defaults with these keys.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            algorithms: Vec::new(),
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::from_secs(30),
            token_bytes_max: TOKEN_BYTES_MAX,
            user_claim: "sub".to_owned(),
            require_expiry: true,
        }
    }
}

/// Checks the tokens of one issuer. Shared by all shards; [`JwtVerifier::verify`] waits for
/// nothing.
#[derive(Debug)]
pub struct JwtVerifier {
    options: JwtOptions,
}

struct Header {
    algorithm: Algorithm,
    key_id: Option<Box<str>>,
}

impl JwtVerifier {
    /// # Errors
    /// No keys, an algorithm that no key is for, HS256 with keys by URL, a leeway above 10 minutes,
    /// no user claim.
    pub fn new(mut options: JwtOptions) -> Result<Self, SetupError> {
        let possible: Vec<Algorithm> = match &options.keys {
            Keys::Fixed(set) if set.keys().is_empty() => {
                return Err(SetupError::new("keys", "there are none"));
            }
            Keys::Fixed(set) => set.keys().iter().map(VerifyingKey::algorithm).collect(),
            Keys::Source(source) => Algorithm::ALL
                .into_iter()
                .filter(|&algorithm| algorithm != Algorithm::Hs256 || source.secrets_allowed())
                .collect(),
        };
        if let Some(wrong) = options.algorithms.iter().find(|one| !possible.contains(one)) {
            let detail = format!("there can be no key for {}", wrong.name());
            return Err(SetupError::new("algorithms", detail));
        }
        if options.algorithms.is_empty() {
            options.algorithms = possible;
        }
        if options.leeway > Duration::from_secs(600) {
            return Err(SetupError::new("leeway", "is more than 10 minutes"));
        }
        if options.user_claim.is_empty() {
            return Err(SetupError::new("user_claim", "is empty"));
        }
        Ok(Self { options })
    }

    /// Whom the token stands for, at `now` (milliseconds since 1970). The identity has the whole
    /// claims object, and ends when the token does, leeway included.
    ///
    /// # Errors
    /// Why the token is refused. [`Refusal::UnknownKey`] also asks a source by URL to look for new
    /// keys, which it does not do more often than it was told.
    pub fn verify(&self, token: &str, now: u64) -> Result<Identity, Refusal> {
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        if token.len() > self.options.token_bytes_max {
            return Err(Refusal::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Refusal::Malformed)?;
        if payload.contains('.') {
            return Err(Refusal::Malformed);
        }
        let header = read_header(header)?;
        if !self.options.algorithms.contains(&header.algorithm) {
            return Err(Refusal::UnsupportedAlgorithm);
        }
        let signature = base64url(signature).ok_or(Refusal::Malformed)?;
        let check = || self.check_signature(&header, message.as_bytes(), &signature);
        if header.algorithm == Algorithm::Hs256 {
            check()?;
            self.read_claims(payload, now)
        } else {
            let identity = self.read_claims(payload, now)?;
            check().map(|()| identity)
        }
    }

    fn read_claims(&self, payload: &str, now: u64) -> Result<Identity, Refusal> {
        let payload = base64url(payload).ok_or(Refusal::Malformed)?;
        let payload = String::from_utf8(payload).map_err(|_| Refusal::Malformed)?;
        claims::accept(payload, &self.options, now)
    }

    fn check_signature(
        &self,
        header: &Header,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refusal> {
        let key_id = header.key_id.as_deref();
        match &self.options.keys {
            Keys::Fixed(set) => set.check(header.algorithm, key_id, message, signature),
            Keys::Source(source) => {
                let set = source.keys().ok_or(Refusal::Unavailable)?;
                let result = set.check(header.algorithm, key_id, message, signature);
                if result == Err(Refusal::UnknownKey) {
                    source.request_refresh();
                }
                result
            }
        }
    }
}

/// base64url without padding, and without bits to spare at the end: one text per content.
fn base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Sets a field that must not be there twice: two parsers could take different ones.
fn once<T>(field: &mut Option<T>, value: T) -> Result<(), Refusal> {
    if field.replace(value).is_some() { Err(Refusal::Malformed) } else { Ok(()) }
}

fn read_header(text: &str) -> Result<Header, Refusal> {
    let bytes = base64url(text).ok_or(Refusal::Malformed)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Refusal::Malformed)?;
    let header = json::object(text).ok_or(Refusal::Malformed)?;
    let mut algorithm = None;
    let mut key_id = None;
    for (name, value) in header.as_object().into_iter().flat_map(|object| object.iter()) {
        match name {
            "alg" => once(&mut algorithm, value.as_str().ok_or(Refusal::Malformed)?)?,
            "kid" => once(&mut key_id, value.as_str().ok_or(Refusal::Malformed)?)?,
            // What must be understood and is not: no extension is (RFC 7515, 4.1.11). `b64` would
            // come with it (RFC 7797, 6), and `zip` is for encryption only.
            "crit" => return Err(Refusal::Malformed),
            _ => {}
        }
    }
    let algorithm = algorithm.ok_or(Refusal::Malformed)?;
    let algorithm = Algorithm::from_name(algorithm).ok_or(Refusal::UnsupportedAlgorithm)?;
    Ok(Header { algorithm, key_id: key_id.map(Box::from) })
}
