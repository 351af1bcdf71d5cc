//! Messages to sessions.

use fulmar_dialect::{Ask, Gate, Host, Message, Sent, Session, Tag};
use fulmar_driver::SocketId;
use fulmar_proto::ws::{Incoming, Scratch};

use super::connection::{ENDED, OWES, PAUSED_CALLS, PAUSED_MAILBOX, PAUSED_OUTPUT, Talk};
use super::effects::{PUBLISHED_BYTES_MAX, SessionHost};
use super::{Command, Shard, calling};
use crate::reason::Reason;

impl Shard {
    /// Bytes of an open connection, for now or for later.
    pub(super) fn on_more_bytes(&mut self, socket: SocketId, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get(socket) else { return };
        if connection.is_paused() {
            // Taken from the kernel before it was told to stop: what one turn brings, at most.
            self.stash(socket, bytes);
        } else {
            self.on_bytes(socket, bytes);
        }
    }

    /// Bytes of an open connection: decoded in place, each message to the session at once.
    pub(super) fn on_bytes(&mut self, socket: SocketId, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let Some(mut talk) = connection.take_talk() else { return };
        let mut scratch = self.scratch.take().unwrap_or_default();
        self.decode(socket, &mut talk, &mut scratch, bytes);
        self.scratch = Some(scratch);
        self.put_back(socket, talk);
    }

    fn decode(
        &mut self,
        socket: SocketId,
        talk: &mut Talk,
        scratch: &mut Scratch,
        mut bytes: &mut [u8],
    ) {
        let Some(connection) = self.connections.get(socket) else { return };
        let endpoint = usize::from(connection.endpoint);
        let limits = self.node.endpoints[endpoint].limits;
        loop {
            let Talk { decoder, session } = &mut *talk;
            match decoder.next(&mut bytes, scratch, &limits) {
                Ok(None) => return,
                Ok(Some(Incoming::Text(text))) => {
                    self.on_message(socket, session, Message::Text(text));
                }
                Ok(Some(Incoming::Binary(data))) => {
                    self.on_message(socket, session, Message::Binary(data));
                }
                Ok(Some(Incoming::Ping(payload))) => self.pong(socket, payload),
                Ok(Some(Incoming::Pong(_))) => {}
                Ok(Some(Incoming::Close(frame))) => {
                    let code = frame.as_ref().map(|frame| frame.code);
                    return self.close_by_peer(socket, session, code);
                }
                Err(error) => return self.close_for_error(socket, session, &error),
            }
            if !self.may_go_on(socket) {
                return self.stash(socket, bytes);
            }
        }
    }

    fn on_message(
        &mut self,
        socket: SocketId,
        session: &mut Option<Box<dyn Session>>,
        message: Message<'_>,
    ) {
        self.stats.messages_in += 1;
        if session.is_none() {
            self.open_claimed(socket, session, &message);
        }
        self.with_session(socket, session, |session, host| session.on_message(message, host));
    }

    /// Calls the session, then does what cannot be done while it is at work.
    pub(super) fn with_session(
        &mut self,
        socket: SocketId,
        session: &mut Option<Box<dyn Session>>,
        call: impl FnOnce(&mut dyn Session, &mut dyn Host),
    ) {
        let Some(at_work) = session.as_deref_mut() else { return };
        let mut host = SessionHost::new(self, socket);
        // Those of a session that is at work further out are not its.
        let others = host.replies();
        call(at_work, &mut host);
        while let Some((call, mut reply)) = host.next_reply(others) {
            at_work.on_reply(call, calling::lent(&mut reply), &mut host);
            host.dispose_of(reply);
        }
        if let Some((code, text)) = host.into_close() {
            self.close_by_server(socket, session, code, &text);
        }
    }

