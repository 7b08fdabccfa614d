//! Bytes of header names and values, one table each, for the record and for what clients send.

/// Whether every byte may stand in a value. Written so that the compiler makes vector code of it.
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |fine, &byte| {
        fine & ((byte >= b' ') & (byte != 0x7f) | (byte == b'\t'))
    })
}

/// Whether every byte may stand in a stored header's name, and there is one.
pub(crate) fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .fold(NAME, |fine, &byte| fine & CLASS[byte as usize])
            != 0
}

/// `value` without spaces and tabs at its ends.
pub(crate) const fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

const NAME: u8 = 1;
const VALUE: u8 = 2;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let mark = matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        );
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || mark {
            class[at] |= NAME;
        }
        if (byte >= b' ' && byte != 0x7f) || byte == b'\t' {
            class[at] |= VALUE;
        }
        at += 1;
    }
    class
};
