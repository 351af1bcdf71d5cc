//! The extension's negotiation (RFC 7692, 5 and 7.1).

use std::fmt::{self, Write as _};

use super::{Deflate, DeflateOptions, OWN_WINDOW_BITS_MIN, WINDOW_BITS_MAX};

/// The extension's name in `Sec-WebSocket-Extensions`.
pub const EXTENSION: &str = "permessage-deflate";

/// The server's answer does not fit what we offered, upon which a client has to fail the connection
/// (RFC 7692, 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAnswer;

impl fmt::Display for NotAnAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the server agreed to extensions that were not offered")
    }
}

impl std::error::Error for NotAnAnswer {}

/// Chooses, as a server, the first acceptable offer out of the values of `Sec-WebSocket-Extensions`
/// (joined by commas), and what to answer in that header; `None` to go without compression.
///
/// An offer with an unknown, repeated, ill-formed or out-of-range parameter is declined, and so is
/// one that demands a server window of 8 bits, which our compressor cannot honour (RFC 7692, 7.1).
#[must_use]
pub fn negotiate(offer: &str, options: &DeflateOptions) -> Option<(Deflate, String)> {
    if !cfg!(feature = "deflate") {
        return None;
    }
    elements(offer).find_map(|parameters| agree(&Parameters::parse(parameters?)?, options))
}

/// Our offer as a client, for `Sec-WebSocket-Extensions`.
#[must_use]
pub fn offer(options: &DeflateOptions) -> String {
    let mut offer = String::from(EXTENSION);
    if !options.server_context_takeover {
        offer.push_str("; server_no_context_takeover");
    }
    if !options.client_context_takeover {
        offer.push_str("; client_no_context_takeover");
    }
    if options.own_window_bits() < WINDOW_BITS_MAX {
        push_bits(&mut offer, "server_max_window_bits", options.own_window_bits());
    }
    offer.push_str("; client_max_window_bits");
    offer
}

/// What a server's answer to [`offer`] means.
///
/// # Errors
/// [`NotAnAnswer`] if it is no answer to the offer of these options.
pub fn accept_response(response: &str, options: &DeflateOptions) -> Result<Deflate, NotAnAnswer> {
    accept(response, options).ok_or(NotAnAnswer)
}

fn accept(response: &str, options: &DeflateOptions) -> Option<Deflate> {
    let mut all = elements(response);
    let parameters = Parameters::parse(all.next()??)?;
    let server_max_window_bits = parameters.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
    let client_max_window_bits = match parameters.client_max_window_bits {
        None => WINDOW_BITS_MAX,
        Some(bits) => bits?,
    };
    let acceptable = all.next().is_none()
        && (parameters.server_no_context_takeover || options.server_context_takeover)
        && server_max_window_bits <= options.own_window_bits()
        && client_max_window_bits >= OWN_WINDOW_BITS_MIN;
    acceptable.then_some(Deflate {
        server_no_context_takeover: parameters.server_no_context_takeover,
        client_no_context_takeover: parameters.client_no_context_takeover
            || !options.client_context_takeover,
        server_max_window_bits,
        client_max_window_bits,
    })
}

fn agree(offer: &Parameters, options: &DeflateOptions) -> Option<(Deflate, String)> {
    let own_bits = options.own_window_bits();
    let deflate = Deflate {
        server_no_context_takeover: offer.server_no_context_takeover
            || !options.server_context_takeover,
        client_no_context_takeover: offer.client_no_context_takeover
            || !options.client_context_takeover,
        server_max_window_bits: offer.server_max_window_bits.unwrap_or(own_bits).min(own_bits),
        // A client that does not mention its window cannot shrink it (RFC 7692, 7.1.2.2).
        client_max_window_bits: offer
            .client_max_window_bits
            .map_or(WINDOW_BITS_MAX, |bits| bits.unwrap_or(own_bits).min(own_bits)),
    };
    if deflate.server_max_window_bits < OWN_WINDOW_BITS_MIN {
        return None;
    }
    let mut answer = String::from(EXTENSION);
    if deflate.server_no_context_takeover {
        answer.push_str("; server_no_context_takeover");
    }
    if deflate.client_no_context_takeover {
        answer.push_str("; client_no_context_takeover");
    }
    if offer.server_max_window_bits.is_some() || deflate.server_max_window_bits < WINDOW_BITS_MAX {
        push_bits(&mut answer, "server_max_window_bits", deflate.server_max_window_bits);
    }
    if deflate.client_max_window_bits < WINDOW_BITS_MAX {
        push_bits(&mut answer, "client_max_window_bits", deflate.client_max_window_bits);
    }
    Some((deflate, answer))
}

