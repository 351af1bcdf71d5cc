//! Key sets from files and from a server that changes them.
#![allow(clippy::unwrap_used, reason = "a test")]
mod support;

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use fulmar_auth::{
    Algorithm, JwksOptions, JwksSource, JwtOptions, JwtVerifier, Keys, Refusal, SigningKey,
};
use support::{SECRET, Server, ed, eventually, ok, pause};

const NOW: u64 = 1_000_000;
const CLAIMS: &str = r#"{"sub":"ada","exp":2000}"#;

/// The public part of `tests/keys/ed.private.pem`, under a name.
fn set(id: &str) -> String {
    let pem = support::ED_PUBLIC;
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    use base64::{Engine, engine::general_purpose};
    let der = general_purpose::STANDARD.decode(body).unwrap();
    let x = general_purpose::URL_SAFE_NO_PAD.encode(&der[12..]);
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}]}}"#)
}

fn options(refresh: Duration, refresh_min: Duration) -> JwksOptions {
    let mut options = JwksOptions::default();
    options.refresh = refresh;
    options.refresh_min = refresh_min;
    options
}

/// So long that within a test it does not happen.
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(100);

/// A server whose set can be exchanged.
fn changing(first: String) -> (Server, Arc<Mutex<String>>) {
    let text = Arc::new(Mutex::new(first));
    let shared = Arc::clone(&text);
    (Server::start(move |_| ok(&shared.lock().unwrap())), text)
}

fn verifier(source: &Arc<JwksSource>) -> JwtVerifier {
    JwtVerifier::new(JwtOptions::new(Keys::Source(Arc::clone(source)))).unwrap()
}

fn token(id: &str) -> String {
    ed().with_id(id).sign(CLAIMS).unwrap()
}

#[test]
fn follows_the_rotation_of_keys_without_restart() {
    let (server, text) = changing(set("one"));
    let source = JwksSource::url(&server.url, options(NEVER, SOON)).unwrap();
    let verifier = verifier(&source);
    eventually("the first set", || source.keys().is_some());
    assert!(verifier.verify(&token("one"), NOW).is_ok());
    *text.lock().unwrap() = set("two");
    assert_eq!(verifier.verify(&token("two"), NOW), Err(Refusal::UnknownKey));
    eventually("the new key", || verifier.verify(&token("two"), NOW).is_ok());
    assert_eq!(verifier.verify(&token("one"), NOW), Err(Refusal::UnknownKey));
    let status = source.status();
    assert_eq!((status.keys, status.last_error), (1, None));
    assert!(status.age.unwrap() < NEVER);
}

#[test]
fn fetches_again_by_itself() {
    let (server, text) = changing(set("one"));
    let source = JwksSource::url(&server.url, options(SOON, SOON)).unwrap();
    let verifier = verifier(&source);
    eventually("the first set", || source.keys().is_some());
    *text.lock().unwrap() = set("two");
    eventually("the new key", || {
        source.keys().is_some_and(|set| set.keys()[0].id() == Some("two"))
    });
    assert!(verifier.verify(&token("two"), NOW).is_ok());
}

#[test]
fn unknown_key_ids_do_not_make_it_fetch_more_often_than_allowed() {
    let (server, _) = changing(set("one"));
    let source = JwksSource::url(&server.url, options(NEVER, NEVER)).unwrap();
    let verifier = verifier(&source);
    eventually("the first set", || source.keys().is_some());
    for number in 0..1000 {
        let token = token(&number.to_string());
        assert_eq!(verifier.verify(&token, NOW), Err(Refusal::UnknownKey));
    }
    pause(SOON);
    assert_eq!(server.hits(), 1);
}

