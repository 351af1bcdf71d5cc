//! The part of HTTP/1.1 (RFC 9110, RFC 9112) that leads to a WebSocket (RFC 6455, 4), and a little
//! more: request heads, the upgrade, refusals, small responses, bounded request bodies.
//!
//! Reading is strict, because a lenient reader behind (or before) a stricter one is how requests
//! get smuggled: lines end in CRLF, nothing folds, names touch their colons, there is one `Host`,
//! and one way to tell a body's length.
//!
//! ```
//! use fulmar_proto::http::{self, HeadLimits, HeadScanner};
//!
//! let mut received = Vec::new();
//! http::write_upgrade_request(
//!     &mut received, "localhost", "/chat?room=1", "dGhlIHNhbXBsZSBub25jZQ==", Some("json"), None,
//! );
//!
//! let limits = HeadLimits::default();
//! let mut scanner = HeadScanner::default();
//! let end = scanner.scan(&received, &limits)?.expect("the whole head is here");
//! let request = http::parse(&received[..end], &limits)?;
//! let upgrade = http::upgrade(&request)?;
//! let subprotocol = http::choose_subprotocol(upgrade.subprotocols(), &["json"]);
//!
//! let mut answer = Vec::new();
//! http::write_switching_protocols(&mut answer, upgrade.key(), subprotocol, None);
//! let (response, _) = http::parse_response(&answer)?.expect("the whole head is here");
//! assert_eq!(response.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
//! # Ok::<(), http::HttpError>(())
//! ```

mod body;
mod client;
mod error;
mod request;
mod response;
mod scanner;
mod syntax;
mod upgrade;

pub use body::{Body, BodyLength, Fed};
pub use client::{Response, parse_response, write_upgrade_request};
pub use error::HttpError;
pub use request::{Request, parse};
pub use response::{reason_phrase, write_refusal, write_response, write_switching_protocols};
pub use scanner::{HeadLimits, HeadScanner};
pub use upgrade::{Upgrade, accept_key, choose_subprotocol, upgrade};
