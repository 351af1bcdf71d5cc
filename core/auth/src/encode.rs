//! Makes tokens: for tests and for `fulmar token`.
use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair},
};

use crate::{Algorithm, SetupError, entropy, json, jwt};

/// A key that makes tokens.
pub struct SigningKey {
    material: Material,
    id: Option<Box<str>>,
}

enum Material {
    Hmac(hmac::Key),
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// For HS256, of any length.
    pub fn secret(secret: &[u8]) -> Self {
        Self { material: Material::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret)), id: None }
    }

    /// A private key in PEM: `PRIVATE KEY` (PKCS#8) for RS256, ES256 or EdDSA, by what it is.
    ///
    /// # Errors
    /// Any other text; RSA below 2048 bits.
    pub fn private_pem(text: &str) -> Result<Self, SetupError> {
        let wrong = |detail: &str| SetupError::new("private key", detail);
        let (label, der) = jwt::pem_decode(text).ok_or_else(|| wrong("is not PEM"))?;
        if label != "PRIVATE KEY" {
            return Err(wrong("is not PKCS#8; convert it: openssl pkcs8 -topk8 -nocrypt"));
        }
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        // openssl writes Ed25519 keys without the public part: "maybe unchecked".
        let material = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map(Material::Ed25519)
            .or_else(|_| {
                EcdsaKeyPair::from_pkcs8(algorithm, &der, &entropy::system()).map(Material::P256)
            })
            .or_else(|_| RsaKeyPair::from_pkcs8(&der).map(Material::Rsa))
            .map_err(|_| wrong("is none of RSA (2048 to 4096 bits), EC P-256 and Ed25519"))?;
        Ok(Self { material, id: None })
    }

    /// With a key id, which goes into the header as `kid`.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The algorithm of its tokens.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hmac(_) => Algorithm::Hs256,
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// A token with these claims: a JSON object as text, taken as it is. Nothing is added.
    ///
    /// # Errors
    /// Claims that are no JSON object; a failure of the key or of the random numbers.
    pub fn sign(&self, claims: &str) -> Result<String, SetupError> {
        if json::object(claims).is_none() {
            return Err(SetupError::new("claims", "are not a JSON object"));
        }
        let mut header = format!(r#"{{"typ":"JWT","alg":"{}""#, self.algorithm().name());
        if let Some(id) = &self.id {
            let id = sonic_rs::to_string(&**id)
                .map_err(|_| SetupError::new("key id", "cannot be written"))?;
            header.push_str(r#","kid":"#);
            header.push_str(&id);
        }
        header.push('}');
        self.sign_with_header(&header, claims)
    }

    /// As [`SigningKey::sign`], with any header and claims, checked by nobody: for tests of those
    /// who must refuse the result.
    ///
    /// # Errors
    /// A failure of the key or of the random numbers.
    pub fn sign_with_header(&self, header: &str, claims: &str) -> Result<String, SetupError> {
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SetupError> {
        let failed = |_| SetupError::new("private key", "signing failed");
        match &self.material {
            Material::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Material::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Material::P256(key) => {
                let signature = key.sign(&entropy::system(), message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Material::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let padding = &signature::RSA_PKCS1_SHA256;
                key.sign(padding, &entropy::system(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({}, {:?})", self.algorithm().name(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_keys_by_what_they_are() {
        let key = |text| SigningKey::private_pem(text).unwrap().algorithm();
        assert_eq!(key(include_str!("../tests/keys/rsa.private.pem")), Algorithm::Rs256);
        assert_eq!(key(include_str!("../tests/keys/ec.private.pem")), Algorithm::Es256);
        assert_eq!(key(include_str!("../tests/keys/ed.private.pem")), Algorithm::EdDsa);
        assert!(SigningKey::private_pem(include_str!("../tests/keys/ec.public.pem")).is_err());
        assert!(SigningKey::private_pem("x").is_err());
    }

    #[test]
    fn makes_the_example_of_rfc_8037() {
        // RFC 8037, A.1 and A.4; the key in PKCS#8 is its seed behind a fixed start.
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let key = SigningKey { material: Material::Ed25519(key), id: None };
        let token = key.sign_with_header(r#"{"alg":"EdDSA"}"#, "Example of Ed25519 signing");
        assert_eq!(
            token.unwrap(),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-0\
             9PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn claims_must_be_an_object() {
        let key = SigningKey::secret(b"x");
        assert!(key.sign("[]").is_err());
        assert!(key.with_id("a\"b").sign("{}").is_ok());
    }
}
