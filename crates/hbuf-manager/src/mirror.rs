//! What makes a buffer a mirror of another one, and its text form.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use hbuf_core::filter::BadTag;
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::limits::MIRROR_TAGS_MAX;
use hbuf_core::name::Name;

use crate::config::ConfigError;
use crate::lines::{FieldError, Fields, Writer};

/// What a mirror follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MirrorConfig {
    /// The origin's registration.
    pub of: Uuid,
    /// The origin's name when it was named: what is said of it once it is gone.
    pub name: Name,
    /// The place in the origin behind which the mirror begins.
    pub after: Seq,
    /// Only messages with any of these tags; none is all messages.
    pub tags: Vec<Box<[u8]>>,
}

impl MirrorConfig {
    /// Checks every value against its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let got = self.tags.len();
        if got > MIRROR_TAGS_MAX {
            return Err(ConfigError::MirrorTags { got });
        }
        match BadTag::find(&self.tags) {
            Some((number, why)) => Err(ConfigError::MirrorTag { number, why }),
            None => Ok(()),
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.field("mirror-of", self.of);
        out.field("mirror-name", &self.name);
        out.field("mirror-after", self.after);
        out.list("mirror-tags", self.tags.iter().map(|tag| escaped(tag)));
    }

    /// Reads it; nothing when there is none.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Option<Box<Self>>, FieldError> {
        let Some(of) = fields.with_optional("mirror-of", Uuid::parse)? else {
            return Ok(None);
        };
        Ok(Some(Box::new(Self {
            of,
            name: fields.name("mirror-name")?,
            after: Seq(fields.parse("mirror-after")?),
            tags: fields.list("mirror-tags", unescaped)?,
        })))
    }
}

/// What a change of a buffer's configuration says of what the buffer follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum MirrorChange {
    /// It stays as it is.
    #[default]
    Keep,
    /// It follows nothing any more, and takes messages of its own again.
    End,
    /// It follows this. A mirror that goes on following the same origin keeps its place there.
    Follow(Box<MirrorConfig>),
}

impl MirrorChange {
    /// What is followed behind the change.
    pub(crate) fn over(&self, now: Option<&MirrorConfig>) -> Option<MirrorConfig> {
        match self {
            Self::Keep => now.cloned(),
            Self::End => None,
            Self::Follow(wanted) => {
                let same = now.filter(|now| now.of == wanted.of);
                let after = same.map_or(wanted.after, |now| now.after);
                let wanted = MirrorConfig::clone(wanted);
                Some(MirrorConfig { after, ..wanted })
            }
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            Self::Keep => {}
            Self::End => out.field("mirror", "end"),
            Self::Follow(mirror) => mirror.write(out),
        }
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let end = fields.with_optional("mirror", |word| (word == "end").then_some(Self::End))?;
        if let Some(end) = end {
            return Ok(end);
        }
        let mirror = MirrorConfig::read(fields)?;
        Ok(mirror.map_or(Self::Keep, Self::Follow))
    }
}

/// A tag or key as one word of visible ASCII.
pub(crate) fn escaped(tag: &[u8]) -> String {
    let mut out = String::new();
    for byte in tag {
        if byte.is_ascii_graphic() && *byte != b'%' {
            out.push(char::from(*byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    out
}

/// Undoes [`escaped`].
pub(crate) fn unescaped(word: &str) -> Option<Box<[u8]>> {
    let (mut out, mut bytes) = (Vec::new(), word.bytes());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        let digits = core::str::from_utf8(&digits).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
    }
    Some(out.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbuf_core::limits::TAG_BYTES_MAX;

    #[test]
    fn any_tag_is_a_word_and_reads_back() {
        for tag in [&b"web7"[..], b"a b=c%\xff", b"\n"] {
            let word = escaped(tag);
            assert!(word.bytes().all(|byte| byte.is_ascii_graphic()), "{word}");
            assert_eq!(unescaped(&word).as_deref(), Some(tag));
        }
        assert_eq!(unescaped("%4"), None);
    }

    #[test]
    fn the_tags_of_a_mirror_are_bounded() {
        let with = |tags: Vec<Box<[u8]>>| MirrorConfig {
            of: Uuid([1; 16]),
            name: Name::parse("a").unwrap(),
            after: Seq(0),
            tags,
        };
        let tag: Box<[u8]> = [b'a'; TAG_BYTES_MAX].into();
        assert_eq!(
            with(alloc::vec![tag.clone(); MIRROR_TAGS_MAX]).check(),
            Ok(())
        );
        let more = alloc::vec![tag; MIRROR_TAGS_MAX + 1];
        assert_eq!(
            with(more).check(),
            Err(ConfigError::MirrorTags {
                got: MIRROR_TAGS_MAX + 1
            })
        );
        for (bad, why) in [
            (&b""[..], BadTag::Empty),
            (b"a,b", BadTag::Comma),
            (&[b'a'; TAG_BYTES_MAX + 1], BadTag::Long),
        ] {
            let refused = with(alloc::vec![bad.into()]).check();
            assert_eq!(refused, Err(ConfigError::MirrorTag { number: 1, why }));
        }
    }
}
