//! The claims of a token (RFC 7519, 4.1). Maybe before its signature was checked: what is made
//! of them here is nobody's identity until it was.
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use super::{JwtOptions, once};
use crate::{Identity, Refusal, json};

#[derive(Default)]
struct Claims<'a> {
    user: Option<&'a Value>,
    issuer: Option<&'a Value>,
    audience: Option<&'a Value>,
    expires: Option<u64>,
    not_before: Option<u64>,
    issued: Option<u64>,
}

pub(super) fn accept(payload: String, options: &JwtOptions, now: u64) -> Result<Identity, Refusal> {
    let value = json::object(&payload).ok_or(Refusal::Malformed)?;
    let claims = Claims::read(&value, &options.user_claim)?;
    let leeway = u64::try_from(options.leeway.as_millis()).unwrap_or(u64::MAX);
    check_times(&claims, options.require_expiry, leeway, now)?;
    check_parties(&claims, options)?;
    let user = claims.user.ok_or(Refusal::MissingClaim)?;
    Ok(Identity {
        user: Some(user_text(user)?),
        // With the leeway: a connection must not be accepted and closed in the same moment.
        expires: claims.expires.map(|expires| expires.saturating_add(leeway)),
        claims: payload.into(),
    })
}

impl<'a> Claims<'a> {
    fn read(value: &'a Value, user_claim: &str) -> Result<Self, Refusal> {
        let mut claims = Self::default();
        let object = value.as_object().ok_or(Refusal::Malformed)?;
        for (name, value) in object.iter() {
            match name {
                "iss" => once(&mut claims.issuer, value)?,
                "aud" => once(&mut claims.audience, value)?,
                "exp" => once(&mut claims.expires, milliseconds(value)?)?,
                "nbf" => once(&mut claims.not_before, milliseconds(value)?)?,
                "iat" => once(&mut claims.issued, milliseconds(value)?)?,
                _ => {}
            }
            if name == user_claim {
                once(&mut claims.user, value)?;
            }
        }
        Ok(claims)
    }
}

fn check_times(
    claims: &Claims<'_>,
    require_expiry: bool,
    leeway: u64,
    now: u64,
) -> Result<(), Refusal> {
    match claims.expires {
        // "On or after which the token must not be accepted."
        Some(expires) if now >= expires.saturating_add(leeway) => return Err(Refusal::Expired),
        None if require_expiry => return Err(Refusal::MissingClaim),
        Some(_) | None => {}
    }
    let latest = now.saturating_add(leeway);
    let starts = [claims.not_before, claims.issued];
    if starts.into_iter().flatten().any(|start| start > latest) {
        return Err(Refusal::NotYetValid);
    }
    Ok(())
}

fn check_parties(claims: &Claims<'_>, options: &JwtOptions) -> Result<(), Refusal> {
    if let Some(expected) = &options.issuer {
        let issuer = claims.issuer.ok_or(Refusal::MissingClaim)?;
        if issuer.as_str().ok_or(Refusal::Malformed)? != expected {
            return Err(Refusal::WrongIssuer);
        }
    }
    let Some(audience) = claims.audience else {
        return if options.audience.is_empty() { Ok(()) } else { Err(Refusal::MissingClaim) };
    };
    let is_ours = |name: &str| options.audience.iter().any(|ours| ours == name);
    let fits = match (audience.as_str(), audience.as_array()) {
        (Some(name), _) => is_ours(name),
        (None, Some(names)) => names.iter().filter_map(|name| name.as_str()).any(is_ours),
        (None, None) => return Err(Refusal::Malformed),
    };
    if fits { Ok(()) } else { Err(Refusal::WrongAudience) }
}

fn user_text(value: &Value) -> Result<Box<str>, Refusal> {
    match (value.as_str(), value.as_u64(), value.as_i64()) {
        (Some(""), ..) => Err(Refusal::MissingClaim),
        (Some(text), ..) => Ok(text.into()),
        (None, Some(number), _) => Ok(number.to_string().into()),
        (None, None, Some(number)) => Ok(number.to_string().into()),
        (None, None, None) => Err(Refusal::Malformed),
    }
}

/// A `NumericDate` (RFC 7519, 2): seconds since 1970, maybe with a fraction.
fn milliseconds(value: &Value) -> Result<u64, Refusal> {
    if let Some(seconds) = value.as_u64() {
        return Ok(seconds.saturating_mul(1000));
    }
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite()).ok_or(Refusal::Malformed)?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates; before 1970 is 0")]
    Ok((seconds * 1000.0) as u64)
}
