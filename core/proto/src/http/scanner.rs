//! Finds where a request's head ends, while it arrives.

use super::HttpError;
use super::syntax::{field_value_bytes, is_token, token_bytes, visible_bytes};

/// Longer than any registered method; what goes on longer is not HTTP.
const METHOD_BYTES_MAX: usize = 32;

/// How large a request head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The whole head in bytes, with the blank line. Default: 8,192.
    pub head_bytes_max: usize,
    /// How many fields it may have. Default: 64.
    pub headers_max: usize,
    /// The request target in bytes. Default: 4,096.
    pub target_bytes_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes_max: 8192, headers_max: 64, target_bytes_max: 4096 }
    }
}

/// Finds the end of a head that arrives in pieces. Each byte is looked at once, or twice in a field
/// that does not arrive as a whole, however many pieces there are. The first byte that no good head
/// could have there ends the search.
///
/// It holds none of the bytes: the caller keeps what has come so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadScanner {
    /// How many bytes have been looked at.
    position: u32,
    target_bytes: u32,
    fields: u32,
    phase: Phase,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Method,
    Target,
    Version,
    LineStart,
    Name,
    Value,
    /// The LF that a CR at the end of a line needs.
    LineFeed,
    /// The LF that ends the blank line.
    LastLineFeed,
    Done,
}

impl HeadScanner {
    /// Looks at what has not been looked at yet of `bytes`, which is everything received so far
    /// from the head's first byte. Returns where the head ends, past its blank line; `None` if that
    /// has yet to come.
    ///
    /// # Errors
    /// 431 if the head is longer, or has more fields, than `limits` allow; 414 if the target is
    /// longer; 400 if the bytes are not a request head (RFC 9112, 2 to 5): a bare CR or LF, a
    /// control character, whitespace before a colon or at the start of a line, a missing part of
    /// the first line. After an error the scanner is spent.
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HttpError> {
        self.scan_parts(bytes, limits, |_, _| {})
    }

    /// Does what [`scan`](Self::scan) does, and tells `ended` of each part that ends: what it was,
    /// and where the byte stands that ended it. The parts are the method, the target, the version,
    /// and the name and value of each field.
    pub(super) fn scan_parts(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
        ended: impl FnMut(Phase, usize),
    ) -> Result<Option<usize>, HttpError> {
        let seen = in_memory(self.position);
        if self.phase == Phase::Done {
            return Ok(Some(seen));
        }
        // Positions have 32 bits.
        let head_bytes_max = limits.head_bytes_max.min(in_memory(u32::MAX));
        let allowed = bytes.get(..head_bytes_max).unwrap_or(bytes);
        let end = self.walk(allowed, seen, limits, ended)?;
        self.position = u32::try_from(end).unwrap_or(u32::MAX);
        if self.phase == Phase::Done {
            return Ok(Some(end));
        }
        // A head that fills its limit without an end is over it.
        if end >= head_bytes_max { Err(HEAD_TOO_LARGE) } else { Ok(None) }
    }

