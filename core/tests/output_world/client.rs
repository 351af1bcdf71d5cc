//! A client and what it may expect: parses the bytes it gets and holds them against what was said.

use std::collections::{BTreeMap, BTreeSet};

use fulmar::output::{ConnectionId, Position};
use fulmar_proto::ws::Opcode;

use super::toy;

const TEXT: u8 = Opcode::Text.bits();
const BINARY: u8 = Opcode::Binary.bits();
const CLOSE: u8 = Opcode::Close.bits();

/// A message as the world remembers it.
pub struct Said {
    pub at: u64,
    pub exclude: Option<ConnectionId>,
    pub len: usize,
}

/// A join as it was asked for.
#[derive(Clone, Copy)]
pub struct Asked {
    pub room: u32,
    pub tag: u32,
    pub is_positioned: bool,
    /// Replies asked for before.
    pub replies: u64,
}

/// Everything said and every join asked for, in order.
#[derive(Default)]
pub struct Record {
    pub said: Vec<Said>,
    pub joins: Vec<Asked>,
    /// Identities by room and epoch, in the home's order.
    pub numbered: BTreeMap<(u32, u32), Vec<u64>>,
    pub delivered: u64,
    pub gaps: u64,
    /// Whether anything may be missing at all.
    pub is_lossy: bool,
}

pub fn payload_byte(identity: u64, index: usize) -> u8 {
    (identity.wrapping_mul(2654435761).wrapping_add(index as u64 * 7)) as u8
}

struct Stream {
    acked_at: u64,
    epoch: Option<u32>,
    /// The next number, once there was one.
    next: Option<u64>,
    fresh: bool,
}

pub struct Client {
    pub id: ConnectionId,
    pub encoding: u8,
    pub replies_asked: u64,
    pub acks_asked: u64,
    pub pongs_asked: u64,
    pub data_accepted: u64,
    /// Whether it may move to a sealed group, whose markers may reach back.
    pub may_move: bool,
    /// Whether every message must be sealed from now on.
    pub is_sealed: bool,
    pub closed: bool,
    /// Messages received, and the rooms they came from.
    pub received: u64,
    pub heard: BTreeSet<u32>,
    /// Messages in envelopes.
    pub enveloped: u64,
    pub pongs: u64,
    replies: u64,
    acks: u64,
    data: u64,
    partial: Vec<u8>,
    streams: BTreeMap<(u32, u32), Stream>,
}

fn word(bytes: &[u8], index: usize) -> u64 {
    u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap())
}

fn half(bytes: &[u8], index: usize) -> u32 {
    u32::from_le_bytes(bytes[index * 4..index * 4 + 4].try_into().unwrap())
}

/// Opcode, bytes of the head and of the payload of the frame that begins `bytes`.
fn parse_head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0xf0, 0x80, "a frame's head is garbage: frames were interleaved");
    let (head, len) = match second {
        0..126 => (2, usize::from(second)),
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        _ => panic!("a masked frame: frames were interleaved"),
    };
    assert!(len < 100_000, "a frame's length is garbage: frames were interleaved");
    Some((first & 0x0f, head, len))
}

impl Client {
    pub fn new(id: ConnectionId, encoding: u8, is_sealed: bool) -> Self {
        Self {
            id,
            encoding,
            replies_asked: 0,
            acks_asked: 0,
            pongs_asked: 0,
            data_accepted: 0,
            may_move: false,
            is_sealed,
            closed: false,
            received: 0,
            heard: BTreeSet::new(),
            enveloped: 0,
            pongs: 0,
            replies: 0,
            acks: 0,
            data: 0,
            partial: Vec::new(),
            streams: BTreeMap::new(),
        }
    }

    pub fn receive(&mut self, bytes: &[u8], now: u64, record: &mut Record) {
        let mut partial = std::mem::take(&mut self.partial);
        partial.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((opcode, head, len)) = parse_head(&partial[at..]) {
            let Some(payload) = partial[at..].get(head..head + len) else {
                break;
            };
            assert!(!self.closed, "a frame after the close frame");
            match opcode {
                0xa => {
                    assert!(word(payload, 0) >= self.pongs, "pongs in order");
                    self.pongs = word(payload, 0) + 1;
                }
                CLOSE => self.closed = true,
                TEXT | BINARY if payload.first() == Some(&toy::SEALED) => {
                    self.is_sealed = true;
                    self.message(&toy::unseal(payload), now, record);
                }
                TEXT | BINARY => {
                    assert!(!self.is_sealed, "a plain message from a sealed connection");
                    self.message(payload, now, record);
                }
                _ => panic!("opcode {opcode}: frames were interleaved"),
            }
            at += head + len;
        }
        partial.drain(..at);
        self.partial = partial;
    }

    fn message(&mut self, message: &[u8], now: u64, record: &mut Record) {
        let (kind, body) = message.split_first().expect("an empty message");
        match *kind {
            toy::REPLY => {
                assert_eq!(word(body, 0), self.replies, "replies in order");
                assert!(word(body, 1) <= self.acks, "a reply overtakes an acknowledgement");
                self.replies += 1;
            }
            toy::DATA => {
                assert_eq!(word(body, 0), self.data, "data in order");
                self.data += 1;
            }
            toy::JOINED => self.joined(body, now, record),
            toy::LEFT => {
                self.acks += 1;
                self.streams.remove(&(word(body, 0) as u32, word(body, 1) as u32));
            }
            toy::MESSAGE => self.room_message(0, whole(message), record),
            toy::ENVELOPED => {
                self.enveloped += 1;
                let (tag, tail) = (half(body, 0), half(&body[body.len() - 4..], 0));
                assert_eq!(tail, !tag, "envelope's tail");
                let inner = &body[4..body.len() - 4];
                // Under even tags only the data is enveloped, but a marker is always whole.
                let is_whole = inner.first() == Some(&toy::MESSAGE);
                assert!(is_whole || tag % 2 == 0, "the whole body was asked for");
                self.room_message(tag, if is_whole { whole(inner) } else { inner }, record);
            }
            other => panic!("unknown kind {other}: frames were interleaved"),
        }
    }

