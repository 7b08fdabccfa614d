//! What an append demands of the log that it finds. A buffer that is yet to be made for the append
//! would answer like an empty one: a refusal is known before anything is made.

use crate::append::AppendRefused;
use crate::dedupe::producers::Producers;
use crate::ids::Seq;
use crate::record::Producer;

/// What an append demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands<'a> {
    /// The log ends here.
    pub if_match: Option<Seq>,
    /// Its producer's number comes next.
    pub producer: Option<&'a Producer>,
}

impl Demands<'_> {
    /// Whether an empty log fulfils them.
    ///
    /// # Errors
    /// What the buffer would say.
    pub fn of_an_empty_log(&self) -> Result<(), AppendRefused> {
        if let Some(producer) = self.producer {
            Producers::default().judge(producer)?;
        }
        self.end_is(Seq::ZERO)
    }

    /// Whether the log ends where it is said to.
    pub(super) fn end_is(&self, end: Seq) -> Result<(), AppendRefused> {
        match self.if_match {
            Some(expected) if expected != end => Err(AppendRefused::EndDiffers { expected, end }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_log_ends_at_0_and_knows_no_producer() {
        let demands = |if_match: Option<u64>, number: Option<u64>| {
            let producer = number.map(|number| Producer {
                id: "p".into(),
                epoch: 0,
                number,
            });
            let (if_match, producer) = (if_match.map(Seq), producer.as_ref());
            Demands { if_match, producer }.of_an_empty_log()
        };
        assert_eq!(demands(None, None), Ok(()));
        assert_eq!(demands(Some(0), Some(0)), Ok(()));
        let (expected, end) = (Seq(5), Seq(0));
        let differs = AppendRefused::EndDiffers { expected, end };
        assert_eq!(demands(Some(5), None), Err(differs));
        assert!(demands(None, Some(7)).is_err(), "numbers begin at 0");
    }
}
