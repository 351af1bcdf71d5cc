//! Masking: an XOR with a key of four bytes (RFC 6455, 5.3).

/// Masks or unmasks bytes in place; the first of them meets the first byte of the key.
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    // Eight bytes at a time in safe code, which the compiler widens to whatever the processor has.
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// Masks or unmasks bytes that lie `offset` bytes into the payload.
#[inline]
pub fn mask_from(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    mask(bytes, rotate(key, offset));
}

/// The key as the byte at `offset` meets it.
#[inline]
pub(super) fn rotate(mut key: [u8; 4], offset: usize) -> [u8; 4] {
    key.rotate_left(offset & 3);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..70 {
            for offset in 0..6 {
                let plain: Vec<u8> = (0..length).collect();
                let mut masked = plain.clone();
                mask_from(&mut masked, key, offset);
                for (index, (plain, masked)) in plain.iter().zip(&masked).enumerate() {
                    assert_eq!(plain ^ key[(index + offset) % 4], *masked);
                }
            }
        }
    }

    #[test]
    fn masks_the_example_of_the_standard() {
        let mut hello = *b"Hello";
        mask(&mut hello, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