fn push_bits(text: &mut String, name: &str, bits: u8) {
    // Writing to a string does not fail.
    let _ = write!(text, "; {name}={bits}");
}

/// The parameters of one offer or answer.
#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Mentioned, and perhaps with a value.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` unless every parameter is known, well-formed and there once.
    fn parse(text: &str) -> Option<Self> {
        let mut parameters = Self::default();
        for parameter in split_outside_quotes(text, ';').skip(1) {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (parameter.trim(), None),
            };
            let repeated = match (name, value) {
                ("server_no_context_takeover", None) => {
                    std::mem::replace(&mut parameters.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    std::mem::replace(&mut parameters.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    parameters.server_max_window_bits.replace(parse_bits(value)?).is_some()
                }
                ("client_max_window_bits", None) => {
                    parameters.client_max_window_bits.replace(None).is_some()
                }
                ("client_max_window_bits", Some(value)) => {
                    let bits = Some(parse_bits(value)?);
                    parameters.client_max_window_bits.replace(bits).is_some()
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(parameters)
    }
}

/// A number from 8 to 15 without leading zeros, perhaps in quotes (RFC 7692, 7.1.2; RFC 6455, 9.1).
fn parse_bits(value: &str) -> Option<u8> {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    match inner.unwrap_or(value).as_bytes() {
        [digit @ (b'8' | b'9')] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// The elements of an extension list: `Some` with the text of those that are permessage-deflate.
fn elements(header: &str) -> impl Iterator<Item = Option<&str>> {
    split_outside_quotes(header, ',').map(str::trim).filter(|element| !element.is_empty()).map(
        |element| {
            let name = split_outside_quotes(element, ';').next().unwrap_or_default().trim();
            (name == EXTENSION).then_some(element)
        },
    )
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        !quoted && character == separator
    })
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use super::*;

    const KEEP: DeflateOptions = DeflateOptions {
        client_context_takeover: true,
        server_context_takeover: true,
        window_bits: 15,
        level: 1,
        min_bytes: 0,
    };

    fn answer(header: &str, options: &DeflateOptions) -> Option<String> {
        negotiate(header, options).map(|(_, answer)| answer)
    }

    #[test]
    fn forgets_on_both_sides_unless_told() {
        let (deflate, answer) =
            negotiate("permessage-deflate; client_max_window_bits", &DeflateOptions::default())
                .unwrap();
        assert!(deflate.server_no_context_takeover && deflate.client_no_context_takeover);
        assert_eq!(
            answer,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        );
    }

    #[test]
    fn answers_with_what_was_asked() {
        assert_eq!(answer("permessage-deflate", &KEEP).unwrap(), "permessage-deflate");
        let asked = "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9";
        assert_eq!(answer(asked, &KEEP).unwrap(), asked);
        let quoted = "permessage-deflate; server_max_window_bits=\"11\"";
        let plain = "permessage-deflate; server_max_window_bits=11";
        assert_eq!(answer(quoted, &KEEP).unwrap(), plain);
        let narrow = DeflateOptions { window_bits: 12, ..KEEP };
        assert_eq!(
            answer("permessage-deflate; client_max_window_bits", &narrow).unwrap(),
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
        );
        assert_eq!(
            answer("permessage-deflate", &narrow).unwrap(),
            "permessage-deflate; server_max_window_bits=12"
        );
    }

    #[test]
    fn declines_what_it_does_not_know_and_takes_the_next() {
        for bad in [
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=\"10",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=+9",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate;",
            "permessage-bzip2",
            "x-webkit-deflate-frame",
            "",
        ] {
            assert_eq!(answer(bad, &KEEP), None, "{bad}");
            let two = format!("{bad}, permessage-deflate");
            if !bad.contains('"') {
                assert_eq!(answer(&two, &KEEP).as_deref(), Some(EXTENSION), "{two}");
            }
        }
    }

    #[test]
    fn a_client_accepts_what_answers_its_offer() {
        for options in [KEEP, DeflateOptions::default(), DeflateOptions { window_bits: 11, ..KEEP }]
        {
            let (deflate, answer) = negotiate(&offer(&options), &options).unwrap();
            assert_eq!(accept_response(&answer, &options), Ok(deflate));
        }
        for bad in [
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; nonsense",
            "permessage-deflate, permessage-deflate",
            "other",
            "",
        ] {
            assert_eq!(accept_response(bad, &KEEP), Err(NotAnAnswer), "{bad}");
        }
        let forgetful = DeflateOptions::default();
        assert_eq!(accept_response("permessage-deflate", &forgetful), Err(NotAnAnswer));
        let narrow = DeflateOptions { window_bits: 10, ..KEEP };
        assert_eq!(accept_response("permessage-deflate", &narrow), Err(NotAnAnswer));
    }
}
