//! Why a credential was refused.
use std::fmt;

/// Why a credential was refused. Carries no text of the client's: it is safe to log and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There was no credential.
    Missing,
    /// It does not have the form that it must have: parts, base64url, JSON, types of claims; or a
    /// JWT with a `crit` header, whose demands nobody here understands (RFC 7515, 4.1.11).
    Malformed,
    /// It is longer than the limit; nothing of it was decoded.
    TooLong,
    /// The algorithm is `none`, unknown, not configured, or not the one of the key it names.
    UnsupportedAlgorithm,
    /// No configured key has this key id.
    UnknownKey,
    /// The signature does not fit the key.
    BadSignature,
    /// `exp` is over (RFC 7519, 4.1.4).
    Expired,
    /// `nbf` or `iat` is in the future (RFC 7519, 4.1.5 and 4.1.6).
    NotYetValid,
    /// `iss` is not the configured issuer (RFC 7519, 4.1.1).
    WrongIssuer,
    /// `aud` names others (RFC 7519, 4.1.3).
    WrongAudience,
    /// A claim that must be there is not.
    MissingClaim,
    /// A static token that is not in the configuration.
    Unknown,
    /// The callback said no.
    Denied,
    /// The callback, or the keys, could not be reached. Not the client's fault.
    Unavailable,
    /// Too many callbacks are waiting. Not the client's fault.
    Busy,
}

impl Refusal {
    /// All of them, in the order of [`Refusal::index`].
    pub const ALL: [Self; 15] = [
        Self::Missing,
        Self::Malformed,
        Self::TooLong,
        Self::UnsupportedAlgorithm,
        Self::UnknownKey,
        Self::BadSignature,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::MissingClaim,
        Self::Unknown,
        Self::Denied,
        Self::Unavailable,
        Self::Busy,
    ];

    /// Its place in [`Refusal::ALL`], for arrays of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Name for counters and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::MissingClaim => "missing_claim",
            Self::Unknown => "unknown",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
        }
    }

    /// Whether the refusal is this side's fault, so that the same credential may pass later:
    /// answer with "try again", not with "go away".
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Unavailable | Self::Busy)
    }

    /// How much the refusal tells, among those of several authenticators. What is wrong with the
    /// claims of a token that is otherwise ours counts most; then what may pass later; then the
    /// rest.
    pub(crate) fn weight(self) -> u8 {
        match self {
            Self::Expired => 14,
            Self::NotYetValid => 13,
            Self::WrongAudience => 12,
            Self::WrongIssuer => 11,
            Self::MissingClaim => 10,
            Self::Busy => 9,
            Self::Unavailable => 8,
            Self::Denied => 7,
            Self::BadSignature => 6,
            Self::UnknownKey => 5,
            Self::UnsupportedAlgorithm => 4,
            Self::TooLong => 3,
            Self::Unknown => 2,
            Self::Malformed => 1,
            Self::Missing => 0,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_refusal_has_its_own_code_weight_and_index() {
        let codes: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        let weights: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.weight()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        assert_eq!(weights.len(), Refusal::ALL.len());
        for (index, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.index(), index);
        }
    }
}
