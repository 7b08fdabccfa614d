//! SipHash-1-3 with a key: who does not know the key cannot choose tags that crowd one place.

/// The hash of `bytes` under `key`.
pub(super) fn siphash(key: &[u8; 16], bytes: &[u8]) -> u64 {
    let half = |at: usize| u64::from_le_bytes(*key[at..].first_chunk().expect("16 bytes"));
    let (k0, k1) = (half(0), half(8));
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        absorb(&mut state, u64::from_le_bytes(*word));
    }
    // The length in the highest byte keeps apart what ends in zeros.
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = (bytes.len() & 0xff) as u8;
    absorb(&mut state, u64::from_le_bytes(last));
    state[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

const fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

const fn round(state: &mut [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = *state;
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    *state = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher as _;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_hash_without_a_key_is_that_of_the_standard_library(bytes: std::vec::Vec<u8>) {
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write(&bytes);
            prop_assert_eq!(siphash(&[0; 16], &bytes), hasher.finish());
        }
    }

    #[test]
    fn another_key_gives_another_hash() {
        assert_ne!(siphash(&[0; 16], b"a"), siphash(&[1; 16], b"a"));
    }
}