    /// Goes on from a position until the head, or what there is of it, ends, and returns where.
    fn walk(
        &mut self,
        bytes: &[u8],
        mut position: usize,
        limits: &HeadLimits,
        mut ended: impl FnMut(Phase, usize),
    ) -> Result<usize, HttpError> {
        let mut phase = self.phase;
        while phase != Phase::Done {
            if phase == Phase::LineStart {
                position = self.pass_fields(bytes, position, limits, &mut ended)?;
            }
            let rest = bytes.get(position..).unwrap_or_default();
            // Nearly all bytes leave the phase as it is.
            let passed = match phase {
                Phase::Method => {
                    let allowed = METHOD_BYTES_MAX.saturating_sub(position);
                    token_bytes(rest.get(..allowed).unwrap_or(rest))
                }
                Phase::Target => self.pass_target(rest, limits)?,
                Phase::Version => visible_bytes(rest),
                Phase::Name => token_bytes(rest),
                Phase::Value => field_value_bytes(rest),
                _ => 0,
            };
            position += passed;
            let Some(&byte) = rest.get(passed) else { break };
            ended(phase, position);
            phase = match (phase, byte) {
                (Phase::Method, b' ') if position > 0 => Phase::Target,
                (Phase::Target, b' ') if self.target_bytes > 0 => Phase::Version,
                (Phase::Name, b':') => Phase::Value,
                (Phase::Version | Phase::Value, b'\r') => Phase::LineFeed,
                (Phase::LineFeed, b'\n') => Phase::LineStart,
                (Phase::LineStart, byte) if is_token(byte) => self.begin_field(limits)?,
                (Phase::LineStart, b'\r') => Phase::LastLineFeed,
                (Phase::LastLineFeed, b'\n') => Phase::Done,
                (phase, byte) => return Err(wrong(phase, byte)),
            };
            position += 1;
        }
        self.phase = phase;
        Ok(position)
    }

    /// Passes the fields that are there as a whole, and returns where the first thing begins that
    /// is none: the blank line, a part of a field, or what no head may have, which is told later.
    fn pass_fields(
        &mut self,
        bytes: &[u8],
        mut position: usize,
        limits: &HeadLimits,
        ended: &mut impl FnMut(Phase, usize),
    ) -> Result<usize, HttpError> {
        while let Some(line) = bytes.get(position..) {
            let name_bytes = token_bytes(line);
            let Some([b':', after_name @ ..]) = line.get(name_bytes..) else { break };
            let value_bytes = field_value_bytes(after_name);
            let Some([b'\r', b'\n', ..]) = after_name.get(value_bytes..) else { break };
            if name_bytes == 0 {
                break;
            }
            self.begin_field(limits)?;
            ended(Phase::Name, position + name_bytes);
            position += name_bytes + 1 + value_bytes;
            ended(Phase::Value, position);
            position += 2;
        }
        Ok(position)
    }

    fn pass_target(&mut self, rest: &[u8], limits: &HeadLimits) -> Result<usize, HttpError> {
        let passed = visible_bytes(rest);
        self.target_bytes =
            self.target_bytes.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        let too_long = in_memory(self.target_bytes) > limits.target_bytes_max;
        if too_long { Err(TARGET_TOO_LONG) } else { Ok(passed) }
    }

    fn begin_field(&mut self, limits: &HeadLimits) -> Result<Phase, HttpError> {
        self.fields += 1;
        let too_many = in_memory(self.fields) > limits.headers_max;
        if too_many { Err(TOO_MANY_HEADERS) } else { Ok(Phase::Name) }
    }
}

