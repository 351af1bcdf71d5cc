//! The thread of a connection: makes it when it is wanted, reads it, keeps its timers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fulmar_proto::ProtocolError;
use fulmar_proto::ws::{Decoder, Incoming, MessageLimits, Opcode, Role, Scratch, close};

use crate::clock;
use crate::error::{ClientError, ConnectionError};
use crate::handshake::{self, is_wait};
use crate::lane::{Lane, Tend};
use crate::link::Link;
use crate::mailbox::{Mailbox, Put};
use crate::session::Delivery;
use crate::socket::Socket;
use crate::url::Target;
use crate::wire;

const READ_BYTES: usize = 16 << 10;

/// The longest a read blocks: what has no deadline is looked after now and then.
const READ_MAX: Duration = Duration::from_secs(3600);
/// The same while something else is waited for, too.
const LOOK: Duration = Duration::from_millis(50);

/// A socket after its handshake, and what has come since.
type Connected = (Arc<dyn Socket>, Vec<u8>);

/// The thread's life.
pub(crate) fn run(lane: &Arc<Lane>) {
    let _farewell = Farewell(lane);
    while lane.wait_until_wanted() {
        match connect(lane) {
            Ok(Some((socket, early))) => {
                if let Some((link, epoch)) = lane.open(&socket) {
                    Reader { lane, link, epoch, leaving: None }.run(early);
                    lane.note_read();
                }
            }
            // Whoever waits now has come since, and has a connection of his own coming.
            Ok(None) => {}
            Err(error) => lane.fail_all(&error),
        }
    }
}

/// However the thread ends, everybody is told.
struct Farewell<'a>(&'a Lane);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        self.0.note_end();
    }
}

/// Tries all targets in order, once there is a turn; nothing if nobody wants it any more.
fn connect(lane: &Lane) -> Result<Option<Connected>, ConnectionError> {
    let settings = &lane.settings;
    let Some(_turn) = settings.slots.acquire(|| lane.is_unwanted()) else { return Ok(None) };
    let mut failure = ConnectionError::connect("there is no URL", "");
    for target in &settings.targets {
        if lane.is_unwanted() {
            return Ok(None);
        }
        lane.log(format_args!("connecting to {target}"));
        match connect_to(lane, target) {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                lane.log(format_args!("{error}"));
                failure = error;
            }
        }
    }
    Err(failure)
}

fn connect_to(lane: &Lane, target: &Target) -> Result<Option<Connected>, ConnectionError> {
    let options = &lane.settings.options;
    let timeout = options.connect_timeout;
    let socket = options.connector.connect(target, timeout).map_err(|error| {
        let message = format!("cannot connect to {target}: {error}");
        ConnectionError::connect(message, "is the server up, and are host and port right?")
    })?;
    let is_unwanted = || lane.is_unwanted();
    let shaken = handshake::shake(&*socket, target, &options.headers, timeout, &is_unwanted);
    if !matches!(shaken, Ok(Some(_))) {
        socket.shutdown();
    }
    Ok(shaken?.map(|early| (socket, early)))
}

/// What reads one connection.
struct Reader<'a> {
    lane: &'a Lane,
    link: Arc<Link>,
    epoch: u64,
    /// Until when the server may confirm our close.
    leaving: Option<Instant>,
}

/// There is nothing more to read.
struct Over;

