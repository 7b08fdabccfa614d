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
    /// How far consumers have come is known after a restart.
    pub cursors_survive_restart: bool,
    /// A damaged record of the cursors log that a later one knew as committed is corruption.
    pub cursors_damage_is_corruption: bool,
    /// What a consumer passed and a worker acks is done on record before it is called done.
    pub passed_acks_are_recorded: bool,
    /// A look that fails passes no message.
    pub failed_looks_pass_nothing: bool,
    /// A consumer's answer leaves when the record that it depends on is on disk.
    pub consumer_answers_wait_for_disk: bool,
    /// A consumer is handed committed messages only.
    pub consumers_see_commits_only: bool,
    /// A paused buffer's consumers hand out nothing and move nowhere.
    pub consumers_stand_still_while_paused: bool,
    /// A message that is given back is not done.
    pub nacked_stays_open: bool,
    /// A lease that lapsed gives its message back.
    pub leases_lapse: bool,
    /// A leased message is handed to nobody else.
    pub leases_exclude: bool,
    /// No more messages are leased than the consumer is set to have.
    pub in_flight_is_bounded: bool,
    /// A message waits for every earlier one of its key, where the consumer is set so.
    pub order_by_key_holds: bool,
    /// A message is handed out at most as often as the consumer is set to.
    pub deliveries_are_bounded: bool,
    /// A message is given up only when it was handed out as often as it may be.
    pub given_up_when_spent: bool,
    /// A message is not handed out before its time of delivery.
    pub deliver_at_holds: bool,
    /// A copy takes only what follows its log.
    pub copies_take_what_follows: bool,
    /// A copy answers for what its disk holds.
    pub copies_answer_by_disk: bool,
    /// Only a member of the in-sync set is appointed as primary.
    pub only_members_are_appointed: bool,
    /// A change of the in-sync set counts only for the version that it was made for.
    pub changes_name_their_version: bool,
    /// A new primary keeps its whole log.
    pub appointed_keeps_its_log: bool,
    /// The word that makes a copy cut its log is meant for one life of it.
    pub leads_name_a_life: bool,
    /// A record is committed only when the whole in-sync set has it on disk.
    pub commit_waits_for_in_sync: bool,
    /// Whoever is being added to the in-sync set counts for the commit already.
    pub commit_waits_for_proposed: bool,
    /// A member counts until the manager has taken it out.
    pub removal_waits_for_manager: bool,
    /// The tail is read when all that the epoch began with is committed.
    pub tail_reads_wait_for_the_start: bool,
    /// Who is taken into the in-sync set holds all that the primary began its epoch with.
    pub added_hold_the_start: bool,
    /// A copy that knows a higher epoch refuses a lower one.
    pub copies_fence_epochs: bool,
    /// A node that starts knows the epochs of the manager's record as of its registration.
    pub registration_tells_the_epoch: bool,
    /// A copy cuts its log back to the last record that it has in common with the primary's.
    pub reconcile_by_epoch: bool,
    /// A copy never cuts what it knows as committed.
    pub committed_is_never_cut: bool,
    /// A primary that restarts gets a new epoch.
    pub restart_takes_a_new_epoch: bool,
    /// A member counts under the registration under which it became one, and with its disk only.
    pub members_are_stamped: bool,
    /// A copy that was removed and added again does not count for what it held before.
    pub added_begin_a_tenure: bool,
    /// The tail is read behind a round of acks that began after the read.
    pub tail_reads_ask_a_round: bool,
    /// Only a member that holds all that is kept is appointed.
    pub whole_members_are_appointed: bool,
    /// What a copy fills in of before its first record counts when all of a segment is durable.
    pub filled_segments_are_whole: bool,
    /// A copy leaves when enough others hold all that is kept.
    pub moves_wait_for_whole: bool,
    /// A copy is told what a forced election lost, and cuts it.
    pub forced_loss_is_told: bool,
    /// No election is forced while the session of the old primary lives.
    pub forced_waits_for_primary: bool,
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
            cursors_survive_restart: true,
            cursors_damage_is_corruption: true,
            passed_acks_are_recorded: true,
            failed_looks_pass_nothing: true,
            consumer_answers_wait_for_disk: true,
            consumers_see_commits_only: true,
            consumers_stand_still_while_paused: true,
            nacked_stays_open: true,
            leases_lapse: true,
            leases_exclude: true,
            in_flight_is_bounded: true,
            order_by_key_holds: true,
            deliveries_are_bounded: true,
            given_up_when_spent: true,
            deliver_at_holds: true,
            copies_take_what_follows: true,
            copies_answer_by_disk: true,
            only_members_are_appointed: true,
            changes_name_their_version: true,
            appointed_keeps_its_log: true,
            leads_name_a_life: true,
            commit_waits_for_in_sync: true,
            commit_waits_for_proposed: true,
            removal_waits_for_manager: true,
            tail_reads_wait_for_the_start: true,
            added_hold_the_start: true,
            copies_fence_epochs: true,
            registration_tells_the_epoch: true,
            reconcile_by_epoch: true,
            committed_is_never_cut: true,
            restart_takes_a_new_epoch: true,
            members_are_stamped: true,
            added_begin_a_tenure: true,
            tail_reads_ask_a_round: true,
            whole_members_are_appointed: true,
            filled_segments_are_whole: true,
            moves_wait_for_whole: true,
            forced_loss_is_told: true,
            forced_waits_for_primary: true,
        }
    }
}
