//! The election timeout as a function of who a member is and what it is doing.
//!
//! The library draws it from the thread's generator whenever a member changes its role. Setting it
//! after every call, to what this function says, makes a run a function of its inputs. Every call,
//! not only those after which it differs: the library's own draw may equal the old value by chance.

use ::raft::StateRole;
use hbuf_core::ids::Uuid;

use super::members::MemberId;

/// Ticks without a leader after which a member may start an election.
pub(super) const ELECTION_TICKS: usize = 10;
/// A member starts one before so many ticks.
pub(super) const ELECTION_TICKS_END: usize = 2 * ELECTION_TICKS;
/// Ticks between the leader's heartbeats.
pub(super) const HEARTBEAT_TICKS: usize = 2;

/// A number of ticks from [`ELECTION_TICKS`] up to [`ELECTION_TICKS_END`].
pub(super) fn election_ticks(
    seed: u64,
    group: Uuid,
    member: MemberId,
    term: u64,
    role: StateRole,
) -> usize {
    let role = match role {
        StateRole::Follower => 1,
        StateRole::PreCandidate => 2,
        StateRole::Candidate => 3,
        StateRole::Leader => 4,
    };
    let (high, low) = group.0.split_at(8);
    let half = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("half of 16 bytes"));
    let words = [half(high), half(low), member.0, term, role];
    let mixed = words
        .iter()
        .fold(mix(seed), |hash, word| mix(hash ^ mix(*word)));
    let span = (ELECTION_TICKS_END - ELECTION_TICKS) as u64;
    ELECTION_TICKS + usize::try_from(mixed % span).expect("below the span")
}

/// The finaliser of `SplitMix64`.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn members_terms_roles_and_groups_draw_apart_and_always_the_same() {
        let draw = |seed, group, member, term, role| {
            let ticks = election_ticks(seed, Uuid([group; 16]), MemberId(member), term, role);
            assert!((ELECTION_TICKS..ELECTION_TICKS_END).contains(&ticks));
            assert_eq!(
                ticks,
                election_ticks(seed, Uuid([group; 16]), MemberId(member), term, role)
            );
            ticks
        };
        let follower = StateRole::Follower;
        let by_term: BTreeSet<_> = (0..100).map(|term| draw(1, 1, 1, term, follower)).collect();
        let by_member: BTreeSet<_> = (1..100).map(|id| draw(1, 1, id, 1, follower)).collect();
        let by_group: BTreeSet<_> = (0..100)
            .map(|group| draw(1, group, 1, 1, follower))
            .collect();
        let by_seed: BTreeSet<_> = (0..100).map(|seed| draw(seed, 1, 1, 1, follower)).collect();
        for seen in [by_term, by_member, by_group, by_seed] {
            assert_eq!(seen.len(), ELECTION_TICKS_END - ELECTION_TICKS);
        }
    }
}
