//! What the gates in front of a connection decide.
use std::sync::Arc;

use crate::{Identity, Seal};

/// The answer of an authenticator or a key exchange.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// No.
    Refused,
    /// Yes, and this is who it is: [`crate::Gate::Upgrade`], [`crate::Gate::Authenticate`].
    Accepted(Identity),
    /// Our side of a key exchange: [`crate::Gate::Handshake`].
    Agreed(Handshake),
}

/// Our side of a key exchange.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// What the client needs of our key, as its protocol writes it.
    pub public_key: Box<str>,
    /// What both derived the key with, as its protocol writes it.
    pub salt: Box<str>,
    /// Encrypts what is sent from now on.
    pub seal: Arc<dyn Seal>,
}

impl From<Option<Identity>> for Verdict {
    fn from(identity: Option<Identity>) -> Self {
        identity.map_or(Self::Refused, Self::Accepted)
    }
}

impl From<Option<Handshake>> for Verdict {
    fn from(handshake: Option<Handshake>) -> Self {
        handshake.map_or(Self::Refused, Self::Agreed)
    }
}
