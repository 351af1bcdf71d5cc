//! Who a client is, and which rooms it may join.
//!
//! Every dialect hands the credential that its client sent to one [`Chain`] of
//! [`Authenticator`]s and gets one [`Identity`] or one [`Refusal`] back. Nothing here knows about
//! sockets or shards, and nothing here blocks the caller: what needs the network (key sets by URL,
//! callbacks) runs on threads of its own.
//!
//! | module | what is in it |
//! |---|---|
//! | [`attempt`] | [`Attempt`], [`ConnectionFacts`]: what an authenticator is given |
//! | [`chain`] | [`Authenticator`], [`Chain`]: several, of which the first that accepts wins |
//! | [`refusal`] | [`Refusal`]: why a credential was refused, with a static name for counters |
//! | [`setup`] | [`SetupError`]: what is wrong with a configuration |
//! | [`tokens`] | [`StaticTokens`]: tokens listed in the configuration |
//! | [`jwt`] | [`JwtVerifier`], [`KeySet`], [`JwksSource`]: JSON Web Tokens (RFC 7519) |
//! | [`callback`] | [`Callbacks`]: an HTTP service that answers for identities and rooms |
//! | [`pool`] | [`Pool`]: threads that send JSON to HTTP services |
//! | [`patterns`] | [`RoomPatterns`]: `join = ["chat:*", "user:{user_id}"]` |
//! | [`source`] | [`TokenSource`]: where an upgrade request carries its token |
//! | [`encode`] | [`SigningKey`]: makes tokens, for tests and the command line |
//!
//! Three rules hold everywhere: no URL is fetched and no key is chosen because of what an
//! unverified token says; a key is bound to one algorithm when it is loaded; no error, counter or
//! `Debug` output has the text of a token or of a secret in it.
#![forbid(unsafe_code)]

pub mod attempt;
pub mod callback;
pub mod chain;
mod clock;
pub mod encode;
mod entropy;
mod http;
mod json;
pub mod jwt;
pub mod patterns;
pub mod pool;
pub mod refusal;
pub mod setup;
pub mod source;
pub mod tokens;

pub use attempt::{Attempt, ConnectionFacts};
pub use callback::{CallbackOptions, CallbackStatus, Callbacks};
pub use chain::{Authenticator, Chain, Done};
pub use encode::SigningKey;
pub use fulmar_dialect::Identity;
pub use jwt::{
    Algorithm, JwksOptions, JwksSource, JwksStatus, JwtOptions, JwtVerifier, KeySet, Keys,
    VerifyingKey,
};
pub use patterns::{PatternError, Prepared, RoomPatterns};
pub use pool::{HttpAnswer, Pool, PoolOptions, PoolStatus, Service, Unanswered};
pub use refusal::Refusal;
pub use setup::SetupError;
pub use source::TokenSource;
pub use tokens::StaticTokens;
