//! Requests whose endpoint has a guard: held until it has made up its mind, answered then.
//!
//! The guard is a call like any other, on workers, and may take as long as a request may take. Of
//! the request everything is checked before it is asked; the answer is ready.

use fulmar_dialect::{CallError, Gate, OpenRequest, Verdict};
use fulmar_driver::SocketId;

use super::connection::{Asked, PAUSED_ADMISSION, Stage};
use super::{Command, Shard};
use crate::connection::Connection as Handle;
use crate::reason::Reason;
use crate::worker::OwnedReply;

impl Shard {
    /// Asks the endpoint's guard about a request. Its lane has been made.
    pub(super) fn ask_guard(&mut self, socket: SocketId, asked: Asked) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.endpoint = u16::try_from(asked.endpoint).unwrap_or(u16::MAX);
        connection.flags.set(PAUSED_ADMISSION, true);
        let Some(request) = connection.request_mut() else { return };
        request.asked = Some(Box::new(asked));
        self.commands.push((socket, Command::StopRecv));
        self.run_hook(socket, Gate::Upgrade);
    }

    /// Frames that were under way when the request was put aside: what one turn brings.
    pub(super) fn keep_for_later(&mut self, socket: SocketId, bytes: &[u8]) -> bool {
        let connection = self.connections.get_mut(socket);
        let asked = connection.and_then(|c| c.request_mut()).and_then(|r| r.asked.as_mut());
        if let Some(asked) = asked {
            asked.rest.extend_from_slice(bytes);
            return true;
        }
        false
    }

    /// The guard has made up its mind.
    pub(super) fn on_guard_reply(&mut self, socket: SocketId, reply: &OwnedReply) {
        let Some(connection) = self.connections.get_mut(socket) else { return };
        if connection.stage != Stage::Request {
            return; // it took too long
        }
        let Some(asked) = connection.request_mut().and_then(|request| request.asked.take()) else {
            return;
        };
        connection.flags.set(PAUSED_ADMISSION, false);
        match reply {
            OwnedReply::Verdict(Verdict::Accepted(identity)) => {
                self.identify(socket, identity);
                self.let_in(socket, *asked);
            }
            OwnedReply::Error(error) => self.refuse(socket, refusal(error), None),
            _ => {
                let challenge = ("WWW-Authenticate", "Bearer");
                self.refuse(socket, Reason::Unauthorized, Some(challenge));
            }
        }
    }

    fn let_in(&mut self, socket: SocketId, asked: Asked) {
        let Asked { endpoint: index, answer, subprotocol, deflate, mut rest } = asked;
        if self.output.reply_with(socket, |out| out.extend_from_slice(&answer)).is_err() {
            return;
        }
        let Some(connection) = self.connections.get_mut(socket) else { return };
        connection.extras_mut().deflate = deflate;
        let lane = self.lanes.get(connection.lane() as usize);
        let Some(handle) = lane.and_then(|lane| Handle::from_erased(&lane.connection)) else {
            return;
        };
        let node = self.node.clone();
        let Some(endpoint) = node.endpoints.get(index) else { return };
        with_request(&handle, subprotocol.as_deref(), &endpoint.main, |request| {
            self.open(socket, index, request);
        });
        let is_open = self.connections.get(socket).is_some_and(super::Connection::is_open);
        if is_open {
            self.commands.push((socket, Command::StartRecv));
        }
        if is_open && !rest.is_empty() {
            self.on_more_bytes(socket, &mut rest);
        }
    }
}

/// The request of a connection that is known by its handle.
pub(super) fn with_request<R>(
    handle: &Handle,
    subprotocol: Option<&str>,
    main: &fulmar_dialect::Object,
    work: impl FnOnce(&OpenRequest<'_>) -> R,
) -> R {
    let headers: Vec<(&str, &str)> = handle.headers().collect();
    let parameters: Vec<(&str, &str)> = handle.parameters().collect();
    let identity = handle.identity();
    work(&OpenRequest {
        path: handle.path(),
        query: handle.query(),
        parameters: &parameters,
        headers: &headers,
        subprotocol,
        peer: handle.peer_address(),
        id: handle.id_bits(),
        identity: identity.as_ref(),
        link: handle.link(),
        main,
    })
}

/// A guard's error says with its code whose fault it is.
fn refusal(error: &CallError) -> Reason {
    match error.code {
        Some(401) => Reason::Unauthorized,
        Some(403) => Reason::Forbidden,
        _ => Reason::GuardUnavailable,
    }
}
