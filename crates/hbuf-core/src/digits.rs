//! Digits of fixed and free width: decimal, hex, base64 and base64url, written without `core::fmt`.
//!
//! The record's head is written for every message, so nothing here allocates or formats.

use alloc::vec::Vec;

use crate::ids::{Hash, Uuid, hex_digit};

/// Characters of 32 bytes in base64url without padding.
pub(crate) const BASE64_HASH_LEN: usize = 43;

/// Writes `value` as 20 decimal digits: two divisions by 10^8, then digits of 32-bit numbers.
pub(crate) fn write_decimal_20(value: u64, out: &mut [u8; 20]) {
    const E8: u64 = 100_000_000;
    let (high, low) = (value / E8, value % E8);
    write_decimal_32((high / E8) as u32, &mut out[..4]);
    write_decimal_32((high % E8) as u32, &mut out[4..12]);
    write_decimal_32(low as u32, &mut out[12..]);
}

/// Writes `value` as decimal digits that fill `out`, an even number of them.
pub(crate) fn write_decimal_32(mut value: u32, out: &mut [u8]) {
    for pair in out.rchunks_exact_mut(2) {
        pair.copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
}

/// Reads decimal digits only; `None` for anything else, for no digits and for more than 2^64 - 1.
pub(crate) fn read_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let mut value = 0_u64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Reads decimal digits without leading zeros: the one way in which hbuf writes a number.
pub(crate) fn read_decimal_plain(digits: &[u8]) -> Option<u64> {
    if digits.len() > 1 && digits[0] == b'0' {
        return None;
    }
    read_decimal(digits)
}

/// Appends `value` in decimal without leading zeros.
pub(crate) fn push_decimal(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    write_decimal_20(value, &mut digits);
    out.extend_from_slice(&digits[20 - decimal_len(value)..]);
}

/// How many digits [`push_decimal`] writes.
pub(crate) const fn decimal_len(value: u64) -> usize {
    match value.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

/// Writes `value` as eight lower-case hex digits.
pub(crate) fn write_hex_8(value: u32, out: &mut [u8]) {
    for (pair, byte) in out[..8].chunks_exact_mut(2).zip(value.to_be_bytes()) {
        pair.copy_from_slice(&hex_pair(byte));
    }
}

/// Reads eight lower-case hex digits: all at once in one word, without a table.
pub(crate) fn read_hex_8(digits: &[u8; 8]) -> Option<u32> {
    let wrong = digits.iter().fold(false, |wrong, &digit| {
        wrong | ((digit.wrapping_sub(b'0') > 9) & (digit.wrapping_sub(b'a') > 5))
    });
    let word = u64::from_be_bytes(*digits);
    let nibbles = (word & 0x0f0f_0f0f_0f0f_0f0f) + 9 * ((word >> 6) & 0x0101_0101_0101_0101);
    let bytes = (nibbles | (nibbles >> 4)) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | (bytes >> 8)) & 0x0000_ffff_0000_ffff;
    (!wrong).then_some((pairs | (pairs >> 16)) as u32)
}

/// Reads eight decimal digits, in one word too: pairs, then fours, then all.
pub(crate) fn read_decimal_8(digits: &[u8; 8]) -> Option<u64> {
    let wrong = digits.iter().fold(false, |wrong, &digit| {
        wrong | (digit.wrapping_sub(b'0') > 9)
    });
    let word = u64::from_le_bytes(*digits) & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (word.wrapping_mul(2561) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(6_553_601) >> 16) & 0x0000_ffff_0000_ffff;
    let all = fours.wrapping_mul(42_949_672_960_001) >> 32;
    (!wrong).then_some(all)
}

/// Reads decimal digits of a fixed count, at most 19, so that no sum overflows.
pub(crate) fn read_digits<const N: usize>(digits: &[u8; N]) -> Option<u64> {
    const { assert!(N <= 19) };
    let mut value = 0_u64;
    let mut wrong = false;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        wrong |= digit > 9;
        value = value * 10 + u64::from(digit);
    }
    (!wrong).then_some(value)
}