impl Reader<'_> {
    fn run(&mut self, mut early: Vec<u8>) {
        let limits = MessageLimits {
            message_bytes_max: self.lane.settings.options.message_bytes_max,
            frame_bytes_max: self.lane.settings.options.message_bytes_max,
            ..MessageLimits::default()
        };
        let mut decoder = Decoder::new(Role::Client, None);
        let mut scratch = Scratch::default();
        let mut buffer = vec![0; READ_BYTES];
        let mut result = self.take(&mut early, &mut decoder, &mut scratch, &limits);
        drop(early);
        while result.is_ok() {
            result = self.read(&mut buffer).and_then(|count| {
                let received = buffer.get_mut(..count).unwrap_or_default();
                self.take(received, &mut decoder, &mut scratch, &limits)
            });
        }
        self.link.shutdown();
    }

    /// Waits for bytes; none if it is only time to look at the clock again.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Over> {
        let wait = self.tend()?;
        let socket = self.link.socket();
        match socket.set_read_timeout(wait).and_then(|()| socket.read(buffer)) {
            Ok(0) => {
                self.lose("the server is gone");
                Err(Over)
            }
            Ok(count) => {
                self.lane.note_received(self.epoch);
                Ok(count)
            }
            Err(error) if is_wait(&error) => Ok(0),
            Err(error) => {
                self.lose(&error.to_string());
                Err(Over)
            }
        }
    }

    /// Looks after the timers. Says how long the next read may take.
    fn tend(&mut self) -> Result<Duration, Over> {
        let until = match self.lane.tend(self.epoch) {
            Tend::ReadUntil(until) => until.map_or(READ_MAX, clock::until).min(READ_MAX),
            Tend::Over { is_wanted: true } => return Err(Over),
            Tend::Over { is_wanted: false } => {
                let timeout = self.lane.settings.options.close_timeout;
                let until = match self.leaving {
                    Some(until) => until,
                    None => *self.leaving.insert(clock::after(timeout).ok_or(Over)?),
                };
                let left = clock::until(until);
                if left.is_zero() {
                    return Err(Over);
                }
                left.min(LOOK)
            }
        };
        // Zero is refused by the system.
        Ok(until.max(Duration::from_millis(1)))
    }

    fn take(
        &self,
        mut received: &mut [u8],
        decoder: &mut Decoder,
        scratch: &mut Scratch,
        limits: &MessageLimits,
    ) -> Result<(), Over> {
        loop {
            match decoder.next(&mut received, scratch, limits) {
                Ok(None) => return Ok(()),
                Ok(Some(message)) => self.message(message)?,
                Err(error) => {
                    self.refuse(error.close_code(), &protocol_fault(error));
                    return Err(Over);
                }
            }
        }
    }

    fn message(&self, message: Incoming<'_>) -> Result<(), Over> {
        match message {
            Incoming::Text(text) => {
                self.lane.log_frame('<', text);
                match wire::parse(text) {
                    Ok(Some((id, reply))) => {
                        let delivery = self.lane.reply(self.epoch, id, reply);
                        self.deliver(id, delivery);
                    }
                    Ok(None) => {}
                    Err(wire::Unreadable) => {
                        self.refuse(close::INVALID_PAYLOAD, "the server sent what cannot be read");
                        return Err(Over);
                    }
                }
            }
            Incoming::Binary(_) => {
                self.refuse(close::UNSUPPORTED, "the server sent a binary message");
                return Err(Over);
            }
            Incoming::Ping(payload) => {
                self.link.enqueue_answer(Opcode::Pong, payload);
                // A failure cuts the connection, which the next read notices.
                let _ = self.link.flush();
            }
            Incoming::Pong(_) => {}
            Incoming::Close(frame) => {
                let code = frame.map(|frame| frame.code);
                let bytes = code.map(u16::to_be_bytes);
                self.link.enqueue(Opcode::Close, bytes.as_ref().map_or(&[], |bytes| &bytes[..]));
                let _ = self.link.flush();
                let reason = frame.map_or("", |frame| frame.reason);
                self.lane.fail(self.epoch, &ConnectionError::closed(code, reason));
                return Err(Over);
            }
        }
        Ok(())
    }

    fn deliver(&self, id: u64, delivery: Delivery<'_, Arc<Mailbox>>) {
        match delivery {
            Delivery::Nothing => {}
            Delivery::Item(mailbox, json) => self.put(id, &mailbox, &json),
            Delivery::Answer(mailbox, json) => {
                mailbox.put(&json);
                mailbox.end(Ok(()));
            }
            Delivery::End(mailbox) => {
                mailbox.end(Ok(()));
            }
            Delivery::Failure(mailbox, error) => {
                mailbox.end(Err(ClientError::Request(error)));
            }
        }
    }

    /// Puts an item where it belongs, and reads nothing until there is room for it.
    fn put(&self, id: u64, mailbox: &Mailbox, json: &str) {
        if mailbox.put(json) != Put::Full {
            return;
        }
        self.lane.log(format_args!("paused: the items of call {id} are not taken"));
        let mut since = clock::now();
        loop {
            mailbox.wait_for_room(json.len(), LOOK);
            if mailbox.put(json) != Put::Full {
                break;
            }
            let others_wait = self.lane.note_paused(self.epoch, true);
            if !others_wait {
                since = clock::now();
            }
            let most = self.lane.settings.options.stream_pause_max;
            if clock::now().saturating_duration_since(since) >= most {
                mailbox.end(Err(ClientError::Overflow));
                self.lane.cancel(Lane::ticket(self.epoch, id));
                break;
            }
            if matches!(self.lane.tend(self.epoch), Tend::Over { .. }) {
                break;
            }
        }
        self.lane.note_paused(self.epoch, false);
    }

    /// Closes a connection over which came what may not come.
    fn refuse(&self, code: u16, fault: &str) {
        self.link.enqueue(Opcode::Close, &code.to_be_bytes());
        let _ = self.link.flush();
        self.lose(fault);
    }

    fn lose(&self, fault: &str) {
        let error = ConnectionError::lost(format!("lost connection: {fault}"));
        self.lane.fail(self.epoch, &error);
    }
}

fn protocol_fault(error: ProtocolError) -> String {
    match error {
        ProtocolError::MessageTooBig | ProtocolError::FrameTooBig => {
            "the server sent a message longer than `message_bytes_max`".to_owned()
        }
        _ => format!("the server broke the protocol: {error}"),
    }
}
