//! Why a request is refused.

use std::fmt;

/// Why a request is refused: the status to answer with, and a stable code to count and tell it by.
///
/// All of it is the peer's doing. [`write_refusal`](super::write_refusal) turns it into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// The status code of the answer (RFC 9110, 15), 400 to 599.
    pub status: u16,
    /// A stable code in snake_case, such as `head_too_large`.
    pub reason: &'static str,
    /// What is wrong, for a person.
    pub message: &'static str,
}

impl HttpError {
    /// An error of one's own, to be told as the others are.
    #[must_use]
    pub const fn new(status: u16, reason: &'static str, message: &'static str) -> Self {
        Self { status, reason, message }
    }

    /// The request is not what its syntax demands.
    pub(super) const fn bad(reason: &'static str, message: &'static str) -> Self {
        Self::new(400, reason, message)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.status, self.reason, self.message)
    }
}

impl std::error::Error for HttpError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_its_status_its_reason_and_its_message() {
        let error = HttpError::new(431, "head_too_large", "the request head is too large");
        assert_eq!(error.to_string(), "431 head_too_large: the request head is too large");
    }
}
