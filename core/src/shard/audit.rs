//! What tests ask a shard about itself.

use super::Shard;
use super::connection::{AT_WORK, Stage};

impl Shard {
    /// Checks that tables agree and limits are kept.
    pub(crate) fn audit(&self, slack: u64) -> Result<(), String> {
        self.output.audit()?;
        let ids = self.connections.ids();
        check(ids.len() == self.connections.len(), "count of connections")?;
        check(self.output.connection_count() == ids.len(), "a connection without an output")?;
        let mut pending = 0;
        for socket in ids {
            let Some(connection) = self.connections.get(socket) else { continue };
            pending += usize::from(connection.stage == Stage::Request);
            check(!connection.flags.has(AT_WORK), "a session outside its connection")?;
            let is_open = connection.is_open();
            check(is_open || connection.session.is_none(), "a session that has outlived its end")?;
            let stash = connection.extras().map_or(0, |extras| extras.stash.len());
            check(stash == 0 || connection.is_paused(), "input left behind")?;
            let Some(endpoint) = self.node.endpoints.get(usize::from(connection.endpoint)) else {
                continue;
            };
            let profile = self.node.profiles.get(usize::from(endpoint.profile.0));
            let limit = profile.map_or(0, |profile| u64::from(profile.backlog_bytes_max));
            // Answers and control frames are never dropped for data; they have four times as much.
            check(self.output.backlog(socket) <= limit * 4 + slack, "a backlog over its limit")?;
        }
        check(pending == self.pending, "count of requests awaited")
    }

    /// Checks that nothing is left.
    pub(crate) fn audit_empty(&self) -> Result<(), String> {
        self.output.audit_empty()?;
        check(self.connections.len() == 0, "a connection is left")?;
        check(self.lanes.is_empty(), "a call is left")?;
        check(self.wheel.is_empty(), "a timer is left")?;
        check(self.departed_locals.is_empty() && self.seals.is_empty(), "a value is left")?;
        check(self.owed.is_empty() && self.throttled.is_empty(), "a wait is left")?;
        check(self.pending == 0, "a request is left")
    }
}

fn check(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}
