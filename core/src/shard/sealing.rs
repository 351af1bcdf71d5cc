//! Connections whose every message passes through a seal: on a worker, one at a time, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use fulmar_dialect::Seal;
use fulmar_driver::SocketId;
use fulmar_proto::ws::{Opcode, write_frame};

use super::Shard;
use crate::mailbox::Mail;
use crate::output::Ticket;
use crate::worker::Job;

/// The messages of one connection that wait for their seal.
#[derive(Debug)]
pub(super) struct Sealing {
    seal: Arc<dyn Seal>,
    /// Whether one of its messages is with a worker.
    busy: bool,
    waiting: VecDeque<(Ticket, bool, Vec<u8>)>,
}

impl Shard {
    /// From here on nothing leaves the connection unsealed.
    pub(super) fn set_seal(&mut self, socket: SocketId, seal: Arc<dyn Seal>) {
        self.output.set_sealed(socket);
        self.seals.insert(socket, Sealing { seal, busy: false, waiting: VecDeque::new() });
    }

    pub(super) fn is_sealed(&self, socket: SocketId) -> bool {
        !self.seals.is_empty() && self.seals.contains_key(&socket)
    }

    /// Keeps the message's place in the connection's order and has it sealed.
    pub(super) fn send_sealed(&mut self, socket: SocketId, is_binary: bool, payload: &[u8]) {
        // Refused only if the connection ends anyway.
        if let Ok(ticket) = self.output.reserve(socket, payload.len()) {
            self.seal(socket, ticket, is_binary, payload.to_vec());
        }
    }

    pub(super) fn seal(
        &mut self,
        socket: SocketId,
        ticket: Ticket,
        is_binary: bool,
        bytes: Vec<u8>,
    ) {
        let Some(sealing) = self.seals.get_mut(&socket) else { return };
        sealing.waiting.push_back((ticket, is_binary, bytes));
        self.seal_next(socket);
    }

    /// A worker brought one back.
    pub(super) fn on_sealed(&mut self, socket: SocketId, ticket: Ticket, frame: Vec<u8>) {
        self.output.fill(socket, ticket, frame);
        if let Some(sealing) = self.seals.get_mut(&socket) {
            sealing.busy = false;
        }
        self.seal_next(socket);
    }

    fn seal_next(&mut self, socket: SocketId) {
        let Some(sealing) = self.seals.get_mut(&socket).filter(|sealing| !sealing.busy) else {
            return;
        };
        let Some((ticket, is_binary, bytes)) = sealing.waiting.pop_front() else { return };
        sealing.busy = true;
        let (seal, post, node) = (sealing.seal.clone(), self.post.clone(), self.node.clone());
        self.node.pool.submit(Job::Run(Box::new(move |_| {
            let mut entropy = (node.entropy)();
            let mut out = Vec::with_capacity(bytes.len() + 64);
            let is_sealed = seal.seal(&bytes, &mut |random| entropy.fill(random), &mut out);
            let message = if is_sealed { &out } else { &bytes };
            let opcode = if is_binary { Opcode::Binary } else { Opcode::Text };
            let mut frame = Vec::with_capacity(message.len() + 10);
            write_frame(&mut frame, opcode, message);
            // Never refused; a shard that is gone misses nothing.
            let _gone = post.post(Mail::Sealed { socket, ticket, frame });
        })));
    }
}
