//! What a crash between two steps of a creation or deletion left in `global` and in a region.
//!
//! The two states are read at different times, and either may be old. So nothing is concluded from
//! what `global` does not have unless it is as of the buffer's reservation at least, and every step
//! is one that the newer states refuse or take as done when it comes too late.

use alloc::vec::Vec;

use hbuf_core::ids::Uuid;
use hbuf_core::limits::SWEEP_MAX;

use super::{Region, RegionAction};
use crate::catalog::{Buffer, Catalog, Lifecycle, RegionId};
use crate::command::Action;

/// A step that finishes or drops something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sweep {
    /// A command for `global`.
    Global(Action),
    /// A command for the region.
    Region(RegionAction),
    /// `global` says that the buffer is live, and this state of the region does not know it. An
    /// older state of the region says so rightly; if a newer one does too, its log is not what it
    /// was.
    Missing(Uuid),
}

/// The steps that are to be taken, [`SWEEP_MAX`] at most, the same for the same states. `idle` says
/// of a buffer that nobody is at work on its creation; a wrong answer costs somebody's creation, no
/// message.
#[must_use]
pub fn sweep(
    global: &Catalog,
    id: RegionId,
    region: &Region,
    idle: impl Fn(Uuid) -> bool,
) -> Vec<Sweep> {
    let in_region = |buffer: &&Buffer| buffer.region == Some(id);
    let named = global.buffers().filter(in_region);
    let named = named.filter_map(|buffer| of_named(buffer, region, &idle));
    let orphans = region.buffers().filter(|(uuid, placed)| {
        // Before its reservation it cannot be there, and later the name was given up.
        let other = global.buffer(*uuid).is_none_or(|it| it.region != Some(id));
        other && global.applied() >= placed.reserved
    });
    let orphans = orphans.map(|(uuid, placed)| {
        let reserved = placed.reserved;
        Sweep::Region(RegionAction::DropBuffer { uuid, reserved })
    });
    named.chain(orphans).take(SWEEP_MAX).collect()
}

/// What is to be done about a buffer that has a name.
fn of_named(buffer: &Buffer, region: &Region, idle: impl Fn(Uuid) -> bool) -> Option<Sweep> {
    let (uuid, reserved) = (buffer.uuid, buffer.reserved);
    let placed = region.placed.get(&uuid);
    match (buffer.lifecycle, placed) {
        (Lifecycle::Reserved, _) if !idle(uuid) => None,
        // It has all that a live one has: its maker was about to say so.
        (Lifecycle::Reserved, Some(placed)) if placed.reserved == reserved => {
            let reserved = Some(reserved);
            Some(Sweep::Global(Action::ConfirmBuffer { uuid, reserved }))
        }
        // Nobody was told that it exists.
        (Lifecycle::Reserved, _) => Some(Sweep::Global(Action::DropBuffer { uuid })),
        (Lifecycle::Deleting, Some(placed)) if placed.reserved <= reserved => {
            Some(Sweep::Region(RegionAction::DropBuffer { uuid, reserved }))
        }
        (Lifecycle::Deleting, _) => Some(Sweep::Global(Action::DropBuffer { uuid })),
        (Lifecycle::Live, None) => Some(Sweep::Missing(uuid)),
        (Lifecycle::Live, Some(placed)) => {
            let min_in_sync = usize::from(buffer.config.effective_min_insync());
            let set = region.assignment(uuid).map(|it| it.min_in_sync);
            let version = buffer.version;
            let old = (placed.reserved, placed.version) < (reserved, version);
            let news = old && set != Some(min_in_sync);
            news.then_some(Sweep::Region(RegionAction::SetMinInSync {
                uuid,
                reserved,
                version,
                min_in_sync,
            }))
        }
    }
}
