//! Where an upgrade request carries its token.
use std::{borrow::Cow, str::FromStr};

use crate::{Refusal, SetupError};

/// One place of an upgrade request in which a token may be. In a configuration: `bearer`,
/// `query:NAME`, `cookie:NAME`, `subprotocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// `Authorization: Bearer TOKEN` (RFC 6750, 2.1). Browsers cannot send it.
    Bearer,
    /// A parameter of the query. Ends up in access logs of proxies: for short-lived tokens.
    Query(Box<str>),
    /// A cookie. Only with a check of the `Origin`: browsers send it along from any page.
    Cookie(Box<str>),
    /// `Sec-WebSocket-Protocol: bearer.TOKEN, ...`. The server must agree on another of the
    /// offered subprotocols, never answer with this one.
    Subprotocol,
}

/// Start of the offered subprotocol that carries a token.
pub const SUBPROTOCOL_PREFIX: &str = "bearer.";

impl TokenSource {
    /// Where tokens are looked for unless configured: header, subprotocol, then `?token=`.
    pub fn defaults() -> Vec<Self> {
        vec![Self::Bearer, Self::Subprotocol, Self::Query("token".into())]
    }

    /// The token at this place of a request, if there is one. `headers` are names (in any case)
    /// and values; `query` is what stands behind the `?`, percent-encoded. An empty token counts
    /// as none.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] if the place is there several times with different values (two
    /// parsers could take different ones), or is not decodable.
    pub fn find<'a>(
        &self,
        headers: &[(&'a str, &'a str)],
        query: &'a str,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        match self {
            Self::Bearer => {
                only(values(headers, "authorization").filter_map(bearer).map(Cow::Borrowed))
            }
            Self::Query(name) => {
                let mut found = Vec::new();
                for pair in query.split('&') {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    if key == &**name {
                        found.push(percent_decoded(value).ok_or(Refusal::Malformed)?);
                    }
                }
                only(found.into_iter())
            }
            Self::Cookie(name) => only(
                values(headers, "cookie")
                    .flat_map(|value| value.split(';'))
                    .filter_map(|pair| pair.trim().split_once('='))
                    .filter(|(key, _)| *key == &**name)
                    .map(|(_, value)| Cow::Borrowed(unquoted(value))),
            ),
            Self::Subprotocol => only(
                values(headers, "sec-websocket-protocol")
                    .flat_map(|value| value.split(','))
                    .filter_map(|name| name.trim().strip_prefix(SUBPROTOCOL_PREFIX))
                    .map(Cow::Borrowed),
            ),
        }
    }

    /// The token of the first place that has one.
    ///
    /// # Errors
    /// As [`TokenSource::find`].
    pub fn find_first<'a>(
        sources: &[Self],
        headers: &[(&'a str, &'a str)],
        query: &'a str,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        for source in sources {
            if let Some(token) = source.find(headers, query)? {
                return Ok(Some(token));
            }
        }
        Ok(None)
    }
}

impl FromStr for TokenSource {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        match text.split_once(':') {
            None if text == "bearer" => Ok(Self::Bearer),
            None if text == "subprotocol" => Ok(Self::Subprotocol),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.into())),
            Some(("cookie", name)) if !name.is_empty() => Ok(Self::Cookie(name.into())),
            _ => Err(SetupError::new(
                "token source",
                "must be bearer, query:NAME, cookie:NAME or subprotocol",
            )),
        }
    }
}

fn values<'a, 'b>(
    headers: &'b [(&'a str, &'a str)],
    wanted: &'static str,
) -> impl Iterator<Item = &'a str> + use<'a, 'b> {
    headers
        .iter()
        .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|&(_, value)| value)
}

/// The one value that is there, however often it is repeated.
fn only<'a>(values: impl Iterator<Item = Cow<'a, str>>) -> Result<Option<Cow<'a, str>>, Refusal> {
    let mut found: Option<Cow<'a, str>> = None;
    for value in values.filter(|value| !value.is_empty()) {
        match &found {
            None => found = Some(value),
            Some(first) if *first == value => {}
            Some(_) => return Err(Refusal::Malformed),
        }
    }
    Ok(found)
}

/// The scheme's name is case-insensitive (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

fn percent_decoded(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains('%') {
        return Some(Cow::Borrowed(value));
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk::<2>()?;
        let high = char::from(high).to_digit(16)?;
        let low = char::from(low).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(
        source: &str,
        headers: &[(&str, &str)],
        query: &str,
    ) -> Result<Option<String>, Refusal> {
        let source: TokenSource = source.parse().unwrap();
        source.find(headers, query).map(|token| token.map(Cow::into_owned))
    }

    fn some(token: &str) -> Result<Option<String>, Refusal> {
        Ok(Some(token.to_owned()))
    }

    #[test]
    fn finds_the_bearer_token_in_any_case_of_names() {
        assert_eq!(find("bearer", &[("Authorization", "bEARER  a.b.c ")], ""), some("a.b.c"));
        assert_eq!(find("bearer", &[("authorization", "Basic abc")], ""), Ok(None));
        assert_eq!(find("bearer", &[("authorization", "Bearer")], ""), Ok(None));
    }

    #[test]
    fn finds_the_query_parameter_and_decodes_it() {
        assert_eq!(find("query:token", &[], "x=1&token=a%2Eb&y"), some("a.b"));
        assert_eq!(find("query:token", &[], "tokens=1&token"), Ok(None));
        assert_eq!(find("query:token", &[], "token=%4"), Err(Refusal::Malformed));
        assert_eq!(find("query:token", &[], "token=%ff"), Err(Refusal::Malformed));
        assert_eq!(find("query:token", &[], "token=a%é1"), Err(Refusal::Malformed));
    }

    #[test]
    fn finds_the_cookie_by_its_whole_name() {
        let headers = [("Cookie", "a=1; session=\"t=1\"; xsession=2")];
        assert_eq!(find("cookie:session", &headers, ""), some("t=1"));
        assert_eq!(find("cookie:sess", &headers, ""), Ok(None));
    }

    #[test]
    fn finds_the_token_among_the_offered_subprotocols() {
        let headers = [("sec-websocket-protocol", "chat.v1, bearer.abc"), ("host", "x")];
        assert_eq!(find("subprotocol", &headers, ""), some("abc"));
    }

    #[test]
    fn refuses_two_different_tokens_in_one_place() {
        assert_eq!(find("query:token", &[], "token=a&token=b"), Err(Refusal::Malformed));
        assert_eq!(find("query:token", &[], "token=a&token=a"), some("a"));
        let headers = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(find("bearer", &headers, ""), Err(Refusal::Malformed));
    }

    #[test]
    fn takes_the_first_place_that_has_a_token() {
        let sources = TokenSource::defaults();
        let found = TokenSource::find_first(&sources, &[("authorization", "Bearer a")], "token=b");
        assert_eq!(found, Ok(Some(Cow::Borrowed("a"))));
        let found = TokenSource::find_first(&sources, &[("authorization", "Basic a")], "token=b");
        assert_eq!(found, Ok(Some(Cow::Borrowed("b"))));
    }

    #[test]
    fn names_of_places_are_checked() {
        for bad in ["", "header", "query", "query:", "cookie:", "bearer:x"] {
            assert!(bad.parse::<TokenSource>().is_err(), "{bad}");
        }
    }
}
