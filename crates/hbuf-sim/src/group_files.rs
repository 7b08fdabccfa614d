//! The files of a member of one of the manager's groups: what is durable, and the steps under way.

use std::collections::{BTreeMap, VecDeque};

use hbuf_core::ids::Uuid;
use hbuf_core::segment::first_of_name;
use hbuf_manager::State;
use hbuf_manager::raft::{FileStep, RecoverError, Recovered, VOTES_FILE, recover};

use crate::draw::{Draws, Purpose};

/// A member's files.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupFiles {
    files: BTreeMap<String, Vec<u8>>,
    queue: VecDeque<(Vec<FileStep>, Option<u64>)>,
    /// Where the file of votes ended before what was done last, if that was a vote.
    before_vote: Option<usize>,
}

impl GroupFiles {
    /// Does a step, durably.
    pub(crate) fn perform(&mut self, step: &FileStep) {
        self.before_vote = match step {
            FileStep::Append { file, .. } if file == VOTES_FILE => {
                self.files.get(file).map(Vec::len)
            }
            _ => None,
        };
        match step {
            FileStep::Append { file, at, bytes } => {
                let content = self.files.get_mut(file).expect("it was made");
                assert_eq!(content.len() as u64, *at, "appends go to the end of {file}");
                content.extend_from_slice(bytes);
            }
            FileStep::Cut { file, length } => {
                let content = self.files.get_mut(file).expect("it was made");
                content.truncate(usize::try_from(*length).expect("files are short"));
            }
            FileStep::Replace { file, bytes } => {
                self.files.insert(file.clone(), bytes.clone());
            }
        }
    }

    /// Steps that take their time, and the number to report when they are done.
    pub(crate) fn begin(&mut self, steps: Vec<FileStep>, number: Option<u64>) {
        self.queue.push_back((steps, number));
    }

    /// The last vote is not there, as if it had not been synced; unless the log shows that there
    /// was one, which a start would notice.
    pub(crate) fn forget_vote<S: State>(&mut self, group: Uuid) {
        let Some(end) = self.before_vote.take() else {
            return;
        };
        let mut without = self.clone();
        if let Some(votes) = without.files.get_mut(VOTES_FILE) {
            votes.truncate(end);
        }
        if without.read::<S>(group).is_ok() {
            *self = without;
        }
    }

    /// Whether steps are under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The oldest steps are durable; the number to report.
    pub(crate) fn end(&mut self) -> Option<u64> {
        let (steps, number) = self.queue.pop_front()?;
        steps.iter().for_each(|step| self.perform(step));
        number
    }

    /// The process goes. With the power on, the kernel writes what it was given; else some of it is
    /// there and some is not.
    pub(crate) fn crash(&mut self, draws: &Draws, power: bool) {
        let queue = std::mem::take(&mut self.queue);
        let steps: Vec<FileStep> = queue.into_iter().flat_map(|(steps, _)| steps).collect();
        let draw = draws.draw(Purpose::Crash, u64::MAX - 1, 0);
        let done = match power {
            true => draw.below(steps.len() as u64 + 1),
            false => steps.len() as u64,
        };
        for (at, step) in (0..).zip(&steps) {
            if at < done {
                self.perform(step);
                continue;
            }
            if let FileStep::Append { file, bytes, .. } = step {
                let content = self.files.get_mut(file).expect("it was made");
                let kept = draw.next().below(bytes.len() as u64 + 1);
                content.extend_from_slice(&bytes[..usize::try_from(kept).unwrap_or(0)]);
            }
            break;
        }
    }

    /// What a start finds, with the torn ends cut off.
    pub(crate) fn recover<S: State>(&mut self, group: Uuid) -> Recovered<S> {
        let recovered = self.read(group).expect("what was written can be read");
        for step in &recovered.steps {
            self.perform(step);
        }
        recovered
    }

    fn read<S: State>(&self, group: Uuid) -> Result<Recovered<S>, RecoverError> {
        let mut logs = self.files.iter();
        let log = logs.rfind(|(name, _)| *name != VOTES_FILE);
        let (name, log) = log.expect("a founded member has a log");
        let first = first_of_name(name).expect("it has a number");
        recover(group, first, log, &self.files[VOTES_FILE])
    }
}
