//! The keys under which names are kept: lower case, so that no two names differ in case alone.

use alloc::boxed::Box;

use hbuf_core::limits::NAME_BYTES_MAX;

/// Runs `look_up` with the lower-case form of `name`, without allocating: this is on the path of
/// every request. A text that is too long to be a name has no form, and `None` comes back.
pub(crate) fn with_folded<T>(name: &str, look_up: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut space = [0_u8; NAME_BYTES_MAX];
    let folded = space.get_mut(..name.len())?;
    folded.copy_from_slice(name.as_bytes());
    folded.make_ascii_lowercase();
    look_up(core::str::from_utf8(folded).ok()?)
}

/// The key of a name, or of a position in a list of names.
pub(crate) fn folded(name: &str) -> Box<str> {
    name.to_ascii_lowercase().into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_a_text_that_is_too_long_finds_nothing() {
        let long = "A".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(with_folded(&long, |_| Some(())), None);
        assert_eq!(with_folded("AbC", |f| (f == "abc").then_some(())), Some(()));
    }
}
