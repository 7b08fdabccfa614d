//! A mark that names a file which is not there, while the one before goes on behind it.
//!
//! A roll writes its mark before the file that it begins. Whoever was primary then may have become
//! a copy before that file was made, or have cut it away; and what the next primary sent, which
//! rolls elsewhere, stands in the file before.

use super::Found;
use super::messages::Messages;
use crate::segment::{ReadFailed, open, walk};

impl Messages {
    /// Goes on from the last record that the mark covers, where that stands.
    pub(super) fn find_behind_mark(&mut self, found: &Found<'_>) -> Result<(), ReadFailed> {
        let gone = found.mark.is_some() && self.present(found).is_none();
        let covered = self.covered;
        let before = found.segments.iter().rev();
        let Some(file) = before
            .filter(|_| gone)
            .find(|file| file.first <= covered && !file.source.is_empty())
        else {
            return Ok(());
        };
        let Ok((_, from)) = open(file.source) else {
            return Ok(());
        };
        let mut at = None;
        let (end, _) = walk(file.source, from, |offset, record| {
            if record.line.seq == covered {
                at = Some((offset + record.line.record_len(), record.line.time));
            }
        })?;
        if let Some(at) = at.filter(|_| end.next > covered.next()) {
            self.goes_on_in(file.first, at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, mark, segment};
    use super::super::{Recovered, recover};
    use crate::ids::Seq;
    use crate::rules::Rules;

    /// One file through `last`, and a mark of four records that names one behind it.
    fn recovered(last: u64) -> Recovered {
        let files = [(1, segment(1, last))];
        let found = found(&files, Some(mark(4, 5, 99)));
        recover(&Rules::correct(), &found).unwrap()
    }

    #[test]
    fn what_came_behind_a_mark_whose_file_was_cut_away_is_found() {
        let recovered = recovered(6);
        let opening = &recovered.opening;
        assert_eq!((opening.end, opening.frontier.size()), (Seq(6), 6));
        assert!(recovered.damage.is_none() && !opening.sealed);
        assert_eq!(opening.segments.len(), 1);
    }

    #[test]
    fn a_roll_that_did_not_get_to_make_its_file_makes_it_with_the_next_append() {
        let recovered = recovered(4);
        assert_eq!(recovered.opening.end, Seq(4));
        assert!(recovered.damage.is_none() && recovered.opening.sealed);
    }
}
