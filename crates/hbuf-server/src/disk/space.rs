//! Room on the disk: refuse appends before the last block is gone, take them again when there is
//! room.

use std::path::Path;

use hbuf_core::input::DiskHealth;

/// Free bytes below which appends are refused: room for marks, sealing and the manager's log.
pub(crate) const RESERVE_BYTES: u64 = 16 << 20;
/// Appends are taken again only when this much is free, so that the state does not flap.
pub(crate) const RETURN_BYTES: u64 = 2 * RESERVE_BYTES;

/// The disk's health by its free bytes, given what it was.
pub(crate) fn judge(free: u64, before: DiskHealth) -> DiskHealth {
    match before {
        DiskHealth::Failed => DiskHealth::Failed,
        DiskHealth::Full if free < RETURN_BYTES => DiskHealth::Full,
        _ if free < RESERVE_BYTES => DiskHealth::Full,
        _ => DiskHealth::Sound,
    }
}

/// Bytes that this process may still write below `path`; `None` when the system does not say.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_comes_back_only_with_room_to_spare() {
        let sound = DiskHealth::Sound;
        assert_eq!(judge(RESERVE_BYTES, sound), DiskHealth::Sound);
        assert_eq!(judge(RESERVE_BYTES - 1, sound), DiskHealth::Full);
        assert_eq!(judge(RETURN_BYTES - 1, DiskHealth::Full), DiskHealth::Full);
        assert_eq!(judge(RETURN_BYTES, DiskHealth::Full), DiskHealth::Sound);
        assert_eq!(judge(u64::MAX, DiskHealth::Failed), DiskHealth::Failed);
    }
}
