//! Which connection has which id: for those that are sent to, asked about or left out by id.
//!
//! Touched when a connection opens or ends and when somebody is addressed by id; never by a message
//! to a room.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use crate::output::ConnectionId;

/// Connections by id. In parts, so that shards that accept at the same time seldom wait.
#[derive(Debug, Default)]
pub(crate) struct Directory([Mutex<Part>; PARTS]);

type Part = HashMap<u128, ConnectionId, RandomState>;

const PARTS: usize = 16;

impl Directory {
    /// Enters a connection.
    pub(crate) fn insert(&self, id: u128, connection: ConnectionId) {
        self.part(id).insert(id, connection);
    }

    /// Strikes a connection out.
    pub(crate) fn remove(&self, id: u128) {
        let mut part = self.part(id);
        part.remove(&id);
        if part.capacity() > 64 && part.len() < part.capacity() / 8 {
            let len = part.len();
            part.shrink_to(len * 2);
        }
    }

    /// The connection with this id, if it is on this node.
    pub(crate) fn find(&self, id: &str) -> Option<ConnectionId> {
        let id = parse(id)?;
        self.part(id).get(&id).copied()
    }

    fn part(&self, id: u128) -> MutexGuard<'_, Part> {
        // Ids are random: any bits do. Nothing panics while a part is held.
        let index = usize::try_from(id % PARTS as u128).unwrap_or(0);
        self.0[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A UUID in its usual form, in lower case as ours are (RFC 9562, 4), as bits.
pub(crate) fn parse(id: &str) -> Option<u128> {
    let bytes: &[u8; 36] = id.as_bytes().try_into().ok()?;
    let mut bits = 0_u128;
    for (position, byte) in bytes.iter().enumerate() {
        match (position, byte) {
            (8 | 13 | 18 | 23, b'-') => {}
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => bits = bits << 4 | u128::from(byte - b'0'),
            (_, b'a'..=b'f') => bits = bits << 4 | u128::from(byte - b'a' + 10),
            _ => return None,
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use fulmar_dialect::uuid_text;
    use fulmar_driver::SocketId;

    use super::*;

    #[test]
    fn ids_are_parsed_as_they_are_written() {
        let id = 0xa925_b2a5_d553_4033_ac90_5690_237d_a265;
        assert_eq!(parse(&uuid_text(id)), Some(id));
        let text = "a925b2a5-d553-4033-ac90-5690237da265";
        for wrong in ["", "lobby", &text[1..], &text.replace('-', "_"), &text.to_uppercase()] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_connection_is_found_until_it_is_struck_out() {
        let directory = Directory::default();
        let connection = ConnectionId { shard: 3, socket: SocketId { index: 7, generation: 9 } };
        directory.insert(5, connection);
        assert_eq!(directory.find(&uuid_text(5)), Some(connection));
        directory.remove(5);
        assert_eq!(directory.find(&uuid_text(5)), None);
    }
}
