//! The character classes and list syntax that heads are made of (RFC 9110, 5.6).

/// A character of a token: methods and field names are made of nothing else (RFC 9110, 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    has(byte, TOKEN)
}

/// A character that may stand in a field value (RFC 9110, 5.5): no control but the tab.
pub(super) const fn is_field_value(byte: u8) -> bool {
    has(byte, FIELD_VALUE)
}

/// How many characters of a token `bytes` begin with.
pub(super) fn token_bytes(bytes: &[u8]) -> usize {
    one_by_one(bytes, TOKEN)
}

/// How many characters of a host's name or IPv4 address (RFC 3986, 3.2.2) `bytes` begin with.
pub(super) fn host_name_bytes(bytes: &[u8]) -> usize {
    one_by_one(bytes, HOST_NAME)
}

/// How many visible ASCII characters `bytes` begin with.
pub(super) fn visible_bytes(bytes: &[u8]) -> usize {
    leading(bytes, b'!', VISIBLE)
}

/// How many characters that may stand in a field value `bytes` begin with.
pub(super) fn field_value_bytes(bytes: &[u8]) -> usize {
    leading(bytes, b' ', FIELD_VALUE)
}

/// How many bytes of a class `bytes` begin with.
#[inline]
fn one_by_one(bytes: &[u8], class: u8) -> usize {
    let mut rest = bytes;
    // A loop of known length is unrolled.
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        for (before, byte) in eight.iter().enumerate() {
            if !has(*byte, class) {
                return bytes.len() - rest.len() + before;
            }
        }
        rest = after;
    }
    while let [byte, after @ ..] = rest
        && has(*byte, class)
    {
        rest = after;
    }
    bytes.len() - rest.len()
}

/// How many bytes of a class `bytes` begin with. All from `lowest` to `~` are of that class, and
/// are passed eight at a time.
#[inline]
fn leading(bytes: &[u8], lowest: u8, class: u8) -> usize {
    let mut rest = bytes;
    loop {
        if let Some((eight, after)) = rest.split_first_chunk::<8>() {
            let others = others(u64::from_le_bytes(*eight), lowest);
            if others == 0 {
                rest = after;
                continue;
            }
            rest = rest.get(others.trailing_zeros() as usize / 8..).unwrap_or_default();
        }
        match rest {
            [byte, after @ ..] if has(*byte, class) => rest = after,
            _ => return bytes.len() - rest.len(),
        }
    }
}

/// Bits of the lowest of eight bytes that is not from `lowest` (at most 128) to `~`, and perhaps
/// bits of those above it; 0 if all are.
const fn others(eight: u64, lowest: u8) -> u64 {
    // The first such byte borrows, or carries into its high bit; only bytes above it can be taken
    // for one wrongly.
    let low = eight.wrapping_sub(ONES * lowest as u64);
    let delete_or_beyond = eight.wrapping_add(ONES) | eight;
    (low | delete_or_beyond) & HIGH_BITS
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = ONES << 7;
/// What a small letter has and a capital has not.
const CASE_BITS: u64 = ONES << 5;

const TOKEN: u8 = 1;
const VISIBLE: u8 = 1 << 1;
const FIELD_VALUE: u8 = 1 << 2;
const HOST_NAME: u8 = 1 << 3;

/// The classes of each byte.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        let found = find_classes(byte as u8);
        classes[byte] = found;
        byte += 1;
    }
    classes
};

const fn has(byte: u8, class: u8) -> bool {
    classes_of(byte) & class != 0
}

