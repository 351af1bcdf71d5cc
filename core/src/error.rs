//! Why a server cannot start.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a server could not be started, or ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// An address is not one: `127.0.0.1:9000` is.
    Address {
        /// What was given.
        given: Box<str>,
    },
    /// An endpoint's path cannot be used.
    Path {
        /// Which.
        path: Box<str>,
        /// Why not.
        what: Box<str>,
    },
    /// A value of the configuration that cannot be.
    Config {
        /// Its key.
        key: &'static str,
        /// Why not.
        what: Box<str>,
    },
    /// The kernel refused a thread, an epoll instance or the like.
    System {
        /// What was asked for.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The way to other nodes could not be had.
    Fabric {
        /// Why.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A shard ended although nobody stopped it; a bug.
    ShardLost {
        /// Its number.
        shard: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Address { given } => {
                write!(f, "'{given}' is not an address such as 127.0.0.1:9000")
            }
            Self::Path { path, what } => write!(f, "path '{path}' {what}"),
            Self::Config { key, what } => write!(f, "{key}: {what}"),
            Self::System { what, error } => write!(f, "cannot have {what}: {error}"),
            Self::Fabric { error } => write!(f, "{error}"),
            Self::ShardLost { shard } => write!(f, "shard {shard} ended by itself"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { error, .. } | Self::System { error, .. } => Some(error),
            Self::Fabric { error } => Some(&**error),
            Self::Address { .. }
            | Self::Path { .. }
            | Self::Config { .. }
            | Self::ShardLost { .. } => None,
        }
    }
}
