//! What is told of clients: to whoever asks by way of a [`Hub`](crate::Hub).

use fulmar_dialect::Description;
use fulmar_driver::SocketId;

use super::Shard;
use crate::connection::Connection as Handle;
use crate::hub::{Client, Facts, Of};

impl Shard {
    /// Those of this shard; only connections with ids are told of.
    pub(super) fn describe(&self, of: &Of) -> Vec<Client> {
        let sockets = match of {
            Of::One(connection) if connection.shard == self.id => vec![connection.socket],
            Of::One(_) => Vec::new(),
            Of::Room(room) => self.output.members_in(room),
            Of::All => self.connections.ids(),
        };
        sockets.into_iter().filter_map(|socket| self.client(socket)).collect()
    }

    fn client(&self, socket: SocketId) -> Option<Client> {
        let connection = self.connections.get(socket).filter(|connection| connection.is_open())?;
        if connection.id() == 0 {
            return None;
        }
        let lane = self.lanes.get(connection.lane() as usize)?;
        let handle = Handle::from_erased(&lane.connection)?;
        let mut description = Description::default();
        connection.session.as_ref()?.describe(&mut description);
        let endpoint = self.node.endpoints.get(usize::from(connection.endpoint))?;
        let silent = connection.deadlines.silent_for(self.now);
        let facts = Facts {
            id: handle.id(),
            address: handle.peer_address(),
            connected_at: handle.opened_at(),
            last_activity: self.clock.wall_milliseconds().saturating_sub(silent),
            is_backpressured: self.output.queued(socket) > endpoint.pause_bytes,
        };
        Some(Client::new(description, facts))
    }
}