/// Reads 64 lower-case hex digits.
pub(crate) fn read_hash(text: &[u8]) -> Option<Hash> {
    let text: &[u8; 64] = text.try_into().ok()?;
    let mut hash = Hash::default();
    let mut wrong = 0;
    for (byte, pair) in hash.0.iter_mut().zip(text.as_chunks::<2>().0) {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        wrong |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    (wrong < 16).then_some(hash)
}

/// Writes 32 bytes as 64 lower-case hex digits.
pub(crate) fn write_hash(hash: &Hash, out: &mut [u8]) {
    for (pair, byte) in out[..64].chunks_exact_mut(2).zip(hash.0) {
        pair.copy_from_slice(&hex_pair(byte));
    }
}

/// Appends a uuid in its 36 characters.
pub(crate) fn push_uuid(uuid: &Uuid, out: &mut Vec<u8>) {
    out.extend_from_slice(&uuid.text());
}

/// Reads a uuid of exactly 36 lower-case characters.
pub(crate) fn read_uuid(text: &[u8]) -> Option<Uuid> {
    Uuid::parse(core::str::from_utf8(text).ok()?)
}

/// Writes 32 bytes as 43 characters of base64url, without padding.
pub(crate) fn write_base64url(bytes: &[u8; 32], out: &mut [u8]) {
    for (four, three) in out[..40].chunks_exact_mut(4).zip(bytes.chunks_exact(3)) {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        four.copy_from_slice(&sextets(bits, URL));
    }
    let bits = u32::from_be_bytes([0, bytes[30], bytes[31], 0]);
    out[40..BASE64_HASH_LEN].copy_from_slice(&sextets(bits, URL)[..3]);
}

/// Reads what [`write_base64url`] writes, and nothing else: unused bits must be zero.
pub(crate) fn read_base64url(text: &[u8]) -> Option<[u8; 32]> {
    read_base64(text, &URL_VALUES)
}

/// Appends bytes in padded standard base64 (RFC 4648 §4): the form of C2SP checkpoints and proofs.
pub(crate) fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    for three in bytes.chunks(3) {
        let at = |place: usize| three.get(place).copied().unwrap_or_default();
        let bits = u32::from_be_bytes([0, at(0), at(1), at(2)]);
        out.extend_from_slice(&sextets(bits, STANDARD)[..three.len() + 1]);
        out.resize(out.len() + 3 - three.len(), b'=');
    }
}

/// Reads what [`push_base64`] writes for 32 bytes.
pub(crate) fn read_base64_hash(text: &[u8]) -> Option<Hash> {
    read_base64(text.strip_suffix(b"=")?, &STANDARD_VALUES).map(Hash)
}

/// Reads padded standard base64 of any length, strictly.
pub(crate) fn read_base64_any(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|&&c| c == b'=').count();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let digits = &text[..text.len() - padding];
    for four in digits.chunks(4) {
        let mut bits = 0;
        for place in 0..4 {
            bits = (bits << 6) | four.get(place).map_or(Some(0), |&c| sextet(c))?;
        }
        let [_, decoded @ ..] = bits.to_be_bytes();
        let kept = (four.len() * 6) / 8;
        if decoded[kept..].iter().any(|&byte| byte != 0) {
            return None;
        }
        bytes.extend_from_slice(&decoded[..kept]);
    }
    (padding == (4 - digits.len() % 4) % 4 && padding < 3).then_some(bytes)
}

fn read_base64(text: &[u8], values: &[u8; 256]) -> Option<[u8; 32]> {
    let text: &[u8; BASE64_HASH_LEN] = text.try_into().ok()?;
    let mut bytes = [0; 32];
    let mut wrong = 0;
    let mut value = |c: u8| {
        let value = values[usize::from(c)];
        wrong |= value;
        u32::from(value & 63)
    };
    let (fours, rest) = text.as_chunks::<4>();
    for (three, four) in bytes.chunks_exact_mut(3).zip(fours) {
        let bits = four.iter().fold(0, |bits, &c| (bits << 6) | value(c));
        three.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    let bits = rest.iter().fold(0, |bits, &c| (bits << 6) | value(c));
    let [_, _, a, b] = (bits >> 2).to_be_bytes();
    bytes[30..].copy_from_slice(&[a, b]);
    (wrong < 64 && bits & 3 == 0).then_some(bytes)
}

fn sextets(bits: u32, alphabet: &[u8; 64]) -> [u8; 4] {
    [18, 12, 6, 0].map(|shift| alphabet[((bits >> shift) & 63) as usize])
}

fn sextet(c: u8) -> Option<u32> {
    let value = STANDARD_VALUES[usize::from(c)];
    (value < 64).then_some(u32::from(value))
}

/// The value of each digit of an alphabet; 255 for every other byte.
const fn values(alphabet: &[u8; 64]) -> [u8; 256] {
    let mut values = [255; 256];
    let mut at = 0;
    while at < 64 {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
}

/// The two hex digits of a byte, by arithmetic: a table would keep the compiler from vector code.
const fn hex_pair(byte: u8) -> [u8; 2] {
    [hex_char(byte >> 4), hex_char(byte & 15)]
}

const fn hex_char(value: u8) -> u8 {
    value + b'0' + if value > 9 { b'a' - b'0' - 10 } else { 0 }
}

/// "00" to "99".
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut at = 0;
    while at < 100 {
        pairs[at] = [b'0' + (at / 10) as u8, b'0' + (at % 10) as u8];
        at += 1;
    }
    pairs
};

/// The value of each lower-case hex digit; 255 for every other byte.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [255; 256];
    let mut at = 0;
    while at < 256 {
        if let Some(value) = hex_digit(at as u8) {
            nibbles[at] = value;
        }
        at += 1;
    }
    nibbles
};

