//! Every way a connection ends.
//!
//! In order: the session is told once; what it still says goes out; then the close frame, our FIN,
//! and a wait for the peer's end, because closing a socket with unread input would turn our last
//! bytes into a reset. The hook for the end of a connection comes after all its calls.

use fulmar_dialect::{Dialect, Gate, Session};
use fulmar_driver::{CloseCause, SocketId};
use fulmar_proto::ProtocolError;
use fulmar_proto::ws::{close, write_close};

use super::connection::{ENDED, Stage};
use super::effects::SessionHost;
use super::{Command, Shard, Stopping};
use crate::output::Finish;
use crate::reason::Reason;
use crate::worker::Job;

impl Shard {
    /// A reason of the server's own.
    pub(super) fn end(&mut self, socket: SocketId, reason: Reason) {
        let key = reason.key();
        let text = if key.is_empty() {
            reason.code().to_owned()
        } else {
            format!("{} ({key})", reason.code())
        };
        let (code, text) = match self.close_words(socket, reason) {
            Some((code, words)) => (code, words.to_owned()),
            None => (reason.told(), text),
        };
        let mut session = self.take_session(socket);
        self.finish(socket, &mut session, reason, code, &text, Finish::AfterReplies);
    }

    /// A session, a handler or the embedder wants it.
    pub(super) fn close_by_server(
        &mut self,
        socket: SocketId,
        session: &mut Option<Box<dyn Session>>,
        code: u16,
        text: &str,
    ) {
        let named = self.dialect_of(socket).and_then(|dialect| dialect.close_reason(code));
        let reason = match named.and_then(Reason::by_code) {
            Some(reason) => reason,
            None if code == close::POLICY => Reason::PolicyViolation,
            None => Reason::ClosedByServer,
        };
        let code = if close::is_valid(code) { code } else { close::NORMAL };
        self.finish(socket, session, reason, code, text, Finish::AfterReplies);
    }

    /// The peer sent a close frame: answered with its own code (RFC 6455, 5.5.1).
    pub(super) fn close_by_peer(
        &mut self,
        socket: SocketId,
        session: &mut Option<Box<dyn Session>>,
        code: Option<u16>,
    ) {
        self.tell_end(socket, session, false);
        self.depart(socket, Reason::ClosedByPeer);
        let mut frame = Vec::with_capacity(4);
        match code {
            Some(code) => write_close(&mut frame, code, ""),
            None => fulmar_proto::ws::write_frame(&mut frame, fulmar_proto::ws::Opcode::Close, &[]),
        }
        self.last_words(socket, &frame, Finish::AfterReplies);
    }

    /// The peer broke a rule (RFC 6455, 7.1.7).
    pub(super) fn close_for_error(
        &mut self,
        socket: SocketId,
        session: &mut Option<Box<dyn Session>>,
        error: &ProtocolError,
    ) {
        let reason = match error.close_code() {
            close::INVALID_PAYLOAD => Reason::InvalidText,
            close::TOO_BIG => Reason::MessageTooBig,
            close::POLICY => Reason::TooManyFragments,
            _ => Reason::ProtocolError,
        };
        let words = self.close_words(socket, reason);
        let (code, text) = words.unwrap_or_else(|| (error.close_code(), error.reason()));
        self.finish(socket, session, reason, code, text, Finish::AfterReplies);
    }

    /// What the connection's protocol says instead of the server's own words.
    fn close_words(&self, socket: SocketId, reason: Reason) -> Option<(u16, &'static str)> {
        self.dialect_of(socket)?.close_words(reason.code())
    }

    /// The protocol that a connection speaks, once it is open.
    fn dialect_of(&self, socket: SocketId) -> Option<&dyn Dialect> {
        let connection = self.connections.get(socket)?;
        let endpoint = self.node.endpoints.get(usize::from(connection.endpoint))?;
        endpoint.dialects.get(connection.dialect()).map(|(dialect, _)| &**dialect)
    }

    /// The output side has closed it with 1013 already.
    pub(super) fn on_slow_closed(&mut self, socket: SocketId) {
        let mut session = self.take_session(socket);
        self.tell_end(socket, &mut session, true);
        self.depart(socket, Reason::SlowConsumer);
        self.wait_for_end(socket);
    }

    /// The last bytes have been handed to the kernel: our FIN, then the peer's is awaited, if it
    /// has not come already.
    pub(super) fn on_finished(&mut self, socket: SocketId) {
        let has_ended = self.connections.get(socket).is_none_or(|c| c.flags.has(ENDED));
        let command = if has_ended { Command::Close } else { Command::Shutdown };
        self.commands.push((socket, command));
    }

    /// The peer's FIN.
    pub(super) fn on_ended(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.flags.set(ENDED, true);
        match connection.stage {
            // What it sent before comes first.
            Stage::Open if connection.is_paused() => {}
            // Our last words are on their way: `on_finished` goes on, or the deadline.
            Stage::Closing if self.output.queued(socket) > 0 => {}
            Stage::Request | Stage::Open | Stage::Closing => {
                self.lost(socket, CloseCause::Reset);
            }
        }
    }

    /// The peer is gone, with or without the driver's word that the socket is.
    pub(super) fn lost(&mut self, socket: SocketId, cause: CloseCause) {
        let Some(connection) = self.connections.get(socket) else { return };
        match connection.stage {
            Stage::Request => self.depart(socket, Reason::NoRequest),
            Stage::Open => {
                let mut session = self.take_session(socket);
                self.tell_end(socket, &mut session, false);
                self.depart(socket, Reason::Lost);
            }
            Stage::Closing => {}
        }
        if cause != CloseCause::Requested {
            self.commands.push((socket, Command::Close));
        }
    }

