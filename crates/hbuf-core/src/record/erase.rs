//! Wiping a record's content in place: same length, same id, every proof as before.

use super::decode::{RecordError, decode};
use super::encode::{PROOF_LEN, Proof, seal};
use super::{GONE, SALT, STATE_AT};
use crate::digits::write_base64url;

/// Why a record cannot be wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EraseError {
    /// The bytes are no good record; wiping them would hide the damage.
    #[error("no good record to erase: {0}")]
    Record(#[from] RecordError),
    /// A head, or a record of a log without a tree.
    #[error("only messages with an id can be erased")]
    NoProof,
}

/// Wipes the record in `bytes`: body and header values become zeros, header names a run of `x`, the
/// salt gives way to the commitment. A record that is gone already stays as it is.
pub fn erase(bytes: &mut [u8]) -> Result<(), EraseError> {
    let record = decode(bytes)?;
    let commitment = match (&record.proof, record.commitment()) {
        (Proof::Salted { .. }, Some(commitment)) => commitment,
        (Proof::Gone { .. }, _) => return Ok(()),
        _ => return Err(EraseError::NoProof),
    };
    let head_len = record.line.head_len as usize;
    let salt = head_len - PROOF_LEN - 2;
    let lines = salt - record.lines.len()..salt;
    let body = head_len..head_len + record.body.len();

    wipe_lines(&mut bytes[lines]);
    bytes[body].fill(b'0');
    bytes[salt..salt + SALT.len()].copy_from_slice(GONE);
    write_base64url(&commitment.0, &mut bytes[salt + SALT.len()..]);
    bytes[STATE_AT..STATE_AT + 4].copy_from_slice(b"gone");
    seal(bytes);
    Ok(())
}

/// `name: value` becomes `xxxx: 00000`.
fn wipe_lines(lines: &mut [u8]) {
    for line in lines.split_inclusive_mut(|&byte| byte == b'\n') {
        let end = line.len() - 2;
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(end);
        line[..colon].fill(b'x');
        if let Some(value) = line.get_mut(colon + 2..end) {
            value.fill(b'0');
        }
    }
}
