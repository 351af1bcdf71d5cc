//! The key exchange and the encryption of what a client is sent.
//!
//! Both sides make a P-256 key, agree on a secret (ECDH), and derive an AES-256-GCM key from it
//! with HKDF-SHA-256 (RFC 5869), a salt of 32 random bytes, and the name of the method. A message
//! becomes `{"event":"encrypted","data":{"iv":...,"ct":...}}` in base64 with padding: 12 random
//! bytes, and the encrypted message with its tag of 16 bytes (NIST SP 800-38D). What clients send
//! stays plain.
use std::{fmt, sync::Arc};

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use base64::engine::{Engine, general_purpose::STANDARD};
use hkdf::Hkdf;
use p256::{PublicKey, SecretKey, elliptic_curve::sec1::ToSec1Point};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{Handshake, Seal};

/// Named in the derivation of keys, so that they fit no other purpose.
const INFO: &[u8] = b"ignis-ecdh-p256-aes-256-gcm-v1";

/// Bytes of a salt.
const SALT: usize = 32;

/// Our side of the key exchange, for [`Gate::Handshake`](crate::Gate::Handshake).
///
/// A client that sent no key should be refused ([`Verdict::Refused`](crate::Verdict::Refused)); a
/// key that is none is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct P256Handshake;

/// Why there is no agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The client's key is not base64 with padding.
    Encoding,
    /// The client's key is not an uncompressed point on the curve P-256 (SEC 1, 2.3.3).
    Point,
    /// The random bytes are not random.
    Entropy,
}

impl P256Handshake {
    /// Makes a key of our own, agrees with the client's, and forgets it.
    ///
    /// The client's key is base64 of its uncompressed point. `random` fills with random bytes fit
    /// for secrets.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`].
    pub fn agree(
        client_public_key: &str,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Handshake, HandshakeError> {
        let client = public_key(client_public_key)?;
        let server = secret_key(random)?;
        let mut salt = [0; SALT];
        random(&mut salt);
        Ok(derive(&server, &client, &salt))
    }
}

fn public_key(base64: &str) -> Result<PublicKey, HandshakeError> {
    let bytes = STANDARD.decode(base64).map_err(|_| HandshakeError::Encoding)?;
    match bytes.first() {
        Some(4) if bytes.len() == 65 => {
            PublicKey::from_sec1_bytes(&bytes).map_err(|_| HandshakeError::Point)
        }
        _ => Err(HandshakeError::Point),
    }
}

fn secret_key(random: &mut dyn FnMut(&mut [u8])) -> Result<SecretKey, HandshakeError> {
    // One in 2^32 is no key; so many of them are no accident.
    for _ in 0..8 {
        let mut bytes = Zeroizing::new([0; 32]);
        random(&mut *bytes);
        if let Ok(key) = SecretKey::from_slice(&*bytes) {
            return Ok(key);
        }
    }
    Err(HandshakeError::Entropy)
}

fn derive(server: &SecretKey, client: &PublicKey, salt: &[u8; SALT]) -> Handshake {
    let shared = server.diffie_hellman(client);
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), shared.raw_secret_bytes())
        .expand(INFO, &mut *key)
        .expect("32 bytes are within what HKDF makes (RFC 5869, 2.3)");
    Handshake {
        public_key: STANDARD.encode(server.public_key().to_sec1_point(false).as_bytes()).into(),
        salt: STANDARD.encode(salt).into(),
        seal: Arc::new(AesGcmSeal::new(&key)),
    }
}

/// Encrypts messages to one client. The key is erased when it is dropped.
pub struct AesGcmSeal(Aes256Gcm);

impl AesGcmSeal {
    /// With this key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }
}

impl Seal for AesGcmSeal {
    fn seal(&self, message: &[u8], random: &mut dyn FnMut(&mut [u8]), out: &mut Vec<u8>) -> bool {
        let mut nonce = [0; 12];
        random(&mut nonce);
        let mut sealed = Vec::with_capacity(message.len() + 16);
        sealed.extend_from_slice(message);
        // Fails for messages of 64 GiB (NIST SP 800-38D, 5.2.1.1).
        let sealing = self.0.encrypt_inout_detached(&nonce.into(), b"", sealed[..].as_mut().into());
        let tag = sealing.expect("no message is as long as 64 GiB");
        sealed.extend_from_slice(&tag);
        out.reserve(64 + sealed.len().div_ceil(3) * 4);
        out.extend_from_slice(b"{\"event\":\"encrypted\",\"data\":{\"iv\":\"");
        encode(&nonce, out);
        out.extend_from_slice(b"\",\"ct\":\"");
        encode(&sealed, out);
        out.extend_from_slice(b"\"}}");
        true
    }
}

