//! What key sets and callbacks have in common as HTTP clients.
use std::{net::IpAddr, time::Duration};

use ureq::{
    Agent, Error,
    http::Uri,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::SetupError;

/// A client that follows no redirect (one could lead anywhere), uses no proxy and keeps no cookies.
/// `timeout` is for everything from the name look-up to the last byte. `certificates` are
/// authorities to trust instead of the web's, in PEM.
pub(crate) fn agent(
    timeout: Duration,
    idle_max: usize,
    certificates: Option<&str>,
) -> Result<Agent, SetupError> {
    let mut tls = TlsConfig::builder();
    if let Some(text) = certificates {
        let mut found = Vec::new();
        for item in parse_pem(text.as_bytes()) {
            match item {
                Ok(PemItem::Certificate(certificate)) => found.push(certificate),
                Ok(_) => {}
                Err(_) => return Err(SetupError::new("certificates", "are not PEM")),
            }
        }
        if found.is_empty() {
            return Err(SetupError::new("certificates", "there are none in the text"));
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&found));
    }
    Ok(Agent::config_builder()
        .tls_config(tls.build())
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent("fulmar")
        .max_response_header_size(16 * 1024)
        .max_idle_connections(idle_max)
        .max_idle_connections_per_host(idle_max)
        // Shorter than what servers keep: one that is being closed must not be picked.
        .max_idle_age(Duration::from_secs(4))
        .build()
        .new_agent())
}

/// Checks a URL of the configuration.
pub(crate) fn check_url(url: &str, plain_allowed: bool) -> Result<(), SetupError> {
    let wrong = |detail: &str| SetupError::new("url", detail);
    let uri: Uri = url.parse().map_err(|_| wrong("cannot be read"))?;
    let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("has a password in it; use the authorization option"));
    }
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if plain_allowed || is_loopback(authority.host()) => Ok(()),
        Some("http") => {
            Err(wrong("is plain http to another machine: anybody between could answer"))
        }
        _ => Err(wrong("must start with https:// or http://")),
    }
}

/// Whether the request failed before a byte of it was sent, so that sending it again cannot make
/// anything happen twice.
pub(crate) fn is_unsent(error: &Error) -> bool {
    match error {
        Error::ConnectionFailed | Error::HostNotFound => true,
        Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

/// What an error is in a word, without URLs.
pub(crate) fn error_text(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "timed out".to_owned(),
        Error::BodyExceedsLimit(limit) => format!("the answer is longer than {limit} bytes"),
        other => other.to_string(),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_unless_allowed() {
        for url in
            ["https://a.example/x", "http://127.0.0.1:1/x", "http://[::1]/", "http://localhost"]
        {
            assert_eq!(check_url(url, false), Ok(()), "{url}");
        }
        assert!(check_url("http://a.example/", false).is_err());
        assert!(check_url("http://a.example/", true).is_ok());
        for url in
            ["", "x", "/x", "ftp://a.example/", "file:///etc/passwd", "https://u:p@a.example/"]
        {
            assert!(check_url(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn certificates_must_be_there() {
        let timeout = Duration::from_secs(1);
        assert!(agent(timeout, 1, Some("nothing")).is_err());
        assert!(agent(timeout, 1, None).is_ok());
    }
}
