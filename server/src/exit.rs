//! The exit codes of the binary: one place, so that scripts and supervisors can rely on them.

use std::process::ExitCode;

/// Why the process ends, as the shell sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Code {
    /// 0: a clean stop, or a command that succeeded.
    Clean,
    /// 1: a failure while running, such as a lost listener.
    Failure,
    /// 2: wrong usage of a command, found after its words were read (`EX_USAGE` in spirit).
    Usage,
    /// 69: something that was needed for the start is not there (`EX_UNAVAILABLE`).
    Unavailable,
    /// 70: a fault of the program itself (`EX_SOFTWARE`).
    Internal,
    /// 75: the graceful stop ran out of time and connections were cut (`EX_TEMPFAIL`).
    DrainTimedOut,
    /// 77: the system refused: a privileged port, an unreadable file (`EX_NOPERM`).
    Permission,
    /// 78: the configuration is invalid (`EX_CONFIG`).
    Configuration,
}

impl Code {
    /// The number the shell sees.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::DrainTimedOut => 75,
            Self::Permission => 77,
            Self::Configuration => 78,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// A failure that ends the process: what to print after `error: `, and the code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code to exit with.
    pub(crate) code: Code,
    /// What happened and what to do, without the leading `error: `.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with a code and a message.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The failure to open a listener, with advice where the cause is a common one.
    pub(crate) fn cannot_listen(address: std::net::SocketAddr, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (code, advice) = match error.kind() {
            ErrorKind::PermissionDenied => (
                Code::Permission,
                "Run with CAP_NET_BIND_SERVICE, or set listen to a port above 1023.",
            ),
            ErrorKind::AddrInUse => {
                (Code::Failure, "Stop what is using the port, or set listen to another one.")
            }
            ErrorKind::AddrNotAvailable => {
                (Code::Failure, "Set listen to an address of this machine.")
            }
            _ => (Code::Failure, "See listen in the configuration."),
        };
        Self::new(code, format!("cannot listen on {address}: {error}. {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_privileged_port_is_a_permission_failure_with_advice() {
        let address = "0.0.0.0:443".parse().unwrap();
        let failure = Failure::cannot_listen(address, &Error::from(ErrorKind::PermissionDenied));
        assert_eq!(failure.code.number(), 77);
        assert!(failure.message.starts_with("cannot listen on 0.0.0.0:443: permission denied."));
        assert!(failure.message.contains("CAP_NET_BIND_SERVICE"));
    }
}
