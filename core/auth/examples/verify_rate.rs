//! How many bad tokens a core refuses in a second: what an attacker can make a server spend.
//!
//! `cargo run --release --example verify_rate`
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a program for the terminal")]
use std::time::{Duration, Instant};

use fulmar_auth::{JwtOptions, JwtVerifier, KeySet, Keys, SigningKey, VerifyingKey};

const SECRET: &[u8] = b"a secret of more than 32 bytes, for tests only";
const CLAIMS: &str = r#"{"sub":"ada","exp":2000,"iss":"https://issuer.example/","role":"admin"}"#;
const EXPIRED: &str = r#"{"sub":"ada","exp":20}"#;
const NOW: u64 = 1_000_000;

fn main() {
    let hs = SigningKey::secret(SECRET);
    let rs = signing(include_str!("../tests/keys/rsa.private.pem"));
    let es = signing(include_str!("../tests/keys/ec.private.pem"));
    let ed = signing(include_str!("../tests/keys/ed.private.pem"));
    let hs_verifier = verifier(VerifyingKey::secret(SECRET).expect("long enough"));
    let rs_verifier = verifier(public(include_str!("../tests/keys/rsa.public.pem")));
    let es_verifier = verifier(public(include_str!("../tests/keys/ec.public.pem")));
    let ed_verifier = verifier(public(include_str!("../tests/keys/ed.public.pem")));
    let token = |key: &SigningKey| key.sign(CLAIMS).expect("a key that works");
    let long = "x".repeat(100_000);
    let cases = [
        ("garbage, no dots", &hs_verifier, "garbage".repeat(20)),
        ("garbage, three parts", &hs_verifier, "Z2FyYmFnZQ.Z2FyYmFnZQ.Z2FyYmFnZQ".to_owned()),
        ("oversized", &hs_verifier, long),
        ("wrong algorithm", &rs_verifier, token(&hs)),
        ("HS256 bad signature", &hs_verifier, changed(&token(&hs))),
        ("HS256 good", &hs_verifier, token(&hs)),
        ("RS256 2048 bad signature", &rs_verifier, changed(&token(&rs))),
        ("RS256 2048 good", &rs_verifier, token(&rs)),
        ("RS256 2048 expired", &rs_verifier, rs.sign(EXPIRED).expect("a key that works")),
        ("ES256 bad signature", &es_verifier, changed(&token(&es))),
        ("ES256 good", &es_verifier, token(&es)),
        ("EdDSA bad signature", &ed_verifier, changed(&token(&ed))),
        ("EdDSA good", &ed_verifier, token(&ed)),
    ];
    for (name, verifier, token) in &cases {
        let result = verifier.verify(token, NOW).map(|_| "accepted");
        let what = result.unwrap_or_else(|refusal| refusal.code());
        let rate = rate(|| drop(verifier.verify(token, NOW)));
        println!("{name:26} {what:22} {rate:>12.0}/s {:>9.2} us", 1e6 / rate);
    }
}

fn rate(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0_u32;
    while start.elapsed() < Duration::from_millis(500) {
        (0..10).for_each(|_| call());
        calls += 10;
    }
    f64::from(calls) / start.elapsed().as_secs_f64()
}

fn signing(pem: &str) -> SigningKey {
    SigningKey::private_pem(pem).expect("a key of the tests")
}

fn public(pem: &str) -> VerifyingKey {
    VerifyingKey::public_pem(pem).expect("a key of the tests")
}

fn verifier(key: VerifyingKey) -> JwtVerifier {
    let options = JwtOptions::new(Keys::Fixed(KeySet::new(vec![key])));
    JwtVerifier::new(options).expect("options that work")
}

/// Another signature of the same length: the first letter of it is exchanged.
fn changed(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{message}.{first}{}", &signature[1..])
}