impl fmt::Debug for AesGcmSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesGcmSeal")
    }
}

/// Appends base64.
fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("three bytes become four, and the last group is filled up");
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoding => "the client's public key is not base64 with padding",
            Self::Point => "the client's public key is not an uncompressed point on P-256",
            Self::Entropy => "the source of random bytes gives no keys",
        })
    }
}

impl std::error::Error for HandshakeError {}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = include_str!("../../tests/event/encryption-vector.json");

    fn vector(name: &str) -> String {
        let all: std::collections::BTreeMap<String, crate::Value> =
            sonic_rs::from_str(VECTOR).unwrap();
        all[name].to_text()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = (0..hex.len()).step_by(2);
        digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn agrees_and_encrypts_as_other_implementations_do() {
        let mut made = [bytes(&vector("serverPrivateHex")), vec![7; 32]].into_iter();
        let mut random = |out: &mut [u8]| out.copy_from_slice(&made.next().unwrap());
        let handshake = P256Handshake::agree(&vector("clientPublicKeyB64"), &mut random).unwrap();
        assert_eq!(*handshake.public_key, *vector("serverPublicKeyB64"));
        assert_eq!(*handshake.salt, *vector("saltB64"));
        let mut out = b"before".to_vec();
        let message = vector("plaintext");
        assert!(handshake.seal.seal(message.as_bytes(), &mut |iv| iv.fill(9), &mut out));
        assert_eq!(str::from_utf8(&out).unwrap(), format!("before{}", vector("frame")));
    }

    #[test]
    fn both_sides_derive_the_same_key() {
        let client = SecretKey::from_slice(&bytes(&vector("clientPrivateHex"))).unwrap();
        let server = public_key(&vector("serverPublicKeyB64")).unwrap();
        let shared = client.diffie_hellman(&server);
        assert_eq!(shared.raw_secret_bytes()[..], bytes(&vector("sharedSecretHex")));
        let key: [u8; 32] = bytes(&vector("aesKeyHex")).try_into().unwrap();
        let mut sealed = STANDARD.decode(vector("ctB64")).unwrap();
        let tag: [u8; 16] = sealed.split_off(sealed.len() - 16).try_into().unwrap();
        let AesGcmSeal(cipher) = AesGcmSeal::new(&key);
        let text = sealed[..].as_mut().into();
        cipher.decrypt_inout_detached(&[9; 12].into(), b"", text, &tag.into()).unwrap();
        assert_eq!(str::from_utf8(&sealed).unwrap(), vector("plaintext"));
    }

    #[test]
    fn refuses_keys_that_are_none() {
        let mut random = |out: &mut [u8]| out.fill(7);
        let mut agree = |key: &str| P256Handshake::agree(key, &mut random).err();
        let good = vector("clientPublicKeyB64");
        assert_eq!(agree(&good), None);
        let wrong = ["!", good.trim_end_matches('='), &good[1..], &format!("{good}\n"), "AQ"];
        for key in wrong {
            assert_eq!(agree(key), Some(HandshakeError::Encoding), "{key}");
        }
        let mut point = STANDARD.decode(&good).unwrap();
        point[64] ^= 1;
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        let short = &point[..64];
        let hybrid = [&[6], &point[1..]].concat();
        for bytes in [&point[..], &compressed, short, &hybrid, &[4; 65], &[0; 65], &[0], b""] {
            assert_eq!(agree(&STANDARD.encode(bytes)), Some(HandshakeError::Point), "{bytes:?}");
        }
        for byte in [0, 255] {
            let stuck = P256Handshake::agree(&good, &mut |out| out.fill(byte));
            assert_eq!(stuck.err(), Some(HandshakeError::Entropy));
        }
    }
}