    /// The same for a session in the table.
    pub(super) fn with_talk(
        &mut self,
        socket: SocketId,
        call: impl FnOnce(&mut dyn Session, &mut dyn Host),
    ) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        let Some(mut talk) = connection.take_talk() else { return };
        self.with_session(socket, &mut talk.session, call);
        self.put_back(socket, talk);
    }

    fn put_back(&mut self, socket: SocketId, talk: Talk) {
        if let Some(connection) = self.connections.get_mut(socket) {
            connection.put_talk(talk);
        }
    }

    /// What a handle or handler wants of a client.
    pub(super) fn on_ask(&mut self, socket: SocketId, ask: Ask) {
        let is_open = self.connections.get(socket).is_some_and(super::Connection::is_open);
        match ask {
            Ask::Send { receipt: Some(receipt), .. } if !is_open => {
                receipt.settle(Ok(Sent::Dropped.name().into()));
            }
            // An ask for a connection that is gone is dropped, and its settler says so.
            ask => self.with_talk(socket, |session, host| session.on_ask(ask, host)),
        }
    }

    pub(super) fn on_delivered(&mut self, socket: SocketId, tag: u32, frames: u64) {
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        self.with_talk(socket, |session, host| session.on_delivered(Tag(tag), frames, host));
    }

    /// RFC 6455, 5.5.3: a pong with the ping's payload; of many that wait the newest is enough.
    fn pong(&mut self, socket: SocketId, payload: &[u8]) {
        self.stats.pings_in += 1;
        let mut frame = [0; 127];
        let head =
            fulmar_proto::ws::head(true, false, fulmar_proto::ws::Opcode::Pong, payload.len());
        let len = head.len() + payload.len();
        frame[..head.len()].copy_from_slice(&head);
        frame[head.len()..len].copy_from_slice(payload);
        // Refused only if the connection ends anyway.
        let _ending = self.output.pong(socket, &frame[..len]);
    }

    /// Whether more of this connection's input may be handled now; if not, receiving stops.
    fn may_go_on(&mut self, socket: SocketId) -> bool {
        let Some(connection) = self.connections.get_mut(socket) else { return false };
        if !connection.is_open() {
            return false;
        }
        let endpoint = &self.node.endpoints[usize::from(connection.endpoint)];
        let was_paused = connection.is_paused();
        // Its own queue only: how far it lags in rooms is no reason not to hear it.
        if self.output.queued(socket) > endpoint.pause_bytes {
            if !connection.flags.set(PAUSED_OUTPUT, true) {
                // From now on counts when it last took something.
                connection.deadlines.received(self.now);
            }
            self.stuck.push(socket);
            self.arm(socket);
        }
        let Some(connection) = self.connections.get_mut(socket) else { return false };
        if let Some(lane) = self.lanes.get(connection.lane() as usize) {
            let is_full = lane.waiting() >= self.node.config.limits.calls_queued_max;
            connection.flags.set(PAUSED_CALLS, is_full);
        }
        if connection.is_paused() && !was_paused {
            self.stats.paused += 1;
            self.commands.push((socket, Command::StopRecv));
        }
        !connection.is_paused()
    }

    /// Keeps input for later: what one turn brought, at most.
    fn stash(&mut self, socket: SocketId, rest: &[u8]) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.is_open() && !rest.is_empty() {
            connection.extras_mut().stash.extend_from_slice(rest);
        }
    }

    /// Goes on with a connection for which a reason to pause has gone.
    pub(super) fn resume(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.is_paused() || !connection.is_open() {
            return;
        }
        if connection.extras().is_some_and(|extras| !extras.stash.is_empty()) {
            let mut stash = std::mem::take(&mut connection.extras_mut().stash);
            self.on_bytes(socket, &mut stash);
        }
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.is_paused() {
            return; // again, within the stash; the command to stop was given or still holds
        }
        if connection.is_open() {
            self.commands.push((socket, Command::StartRecv));
            if connection.flags.has(ENDED) {
                self.lost(socket, fulmar_driver::CloseCause::Reset);
            }
        }
    }

    /// After the flush, and when the kernel took something: connections whose output was stuck.
    pub(super) fn look_at_stuck(&mut self) {
        for socket in std::mem::take(&mut self.stuck) {
            let Some(connection) = self.connections.get_mut(socket) else { continue };
            if !connection.flags.has(PAUSED_OUTPUT.or(OWES)) {
                continue;
            }
            let endpoint = self.node.endpoints.get(usize::from(connection.endpoint));
            let low = endpoint.map_or(0, |endpoint| endpoint.pause_bytes / 2);
            if self.output.queued(socket) <= low {
                connection.flags.set(OWES, false);
                if connection.flags.set(PAUSED_OUTPUT, false) {
                    self.arm(socket);
                    self.resume(socket);
                }
            }
        }
        self.pay_owed();
        self.look_at_throttled();
    }

    /// A backlog that was over its limit has drained.
    pub(super) fn on_drained(&mut self, socket: SocketId) {
        self.stats.drained += 1;
        self.run_hook(socket, Gate::Drain);
    }

    /// A room's home had no room for a publication: whoever made it waits.
    pub(super) fn on_publication_refused(&mut self, socket: SocketId) {
        self.stats.reasons.bump(Reason::DroppedMailbox);
        self.throttle(socket);
    }

    /// Stops hearing a publisher until the next turn, or longer where mailboxes are full.
    pub(super) fn throttle(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.is_open() && !connection.flags.set(PAUSED_MAILBOX, true) {
            self.throttled.push(socket);
            self.commands.push((socket, Command::StopRecv));
        }
    }

    fn look_at_throttled(&mut self) {
        if self.throttled.is_empty() || self.node.posts.iter().any(|post| post.is_half_full()) {
            return;
        }
        let mut waiting = std::mem::take(&mut self.throttled).into_iter();
        while self.output.outbound_bytes() <= PUBLISHED_BYTES_MAX {
            let Some(socket) = waiting.next() else { break };
            if let Some(connection) = self.connections.get_mut(socket) {
                connection.flags.set(PAUSED_MAILBOX, false);
                self.resume(socket);
            }
        }
        // Those that had no turn come before those that just had one.
        let again = std::mem::replace(&mut self.throttled, waiting.collect());
        self.throttled.extend(again);
    }
}