const URL_VALUES: [u8; 256] = values(URL);
const STANDARD_VALUES: [u8; 256] = values(STANDARD);
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_of_free_and_fixed_width_agree() {
        for value in [
            0,
            7,
            10,
            99,
            100,
            1 << 32,
            99_999_999,
            100_000_000,
            u64::MAX,
        ] {
            let mut wide = [0; 20];
            write_decimal_20(value, &mut wide);
            assert_eq!(read_decimal(&wide), Some(value));
            let mut plain = Vec::new();
            push_decimal(value, &mut plain);
            assert_eq!(plain.len(), decimal_len(value));
            assert_eq!(read_decimal_plain(&plain), Some(value));
        }
        assert_eq!(read_decimal(b"18446744073709551616"), None);
        assert_eq!(read_decimal(b""), None);
        assert_eq!(read_decimal(b"+1"), None);
        assert_eq!(read_decimal_plain(b"01"), None);
    }

    #[test]
    fn base64_round_trips_and_refuses_stray_bits() {
        let bytes: [u8; 32] = core::array::from_fn(|i| (i * 37 + 201) as u8);
        let mut url = [0; BASE64_HASH_LEN];
        write_base64url(&bytes, &mut url);
        assert_eq!(read_base64url(&url), Some(bytes));
        let mut stray = url;
        stray[42] += 1;
        assert_eq!(read_base64url(&stray), None);
        let mut padded = Vec::new();
        push_base64(&bytes, &mut padded);
        assert_eq!(padded.len(), 44);
        assert_eq!(read_base64_hash(&padded), Some(Hash(bytes)));
        assert_eq!(read_base64_hash(&padded[..43]), None);
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            let mut out = Vec::new();
            push_base64(plain.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            assert_eq!(
                read_base64_any(text.as_bytes()).as_deref(),
                Some(plain.as_bytes())
            );
        }
        for text in ["Zh==", "Zg=", "Zg", "Z===", "====", "Zm9=", "Zg==Zg=="] {
            assert_eq!(read_base64_any(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn hex_refuses_upper_case_and_other_characters() {
        let mut out = [0; 8];
        write_hex_8(0x00c0_ffee, &mut out);
        assert_eq!(&out, b"00c0ffee");
        assert_eq!(read_hex_8(&out), Some(0x00c0_ffee));
        assert_eq!(read_hex_8(b"9abcdef0"), Some(0x9abc_def0));
        for byte in 0..=255 {
            let value = hex_digit(byte);
            assert_eq!(
                read_hex_8(&[b'0', b'0', byte, b'0', b'0', b'0', b'0', b'1']),
                value.map(|value| u32::from(value) << 20 | 1),
                "{byte}"
            );
            let digit = byte
                .is_ascii_digit()
                .then(|| u64::from(byte - b'0') * 100_000 + 1);
            assert_eq!(
                read_decimal_8(&[b'0', b'0', byte, b'0', b'0', b'0', b'0', b'1']),
                digit
            );
        }
        assert_eq!(read_decimal_8(b"12345678"), Some(12_345_678));
        assert_eq!(read_decimal_8(b"99999999"), Some(99_999_999));
    }
}
