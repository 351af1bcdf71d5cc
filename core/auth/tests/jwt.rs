//! What is accepted as a JSON Web Token, and what is refused as what.
#![allow(clippy::unwrap_used, reason = "a test")]
mod support;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fulmar_auth::{
    Algorithm, JwtOptions, JwtVerifier, KeySet, Keys, Refusal, SigningKey, VerifyingKey,
};
use support::{EC_PUBLIC, ED_PUBLIC, RSA_PUBLIC, SECRET, ec, ed, public, rsa};

/// Milliseconds; tokens of these tests end at 2000 s.
const NOW: u64 = 1_000_000;
const CLAIMS: &str = r#"{"sub":"ada","exp":2000,"role":"admin"}"#;

fn verifier(keys: Vec<VerifyingKey>, change: impl FnOnce(&mut JwtOptions)) -> JwtVerifier {
    let mut options = JwtOptions::new(Keys::Fixed(KeySet::new(keys)));
    change(&mut options);
    JwtVerifier::new(options).unwrap()
}

fn secret() -> SigningKey {
    SigningKey::secret(SECRET)
}

/// With a secret, as most of these tests are not about keys.
fn plain() -> JwtVerifier {
    verifier(vec![VerifyingKey::secret(SECRET).unwrap()], |_| {})
}

fn refusal(verifier: &JwtVerifier, token: &str) -> Refusal {
    verifier.verify(token, NOW).unwrap_err()
}

fn refusal_of_claims(change: impl FnOnce(&mut JwtOptions), claims: &str) -> Refusal {
    let verifier = verifier(vec![VerifyingKey::secret(SECRET).unwrap()], change);
    refusal(&verifier, &secret().sign(claims).unwrap())
}

fn with_header(key: &SigningKey, header: &str) -> String {
    key.sign_with_header(header, CLAIMS).unwrap()
}

#[test]
fn accepts_the_four_algorithms() {
    let pairs = [
        (secret(), VerifyingKey::secret(SECRET).unwrap()),
        (rsa(), public(RSA_PUBLIC)),
        (ec(), public(EC_PUBLIC)),
        (ed(), public(ED_PUBLIC)),
    ];
    for (signing, verifying) in pairs {
        let identity =
            verifier(vec![verifying], |_| {}).verify(&signing.sign(CLAIMS).unwrap(), NOW).unwrap();
        assert_eq!(identity.user.as_deref(), Some("ada"), "{signing:?}");
        assert_eq!(&*identity.claims, CLAIMS);
        assert_eq!(identity.expires, Some(2_030_000));
    }
}

