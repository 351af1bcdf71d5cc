//! What happens when time has passed.

use std::time::Duration;

use fulmar_driver::SocketId;
use fulmar_proto::ws::{Opcode, head};

use super::connection::{PAUSED_OUTPUT, Stage};
use super::deadlines::{Due, Mark, Silence};
use super::{Command, Shard};
use crate::clock::{Tick, Time};
use crate::connection::Connection as Handle;
use crate::reason::Reason;

impl Shard {
    /// Phase 3.
    pub(crate) fn on_tick(&mut self, now: Time) {
        self.now = now.tick();
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(self.now, &mut fired);
        for index in fired.drain(..) {
            if let Some(socket) = self.connections.id(index) {
                self.look_at_deadlines(socket);
                self.arm(socket);
            }
        }
        self.fired = fired;
        self.cut_outliving();
    }

    /// Puts the connection's next deadline into the wheel.
    pub(super) fn arm(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get(socket) else { return };
        let silence = self.silence(socket);
        match connection.deadlines.next(self.now, silence, connection.wanted()) {
            Some(due) => self.wheel.arm(socket.index, due),
            None => self.wheel.disarm(socket.index),
        }
    }

    pub(super) fn set_session_deadline(&mut self, socket: SocketId, after: Option<Duration>) {
        let due = after.map(|after| self.now.after(after));
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.extras_mut().session_due = due.map_or_else(Mark::default, Mark::at);
            connection.tidy();
        }
        self.arm(socket);
    }

    /// Ends the connection when what its client proved itself with expires, unless it proves itself
    /// again before: in milliseconds since 1970.
    pub(super) fn set_expiry(&mut self, socket: SocketId, expires: Option<u64>) {
        /// Marks reach no further; who stays longer is looked at again.
        const FURTHEST: Duration = Duration::from_hours(365 * 24);
        let wall = self.clock.wall_milliseconds();
        let left = |expires: u64| Duration::from_millis(expires.saturating_sub(wall));
        let due = expires.map(|expires| self.now.after(left(expires).min(FURTHEST)));
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.extras_mut().expires = due.map_or_else(Mark::default, Mark::at);
            connection.tidy();
        }
        self.arm(socket);
    }

    /// Sees to it that the calls of a lane end in time.
    pub(super) fn await_calls(&mut self, key: u32) {
        let Some(lane) = self.lanes.get(key as usize) else { return };
        let (socket, due) = (lane.socket, lane.next_due());
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.extras_mut().calls_due = due.map_or_else(Mark::default, Mark::at);
            connection.tidy();
        }
        self.arm(socket);
    }

    fn on_expiry(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get(socket) else { return };
        let lane = self.lanes.get(connection.lane() as usize);
        let handle = lane.and_then(|lane| Handle::from_erased(&lane.connection));
        let expires = handle.and_then(|handle| handle.identity()?.expires);
        match expires.filter(|expires| *expires > self.clock.wall_milliseconds()) {
            Some(later) => self.set_expiry(socket, Some(later)),
            None => self.end(socket, Reason::TokenExpired),
        }
    }

    /// Gives the stage, in which the connection is not open, a deadline from now on.
    pub(super) fn set_stage_deadline(&mut self, socket: SocketId, after: Duration) {
        let due = self.now.after(after);
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.deadlines.set_stage(Some(due));
        }
        self.arm(socket);
    }

    fn silence(&self, socket: SocketId) -> Option<Silence> {
        let connection = self.connections.get(socket)?;
        if !connection.is_open() {
            return None;
        }
        let endpoint = self.node.endpoints.get(usize::from(connection.endpoint))?;
        if connection.flags.has(PAUSED_OUTPUT) {
            // It is not read because it does not read: its turn. A ping would wait behind the rest,
            // so that it takes anything at all is its sign of life; see `on_progress`.
            let pong = self.node.config.timeouts.pong;
            let stuck = endpoint.ping_interval.map(|ping| ping + pong.unwrap_or(ping));
            return Some(Silence { idle: stuck.or(endpoint.idle).map(ticks), ping: None });
        }
        // Another connection that we do not read cannot be blamed for its silence.
        let idle = endpoint.idle.filter(|_| !connection.is_paused());
        Some(Silence { idle: idle.map(ticks), ping: endpoint.ping_interval.map(ticks) })
    }

    fn look_at_deadlines(&mut self, socket: SocketId) {
        let silence = self.silence(socket);
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let is_read = !connection.is_paused();
        let is_stuck = connection.flags.has(PAUSED_OUTPUT);
        let is_request = connection.stage == Stage::Request;
        match connection.deadlines.due(self.now, silence, connection.wanted()) {
            None => {}
            Some(Due::Stage) if is_request => self.refuse(socket, Reason::HandshakeTimeout, None),
            Some(Due::Stage) => {
                self.stats.reasons.bump(Reason::CloseTimeout);
                connection.deadlines.set_stage(None);
                self.commands.push((socket, Command::Close));
            }
            Some(Due::Pong) if is_read => self.end(socket, Reason::PongTimeout),
            // Its pong may be among what we did not read.
            Some(Due::Pong) => connection.deadlines.received(self.now),
            Some(Due::Idle) if is_stuck => self.end(socket, Reason::SlowConsumer),
            Some(Due::Idle) => self.end(socket, Reason::IdleTimeout),
            Some(Due::Ping) => self.ping(socket),
            Some(Due::Expiry) => self.on_expiry(socket),
            Some(Due::Calls) => self.stop_overdue_calls(socket),
            Some(Due::Session) => {
                connection.extras_mut().session_due = Mark::default();
                connection.tidy();
                self.with_talk(socket, |session, host| session.on_deadline(host));
            }
        }
    }

    /// RFC 6455, 5.5.2.
    fn ping(&mut self, socket: SocketId) {
        let (pong, now) = (self.node.config.timeouts.pong, self.now);
        let Some(connection) = self.connections.get_mut(socket) else { return };
        match pong {
            Some(pong) => connection.deadlines.set_pong(now.after(pong)),
            // The next ping follows after the same silence.
            None => connection.deadlines.received(now),
        }
        // Refused only if the connection ends anyway.
        let _ending = self.output.control(socket, &head(true, false, Opcode::Ping, 0));
    }
}

fn ticks(duration: Duration) -> u64 {
    Tick::default().after(duration).0
}
