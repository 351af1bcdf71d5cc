//! The key exchange of the `event` dialect, ready to be mounted.
//!
//! ```
//! use fulmar::event::{Encryption, Event, EventOptions};
//! use fulmar::{Endpoint, encryption};
//!
//! let options = EventOptions { encryption: Encryption::Required, ..EventOptions::default() };
//! let endpoint: Endpoint<()> =
//!     Endpoint::new("/ws").speaks(Event::new(options)).handshake(encryption::handshake);
//! # drop(endpoint);
//! ```

use fulmar_dialect::event::P256Handshake;
use fulmar_dialect::{CallError, Verdict};
use serde::Deserialize;

use crate::entropy::{Entropy, SystemEntropy};
use crate::handler::Arg;

/// What a client sends to prove itself, as far as the exchange needs it.
#[derive(Debug, Default, Deserialize)]
pub struct Offer {
    /// The 65 bytes of its P-256 point, uncompressed, in base64 with padding.
    #[serde(default, rename = "publicKey")]
    public_key: Option<String>,
}

/// Agrees on a key of its own for each connection: ECDH P-256, HKDF-SHA-256, AES-256-GCM. For
/// [`Endpoint::handshake`](crate::Endpoint::handshake).
///
/// Refuses a client that sends no `publicKey`.
///
/// # Errors
/// If the `publicKey` is not one.
pub fn handshake(Arg(offer): Arg<Offer>) -> Result<Verdict, CallError> {
    let Some(public_key) = offer.public_key else { return Ok(Verdict::Refused) };
    let mut entropy = SystemEntropy::default();
    let agreed = P256Handshake::agree(&public_key, &mut |bytes| entropy.fill(bytes));
    match agreed {
        Ok(handshake) => Ok(Verdict::Agreed(handshake)),
        Err(error) => Err(CallError::with_code(400, error.to_string())),
    }
}
