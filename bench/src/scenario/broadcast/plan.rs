//! What is to be published, and to whom.

use std::sync::Arc;

use super::super::Manner;
use crate::cli::Protocol;
use crate::frames::STAMP_BYTES;
use crate::target::Target;

/// A resolved `broadcast`.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where members connect.
    pub(crate) members_at: Arc<Target>,
    /// Where publishers connect.
    pub(crate) publishers_at: Arc<Target>,
    /// Number of rooms.
    pub(crate) rooms: u32,
    /// Members of each that read.
    pub(crate) members: u32,
    /// Members of each that do not.
    pub(crate) stuck: u32,
    /// Messages under way per room.
    pub(crate) window: u32,
    /// Whether publishers get their own messages.
    pub(crate) publisher_hears: bool,
    /// Published messages per second over all rooms, in an open loop.
    pub(crate) rate: Option<f64>,
    /// Bytes of payload.
    pub(crate) size: usize,
    /// What the server speaks.
    pub(crate) protocol: Protocol,
    /// Whether to time the first and the last receiver of every message.
    pub(crate) bursts: bool,
    /// Whether nothing is published at all.
    pub(crate) silent: bool,
    /// How the threads are run.
    pub(crate) manner: Manner,
}

impl Plan {
    /// One room with one member, to be changed as needed.
    ///
    /// # Errors
    /// An address is wrong, in words.
    pub(crate) fn one_room(url: &str, publish_url: Option<&str>) -> Result<Self, String> {
        let members_at = Arc::new(Target::parse(url)?);
        let publishers_at = match publish_url {
            Some(url) => Arc::new(Target::parse(url)?),
            None => members_at.clone(),
        };
        Ok(Self {
            members_at,
            publishers_at,
            rooms: 1,
            members: 1,
            stuck: 0,
            window: 1,
            publisher_hears: false,
            rate: None,
            size: 64,
            protocol: Protocol::Websocket,
            bursts: false,
            silent: false,
            manner: Manner::default(),
        })
    }

    /// Connections in all.
    pub(crate) fn connections(&self) -> u64 {
        u64::from(self.rooms) * u64::from(self.seats_per_room())
    }

    /// Connections of one room, its publisher the last of them.
    pub(crate) fn seats_per_room(&self) -> u32 {
        self.members + self.stuck + 1
    }
}

/// Refuses plans that make no sense.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn check(plan: &Plan) -> Result<(), String> {
    if plan.rooms == 0 || plan.window == 0 || plan.members == 0 {
        return Err("there is nothing to do with 0 rooms, members or messages".to_owned());
    }
    if plan.rooms > 1 && !(plan.members_at.has_rooms() && plan.publishers_at.has_rooms()) {
        return Err("several rooms need a `{room}` in the address".to_owned());
    }
    if plan.size < STAMP_BYTES {
        return Err(format!("a message needs {STAMP_BYTES} bytes to be known again (--size)"));
    }
    if plan.protocol == Protocol::Nats
        && [&plan.members_at, &plan.publishers_at].iter().any(|at| at.subject(0).is_empty())
    {
        return Err("the last segment of the address has to name a NATS subject".to_owned());
    }
    if plan.window > 1 << 20 {
        return Err("a window has at most 1,048,576 messages".to_owned());
    }
    Ok(())
}
