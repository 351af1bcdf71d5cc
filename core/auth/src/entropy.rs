//! The only place of this crate that takes random numbers: ECDSA and RSA signing.
use ring::rand::SystemRandom;

/// The operating system's generator.
pub(crate) fn system() -> SystemRandom {
    SystemRandom::new()
}
