//! The stored filters of one buffer as they should be: what is in force, and what a crash may leave
//! instead while a change is not surely on disk.

use std::collections::{BTreeMap, BTreeSet};

use hbuf_core::filter::{LineError, TagLines, TagList, TagListWriter};

/// The tags of a filter.
pub(crate) type Tags = BTreeSet<Vec<u8>>;

/// The filters of a buffer by their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    now: BTreeMap<u64, Tags>,
    /// What may be there again behind a loss of power: what was there since the last change that
    /// was answered.
    before: BTreeMap<u64, BTreeSet<Option<Tags>>>,
}

impl Filters {
    /// What is in force.
    pub(crate) fn now(&self, number: u64) -> Option<&Tags> {
        self.now.get(&number)
    }

    /// Another one is in force, or none; a loss of power may undo it.
    pub(crate) fn change(&mut self, number: u64, to: Option<Tags>) {
        let before = match to {
            Some(tags) => self.now.insert(number, tags),
            None => self.now.remove(&number),
        };
        self.before.entry(number).or_default().insert(before);
    }

    /// The last change is surely on disk.
    pub(crate) fn answered(&mut self, number: u64) {
        self.before.remove(&number);
    }

    /// What is found behind a crash is in force from now on; false when it may not be there.
    pub(crate) fn found(&mut self, number: u64, found: Option<Tags>) -> bool {
        let now = self.now.get(&number).cloned();
        let before = self.before.get(&number);
        let may_be = now == found || before.is_some_and(|before| before.contains(&found));
        if now != found {
            self.change(number, found);
        }
        may_be
    }

    /// What a copy of the directory holds: nothing of it is under way.
    pub(crate) fn copied(&self) -> Self {
        Self {
            now: self.now.clone(),
            before: BTreeMap::new(),
        }
    }
}

/// The name of the filter of this number.
pub(crate) fn filter_name(number: u64) -> String {
    format!("f{number}")
}

/// The number in such a name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix('f')?.parse().ok()
}

/// The file of a filter.
pub(crate) fn encode(number: u64, tags: &Tags) -> Vec<u8> {
    let (mut writer, mut lines) = (TagListWriter::default(), Vec::new());
    for tag in tags {
        writer.push(tag, &mut lines).expect("these are few tags");
    }
    let mut bytes = writer.list(filter_name(number).as_bytes()).head();
    bytes.append(&mut lines);
    bytes
}

/// Reads such a file as the server does.
pub(crate) fn decode(bytes: &[u8]) -> Result<Tags, String> {
    let (list, len) = TagList::parse(bytes).map_err(|error| error.to_string())?;
    let (mut lines, mut tags) = (TagLines::default(), Tags::new());
    let (mut writer, mut out) = (TagListWriter::default(), Vec::new());
    let fed = lines.feed(&bytes[len..], |line, tag| {
        tags.insert(tag.to_vec());
        let pushed = writer.push(tag, &mut out);
        pushed.map_err(|why| LineError { line, why })
    });
    fed.map_err(|error| error.to_string())?;
    writer.agrees(&list).map_err(|error| error.to_string())?;
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Tags {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_file_reads_back_and_a_torn_one_does_not() {
        let tags = tags(&["b", "c"]);
        let bytes = encode(1, &tags);
        assert_eq!(decode(&bytes), Ok(tags));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_change_may_be_undone_until_it_is_answered() {
        let (one, two) = (tags(&["b"]), tags(&["c"]));
        let mut filters = Filters::default();
        filters.change(0, Some(one.clone()));
        assert!(filters.clone().found(0, None), "it was not answered");
        filters.answered(0);
        assert!(!filters.clone().found(0, None));
        filters.change(0, Some(two.clone()));
        assert!(filters.clone().found(0, Some(one.clone())));
        assert!(filters.clone().found(0, Some(two)));
        assert!(!filters.clone().found(0, None));
        assert!(filters.copied().found(0, Some(tags(&["c"]))));
        assert!(!filters.copied().found(0, Some(one)), "a copy is whole");
    }
}
