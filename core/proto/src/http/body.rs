//! Request bodies, collected within bounds (RFC 9112, 6 and 7).

use super::HttpError;
use super::syntax::{is_field_value, is_token};

/// Digits of a chunk's size: as many as sizes below 4 GiB need, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 8;
/// Bytes of chunk extensions and trailers that one body may have: they are read and forgotten.
const IGNORED_BYTES_MAX: u16 = 4096;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// It has so many bytes.
    Known(u64),
    /// It comes in chunks, the last of which is empty.
    Chunked,
}

/// A body that arrives in pieces and is collected up to a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    bytes: Vec<u8>,
    bytes_max: usize,
    ignored: u16,
    phase: Phase,
}

/// What became of the bytes given to [`Body::feed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// How many of them belonged to the body.
    pub consumed: usize,
    /// Whether the body is whole.
    pub done: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A body of known length, so many bytes of which are missing.
    Rest(usize),
    Size {
        size: usize,
        digits: u8,
    },
    Extension {
        size: usize,
    },
    SizeLineFeed {
        size: usize,
    },
    /// A chunk, so many bytes of which are missing.
    Chunk(usize),
    ChunkReturn,
    ChunkLineFeed,
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

impl Body {
    /// A body of which nothing has come yet.
    ///
    /// # Errors
    /// 413 if it is known to be longer than `bytes_max`.
    pub fn new(length: BodyLength, bytes_max: usize) -> Result<Self, HttpError> {
        let phase = match length {
            BodyLength::Known(0) => Phase::Done,
            BodyLength::Known(length) => match usize::try_from(length) {
                Ok(length) if length <= bytes_max => Phase::Rest(length),
                Ok(_) | Err(_) => return Err(TOO_LARGE),
            },
            BodyLength::Chunked => Phase::Size { size: 0, digits: 0 },
        };
        Ok(Self { bytes: Vec::new(), bytes_max, ignored: 0, phase })
    }

    /// Takes what belongs to the body off the start of `input`. What is left over is not looked at.
    ///
    /// # Errors
    /// 413 as soon as the body is known to be longer than its limit; 400 if the chunks are
    /// malformed, or have more extensions and trailers than 4,096 bytes. After an error the body is
    /// spent.
    pub fn feed(&mut self, input: &[u8]) -> Result<Fed, HttpError> {
        let mut rest = input;
        while let ([byte, after @ ..], false) = (rest, self.is_done()) {
            rest = match self.phase {
                Phase::Rest(missing) => self.take(rest, missing, Phase::Rest, Phase::Done),
                Phase::Chunk(missing) => self.take(rest, missing, Phase::Chunk, Phase::ChunkReturn),
                phase => {
                    self.phase = self.step(phase, *byte)?;
                    after
                }
            };
        }
        Ok(Fed { consumed: input.len() - rest.len(), done: self.is_done() })
    }

    /// Whether the body is whole.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// What has come so far, without the framing of chunks.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What has come, to keep.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Collects up to `missing` bytes; memory grows with what came, not with what was announced.
    fn take<'i>(
        &mut self,
        input: &'i [u8],
        missing: usize,
        unfinished: fn(usize) -> Phase,
        finished: Phase,
    ) -> &'i [u8] {
        let (data, rest) = input.split_at(missing.min(input.len()));
        self.bytes.extend_from_slice(data);
        let missing = missing - data.len();
        self.phase = if missing > 0 { unfinished(missing) } else { finished };
        rest
    }

    fn step(&mut self, phase: Phase, byte: u8) -> Result<Phase, HttpError> {
        match (phase, byte) {
            (Phase::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                self.add_digit(size, digits, byte)
            }
            (Phase::Size { size, digits: 1.. }, b';') => Ok(Phase::Extension { size }),
            (Phase::Size { size, digits: 1.. } | Phase::Extension { size }, b'\r') => {
                Ok(Phase::SizeLineFeed { size })
            }
            (Phase::Extension { .. }, byte) if is_field_value(byte) => self.ignore(phase),
            (Phase::SizeLineFeed { size: 0 } | Phase::TrailerLineFeed, b'\n') => {
                Ok(Phase::TrailerStart)
            }
            (Phase::SizeLineFeed { size }, b'\n') => Ok(Phase::Chunk(size)),
            (Phase::ChunkReturn, b'\r') => Ok(Phase::ChunkLineFeed),
            (Phase::ChunkLineFeed, b'\n') => Ok(Phase::Size { size: 0, digits: 0 }),
            (Phase::TrailerStart, b'\r') => Ok(Phase::LastLineFeed),
            (Phase::TrailerStart, byte) if is_token(byte) => self.ignore(Phase::Trailer),
            (Phase::Trailer, b'\r') => Ok(Phase::TrailerLineFeed),
            (Phase::Trailer, byte) if is_field_value(byte) => self.ignore(phase),
            (Phase::LastLineFeed, b'\n') => Ok(Phase::Done),
            _ => Err(HttpError::bad("bad_chunk", "the chunks of the body are malformed")),
        }
    }

    fn add_digit(&self, size: usize, digits: u8, byte: u8) -> Result<Phase, HttpError> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| usize::try_from(digit).ok());
        let size = digit.and_then(|digit| size.checked_mul(16)?.checked_add(digit));
        let room = self.bytes_max - self.bytes.len();
        match size {
            Some(size) if size <= room && digits < SIZE_DIGITS_MAX => {
                Ok(Phase::Size { size, digits: digits + 1 })
            }
            Some(_) | None => Err(TOO_LARGE),
        }
    }

    fn ignore(&mut self, next: Phase) -> Result<Phase, HttpError> {
        self.ignored += 1;
        if self.ignored > IGNORED_BYTES_MAX {
            return Err(HttpError::bad("chunk_overhead", "the body has too much besides its data"));
        }
        Ok(next)
    }
}