    /// Accept nothing more and close every connection.
    pub(super) fn stop(&mut self, restarting: bool) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { restarting, is_cut: false });
        self.stop_listening = true;
        for socket in self.connections.ids() {
            match self.connections.get(socket).map(|connection| connection.stage) {
                Some(Stage::Open) => self.end(socket, self.stop_reason()),
                Some(Stage::Request) => self.refuse(socket, Reason::Draining, None),
                Some(Stage::Closing) | None => {}
            }
        }
    }

    /// Let go of what is left.
    pub(super) fn cut(&mut self) {
        self.stop(false);
        if let Some(stopping) = &mut self.stopping {
            stopping.is_cut = true;
        }
        let ids = self.connections.ids();
        self.commands.extend(ids.into_iter().map(|socket| (socket, Command::Close)));
    }

    fn stop_reason(&self) -> Reason {
        match self.stopping {
            Some(Stopping { restarting: true, .. }) => Reason::Restarting,
            Some(Stopping { restarting: false, .. }) | None => Reason::Stopping,
        }
    }

    fn finish(
        &mut self,
        socket: SocketId,
        session: &mut Option<Box<dyn Session>>,
        reason: Reason,
        code: u16,
        text: &str,
        mode: Finish,
    ) {
        let Some(connection) = self.connections.get(socket) else { return };
        if !connection.is_open() {
            return;
        }
        self.tell_end(socket, session, true);
        self.depart(socket, reason);
        let mut frame = Vec::with_capacity(4 + text.len());
        write_close(&mut frame, code, text);
        self.last_words(socket, &frame, mode);
    }

    /// Queues the last bytes of a connection, a close frame or an HTTP response.
    pub(super) fn last_words(&mut self, socket: SocketId, bytes: &[u8], mode: Finish) {
        self.output.finish(socket, bytes, mode);
        self.wait_for_end(socket);
    }

    fn wait_for_end(&mut self, socket: SocketId) {
        self.set_stage_deadline(socket, self.node.config.timeouts.close);
        // A peer that was not read must be: its close frame and its end are awaited.
        self.commands.push((socket, Command::StartRecv));
    }

    /// Tells the session that it is over, once, and drops it.
    fn tell_end(&mut self, socket: SocketId, session: &mut Option<Box<dyn Session>>, by_us: bool) {
        let Some(mut session) = session.take() else { return };
        let mut host = SessionHost::new(self, socket);
        session.on_close(by_us, &mut host);
        drop(host);
        if session.is_plain() {
            drop(session);
        } else {
            self.node.pool.submit(Job::Dispose(Box::new(session)));
        }
    }

    /// Counts the connection out of its stage, cancels its calls and runs the hook for its end.
    pub(super) fn depart(&mut self, socket: SocketId, reason: Reason) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let was_open = connection.is_open();
        self.pending -= usize::from(connection.stage == Stage::Request);
        let id = connection.id();
        let (lane, endpoint) = (connection.end(), connection.endpoint);
        self.stats.reasons.bump(reason);
        self.seals.remove(socket);
        self.compressors.forget(socket);
        if id != 0 {
            self.node.directory.remove(id);
            self.node.cluster.client(id, false);
        }
        if was_open {
            self.stats.closed += 1;
            self.stats.open -= 1;
        }
        // A request that a guard looks at has a lane too, but has never been connected.
        self.close_lane(lane, endpoint, was_open);
    }

    /// Stops the calls of a connection that is gone; its hook comes last.
    fn close_lane(&mut self, key: u32, endpoint: u16, was_open: bool) {
        let Some(lane) = self.lanes.get_mut(key as usize) else { return };
        let (dropped, socket) = (lane.close(), lane.socket);
        if !lane.is_empty() {
            let due = self.now.after(self.node.config.timeouts.stop);
            self.outliving.push_back((due, key, socket));
        }
        if !dropped.is_empty() {
            self.node.pool.submit(Job::Dispose(Box::new(dropped)));
        }
        let Some(lane) = self.lanes.get_mut(key as usize) else { return };
        let handle = crate::connection::Connection::from_erased(&lane.connection);
        let local = handle.and_then(|handle| handle.end());
        let endpoint_of = self.node.endpoints.get(usize::from(endpoint));
        let has_hook = endpoint_of.is_some_and(|endpoint| endpoint.has_gate(Gate::Disconnect));
        if was_open && has_hook {
            self.enqueue_hook(key, endpoint, Gate::Disconnect);
        }
        if let Some(local) = local {
            self.departed_locals.insert(key, local);
        }
        self.pump(key);
    }

    /// What goes on after the end of its connection has its time, as a stop has.
    pub(super) fn cut_outliving(&mut self) {
        while let Some((_, key, socket)) = self.outliving.pop_front_if(|next| next.0 <= self.now) {
            let Some(lane) = self.lanes.get_mut(key as usize) else { continue };
            // Its key may be another connection's by now.
            if !lane.closed || lane.socket != socket {
                continue;
            }
            let dropped = lane.cut();
            if !dropped.is_empty() {
                self.node.pool.submit(Job::Dispose(Box::new(dropped)));
            }
            self.pump(key);
        }
    }

    fn take_session(&mut self, socket: SocketId) -> Option<Box<dyn Session>> {
        let connection = self.connections.get_mut(socket)?;
        connection.session.take()
    }
}
