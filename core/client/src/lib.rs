//! Calls alien-rpc servers: requests, notifications, subscriptions.
//!
//! ```no_run
//! use fulmar_client::{Client, ClientOptions, Subscription};
//!
//! # fn main() -> Result<(), fulmar_client::ClientError> {
//! let client = Client::new("http://127.0.0.1:9000/api", ClientOptions::default())?;
//! let sum: i64 = client.request("add", (2, 3))?;
//! client.notify("logEvent", ("user_action", sum))?;
//! let numbers: Subscription<u64> = client.subscribe("count", (3, 10))?;
//! for number in numbers {
//!     println!("{}", number?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Client`] makes calls from any number of threads, each of which waits for its own. It has one
//!   connection, made by the first call (see [`ClientOptions::pool`] for more), and one thread for
//!   it; there is no async runtime.
//! - Every call ends: with the server's answer, or with a [`ClientError`] that says why there is
//!   none. Calls whose connection fails are tried again, see [`Retry`].
//! - [`Client::call`] gives one call a timeout, retries or a [`CancelToken`] of its own. Whatever
//!   is given up, the server is told to stop it.
//! - [`Connector`] opens sockets; an own one brings TLS, proxies or Unix sockets.
#![forbid(unsafe_code)]

mod call;
mod cancel;
mod client;
mod clock;
mod entropy;
mod error;
mod handshake;
mod lane;
mod link;
mod mailbox;
mod options;
mod reader;
mod session;
mod slots;
mod socket;
mod subscription;
mod url;
mod wire;

pub use cancel::CancelToken;
pub use client::{Call, Client};
pub use error::{ClientError, ConnectionError, ConnectionErrorKind, Json, RequestError};
pub use options::{ClientOptions, Logger, Retry, StreamOverflow};
pub use slots::ReconnectSlots;
pub use socket::{Connector, Socket, TcpConnector};
pub use subscription::Subscription;
pub use url::Target;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_subscriptions_go_from_thread_to_thread() {
        fn check<T: Send + Sync>() {}
        check::<Client>();
        check::<CancelToken>();
        check::<ClientError>();
        check::<Subscription<std::rc::Rc<u8>>>();
    }
}