    fn joined(&mut self, body: &[u8], now: u64, record: &Record) {
        let asked = record.joins[word(body, 1) as usize];
        assert!(self.replies >= asked.replies, "an acknowledgement overtakes a reply");
        if !asked.is_positioned {
            self.acks += 1;
        }
        let known = word(body, 3) != u64::MAX;
        assert!(known || !asked.is_positioned, "a position was asked for");
        let stream = Stream {
            acked_at: now,
            epoch: known.then_some(word(body, 2) as u32),
            next: known.then_some(word(body, 3)),
            fresh: true,
        };
        let old = self.streams.insert((asked.room, asked.tag), stream);
        assert!(old.is_none(), "two acknowledgements of one join");
    }

    fn room_message(&mut self, tag: u32, masked: &[u8], record: &mut Record) {
        let body: Vec<u8> = masked.iter().map(|byte| byte ^ self.encoding).collect();
        let (room, epoch) = (half(&body, 0), half(&body, 1));
        let (number, identity) = (word(&body, 1), word(&body, 2));
        let stream = self.streams.get_mut(&(room, tag)).expect("a message outside join and leave");
        let id = self.id;
        let is_gap = epoch & toy::GAP_BIT != 0;
        let epoch = epoch & !toy::GAP_BIT;
        assert_eq!(*stream.epoch.get_or_insert(epoch), epoch, "one epoch per membership");
        let order = &record.numbered[&(room, epoch)];
        let said = |number: u64| &record.said[order[number as usize] as usize];
        let excluded = |number: u64| said(number).exclude == Some(id);
        let early = |number: u64| said(number).at <= stream.acked_at;
        // Without words for gaps a hole can only be believed.
        let may_be_silent = self.encoding == toy::WORDLESS && record.is_lossy;
        match stream.next {
            Some(next) if is_gap && (stream.fresh || self.may_move) && number < next => {}
            Some(next) => {
                assert!(number >= next, "twice or out of order: {number} after {next}");
                let explained = (next..number).all(excluded) || may_be_silent;
                assert!(explained, "a silent gap: {next} to {number} in room {room}");
            }
            None => assert!(
                (0..number).all(|number| early(number) || excluded(number)) || may_be_silent,
                "said after the acknowledgement was seen and missing at the start: {number}"
            ),
        }
        stream.fresh = false;
        if is_gap {
            assert!(identity > number && identity <= order.len() as u64, "bounds of a gap");
            stream.next = Some(identity.max(stream.next.unwrap_or(0)));
            record.gaps += 1;
            return;
        }
        assert_eq!(order[number as usize], identity, "the home's order");
        assert!(!excluded(number), "an excluded member got its message");
        let payload = &body[toy::CORE..];
        assert_eq!(payload.len(), record.said[identity as usize].len, "length of a message");
        let mut bytes = payload.iter().enumerate();
        assert!(bytes.all(|(index, byte)| *byte == payload_byte(identity, index)), "bytes");
        stream.next = Some(number + 1);
        record.delivered += 1;
        self.received += 1;
        self.heard.insert(room);
    }

    /// When everything has been read: nothing may be missing at the end either.
    pub fn finish(
        &self,
        record: &Record,
        joined: &[(u32, u32)],
        position: impl Fn(u32) -> Position,
    ) {
        assert!(self.partial.is_empty(), "half a frame at the end");
        assert_eq!(self.replies, self.replies_asked, "a reply is missing");
        assert_eq!(self.data, self.data_accepted, "accepted data is missing");
        assert_eq!(self.pongs, self.pongs_asked, "the newest pong is missing");
        assert_eq!(self.acks, self.acks_asked, "an acknowledgement is missing");
        assert_eq!(self.streams.len(), joined.len(), "rooms joined");
        for (room, tag) in joined {
            let stream = &self.streams[&(*room, *tag)];
            let Position { epoch, number: next } = position(*room);
            assert_eq!(stream.epoch.unwrap_or(epoch), epoch, "the epoch of a living room");
            let none = Vec::new();
            let order = record.numbered.get(&(*room, epoch)).unwrap_or(&none);
            assert_eq!(order.len() as u64, next, "the journal is complete");
            let may_be_silent = self.encoding == toy::WORDLESS && record.is_lossy;
            for number in stream.next.unwrap_or(0)..next {
                let said = &record.said[order[number as usize] as usize];
                let early = stream.next.is_none() && said.at <= stream.acked_at;
                let excluded = said.exclude == Some(self.id);
                assert!(early || excluded || may_be_silent, "{number} is missing at the end");
            }
        }
    }
}

/// A whole message less its brackets.
fn whole(message: &[u8]) -> &[u8] {
    assert_eq!(message.last(), Some(&toy::MESSAGE_END), "the end of a message");
    &message[1..message.len() - 1]
}
