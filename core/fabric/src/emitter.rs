//! Sending to a cluster from outside: from a shell, a job, another service.

use std::fmt;
use std::time::Duration;

use redis::ProtocolVersion;

use crate::address::Address;
use crate::clock;
use crate::envelope::{self, Kind, Letter};
use crate::link::describe;

/// The `serverId` of every emitter, which no node takes for its own.
pub const EMITTER_SERVER_ID: &str = "emitter";

const NAME: &str = "WebSocketEmitter";
const CONNECT_TIME: Duration = Duration::from_secs(2);
const RESPONSE_TIME: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// Publishes to the nodes of a cluster over one connection. Blocking; each call returns after
/// Redis answered.
pub struct Emitter {
    addresses: Vec<Address>,
    /// `None` after a failure; the next call connects again.
    connection: Option<redis::Connection>,
}

impl Emitter {
    /// Connects to the first of `urls` that answers, trying for as long as `wait` (30 s is usual).
    /// The connection is named `WebSocketEmitter`.
    ///
    /// # Errors
    /// [`EmitError::Address`] at once, [`EmitError::NotReady`] after `wait`.
    pub fn connect<S: AsRef<str>>(urls: &[S], wait: Duration) -> Result<Self, EmitError> {
        let addresses =
            Address::parse_all(urls).map_err(|(index, why)| EmitError::Address { index, why })?;
        let begin = clock::now();
        loop {
            match open_any(&addresses) {
                Ok(connection) => {
                    return Ok(Self { addresses, connection: Some(connection) });
                }
                Err(why) if clock::now() - begin >= wait => {
                    return Err(EmitError::NotReady { waited: wait, why });
                }
                Err(_) => clock::pause(PAUSE.min(wait)),
            }
        }
    }

    /// Sends to one connection. `data` is JSON text. Returns how many nodes (and other listeners)
    /// Redis passed it to; in a Redis Cluster only those of the node that answered are counted.
    ///
    /// # Errors
    /// [`EmitError::Data`] when `data` is no JSON; [`EmitError::Redis`] when Redis failed, and then
    /// the message may or may not have been sent.
    pub fn client(&mut self, client: &str, event: &str, data: &str) -> Result<u64, EmitError> {
        self.send(Kind::Client, client, event, data, &[])
    }

    /// Sends to all connections of a user; otherwise as [`client`](Self::client).
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn user(&mut self, user: &str, event: &str, data: &str) -> Result<u64, EmitError> {
        self.send(Kind::User, user, event, data, &[])
    }

    /// Sends to the members of a room, except for the clients in `exclude`; otherwise as
    /// [`client`](Self::client).
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn room(
        &mut self,
        room: &str,
        event: &str,
        data: &str,
        exclude: &[&str],
    ) -> Result<u64, EmitError> {
        self.send(Kind::Room, room, event, data, exclude)
    }

    /// Sends to everyone; otherwise as [`client`](Self::client).
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn all(&mut self, event: &str, data: &str) -> Result<u64, EmitError> {
        self.send(Kind::Broadcast, "", event, data, &[])
    }

    /// Says goodbye to Redis.
    pub fn shutdown(mut self) {
        if let Some(connection) = &mut self.connection {
            let _ = redis::cmd("QUIT").exec(connection);
        }
    }

    fn send(
        &mut self,
        kind: Kind,
        target: &str,
        event: &str,
        data: &str,
        exclude: &[&str],
    ) -> Result<u64, EmitError> {
        if kind != Kind::Broadcast && target.is_empty() {
            return Err(EmitError::Target);
        }
        if !envelope::is_json(data) {
            return Err(EmitError::Data);
        }
        let exclude: Vec<Box<str>> = exclude.iter().map(|&id| Box::from(id)).collect();
        let letter = Letter { kind, target, event, data: Some(data), exclude: &exclude };
        let (mut channel, mut message) = (Vec::new(), Vec::new());
        kind.write_channel(target, &mut channel);
        envelope::encode(EMITTER_SERVER_ID, &letter, &mut message);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => open_any(&self.addresses).map_err(EmitError::Redis)?,
        };
        let publish = redis::cmd("PUBLISH").arg(&channel[..]).arg(&message[..]).take();
        let receivers =
            publish.query(&mut connection).map_err(|error| EmitError::Redis(describe(error)))?;
        self.connection = Some(connection);
        Ok(receivers)
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// The first address that answers, or what came of all.
fn open_any(addresses: &[Address]) -> Result<redis::Connection, String> {
    let mut failures = Vec::new();
    for address in addresses {
        match open(address) {
            Ok(connection) => return Ok(connection),
            Err(error) => failures.push(format!("{}: {}", address.label(), describe(error))),
        }
    }
    Err(failures.join("; "))
}

fn open(address: &Address) -> redis::RedisResult<redis::Connection> {
    let client = address.client(ProtocolVersion::RESP2)?;
    let mut connection = client.get_connection_with_timeout(CONNECT_TIME)?;
    connection.set_read_timeout(Some(RESPONSE_TIME))?;
    connection.set_write_timeout(Some(RESPONSE_TIME))?;
    let named = redis::cmd("CLIENT").arg("SETNAME").arg(NAME).exec(&mut connection);
    // A name may be forbidden; that does no harm.
    if let Err(error) = named
        && error.is_unrecoverable_error()
    {
        return Err(error);
    }
    redis::cmd("PING").exec(&mut connection)?;
    Ok(connection)
}

/// Why an emitter could not send. Texts never contain passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmitError {
    /// An address cannot be used.
    Address {
        /// Its place in `urls`, from 0.
        index: usize,
        /// The reason.
        why: String,
    },
    /// Redis was not there in time.
    NotReady {
        /// How long was waited.
        waited: Duration,
        /// What was tried, and what came of it.
        why: String,
    },
    /// The data is no JSON, or nested too deeply.
    Data,
    /// The client, user or room is empty.
    Target,
    /// Redis failed; the message may or may not have been sent.
    Redis(String),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { index, why } => write!(f, "Redis address {}: {why}", index + 1),
            Self::NotReady { waited, why } => {
                let waited = waited.as_millis();
                write!(f, "Redis did not become ready within {waited} ms ({why})")
            }
            Self::Data => f.write_str("the data is not valid JSON"),
            Self::Target => f.write_str("the client, user or room to send to is empty"),
            Self::Redis(why) => write!(f, "Redis failed: {why}"),
        }
    }
}

impl std::error::Error for EmitError {}