const fn classes_of(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

const fn find_classes(byte: u8) -> u8 {
    let mut classes = 0;
    if matches!(byte,
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*'
        | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
    {
        classes |= TOKEN;
    }
    if matches!(byte, b'!'..=b'~') {
        classes |= VISIBLE;
    }
    if matches!(byte, b'\t' | b' '..=b'~' | 0x80..) {
        classes |= FIELD_VALUE;
    }
    if matches!(byte,
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$'
        | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
    {
        classes |= HOST_NAME;
    }
    classes
}

/// A field value without the optional whitespace around it (RFC 9110, 5.6.3).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether names, or tokens, are the same without regard to case (RFC 9110, 5.1).
#[inline]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && is_same_inside(one, other)
}

/// Compares what is as long, eight bytes at a time; the last eight, or two times four, overlap with
/// those before.
fn is_same_inside(mut one: &[u8], mut other: &[u8]) -> bool {
    if let (Some(last), Some(other_last)) = (one.last_chunk(), other.last_chunk()) {
        while let (Some((eight, after)), Some((other_eight, other_after))) =
            (one.split_first_chunk(), other.split_first_chunk())
        {
            if !is_same_eight(u64::from_le_bytes(*eight), u64::from_le_bytes(*other_eight)) {
                return false;
            }
            (one, other) = (after, other_after);
        }
        return is_same_eight(u64::from_le_bytes(*last), u64::from_le_bytes(*other_last));
    }
    match (twice_four(one), twice_four(other)) {
        (Some(one), Some(other)) => is_same_eight(one, other),
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// All of four to eight bytes, some of them twice.
fn twice_four(bytes: &[u8]) -> Option<u64> {
    let (first, last) = (bytes.first_chunk()?, bytes.last_chunk()?);
    Some(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)))
}

fn is_same_eight(one: u64, other: u64) -> bool {
    let case = one ^ other;
    if case == 0 {
        return true;
    }
    // Only the bit of case may differ, and only in letters.
    let lower = (one | CASE_BITS) & !HIGH_BITS;
    let from_a = lower + ONES * (0x80 - b'a' as u64);
    let beyond_z = lower + ONES * (0x7f - b'z' as u64);
    let letters = from_a & !beyond_z & !one & HIGH_BITS;
    case & !(letters >> 2) == 0
}

/// The elements of a comma-separated list that are not empty (RFC 9110, 5.6.1).
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// A number as `Content-Length` writes it: digits and nothing else (RFC 9110, 8.6).
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_plain_digits_for_a_number() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "+1", "-1", " 1", "1 ", "0x10", "1,1", "18446744073709551616"] {
            assert_eq!(decimal(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn finds_where_a_class_ends_whatever_is_around() {
        let filler = b"aZ09-~!";
        for byte in 0..=u8::MAX {
            for before in 0..20 {
                for after in 0..20 {
                    let mut bytes: Vec<u8> = filler.iter().cycle().copied().take(before).collect();
                    bytes.extend([byte; 2]);
                    bytes.extend(filler.iter().cycle().take(after));
                    let end = |is_good| if is_good { bytes.len() } else { before };
                    let is_value = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
                    assert_eq!(field_value_bytes(&bytes), end(is_value), "{bytes:?}");
                    let is_visible = matches!(byte, b'!'..=b'~');
                    assert_eq!(visible_bytes(&bytes), end(is_visible), "{bytes:?}");
                    assert_eq!(token_bytes(&bytes), end(is_token(byte)), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn compares_without_regard_to_case_in_letters_only() {
        for length in 1..30 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut one: Vec<u8> = b"aZ-".iter().cycle().copied().take(length).collect();
                    one[place] = byte;
                    for difference in [0, 0x20, 0x01, 0x80, 0xa0] {
                        let mut other = one.to_ascii_lowercase();
                        other[place] = byte ^ difference;
                        let expected = one.eq_ignore_ascii_case(&other);
                        assert_eq!(is_same(&one, &other), expected, "{one:?} {other:?}");
                        assert!(!is_same(&one, &other[1..]));
                    }
                }
            }
        }
        assert!(is_same(b"", b""));
    }

    #[test]
    fn skips_the_empty_elements_of_a_list() {
        let found: Vec<&[u8]> = elements(b", a ,\tb\t,, c").collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
        assert_eq!(elements(b"  ").count(), 0);
    }
}