#[test]
fn accepts_the_examples_of_the_standards() {
    // RFC 7515, A.1 to A.3; and RFC 8037, A.4, whose payload is no JSON.
    let payload = concat!(
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc1",
        "9yb290Ijp0cnVlfQ",
    );
    let cases = [
        (
            concat!(
                r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3"#,
                r#"Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
            ),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            concat!(
                r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l"#,
                "8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwO",
                "WvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-",
                "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DW",
                r#"NmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
            ),
            "eyJhbGciOiJSUzI1NiJ9",
            concat!(
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_",
                "lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO7",
                "5vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOk",
                "HWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy",
                "wlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
        ),
        (
            concat!(
                r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
                r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            ),
            "eyJhbGciOiJFUzI1NiJ9",
            concat!(
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3",
                "-Kg6NU1Q",
            ),
        ),
    ];
    for (key, header, signature) in cases {
        let keys = KeySet::from_jwks(&format!(r#"{{"keys":[{key}]}}"#), true).unwrap();
        let mut options = JwtOptions::new(Keys::Fixed(keys));
        options.user_claim = "iss".to_owned();
        let verifier = JwtVerifier::new(options).unwrap();
        let token = format!("{header}.{payload}.{signature}");
        let identity = verifier.verify(&token, 1_300_819_379_000).unwrap();
        assert_eq!(identity.user.as_deref(), Some("joe"));
        assert_eq!(verifier.verify(&token, 1_300_819_410_000), Err(Refusal::Expired));
    }
}

#[test]
fn refuses_alg_none_in_any_case_and_with_any_signature() {
    let payload = URL_SAFE_NO_PAD.encode(CLAIMS);
    for verifier in [plain(), verifier(vec![public(RSA_PUBLIC)], |_| {})] {
        for name in ["none", "None", "NONE", "nOnE", "", " none", "HS256 ", "hs256", "HS1", "dir"] {
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{name}"}}"#));
            for signature in ["", "AAAA", "bm9uZQ"] {
                let token = format!("{header}.{payload}.{signature}");
                assert_eq!(refusal(&verifier, &token), Refusal::UnsupportedAlgorithm, "{name}");
            }
        }
        for header in [r#"{"alg":null}"#, r#"{"alg":0}"#, "{}", r#"{"typ":"JWT"}"#] {
            let token = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(refusal(&verifier, &token), Refusal::Malformed, "{header}");
        }
    }
}

#[test]
fn refuses_public_keys_as_secrets() {
    let pems = [RSA_PUBLIC, EC_PUBLIC, ED_PUBLIC];
    for pem in pems {
        let verifier = verifier(vec![public(pem).with_id("k")], |_| {});
        // The text, without its last newline, and what is in it.
        let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(der).unwrap();
        for bytes in [pem.as_bytes(), pem.trim_end().as_bytes(), &der[..], b""] {
            let key = SigningKey::secret(bytes);
            for key in [SigningKey::secret(bytes), key.with_id("k")] {
                let token = key.sign(CLAIMS).unwrap();
                assert_eq!(refusal(&verifier, &token), Refusal::UnsupportedAlgorithm);
            }
        }
    }
}

#[test]
fn a_key_is_used_with_its_own_algorithm_only() {
    // All algorithms are accepted, but each key keeps to its own.
    let keys = || {
        vec![
            VerifyingKey::secret(SECRET).unwrap().with_id("secret"),
            public(RSA_PUBLIC).with_id("rsa"),
            public(EC_PUBLIC).with_id("ec"),
            public(ED_PUBLIC).with_id("ed"),
        ]
    };
    let verifier = verifier(keys(), |_| {});
    for key in keys() {
        let id = key.id().unwrap();
        for algorithm in Algorithm::ALL {
            let header = format!(r#"{{"alg":"{}","kid":"{id}"}}"#, algorithm.name());
            for forger in [SigningKey::secret(RSA_PUBLIC.as_bytes()), SigningKey::secret(b"x")] {
                let expected = if algorithm == key.algorithm() {
                    Refusal::BadSignature
                } else {
                    Refusal::UnsupportedAlgorithm
                };
                assert_eq!(refusal(&verifier, &with_header(&forger, &header)), expected);
            }
        }
    }
}

#[test]
fn algorithms_can_be_narrowed_but_not_widened() {
    let keys = || vec![public(RSA_PUBLIC), public(EC_PUBLIC)];
    let verifier = verifier(keys(), |options| options.algorithms = vec![Algorithm::Es256]);
    assert!(verifier.verify(&ec().sign(CLAIMS).unwrap(), NOW).is_ok());
    assert_eq!(refusal(&verifier, &rsa().sign(CLAIMS).unwrap()), Refusal::UnsupportedAlgorithm);
    let mut options = JwtOptions::new(Keys::Fixed(KeySet::new(keys())));
    options.algorithms = vec![Algorithm::Hs256];
    assert!(JwtVerifier::new(options).is_err());
}

#[test]
fn the_key_id_selects_among_the_issuers_keys_only() {
    let ours = verifier(vec![public(RSA_PUBLIC).with_id("one")], |_| {});
    let theirs = verifier(vec![public(RSA_PUBLIC).with_id("two")], |_| {});
    let token = rsa().with_id("two").sign(CLAIMS).unwrap();
    assert!(theirs.verify(&token, NOW).is_ok());
    assert_eq!(refusal(&ours, &token), Refusal::UnknownKey);
    // Without an id all are tried; a key without one takes any id.
    assert!(ours.verify(&rsa().sign(CLAIMS).unwrap(), NOW).is_ok());
    let nameless = verifier(vec![public(RSA_PUBLIC)], |_| {});
    assert!(nameless.verify(&token, NOW).is_ok());
}

#[test]
fn several_keys_with_one_id_or_none_are_tried_up_to_a_limit() {
    let other = |number: u8| VerifyingKey::secret(&[number; 32]).unwrap();
    let mine = || VerifyingKey::secret(SECRET).unwrap();
    let token = secret().sign(CLAIMS).unwrap();
    let rotated = verifier(vec![other(1), mine()], |_| {});
    assert!(rotated.verify(&token, NOW).is_ok());
    let many = verifier(vec![other(1), other(2), other(3), other(4), mine()], |_| {});
    assert_eq!(refusal(&many, &token), Refusal::BadSignature);
}

#[test]
fn refuses_changed_tokens() {
    for (key, verifier) in [
        (secret(), plain()),
        (rsa(), verifier(vec![public(RSA_PUBLIC)], |_| {})),
        (ec(), verifier(vec![public(EC_PUBLIC)], |_| {})),
        (ed(), verifier(vec![public(ED_PUBLIC)], |_| {})),
    ] {
        let token = key.sign(CLAIMS).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(CLAIMS.replace("ada", "bob"));
        let token = |header: &str, payload: &str, signature: &str| {
            format!("{header}.{payload}.{signature}")
        };
        let refused = |token: String| refusal(&verifier, &token);
        assert_eq!(refused(token(parts[0], &forged, parts[2])), Refusal::BadSignature);
        assert_eq!(refused(token(parts[0], parts[1], "")), Refusal::BadSignature);
        assert_eq!(refused(token(parts[0], parts[1], "AAAA")), Refusal::BadSignature);
        let zeros = URL_SAFE_NO_PAD.encode([0; 64]);
        assert_eq!(refused(token(parts[0], parts[1], &zeros)), Refusal::BadSignature);
    }
}

#[test]
fn refuses_other_shapes_than_three_parts() {
    let token = secret().sign(CLAIMS).unwrap();
    let (two, _) = token.rsplit_once('.').unwrap();
    let five = format!("{token}.AAAA.AAAA");
    let four = format!("{token}.");
    let padded = format!("{token}=");
    let spaced = format!(" {token}");
    let json = format!(r#"{{"payload":"{token}"}}"#);
    for token in [two, &five, &four, &padded, &spaced, &json, ".", "..", "...", "x", "é.é.é", "\0"]
    {
        assert_eq!(refusal(&plain(), token), Refusal::Malformed, "{token}");
    }
    assert_eq!(refusal(&plain(), ""), Refusal::Missing);
}

#[test]
fn refuses_long_tokens_before_looking_at_them() {
    let fits = "x".repeat(8 * 1024);
    assert_eq!(refusal(&plain(), &fits), Refusal::Malformed);
    assert_eq!(refusal(&plain(), &(fits + "x")), Refusal::TooLong);
    let filler = "x".repeat(8 * 1024);
    let claims = format!(r#"{{"sub":"ada","exp":2000,"filler":"{filler}"}}"#);
    assert_eq!(refusal_of_claims(|_| {}, &claims), Refusal::TooLong);
}

#[test]
fn refuses_critical_and_doubled_header_fields_and_ignores_keys_in_headers() {
    let key = secret();
    for header in [
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"["HS256"]"#,
        r#"{"alg":"HS256"} x"#,
    ] {
        assert_eq!(refusal(&plain(), &with_header(&key, header)), Refusal::Malformed, "{header}");
    }
    let own = SigningKey::secret(b"the forger's own");
    for field in [
        r#""jwk":{"kty":"oct","k":"dGhlIGZvcmdlcidzIG93bg"}"#,
        r#""jku":"http://127.0.0.1:1/keys""#,
        r#""x5u":"http://127.0.0.1:1/keys""#,
        r#""x5c":["AAAA"]"#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{field}}}"#);
        assert_eq!(refusal(&plain(), &with_header(&own, &header)), Refusal::BadSignature);
        assert!(plain().verify(&with_header(&key, &header), NOW).is_ok());
    }
}

#[test]
fn keeps_to_the_leeway_to_the_millisecond() {
    let at = |claims: &str, now: u64| {
        plain().verify(&secret().sign(claims).unwrap(), now).map(|identity| identity.expires)
    };
    let ends = r#"{"sub":"a","exp":2000}"#;
    assert_eq!(at(ends, 2_029_999), Ok(Some(2_030_000)));
    assert_eq!(at(ends, 2_030_000), Err(Refusal::Expired));
    assert_eq!(at(r#"{"sub":"a","exp":2000.5}"#, 2_030_499), Ok(Some(2_030_500)));
    for claim in ["nbf", "iat"] {
        let starts = format!(r#"{{"sub":"a","exp":2000,"{claim}":1500}}"#);
        assert_eq!(at(&starts, 1_469_999), Err(Refusal::NotYetValid));
        assert!(at(&starts, 1_470_000).is_ok());
    }
    let verifier = verifier(vec![VerifyingKey::secret(SECRET).unwrap()], |options| {
        options.leeway = Duration::ZERO;
    });
    let token = secret().sign(ends).unwrap();
    assert!(verifier.verify(&token, 1_999_999).is_ok());
    assert_eq!(verifier.verify(&token, 2_000_000), Err(Refusal::Expired));
}

#[test]
fn claims_of_forged_tokens_can_only_refuse() {
    let forger = SigningKey::secret(b"x");
    for (name, pem) in [("RS256", RSA_PUBLIC), ("ES256", EC_PUBLIC), ("EdDSA", ED_PUBLIC)] {
        let verifier = verifier(vec![public(pem)], |_| {});
        let header = format!(r#"{{"alg":"{name}"}}"#);
        let refused =
            |claims| refusal(&verifier, &forger.sign_with_header(&header, claims).unwrap());
        assert_eq!(refused(r#"{"sub":"a","exp":20}"#), Refusal::Expired);
        assert_eq!(refused(CLAIMS), Refusal::BadSignature);
    }
}

#[test]
fn odd_dates_do_no_harm() {
    let at = |exp: &str| {
        let claims = format!(r#"{{"sub":"a","exp":{exp}}}"#);
        plain().verify(&secret().sign(&claims).unwrap(), NOW).map(|identity| identity.expires)
    };
    assert_eq!(at("18446744073709551615"), Ok(Some(u64::MAX)));
    assert_eq!(at("1e300"), Ok(Some(u64::MAX)));
    for past in ["0", "-1", "-1e300", "-9223372036854775808", "-0.0"] {
        assert_eq!(at(past), Err(Refusal::Expired), "{past}");
    }
    for wrong in ["\"2000\"", "null", "true", "[]", "{}"] {
        assert_eq!(at(wrong), Err(Refusal::Malformed), "{wrong}");
    }
}

#[test]
fn an_end_may_be_left_out_only_where_that_is_configured() {
    let claims = r#"{"sub":"ada"}"#;
    assert_eq!(refusal_of_claims(|_| {}, claims), Refusal::MissingClaim);
    let verifier = verifier(vec![VerifyingKey::secret(SECRET).unwrap()], |options| {
        options.require_expiry = false;
    });
    let identity = verifier.verify(&secret().sign(claims).unwrap(), NOW).unwrap();
    assert_eq!(identity.expires, None);
    let old = secret().sign(r#"{"sub":"ada","exp":1}"#).unwrap();
    assert_eq!(refusal(&verifier, &old), Refusal::Expired);
}

#[test]
fn checks_the_issuer() {
    let issuer = |options: &mut JwtOptions| options.issuer = Some("https://us/".to_owned());
    let claims = |iss: &str| format!(r#"{{"sub":"a","exp":2000,"iss":{iss}}}"#);
    let verifier = verifier(vec![VerifyingKey::secret(SECRET).unwrap()], issuer);
    let token = secret().sign(&claims("\"https://us/\"")).unwrap();
    assert!(verifier.verify(&token, NOW).is_ok());
    assert_eq!(refusal_of_claims(issuer, &claims("\"https://us\"")), Refusal::WrongIssuer);
    assert_eq!(refusal_of_claims(issuer, &claims("[\"https://us/\"]")), Refusal::Malformed);
    assert_eq!(refusal_of_claims(issuer, CLAIMS), Refusal::MissingClaim);
}

#[test]
fn checks_the_audience() {
    let audience = |options: &mut JwtOptions| options.audience = vec!["us".into(), "we".into()];
    let claims = |aud: &str| format!(r#"{{"sub":"a","exp":2000,"aud":{aud}}}"#);
    let verifier = verifier(vec![VerifyingKey::secret(SECRET).unwrap()], audience);
    for aud in ["\"us\"", "[\"them\",\"we\"]"] {
        assert!(verifier.verify(&secret().sign(&claims(aud)).unwrap(), NOW).is_ok());
    }
    for aud in ["\"them\"", "\"\"", "[]", "[\"them\"]", "[1]", "\"US\""] {
        assert_eq!(refusal_of_claims(audience, &claims(aud)), Refusal::WrongAudience, "{aud}");
    }
    assert_eq!(refusal_of_claims(audience, &claims("1")), Refusal::Malformed);
    assert_eq!(refusal_of_claims(audience, CLAIMS), Refusal::MissingClaim);
    // Nobody here is the audience that it names.
    assert_eq!(refusal_of_claims(|_| {}, &claims("\"us\"")), Refusal::WrongAudience);
}

#[test]
fn checks_the_user() {
    let user = |sub: &str| {
        let claims = format!(r#"{{"exp":2000,"sub":{sub}}}"#);
        plain().verify(&secret().sign(&claims).unwrap(), NOW).map(|identity| identity.user.unwrap())
    };
    assert_eq!(user("\"ä\\n\""), Ok("ä\n".into()));
    assert_eq!(user("7"), Ok("7".into()));
    assert_eq!(user("-7"), Ok("-7".into()));
    assert_eq!(user("\"\""), Err(Refusal::MissingClaim));
    for wrong in ["null", "1.5", "[]", "{}", "true"] {
        assert_eq!(user(wrong), Err(Refusal::Malformed), "{wrong}");
    }
    assert_eq!(refusal_of_claims(|_| {}, r#"{"exp":2000}"#), Refusal::MissingClaim);
    let by_name = |options: &mut JwtOptions| options.user_claim = "name".to_owned();
    assert_eq!(refusal_of_claims(by_name, CLAIMS), Refusal::MissingClaim);
}

#[test]
fn refuses_doubled_claims_and_payloads_that_are_no_objects() {
    for claims in [
        r#"{"sub":"a","sub":"b","exp":2000}"#,
        r#"{"sub":"a","exp":1,"exp":2000}"#,
        r#"{"sub":"a","exp":2000,"aud":"x","aud":"y"}"#,
    ] {
        assert_eq!(refusal_of_claims(|_| {}, claims), Refusal::Malformed, "{claims}");
    }
    let deep = format!(r#"{{"sub":{}"#, "[".repeat(5000));
    for payload in ["", "1", "[]", "null", "{", "{}x", "\u{feff}{}", &deep] {
        let token = secret().sign_with_header(r#"{"alg":"HS256"}"#, payload).unwrap();
        assert_eq!(refusal(&plain(), &token), Refusal::Malformed, "{payload}");
    }
    let header = format!(r#"{{"alg":{}"#, "{\"a\":".repeat(1000));
    assert_eq!(refusal(&plain(), &with_header(&secret(), &header)), Refusal::Malformed);
}

#[test]
fn deep_nesting_does_not_end_the_process() {
    let deep = format!(r#"{{"sub":"a","exp":2000,"x":{}{}}}"#, "[".repeat(2900), "]".repeat(2900));
    let flat = format!(r#"{{"sub":"a","exp":2000,"x":[{}1]}}"#, "[],".repeat(1500));
    let refused = move || {
        let verify = |claims: &str| {
            let token = secret().sign_with_header(r#"{"alg":"HS256"}"#, claims).unwrap();
            plain().verify(&token, NOW)
        };
        assert_eq!(verify(&deep), Err(Refusal::Malformed));
        assert!(verify(&flat).is_ok());
    };
    std::thread::Builder::new().stack_size(128 * 1024).spawn(refused).unwrap().join().unwrap();
}

#[test]
fn options_that_cannot_work_are_errors() {
    let new = |keys, change: fn(&mut JwtOptions)| {
        let mut options = JwtOptions::new(Keys::Fixed(KeySet::new(keys)));
        change(&mut options);
        JwtVerifier::new(options)
    };
    let key = || vec![VerifyingKey::secret(SECRET).unwrap()];
    assert!(new(Vec::new(), |_| {}).is_err());
    assert!(new(key(), |options| options.leeway = Duration::from_secs(601)).is_err());
    assert!(new(key(), |options| options.user_claim.clear()).is_err());
}

#[test]
fn garbage_never_panics_and_is_never_accepted() {
    // A small generator with a fixed seed: the same tokens in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let verifiers = [plain(), verifier(vec![public(EC_PUBLIC)], |_| {})];
    let tokens = [secret().sign(CLAIMS).unwrap(), ec().with_id("x").sign(CLAIMS).unwrap()];
    let letters: Vec<char> = "abcXYZ019-_.={}\"\0é+/ ".chars().collect();
    for round in 0..10_000 {
        let which = round % 2;
        let mut token: Vec<char> = tokens[which].chars().collect();
        for _ in 0..=random(4) {
            let at = random(token.len().max(1));
            match random(4) {
                0 if at < token.len() => token[at] = letters[random(letters.len())],
                1 if at < token.len() => drop(token.remove(at)),
                2 => token.insert(at, letters[random(letters.len())]),
                _ => token.truncate(at.max(1)),
            }
        }
        let token: String = token.into_iter().collect();
        if token != tokens[which] {
            assert!(verifiers[which].verify(&token, NOW).is_err(), "{token}");
            assert!(verifiers[1 - which].verify(&token, NOW).is_err(), "{token}");
        }
    }
}