const TOO_LARGE: HttpError = HttpError::new(413, "body_too_large", "the request body is too large");

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(length: BodyLength, max: usize, input: &[u8]) -> Result<(Vec<u8>, Fed), HttpError> {
        let mut body = Body::new(length, max)?;
        let fed = body.feed(input)?;
        Ok((body.into_bytes(), fed))
    }

    fn chunked(input: &str) -> Result<(Vec<u8>, Fed), HttpError> {
        fed(BodyLength::Chunked, 100, input.as_bytes())
    }

    fn reason(input: &str) -> (u16, &'static str) {
        let error = chunked(input).expect_err(input);
        (error.status, error.reason)
    }

    #[test]
    fn takes_a_known_length_and_leaves_the_rest() {
        let (bytes, result) = fed(BodyLength::Known(5), 5, b"hello there").expect("a body");
        assert_eq!(bytes, b"hello");
        assert_eq!(result, Fed { consumed: 5, done: true });
        let (_, result) = fed(BodyLength::Known(5), 5, b"hel").expect("a body");
        assert_eq!(result, Fed { consumed: 3, done: false });
        let (_, result) = fed(BodyLength::Known(0), 0, b"x").expect("a body");
        assert_eq!(result, Fed { consumed: 0, done: true });
    }

    #[test]
    fn refuses_an_announced_length_over_the_limit_at_once() {
        for length in [6, u64::MAX] {
            assert_eq!(Body::new(BodyLength::Known(length), 5), Err(TOO_LARGE));
        }
    }

    #[test]
    fn takes_chunks_with_extensions_and_trailers() {
        let input = "5;a=b\r\nhello\r\n0006\r\n there\r\n0;x\r\nA: b\r\nC:\r\n\r\nnext";
        let (bytes, result) = chunked(input).expect("a body");
        assert_eq!(bytes, b"hello there");
        assert_eq!(result, Fed { consumed: input.len() - 4, done: true });
        let (bytes, result) = chunked("0\r\n\r\n").expect("a body");
        assert_eq!((bytes.len(), result.done), (0, true));
        let (bytes, _) = chunked("A\r\n0123456789\r\na\r\n0123456789\r\n").expect("a body");
        assert_eq!(bytes.len(), 20);
    }

    #[test]
    fn takes_chunks_byte_by_byte() {
        let input = b"5;a=b\r\nhello\r\n6\r\n there\r\n0\r\nA: b\r\n\r\n";
        let mut body = Body::new(BodyLength::Chunked, 11).expect("a body");
        for (index, byte) in input.iter().enumerate() {
            let result = body.feed(&[*byte]).expect("a good byte");
            assert_eq!(result, Fed { consumed: 1, done: index + 1 == input.len() });
        }
        assert_eq!(body.bytes(), b"hello there");
    }

    #[test]
    fn refuses_chunks_over_the_limit_before_their_data() {
        assert_eq!(reason("65\r"), (413, "body_too_large"));
        assert_eq!(reason("5\r\nhello\r\n60\r"), (413, "body_too_large"));
        assert_eq!(reason("ffffffffffffffffffff\r"), (413, "body_too_large"));
        assert_eq!(reason("000000000\r"), (413, "body_too_large"));
        assert!(chunked("64\r\n").is_ok());
    }

    #[test]
    fn refuses_malformed_chunks() {
        for input in [
            "\r\n",
            ";\r\n",
            "g\r\n",
            "0x5\r\n",
            "+5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\n",
            "5\r\r",
            "5\r\nhellox",
            "5\r\nhello\n",
            "5\r\nhello\rx",
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\n A: b",
            "0\r\nA\0",
            "5;\0",
            "5;\n",
            "0\r\nA: b\n",
            "0\r\nA: b\rx",
        ] {
            assert_eq!(reason(input), (400, "bad_chunk"), "{input:?}");
        }
    }

    #[test]
    fn bounds_what_it_reads_in_vain() {
        let long = "x".repeat(4096);
        assert!(chunked(&format!("5;{long}\r\n")).is_ok());
        assert_eq!(reason(&format!("5;{long}x")), (400, "chunk_overhead"));
        assert_eq!(reason(&format!("0\r\n{long}x")), (400, "chunk_overhead"));
        assert_eq!(reason(&"1;xxxxxxxx\r\n.\r\n".repeat(99).replace('x', &"y".repeat(9))).0, 400);
    }

    #[test]
    fn takes_nothing_when_it_is_done() {
        let mut body = Body::new(BodyLength::Chunked, 9).expect("a body");
        body.feed(b"0\r\n\r\n").expect("a body");
        assert_eq!(body.feed(b"5\r\nhello"), Ok(Fed { consumed: 0, done: true }));
    }
}
