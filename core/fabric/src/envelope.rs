//! The JSON envelope that travels through Redis, byte for byte that of IGNIS.
//!
//! `{"serverId":"..","type":"room","target":"lobby","event":"chat","data":{..},"exclude":["id"]}`:
//! the keys in this order, absent ones left out. Whoever may publish to Redis may write anything,
//! so [`decode`] takes its input for hostile.

use sonic_rs::{JsonValueTrait, LazyValue};

/// Arrays and objects within each other that a message may have.
pub const NESTING_MAX: usize = 128;

/// To whom a letter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One connection.
    Client,
    /// All connections of one user.
    User,
    /// The members of a room.
    Room,
    /// Everyone.
    Broadcast,
}

/// A message to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter<'a> {
    /// To whom it goes.
    pub kind: Kind,
    /// The client's, user's or room's name; empty for [`Kind::Broadcast`].
    pub target: &'a str,
    /// What the receivers get as `event`.
    pub event: &'a str,
    /// What the receivers get as `data`: JSON text, taken as it is. `None` leaves the key out.
    pub data: Option<&'a str>,
    /// Identities of the clients that get nothing.
    pub exclude: &'a [Box<str>],
}

/// A message from another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// To whom it goes.
    pub kind: Kind,
    /// The client's, user's or room's name; empty for [`Kind::Broadcast`].
    pub target: Box<str>,
    /// The event's name; may be empty.
    pub event: Box<str>,
    /// Valid JSON text as it was sent; `None` when the key was absent, which is not `null`.
    pub data: Option<Box<str>>,
    /// Identities of the clients that get nothing.
    pub exclude: Vec<Box<str>>,
}

/// Why a message from Redis was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// This node sent it.
    Own,
    /// It is no JSON, nested too deeply, too long, or not of the envelope's form.
    Malformed,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::User => "user",
            Self::Room => "room",
            Self::Broadcast => "broadcast",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Client, Self::User, Self::Room, Self::Broadcast]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// Appends the channel that letters of this kind travel through.
    #[cfg(feature = "redis")]
    pub(crate) fn write_channel(self, target: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"ws:");
        out.extend_from_slice(self.name().as_bytes());
        if self != Self::Broadcast {
            out.push(b':');
            out.extend_from_slice(target.as_bytes());
        }
    }
}

/// Appends `letter` as an envelope from `server_id`.
pub fn encode(server_id: &str, letter: &Letter<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"serverId\":");
    write_string(server_id, out);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(letter.kind.name().as_bytes());
    out.push(b'"');
    if letter.kind != Kind::Broadcast {
        out.extend_from_slice(b",\"target\":");
        write_string(letter.target, out);
    }
    out.extend_from_slice(b",\"event\":");
    write_string(letter.event, out);
    if let Some(data) = letter.data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data.as_bytes());
    }
    if !letter.exclude.is_empty() {
        out.extend_from_slice(b",\"exclude\":[");
        for (index, id) in letter.exclude.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(id, out);
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// Reads an envelope of at most `bytes_max` bytes; `own` is the receiving node's `serverId`.
///
/// `type` decides to whom it goes, whatever the channel was. Of a key that comes twice the last
/// one counts. Unknown keys, and entries of `exclude` that are no strings, are ignored.
///
/// # Errors
/// [`Dropped`], with the reason.
pub fn decode(message: &[u8], own: &str, bytes_max: usize) -> Result<Received, Dropped> {
    if message.len() > bytes_max {
        return Err(Dropped::Malformed);
    }
    let text = valid_json(message).ok_or(Dropped::Malformed)?;
    let fields = Fields::read(text).ok_or(Dropped::Malformed)?;
    let server_id = fields.server_id.as_ref().and_then(LazyValue::as_str);
    if server_id.ok_or(Dropped::Malformed)? == own {
        return Err(Dropped::Own);
    }
    fields.received().ok_or(Dropped::Malformed)
}

/// Whether `text` is one valid JSON value, nested at most [`NESTING_MAX`] deep.
#[cfg(feature = "redis")]
pub(crate) fn is_json(text: &str) -> bool {
    valid_json(text.as_bytes()).is_some()
}

#[derive(Default)]
struct Fields<'a> {
    server_id: Option<LazyValue<'a>>,
    kind: Option<LazyValue<'a>>,
    target: Option<LazyValue<'a>>,
    event: Option<LazyValue<'a>>,
    data: Option<LazyValue<'a>>,
    exclude: Option<LazyValue<'a>>,
}

impl<'a> Fields<'a> {
    /// `None` when `text` is no object.
    fn read(text: &'a str) -> Option<Self> {
        let mut fields = Self::default();
        for field in sonic_rs::to_object_iter(text) {
            let (key, value) = field.ok()?;
            let slot = match &*key {
                "serverId" => &mut fields.server_id,
                "type" => &mut fields.kind,
                "target" => &mut fields.target,
                "event" => &mut fields.event,
                "data" => &mut fields.data,
                "exclude" => &mut fields.exclude,
                _ => continue,
            };
            *slot = Some(value);
        }
        Some(fields)
    }

    fn received(&self) -> Option<Received> {
        let kind = Kind::named(self.kind.as_ref()?.as_str()?)?;
        let target = match kind {
            Kind::Broadcast => "",
            Kind::Client | Kind::User | Kind::Room => self
                .target
                .as_ref()
                .and_then(LazyValue::as_str)
                .filter(|target| !target.is_empty())?,
        };
        Some(Received {
            kind,
            target: target.into(),
            event: self.event.as_ref()?.as_str()?.into(),
            data: self.data.as_ref().map(|data| data.as_raw_str().into()),
            exclude: self.exclude.as_ref().map(strings).unwrap_or_default(),
        })
    }
}

/// The strings in an array; nothing when it is no array.
fn strings(value: &LazyValue<'_>) -> Vec<Box<str>> {
    let text = value.as_raw_str();
    if !text.starts_with('[') {
        return Vec::new();
    }
    sonic_rs::to_array_iter(text).filter_map(|entry| entry.ok()?.as_str().map(Box::from)).collect()
}

/// The message as text if it is one JSON value.
fn valid_json(message: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(message).ok()?;
    // Before the parser, which recurses.
    if !is_shallow(message) {
        return None;
    }
    sonic_rs::from_str::<LazyValue<'_>>(text).ok()?;
    Some(text)
}

/// Whether nesting stays within [`NESTING_MAX`] and all `\u` escapes have four digits, which the
/// parser does not look at in values that it skips.
fn is_shallow(message: &[u8]) -> bool {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut bytes = message.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                let is_unicode = bytes.next() == Some(&b'u');
                let digits = bytes.as_slice().get(..4);
                if is_unicode && !digits.is_some_and(|four| four.iter().all(u8::is_ascii_hexdigit))
                {
                    return false;
                }
            }
            b'[' | b'{' if !quoted => {
                depth += 1;
                if depth > NESTING_MAX {
                    return false;
                }
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Appends a string the way `JSON.stringify` does.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..index]);
        start = index + 1;
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', DIGITS[high], DIGITS[low]]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
