//! Disks that are full. A node keeps a reserve for what is under way and for the manager: full is a
//! disk of which only that is left. It takes no more appends, and nothing of a primary.

use hbuf_core::ids::Seq;
use hbuf_core::input::{DiskHealth, Input};
use hbuf_core::replication::ToCopy;

use super::{About, World};
use crate::kinds::Kind;
use crate::tracefile::EventId;

impl World {
    /// Only the reserve is left.
    pub(super) fn fill(&mut self, cause: EventId, host: usize) {
        self.set_room(cause, host, true);
    }

    /// Somebody made room.
    pub(super) fn make_room(&mut self, cause: EventId, host: usize) {
        self.set_room(cause, host, false);
    }

    fn set_room(&mut self, cause: EventId, host: usize, full: bool) {
        if std::mem::replace(&mut self.hosts[host].full, full) == full {
            return;
        }
        let about = About {
            host: Some(host),
            ..About::default()
        };
        let kind = match full {
            true => Kind::DiskFull,
            false => Kind::DiskRoom,
        };
        let event = self.event(&[cause], kind, &about);
        self.tell_room(event, host);
    }

    /// The shard of a process is told how its disk is, unless it uses it no more.
    pub(super) fn tell_room(&mut self, cause: EventId, host: usize) {
        let health = match self.hosts[host].full {
            true => DiskHealth::Full,
            false => DiskHealth::Sound,
        };
        if self.hosts[host].up {
            self.shard(cause, host, Input::Disk(health));
        }
    }

    /// Whether a copy has no room for what a primary says: it is told again until there is.
    pub(super) fn lacks_room_for(&self, host: usize, message: &ToCopy) -> bool {
        let brings = match message {
            ToCopy::Append { prev, through, .. } => *through > prev.seq,
            ToCopy::Begin { at, .. } => *at > Seq::ZERO,
            ToCopy::Fill { .. } => true,
            // It takes the place of one that goes.
            ToCopy::Mark { .. } => false,
            ToCopy::Greet { .. } | ToCopy::Lead { .. } => false,
        };
        brings && self.hosts[host].full
    }
}
