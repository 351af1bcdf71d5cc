//! Keys as files have them: PEM (RFC 7468) around SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) or
//! PKCS#1. Reads what the operator configured, never what a client sent; still, it only slices.
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::SetupError;

/// A public key, taken out of its wrapping.
#[derive(Debug)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point of P-256.
    P256([u8; 65]),
    Ed25519([u8; 32]),
}

/// The whole `AlgorithmIdentifier` contents: object identifier and parameters.
const RSA_ENCRYPTION: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
const EC_P256: &[u8] =
    &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The first block of a PEM text: its label and contents.
pub(crate) fn decode(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once("-----END ")?;
    if !rest.strip_prefix(label)?.starts_with("-----") {
        return None;
    }
    let base64: String = body.split_ascii_whitespace().collect();
    Some((label, STANDARD.decode(base64).ok()?))
}

pub(crate) fn public_key(text: &str) -> Result<PublicKey, SetupError> {
    let wrong = |detail: &str| SetupError::new("public key", detail);
    let (label, der) = decode(text).ok_or_else(|| wrong("is not PEM"))?;
    let key = match label {
        "PUBLIC KEY" => from_spki(&der),
        "RSA PUBLIC KEY" => from_pkcs1(&der),
        "CERTIFICATE" => {
            return Err(wrong("is a certificate; take its key: openssl x509 -pubkey -noout"));
        }
        _ if label.ends_with("PRIVATE KEY") => {
            return Err(wrong("is a private key; take the public one: openssl pkey -pubout"));
        }
        _ => None,
    };
    key.ok_or_else(|| wrong("is none of RSA, EC P-256 and Ed25519"))
}

fn from_spki(der: &[u8]) -> Option<PublicKey> {
    let (info, rest) = element(der, SEQUENCE)?;
    let (algorithm, after) = element(info, SEQUENCE)?;
    let (bits, nothing) = element(after, BIT_STRING)?;
    if !rest.is_empty() || !nothing.is_empty() {
        return None;
    }
    // The first byte counts unused bits at the end.
    let key = bits.strip_prefix(&[0])?;
    match algorithm {
        RSA_ENCRYPTION => from_pkcs1(key),
        EC_P256 => p256(key),
        ED25519 => Some(PublicKey::Ed25519(key.try_into().ok()?)),
        _ => None,
    }
}

/// `RSAPublicKey` (RFC 8017, A.1.1).
fn from_pkcs1(der: &[u8]) -> Option<PublicKey> {
    let (numbers, rest) = element(der, SEQUENCE)?;
    let (n, after) = element(numbers, INTEGER)?;
    let (e, nothing) = element(after, INTEGER)?;
    (rest.is_empty() && nothing.is_empty())
        .then(|| PublicKey::Rsa { n: without_zeros(n), e: without_zeros(e) })
}

fn p256(point: &[u8]) -> Option<PublicKey> {
    let point: [u8; 65] = point.try_into().ok()?;
    (point[0] == 4).then_some(PublicKey::P256(point))
}

pub(crate) fn without_zeros(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number[zeros..].to_vec()
}

/// One element with this tag: its contents, and what follows (X.690, 8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if first != tag {
        return None;
    }
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        // No key has four-byte lengths.
        let digits = usize::from(length & 0x7f);
        if digits == 0 || digits > 3 {
            return None;
        }
        let (digits, rest) = rest.split_at_checked(digits)?;
        (digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = include_str!("../../tests/keys/rsa.public.pem");
    const EC: &str = include_str!("../../tests/keys/ec.public.pem");
    const ED: &str = include_str!("../../tests/keys/ed.public.pem");

    #[test]
    fn reads_the_three_kinds() {
        let PublicKey::Rsa { n, e } = public_key(RSA).unwrap() else { panic!("not RSA") };
        assert_eq!((n.len(), &*e), (256, &[1, 0, 1][..]));
        assert!(matches!(public_key(EC), Ok(PublicKey::P256(_))));
        assert!(matches!(public_key(ED), Ok(PublicKey::Ed25519(_))));
    }

    #[test]
    fn says_what_it_was_given_instead() {
        let private = include_str!("../../tests/keys/ec.private.pem");
        assert!(public_key(private).unwrap_err().detail().contains("private"));
        assert!(public_key("secret").unwrap_err().detail().contains("not PEM"));
        assert!(public_key("-----BEGIN X-----\nAAAA\n-----END X-----").is_err());
        assert!(public_key("-----BEGIN X-----\nAAAA\n-----END Y-----").is_err());
    }

    #[test]
    fn cut_and_changed_keys_do_no_harm() {
        for text in [RSA, EC, ED] {
            let (_, der) = decode(text).unwrap();
            for at in 0..der.len() {
                assert!(from_spki(&der[..at]).is_none());
                for bit in 0..8 {
                    let mut changed = der.clone();
                    changed[at] ^= 1 << bit;
                    let _ = from_spki(&changed);
                }
            }
        }
    }
}
