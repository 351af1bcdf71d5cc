//! What is wrong with a configuration.
use std::fmt;

/// An option, a key or a URL that cannot be used. Found at start or reload, never by a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    what: &'static str,
    detail: String,
}

impl SetupError {
    pub(crate) fn new(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, detail: detail.into() }
    }

    /// Which part of the configuration: `secret`, `public key`, `jwks`, `url`, ...
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// What is wrong with it. Never has the text of a secret in it.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what, self.detail)
    }
}

impl std::error::Error for SetupError {}
