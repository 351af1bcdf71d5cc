//! `fulmar token`: JSON Web Tokens for tests, and what the configuration says to one.

use crate::auth::Authenticators;
use crate::cli::{TokenCheck, TokenMake};
use crate::clock;
use crate::config;
use crate::exit::{Code, Failure};
use crate::json::{Object, Quoted, is_json};
use fulmar_auth::{Algorithm, ConnectionFacts, SigningKey};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// Makes a token; returns it as a line.
///
/// # Errors
/// Flags that do not fit each other, a key that cannot be used, a file that cannot be read.
pub(crate) fn make(arguments: &TokenMake) -> Result<String, Failure> {
    let key = signing_key(arguments)?;
    if let Some(name) = &arguments.algorithm {
        let algorithm = key.algorithm();
        if Algorithm::from_name(name) != Some(algorithm) {
            let message = format!("--algorithm {name}: this key is for {}", algorithm.name());
            return Err(usage(message));
        }
    }
    let key = match &arguments.key_id {
        Some(id) => key.with_id(id),
        None => key,
    };
    let token = key.sign(&claims(arguments)?);
    token.map(|token| format!("{token}\n")).map_err(|error| usage(error.to_string()))
}

/// Holds a token against the configuration; returns whose it is.
///
/// # Errors
/// The configuration is invalid or has no method; the token is refused.
pub(crate) fn check(arguments: &TokenCheck) -> Result<String, Failure> {
    /// How long keys are waited for that are fetched.
    const PATIENCE: Duration = Duration::from_secs(10);
    let loaded = config::load(&arguments.inputs()).map_err(|rejected| rejected.failure())?;
    let auth = &loaded.configuration.auth;
    if auth.methods.is_empty() {
        let message = "auth.methods is empty: there is nothing to hold a token against";
        return Err(Failure::new(Code::Configuration, message));
    }
    let authenticators = Authenticators::new(auth, None)?;
    let end = clock::monotonic() + PATIENCE;
    while authenticators.trouble().is_some() && clock::monotonic() < end {
        clock::pause(Duration::from_millis(20));
    }
    let ip = Ipv4Addr::LOCALHOST.into();
    let facts = ConnectionFacts { id: "token-check", ip, path: "/", headers: &[] };
    let data = format!("{{\"token\":{}}}", Quoted(&arguments.token));
    let identity =
        authenticators.ask(&arguments.token, &data, facts).wait().map_err(|refusal| {
            let why = authenticators.trouble().map_or_else(String::new, |why| format!(" ({why})"));
            Failure::new(Code::Failure, format!("the token is refused: {refusal}{why}"))
        })?;
    let mut object = Object::new();
    match &identity.user {
        Some(user) => object.string("user", user),
        None => object.raw("user", &"null"),
    };
    if let Some(expires) = identity.expires {
        object.string("expires", &clock::rfc3339(expires));
    }
    if !identity.claims.is_empty() {
        object.raw("claims", &identity.claims);
    }
    Ok(format!("{}\n", object.finish()))
}

fn signing_key(arguments: &TokenMake) -> Result<SigningKey, Failure> {
    match (&arguments.secret, &arguments.secret_file, &arguments.key) {
        (Some(secret), ..) => Ok(SigningKey::secret(secret.as_bytes())),
        (_, Some(path), _) => {
            let text = read(path)?;
            Ok(SigningKey::secret(text.trim_end_matches(['\r', '\n']).as_bytes()))
        }
        (.., Some(path)) => {
            let key = SigningKey::private_pem(&read(path)?);
            key.map_err(|error| usage(format!("{}: {error}", path.display())))
        }
        (None, None, None) => {
            Err(usage("a key is needed: --secret, --secret-file or --key".to_owned()))
        }
    }
}

/// A JSON object; what is asked for by `--claim` replaces what is there by itself.
fn claims(arguments: &TokenMake) -> Result<String, Failure> {
    let now = clock::unix_milliseconds() / 1000;
    let user = arguments.user.as_deref().unwrap_or_default();
    let mut claims = vec![
        ("sub", Quoted(user).to_string()),
        ("iat", now.to_string()),
        ("exp", now.saturating_add(arguments.expires_in.as_secs()).to_string()),
    ];
    for typed in &arguments.claims {
        let Some((name, value)) = typed.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(usage(format!("--claim {typed}: expected NAME=VALUE")));
        };
        let value = if is_json(value) { value.to_owned() } else { Quoted(value).to_string() };
        claims.retain(|(known, _)| *known != name);
        claims.push((name, value));
    }
    let mut object = Object::new();
    for (name, value) in &claims {
        object.raw(name, value);
    }
    Ok(object.finish())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| usage(format!("cannot read {}: {error}", path.display())))
}

fn usage(message: String) -> Failure {
    Failure::new(Code::Usage, message)
}
