//! By which rule something happens: what `hbuf sim explain` says besides what it is.

use super::Kind;

impl Kind {
    /// The rule by which it happens, in the words of PROTOCOL.md with its number; none for what no
    /// single rule brings about.
    #[must_use]
    pub const fn rule(self) -> Option<&'static str> {
        Some(match self {
            Self::AppendFramed => "rule 1: only the primary of an epoch appends",
            Self::CopyTook => "rule 1: a copy takes what follows its log",
            Self::DiskSynced => {
                "rule 2: a copy answers when its disk holds the records; nothing is acknowledged \
                 before its sync returned"
            }
            Self::CommitAdvanced => {
                "rule 3: a record is committed when the disks of the whole maximal in-sync set \
                 hold it"
            }
            Self::CommandProposed => {
                "rules 4 and 6: the manager decides who is in the in-sync set and who is primary; \
                 nodes ask"
            }
            Self::PrimaryAppointed => {
                "rules 6 and 7: a member of the in-sync set is appointed, with the next epoch, and \
                 keeps its whole log"
            }
            Self::CopyCut => {
                "rule 8: a copy cuts its log back to the last record in common, once in an epoch \
                 and life"
            }
            Self::TailShown => {
                "rule 11: the tail is read behind a round of acks that began after the read"
            }
            Self::CopyRemoved => "rule 12: a buffer moves by its record alone",
            Self::NodeRegistered | Self::NodeRefused => "rule 14: a session is one process",
            Self::CopyBegan => "rule 17: a copy that lacks much begins anew near the tail",
            Self::CopyFilled => {
                "rule 19: what was before the tail is filled in, segment by segment"
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_that_is_named_stands_in_the_protocol() {
        const PROTOCOL: &str = include_str!("../../../../docs/PROTOCOL.md");
        let numbered = |number: &str| PROTOCOL.contains(&format!("**{number}. "));
        let mut named = 0;
        for text in Kind::ALL.iter().filter_map(|kind| kind.rule()) {
            let (head, _) = text.split_once(':').unwrap();
            let numbers = head.split(' ').filter(|word| word.parse::<u32>().is_ok());
            for number in numbers {
                named += 1;
                assert!(numbered(number), "{text}");
            }
        }
        assert!(named >= 12, "{named}");
    }
}
