//! The rules that can be bent to see what breaks.
//!
//! The core takes a `Rules` value. The server can make only [`Rules::correct`]; wrong ones are made
//! by the simulator, where each must turn a named invariant red.

/// Which of the core's safety rules hold. `true` everywhere is the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// A message is committed only when every in-sync copy has it on disk.
    pub commit_waits_for_disk: bool,
    /// Recovery and commit stop only at the last message of a batch.
    pub batch_stays_whole: bool,
    /// Journal entries below a buffer's fence are ignored.
    pub replay_respects_fence: bool,
    /// A journal entry behind a gap that knew a missing record as committed makes it damage.
    pub gap_in_journal_proves: bool,
    /// The tables of producers and idempotency keys are rebuilt from the log after a restart.
    pub dedupe_survives_restart: bool,
    /// A closed buffer takes no message.
    pub closed_refuses: bool,
    /// A paused buffer changes nothing.
    pub paused_refuses: bool,
    /// Retention drops only whole sealed segments below the commit.
    pub retention_spares_uncommitted: bool,
    /// Server time never decreases within a buffer.
    pub time_never_decreases: bool,
    /// A damaged record below the mark or below a later record's known commit is corruption.
    pub damage_below_commit_is_corruption: bool,
    /// A read of a topic delivers nothing while the next message of one of its buffers is not
    /// known.
    pub merge_looks_at_all: bool,
    /// A mirror goes on behind the last record of its origin that its log holds, and its log takes
    /// none of before.
    pub mirror_resumes_from_its_log: bool,
}

impl Rules {
    /// The product's rules.
    #[must_use]
    pub const fn correct() -> Self {
        Self {
            commit_waits_for_disk: true,
            batch_stays_whole: true,
            replay_respects_fence: true,
            gap_in_journal_proves: true,
            dedupe_survives_restart: true,
            closed_refuses: true,
            paused_refuses: true,
            retention_spares_uncommitted: true,
            time_never_decreases: true,
            damage_below_commit_is_corruption: true,
            merge_looks_at_all: true,
            mirror_resumes_from_its_log: true,
        }
    }
}
