//! Which of the kernel's interfaces the shards use, and why.

use std::fmt;

use fulmar_driver::uring;

use crate::error::Error;

/// What to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Io {
    /// io_uring if this process may use it and the kernel is Linux 6.1 or later, else epoll:
    /// broadcasts, handshakes and closes cost less on io_uring, nothing costs noticeably more.
    #[default]
    Auto,
    /// epoll, which is everywhere.
    Epoll,
    /// io_uring, or no start.
    IoUring,
}

/// What is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenIo {
    /// [`Io::Epoll`] or [`Io::IoUring`].
    pub io: Io,
    /// Why, in a few words.
    pub reason: Box<str>,
}

impl Io {
    /// Decides, by asking the kernel for a small ring where that matters.
    ///
    /// # Errors
    /// If io_uring was asked for by name and cannot be had.
    pub fn choose(self) -> Result<ChosenIo, Error> {
        let chosen = |io, reason: String| Ok(ChosenIo { io, reason: reason.into() });
        match (self, uring_refused_by(self)) {
            (Self::Auto, None) => {
                chosen(Self::IoUring, "the kernel offers it; broadcasts cost less".to_owned())
            }
            (Self::Auto, Some(error)) => {
                chosen(Self::Epoll, format!("no io_uring: {}", explained(&error)))
            }
            (Self::IoUring, None) => chosen(Self::IoUring, "as configured".to_owned()),
            (Self::IoUring, Some(error)) => Err(Error::Config {
                key: "io",
                what: format!(
                    "io_uring cannot be used here: {}; \"auto\" or \"epoll\" would work",
                    explained(&error)
                )
                .into(),
            }),
            (Self::Epoll, _) => chosen(Self::Epoll, "as configured".to_owned()),
        }
    }
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Epoll => "epoll",
            Self::IoUring => "io_uring",
        })
    }
}

impl std::str::FromStr for Io {
    type Err = Error;

    /// `auto`, `epoll`, `io_uring`.
    fn from_str(word: &str) -> Result<Self, Error> {
        let all = [Self::Auto, Self::Epoll, Self::IoUring];
        all.into_iter().find(|io| io.to_string() == word).ok_or_else(|| Error::Config {
            key: "io",
            what: format!("'{word}' is none of auto, epoll, io_uring").into(),
        })
    }
}

fn uring_refused_by(io: Io) -> Option<std::io::Error> {
    match io {
        Io::Epoll => None,
        Io::Auto | Io::IoUring => uring::probe().err(),
    }
}

/// What an error of the probe means to someone who runs a server.
fn explained(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match error.kind() {
        PermissionDenied => {
            format!("forbidden here, by a container's seccomp profile or a sysctl ({error})")
        }
        Unsupported => format!("this kernel was built without it, or it is forbidden ({error})"),
        InvalidInput => format!("this kernel is older than Linux 6.1 ({error})"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_choices_are_the_same() {
        for io in [Io::Auto, Io::Epoll, Io::IoUring] {
            assert_eq!(io.to_string().parse::<Io>().unwrap(), io);
        }
        assert!("uring".parse::<Io>().unwrap_err().to_string().contains("io_uring"));
    }

    #[test]
    fn epoll_is_never_refused_and_auto_always_finds_something() {
        assert_eq!(Io::Epoll.choose().unwrap().io, Io::Epoll);
        let chosen = Io::Auto.choose().unwrap();
        assert_ne!(chosen.io, Io::Auto);
        assert!(!chosen.reason.is_empty());
    }

    #[test]
    fn a_refusal_is_explained() {
        let error = std::io::Error::from_raw_os_error(1);
        assert!(explained(&error).contains("seccomp"));
    }
}