fn in_memory(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const HEAD_TOO_LARGE: HttpError =
    HttpError::new(431, "head_too_large", "the request head is too large");
const TOO_MANY_HEADERS: HttpError =
    HttpError::new(431, "too_many_headers", "the request head has too many fields");
const TARGET_TOO_LONG: HttpError =
    HttpError::new(414, "target_too_long", "the request target is too long");

#[cold]
fn wrong(phase: Phase, byte: u8) -> HttpError {
    match (phase, byte) {
        (_, b'\n') => HttpError::bad("bare_line_feed", "a line of the head does not end in CRLF"),
        (Phase::LineFeed | Phase::LastLineFeed, _) => {
            HttpError::bad("bare_carriage_return", "a CR in the head is not followed by LF")
        }
        (Phase::Method | Phase::Target | Phase::Version, _) => {
            HttpError::bad("bad_request_line", "the first line is not an HTTP request line")
        }
        (Phase::LineStart, b' ' | b'\t') => {
            HttpError::bad("folded_header", "a field continues on the next line")
        }
        (Phase::Value, _) => {
            HttpError::bad("bad_header_value", "a field value has a control character")
        }
        (Phase::LineStart | Phase::Name | Phase::Done, _) => HttpError::bad(
            "bad_header_name",
            "a field name has a character that names may not have",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] =
        b"GET /chat?a=b HTTP/1.1\r\nHost: here\r\nX-Name: J\xfcrgen \r\nEmpty:\r\n\r\n";

    fn at_once(bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HttpError> {
        HeadScanner::default().scan(bytes, limits)
    }

    fn byte_by_byte(bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HttpError> {
        let mut scanner = HeadScanner::default();
        for end in 0..bytes.len() {
            if let Some(end) = scanner.scan(&bytes[..end], limits)? {
                return Ok(Some(end));
            }
        }
        scanner.scan(bytes, limits)
    }

    fn reason(bytes: &[u8]) -> (u16, &'static str) {
        let limits = HeadLimits::default();
        let error = at_once(bytes, &limits).expect_err("a refusal");
        assert_eq!(byte_by_byte(bytes, &limits), Err(error));
        (error.status, error.reason)
    }

    #[test]
    fn is_small() {
        assert!(size_of::<HeadScanner>() <= 16);
    }

    #[test]
    fn finds_the_end_and_leaves_what_follows() {
        let mut bytes = GOOD.to_vec();
        bytes.extend_from_slice(b"\x81\x80rest");
        let limits = HeadLimits::default();
        assert_eq!(at_once(&bytes, &limits), Ok(Some(GOOD.len())));
        assert_eq!(byte_by_byte(&bytes, &limits), Ok(Some(GOOD.len())));
    }

    #[test]
    fn has_no_end_before_the_last_byte() {
        let limits = HeadLimits::default();
        for end in 0..GOOD.len() {
            assert_eq!(at_once(&GOOD[..end], &limits), Ok(None), "{end}");
        }
    }

    #[test]
    fn finds_the_same_end_again() {
        let (mut scanner, limits) = (HeadScanner::default(), HeadLimits::default());
        assert_eq!(scanner.scan(GOOD, &limits), Ok(Some(GOOD.len())));
        assert_eq!(scanner.scan(GOOD, &limits), Ok(Some(GOOD.len())));
    }

    #[test]
    fn refuses_what_cannot_begin_a_request() {
        for wrong in [&b"\x16\x03\x01"[..], b"\0", b" GET", b"\r\nGET", b"\xff", b"G\0", b"(GET"] {
            assert_eq!(reason(wrong), (400, "bad_request_line"), "{wrong:?}");
        }
        assert_eq!(reason(b"\n"), (400, "bare_line_feed"));
        assert_eq!(reason(&[b'A'; 33]), (400, "bad_request_line"));
    }

    #[test]
    fn refuses_a_request_line_that_lacks_a_part_or_has_more() {
        for wrong in [
            &b"GET  / HTTP/1.1\r\n"[..],
            b"GET /\r\n",
            b"GET\r\n",
            b"GET /  HTTP/1.1\r\n",
            b"GET / HTTP/1.1 \r\n",
            b"GET /a b HTTP/1.1\r\n",
            b"GET\t/ HTTP/1.1\r\n",
            b"GET /\x7f HTTP/1.1\r\n",
            b"GET /\xc3\xa9 HTTP/1.1\r\n",
            b"GET /\0 HTTP/1.1\r\n",
        ] {
            assert_eq!(reason(wrong), (400, "bad_request_line"), "{wrong:?}");
        }
    }

    #[test]
    fn refuses_a_bare_line_feed_and_a_bare_carriage_return() {
        for wrong in
            [&b"GET / HTTP/1.1\n"[..], b"GET / HTTP/1.1\r\nA: b\n", b"GET / HTTP/1.1\r\n\n"]
        {
            assert_eq!(reason(wrong), (400, "bare_line_feed"), "{wrong:?}");
        }
        for wrong in [
            &b"GET / HTTP/1.1\rA"[..],
            b"GET / HTTP/1.1\r\r\n",
            b"GET / HTTP/1.1\r\nA: b\rc\r\n",
            b"GET / HTTP/1.1\r\n\rA",
        ] {
            assert_eq!(reason(wrong), (400, "bare_carriage_return"), "{wrong:?}");
        }
    }

    #[test]
    fn refuses_a_folded_header() {
        assert_eq!(reason(b"GET / HTTP/1.1\r\nA: b\r\n c\r\n"), (400, "folded_header"));
        assert_eq!(reason(b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n"), (400, "folded_header"));
        assert_eq!(reason(b"GET / HTTP/1.1\r\n A: b\r\n"), (400, "folded_header"));
    }

    #[test]
    fn refuses_a_space_before_the_colon_and_other_wrong_names() {
        for name in ["Host :", "Host\t:", ":", "Ho st:", "H\0:", "H\u{e9}:", "Host\r\n", "H(:"] {
            let bytes = format!("GET / HTTP/1.1\r\n{name} x\r\n");
            assert_eq!(reason(bytes.as_bytes()), (400, "bad_header_name"), "{name:?}");
        }
    }

    #[test]
    fn refuses_control_characters_in_a_value() {
        for byte in (0_u8..0x20).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
            let bytes = [b"GET / HTTP/1.1\r\nA: b", &[byte][..]].concat();
            assert_eq!(reason(&bytes), (400, "bad_header_value"), "{byte}");
        }
    }

    #[test]
    fn refuses_a_head_that_is_too_large_as_soon_as_it_fills_its_limit() {
        let limits = HeadLimits { head_bytes_max: GOOD.len() - 1, ..HeadLimits::default() };
        for scan in [at_once, byte_by_byte] {
            assert_eq!(scan(&GOOD[..GOOD.len() - 2], &limits), Ok(None));
            let error = scan(&GOOD[..GOOD.len() - 1], &limits).expect_err("a refusal");
            assert_eq!((error.status, error.reason), (431, "head_too_large"));
            assert_eq!(scan(GOOD, &limits), Err(error));
        }
        let limits = HeadLimits { head_bytes_max: GOOD.len(), ..limits };
        assert_eq!(at_once(GOOD, &limits), Ok(Some(GOOD.len())));
        assert_eq!(byte_by_byte(GOOD, &limits), Ok(Some(GOOD.len())));
    }

    #[test]
    fn refuses_a_target_that_is_too_long_before_the_line_ends() {
        let limits = HeadLimits { target_bytes_max: 5, ..HeadLimits::default() };
        for scan in [at_once, byte_by_byte] {
            assert_eq!(scan(b"GET /1234 ", &limits), Ok(None));
            let error = scan(b"GET /12345", &limits).expect_err("a refusal");
            assert_eq!((error.status, error.reason), (414, "target_too_long"));
        }
    }

    #[test]
    fn refuses_one_header_too_many() {
        let limits = HeadLimits { headers_max: 3, ..HeadLimits::default() };
        assert_eq!(at_once(GOOD, &limits), Ok(Some(GOOD.len())));
        let limits = HeadLimits { headers_max: 2, ..limits };
        let error = at_once(GOOD, &limits).expect_err("a refusal");
        assert_eq!((error.status, error.reason), (431, "too_many_headers"));
        assert_eq!(byte_by_byte(GOOD, &limits), Err(error));
    }

    #[test]
    fn bears_limits_of_zero_and_without_end() {
        let none = HeadLimits { head_bytes_max: 0, headers_max: 0, target_bytes_max: 0 };
        assert_eq!(at_once(GOOD, &none), Err(HEAD_TOO_LARGE));
        let most = usize::MAX;
        let all = HeadLimits { head_bytes_max: most, headers_max: most, target_bytes_max: most };
        assert_eq!(at_once(GOOD, &all), Ok(Some(GOOD.len())));
    }
}
