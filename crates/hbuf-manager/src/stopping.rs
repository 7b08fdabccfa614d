//! What a node does before its process ends in order: what it leads gets other primaries while it
//! still answers, then another member leads the group, then its session ends.

use alloc::vec::Vec;

use hbuf_core::ids::NodeId;

use crate::assign::Assign;
use crate::catalog::Catalog;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stopping {
    /// These are to be proposed: buffers are handed over. Each counts once.
    HandOver(Vec<Assign>),
    /// Another member is to lead the group.
    Transfer,
    /// Nothing is left to hand over: the disk is synced, the session ended, the process ends.
    End,
}

/// What a node does next that is to stop. `leads` says whether it leads the group. Whoever asks
/// waits for a bounded time: a buffer that nobody else can lead stays, and goes on when the node
/// is back.
#[must_use]
pub fn stopping(catalog: &Catalog, node: NodeId, leads: bool) -> Stopping {
    let assigned = catalog.assigned();
    let led = assigned.all().filter(|(_, it)| it.primary == Some(node));
    let steps = led.filter_map(|(uuid, it)| {
        let mut members = it.in_sync.keys().copied();
        let to = members.find(|member| {
            let mut after = it.clone();
            *member != node
                && after.hand_over(&assigned.rules, *member, |id| assigned.facts(id)) == Ok(true)
        })?;
        let expected = Some(it.version);
        Some(Assign::HandOver { uuid, expected, to })
    });
    let steps: Vec<Assign> = steps.collect();
    match (steps.is_empty(), leads) {
        (false, _) => Stopping::HandOver(steps),
        (true, true) => Stopping::Transfer,
        (true, false) => Stopping::End,
    }
}
