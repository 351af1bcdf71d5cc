//! Splits a stream into the commands of a NATS server.
//!
//! Cost model: one search for the end of the line and a few digits per message; the payload is
//! skipped. Nothing is copied as long as a command lies in one piece.

use super::Said;
use crate::walker::{Malformed, Message, START_BYTES};

/// Longest command without its payload, in bytes. An `INFO` of a large cluster has some kilobytes.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Longest payload a server may announce; far beyond what one can be configured to take.
const PAYLOAD_BYTES_MAX: u64 = 1 << 30;
/// What ends a line, and a payload as well.
const END: &[u8] = b"\r\n";

/// The place in one connection's stream.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The beginning of a line that was cut.
    line: Vec<u8>,
    payload: Option<Payload>,
}

/// A payload of which a part has arrived.
#[derive(Debug)]
struct Payload {
    length: u64,
    /// Bytes still to come, the line end after it included.
    left: u64,
    start: [u8; START_BYTES],
    start_len: usize,
}

impl Parser {
    /// Takes the next piece of the stream and reports every command that ends in it.
    ///
    /// # Errors
    /// It is none of a NATS server; the parser is of no use after.
    #[inline]
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        on_said: &mut impl FnMut(Said<'_>),
    ) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if let Some(payload) = &mut self.payload {
                bytes = payload.take(bytes);
                if payload.left == 0 {
                    on_said(Said::Message(payload.message()));
                    self.payload = None;
                }
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                return self.hold(bytes);
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            let length = if self.line.is_empty() {
                command(line, on_said)?
            } else {
                self.hold(line)?;
                let line = std::mem::take(&mut self.line);
                command(&line, on_said)?
            };
            if let Some(length) = length {
                bytes = self.payload(length, bytes, on_said)?;
            }
        }
        Ok(())
    }

    /// Takes a payload as far as it is there.
    #[inline]
    fn payload<'b>(
        &mut self,
        length: u64,
        bytes: &'b [u8],
        on_said: &mut impl FnMut(Said<'_>),
    ) -> Result<&'b [u8], Malformed> {
        if length > PAYLOAD_BYTES_MAX {
            return Err(Malformed("a NATS message of more than 1 GiB"));
        }
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        // The common case: all of it is there.
        if let Some((payload, rest)) = bytes.split_at_checked(size)
            && let Some((end, rest)) = rest.split_at_checked(END.len())
        {
            if end != END {
                return Err(Malformed("a NATS message longer than it said"));
            }
            let start = payload.get(..size.min(START_BYTES)).unwrap_or(&[]);
            on_said(Said::Message(Message { length, start }));
            return Ok(rest);
        }
        let left = length + END.len() as u64;
        self.payload = Some(Payload { length, left, start: [0; START_BYTES], start_len: 0 });
        Ok(bytes)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(Malformed("a NATS command without end"));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}

impl Payload {
    /// Takes what belongs to it and returns the rest.
    fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let take = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (mine, rest) = bytes.split_at(take);
        let wanted = usize::try_from(self.length).unwrap_or(usize::MAX).min(START_BYTES);
        for byte in mine.iter().take(wanted.saturating_sub(self.start_len)) {
            if let Some(place) = self.start.get_mut(self.start_len) {
                *place = *byte;
                self.start_len += 1;
            }
        }
        self.left -= take as u64;
        rest
    }

    fn message(&self) -> Message<'_> {
        let start = self.start.get(..self.start_len).unwrap_or(&[]);
        Message { length: self.length, start }
    }
}

/// Understands one line with its end; the length of the payload that follows, if one does.
#[inline]
fn command(line: &[u8], on_said: &mut impl FnMut(Said<'_>)) -> Result<Option<u64>, Malformed> {
    let Some(line) = line.strip_suffix(END) else {
        return Err(Malformed("a NATS command that ends without a carriage return"));
    };
    if let Some(arguments) = line.strip_prefix(b"MSG ") {
        return match length(arguments) {
            Some(length) => Ok(Some(length)),
            None => Err(Malformed("a NATS message without a length")),
        };
    }
    match line {
        b"PING" => on_said(Said::Ping),
        b"PONG" => on_said(Said::Pong),
        b"+OK" => {}
        _ if line.starts_with(b"INFO ") => on_said(Said::Info),
        _ if line.starts_with(b"-ERR") => {
            on_said(Said::Error(std::str::from_utf8(line).unwrap_or("-ERR")));
        }
        _ => return Err(Malformed("an unknown NATS command")),
    }
    Ok(None)
}

/// The number at the end of `<subject> <sid> [reply-to] <length>`.
#[inline]
fn length(arguments: &[u8]) -> Option<u64> {
    let at = arguments.iter().rposition(|byte| *byte == b' ')?;
    let digits = arguments.get(at + 1..).filter(|digits| (1..=10).contains(&digits.len()))?;
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed_in_pieces(stream: &[u8], piece: usize) -> Result<Vec<String>, Malformed> {
        let mut parser = Parser::default();
        let mut seen = Vec::new();
        for bytes in stream.chunks(piece) {
            parser.feed(bytes, &mut |said| {
                seen.push(match said {
                    Said::Message(Message { length, start }) => {
                        format!("{length} {}", String::from_utf8_lossy(start))
                    }
                    other => format!("{other:?}"),
                });
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn sees_the_same_commands_wherever_the_stream_is_cut() {
        let mut stream = b"INFO {\"max_payload\":1048576}\r\n+OK\r\nPONG\r\n".to_vec();
        stream.extend(b"MSG tea 1 2\r\nhi\r\nMSG tea 1 0\r\n\r\nPING\r\n");
        stream.extend(b"MSG tea 1 reply 12\r\nMSG tea 1 5\n\r\n-ERR 'Slow Consumer'\r\n");
        stream.extend(b"MSG a.b 1 100\r\n");
        stream.extend([b'x'; 100]);
        stream.extend(b"\r\n");
        let expected = [
            "Info".to_owned(),
            "Pong".to_owned(),
            "2 hi".to_owned(),
            "0 ".to_owned(),
            "Ping".to_owned(),
            "12 MSG tea 1 5\n".to_owned(),
            "Error(\"-ERR 'Slow Consumer'\")".to_owned(),
            format!("100 {}", "x".repeat(16)),
        ];
        for piece in 1..=stream.len() {
            assert_eq!(feed_in_pieces(&stream, piece).unwrap(), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn refuses_streams_that_no_server_sends() {
        let long = [b'x'; LINE_BYTES_MAX + 1];
        for stream in [
            &b"HELLO\r\n"[..],
            b"PING\n",
            b"MSG tea 1 x\r\n",
            b"MSG 5\r\n",
            b"MSG tea 1 99999999999\r\n",
            b"MSG tea 1 9999999999\r\n",
            b"MSG tea 1 2\r\nhello\r\n",
            &long,
        ] {
            let shown = String::from_utf8_lossy(stream);
            assert!(feed_in_pieces(stream, usize::MAX).is_err(), "{shown}");
        }
    }
}
