//! Receiving: one operation per socket that goes on until it is called back or the peer ends.

use std::collections::VecDeque;

use io_uring::{cqueue, opcode, types};

use super::UringDriver;
use super::buffers::GROUP;
use super::ring::Completion;
use super::socket::Reading;
use super::tag::{Operation, tag};
use crate::{Event, EventHandler, SocketId, system};

/// Sockets resumed in one poll after the buffers ran out: a few more than can be served, since one
/// that finds none again has cost a completion for nothing.
const FED_AT_ONCE: usize = 8;

/// The queue for buffers: whoever waits longest is first, whoever had something in this poll is
/// last, so that the others have their share however much one has to say.
#[derive(Debug, Default)]
pub(super) struct Hungry {
    queue: VecDeque<SocketId>,
    /// In this poll, without having received anything in it.
    unfed: Vec<SocketId>,
    /// In this poll, after having received something.
    fed: Vec<SocketId>,
}

impl Hungry {
    fn add(&mut self, id: SocketId, had_its_share: bool) {
        let list = if had_its_share { &mut self.fed } else { &mut self.unfed };
        list.push(id);
    }

    /// Those who were resumed and found nothing go back to the front.
    fn line_up(&mut self) {
        self.unfed.drain(..).rev().for_each(|id| self.queue.push_front(id));
        self.queue.extend(self.fed.drain(..));
    }

    fn next(&mut self) -> Option<SocketId> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl UringDriver {
    /// Asks for everything the socket receives from now on.
    pub(super) fn read(&mut self, id: SocketId) {
        let Some(socket) = self.live(id) else { return };
        socket.reading = Reading::Armed;
        let receive = opcode::RecvMulti::new(types::Fd(socket.stream.raw()), GROUP);
        self.push(&receive.build().user_data(tag(Operation::Receive, id)));
    }

    pub(super) fn received(
        &mut self,
        id: SocketId,
        completion: Completion,
        handler: &mut impl EventHandler,
    ) {
        let Completion { result, flags, .. } = completion;
        let buffer = cqueue::buffer_select(flags);
        if let (Some(buffer), Ok(len @ 1..)) = (buffer, usize::try_from(result)) {
            let turn = self.turn;
            let is_live = self.live(id).map(|socket| socket.fed = turn).is_some();
            let bytes = self.buffers.filled(buffer, len);
            if is_live {
                handler.on_event(Event::Received { socket: id, bytes });
            }
        }
        // The kernel says so while it goes on with what is left of the buffer.
        if let Some(buffer) = buffer.filter(|_| !cqueue::buffer_more(flags)) {
            self.buffers.recycle(buffer);
        }
        if !cqueue::more(flags) {
            self.reading_ended(id, result, handler);
        }
    }

    /// The operation is over: at the end of the stream, after an error, because it was called back,
    /// or because the kernel ran out of buffers.
    fn reading_ended(&mut self, id: SocketId, result: i32, handler: &mut impl EventHandler) {
        let turn = self.turn;
        if let Some(socket) = self.sockets.get_mut(id.index as usize) {
            socket.reading = Reading::Idle;
        }
        let Some(socket) = self.live(id) else {
            return self.finish_closing(id);
        };
        match -result {
            0 if socket.stream.receiving => {
                socket.stream.ended = true;
                handler.on_event(Event::Ended { socket: id });
            }
            libc::ENOBUFS if socket.stream.receiving => {
                let had_its_share = socket.fed == turn;
                self.hungry.add(id, had_its_share);
            }
            // Nobody wants to know now; who resumes is told again.
            0 | libc::ECANCELED | libc::ENOBUFS | libc::EINTR | libc::EAGAIN | ..0 => {
                if socket.stream.receiving {
                    self.read(id);
                } else {
                    self.leave_unwatched(id);
                }
            }
            error => self.fail(id, std::io::Error::from_raw_os_error(error).into()),
        }
    }

    /// Resumes some of the sockets that found no buffer.
    pub(super) fn feed_the_hungry(&mut self) {
        self.hungry.line_up();
        for _ in 0..FED_AT_ONCE {
            let Some(id) = self.hungry.next() else { break };
            let Some(socket) = self.live(id) else { continue };
            if socket.stream.receiving && socket.reading == Reading::Idle && !socket.stream.ended {
                self.read(id);
            }
        }
    }

    /// Nobody reads this socket, so nobody would find out that it broke.
    pub(super) fn leave_unwatched(&mut self, id: SocketId) {
        let Some(socket) = self.live(id) else { return };
        if !std::mem::replace(&mut socket.is_unwatched, true) {
            self.unwatched.push(id);
        }
    }

    /// Asks the kernel to tell of the end of sockets that are still not read. Most are by now: a
    /// connection is read from the turn it was accepted in.
    pub(super) fn watch_the_unwatched(&mut self) {
        let mut unwatched = std::mem::take(&mut self.unwatched);
        for id in unwatched.drain(..) {
            let Some(socket) = self.live(id) else { continue };
            socket.is_unwatched = false;
            if socket.reading != Reading::Idle || socket.is_watched || socket.stream.ended {
                continue;
            }
            socket.is_watched = true;
            // Errors and the end of both directions are always told of.
            let poll = opcode::PollAdd::new(types::Fd(socket.stream.raw()), 0);
            self.push(&poll.build().user_data(tag(Operation::Watch, id)));
        }
        self.unwatched = unwatched;
    }

    pub(super) fn watch_ended(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id.index as usize) {
            socket.is_watched = false;
        }
        let Some(socket) = self.live(id) else {
            return self.finish_closing(id);
        };
        if socket.reading != Reading::Idle {
            return; // whoever reads is told
        }
        // Without an error the peer has only ended; who resumes reading is told.
        if let Some(error) = system::take_error(socket.stream.raw()) {
            self.fail(id, error.into());
        }
    }
}