#[test]
fn keeps_the_last_good_set_when_fetching_fails() {
    let (server, text) = changing(set("one"));
    let source = JwksSource::url(&server.url, options(SOON, SOON)).unwrap();
    let verifier = verifier(&source);
    eventually("the first set", || source.keys().is_some());
    let long = format!("{}{}", set("two"), " ".repeat(300 * 1024));
    for bad in ["", "{}", r#"{"keys":[]}"#, "<html>", &long] {
        *text.lock().unwrap() = bad.to_owned();
        let loads = source.status().loads;
        eventually("another two fetches", || source.status().loads >= loads + 2);
        assert!(source.status().last_error.is_some());
        assert!(verifier.verify(&token("one"), NOW).is_ok());
    }
    *text.lock().unwrap() = set("two");
    eventually("recovery", || source.status().last_error.is_none());
    assert!(verifier.verify(&token("two"), NOW).is_ok());
}

#[test]
fn without_keys_tokens_are_refused_as_our_fault() {
    let (server, _) = changing("not yet".to_owned());
    let source = JwksSource::url(&server.url, options(NEVER, NEVER)).unwrap();
    let verifier = verifier(&source);
    eventually("the first attempt", || source.status().last_error.is_some());
    let refusal = verifier.verify(&token("one"), NOW).unwrap_err();
    assert_eq!(refusal, Refusal::Unavailable);
    assert!(refusal.is_ours());
    // Garbage is garbage, keys or not; and secrets are never taken from a URL.
    assert_eq!(verifier.verify("garbage", NOW), Err(Refusal::Malformed));
    let forged = SigningKey::secret(SECRET).sign(CLAIMS).unwrap();
    assert_eq!(verifier.verify(&forged, NOW), Err(Refusal::UnsupportedAlgorithm));
    let mut options = JwtOptions::new(Keys::Source(source));
    options.algorithms = vec![Algorithm::Hs256];
    assert!(JwtVerifier::new(options).is_err());
}

#[test]
fn follows_no_redirect() {
    let target = Server::start(|_| ok(&set("one")));
    let location = format!("location: {}\r\n", target.url);
    let server = Server::start(move |_| Some((302, location.clone(), String::new())));
    let source = JwksSource::url(&server.url, options(NEVER, NEVER)).unwrap();
    eventually("the first attempt", || source.status().last_error.is_some());
    assert!(source.status().last_error.unwrap().contains("302"));
    assert_eq!((server.hits(), target.hits()), (1, 0));
}

#[test]
fn a_server_that_does_not_answer_costs_a_timeout_only() {
    let server = Server::start(|_| {
        pause(NEVER);
        None
    });
    let mut options = options(NEVER, NEVER);
    options.timeout = SOON;
    let source = JwksSource::url(&server.url, options).unwrap();
    eventually("the timeout", || source.status().last_error.is_some());
    assert!(source.status().last_error.unwrap().contains("timed out"));
}

#[test]
fn reads_a_file_again_when_told_to() {
    let path = std::env::temp_dir().join(format!("fulmar-auth-{}.json", std::process::id()));
    fs::write(&path, set("one")).unwrap();
    let source = JwksSource::file(&path).unwrap();
    let verifier = verifier(&source);
    assert!(verifier.verify(&token("one"), NOW).is_ok());
    fs::write(&path, set("two")).unwrap();
    assert_eq!(verifier.verify(&token("two"), NOW), Err(Refusal::UnknownKey));
    source.reload().unwrap();
    assert!(verifier.verify(&token("two"), NOW).is_ok());
    fs::write(&path, "broken").unwrap();
    assert!(source.reload().is_err());
    assert!(verifier.verify(&token("two"), NOW).is_ok());
    fs::remove_file(&path).unwrap();
    assert!(source.reload().is_err());
    assert!(JwksSource::file(&path).is_err());
}

#[test]
fn plain_http_to_another_machine_must_be_allowed() {
    assert!(JwksSource::url("http://keys.example.invalid/", JwksOptions::default()).is_err());
    assert!(JwksSource::url("file:///etc/passwd", JwksOptions::default()).is_err());
}
