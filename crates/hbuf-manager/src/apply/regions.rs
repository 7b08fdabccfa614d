//! What commands do to the list of regions.

use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::limits::REGIONS_MAX;
use hbuf_core::name::Name;

use super::{Outcome, Refused};
use crate::catalog::{Catalog, RegionId, RegionRow};

impl Catalog {
    pub(super) fn create_region(
        &mut self,
        time: Micros,
        name: &Name,
        group: Uuid,
    ) -> Result<Outcome, Refused> {
        if let Some((id, known)) = self.regions().find(|(_, known)| known.group == group) {
            return match known.name == *name {
                true => Ok(Outcome::Region { id }),
                false => Err(Refused::UuidTaken { uuid: group }),
            };
        }
        let same = |other: &Name| other.eq_ignore_ascii_case(name);
        let taken = self.regions().find(|(_, known)| same(&known.name));
        if taken.is_some() || name.eq_ignore_ascii_case("global") {
            return Err(Refused::RegionExists {
                region: name.clone(),
            });
        }
        // `global` is one of them.
        if self.regions.len() + 1 >= REGIONS_MAX {
            return Err(Refused::TooManyRegions);
        }
        self.last_region += 1;
        let id = RegionId(self.last_region);
        let row = RegionRow {
            name: name.clone(),
            group,
            created: time,
        };
        self.regions.insert(id, row);
        Ok(Outcome::Region { id })
    }

    pub(super) fn delete_region(&mut self, name: &Name) -> Result<Outcome, Refused> {
        let id = self.region_id(name)?;
        let buffers = self.buffers().filter(|it| it.region == Some(id)).count();
        if buffers > 0 {
            return Err(Refused::RegionInUse {
                region: name.clone(),
                buffers,
            });
        }
        self.regions.remove(&id);
        Ok(Outcome::Done)
    }

    pub(super) fn region_id(&self, name: &Name) -> Result<RegionId, Refused> {
        let found = self.region(name).map(|(id, _)| id);
        found.ok_or_else(|| Refused::NoSuchRegion {
            region: name.clone(),
        })
    }
}
