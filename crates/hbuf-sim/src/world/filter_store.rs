//! An operator stores, replaces and removes filters of buffers, as the server does it: an upload
//! beside the filter, synced, then renamed over it.

use hbuf_core::buffer::ConsumerCall;
use hbuf_core::consumer::Filter;

use super::consumer::{At, Consumer};
use super::keeper::write_whole;
use super::{Due, World};
use crate::bugs::Bug;
use crate::choices::some_start;
use crate::disk::{Directory, Name};
use crate::draw::{Draw, Purpose};
use crate::filters::{Tags, decode, encode, number_of};
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::ledger::Taking;
use crate::node::{Opened, Step};
use crate::trace::{EventId, Facts};

/// So many filters a buffer may have.
pub(super) const FILTERS: u64 = 2;

impl World<'_> {
    pub(super) fn filters_turn(&mut self, cause: EventId) {
        if self.draining {
            return;
        }
        self.filter_turns += 1;
        let draw = |ordinal| self.draws.draw(Purpose::Filter, self.filter_turns, ordinal);
        let buffer = draw(0).below(self.plan.buffers as u64);
        let buffer = usize::try_from(buffer).expect("few buffers");
        let (number, what, tags) = (draw(1).below(FILTERS), draw(2), any_tags(draw(3)));
        let after = draw(4).within(300, 5_000 * self.plan.pace);
        self.due(cause, after, Due::Filters);
        if !self.node.started || self.node.failed {
            return;
        }
        if !self.models[buffer].state.takes_filters() {
            self.buffer_event(cause, Kind::FilterRefused, buffer);
        } else if what.percent(75) {
            self.store_filter(cause, buffer, number, &tags);
        } else {
            let of = self.node.opened(buffer);
            let steps = [
                Step::RemoveFilter { of, number },
                Step::SyncNames {
                    directory: Directory::Filters(buffer),
                },
                Step::FilterChanged { of, number },
            ];
            self.queue_steps(cause, steps.into());
        }
    }

    /// A crash before the rename leaves the filter of before; behind the last step, the new one.
    fn store_filter(&mut self, cause: EventId, buffer: usize, number: u64, tags: &Tags) {
        let (of, name) = (self.node.opened(buffer), Name::FilterUpload(buffer, number));
        let bytes = encode(number, tags);
        let mut steps = Vec::from(write_whole(name, bytes.into()));
        if self.bug == Some(Bug::FilterUnsynced) {
            steps.pop();
        }
        steps.push(Step::StoreFilter { of, number });
        steps.push(Step::SyncNames {
            directory: Directory::Filters(buffer),
        });
        steps.push(Step::FilterChanged { of, number });
        self.queue_steps(cause, steps);
    }

    /// There was no room for the upload, or the buffer was opened anew meanwhile, from a directory
    /// that an operator may have put there.
    pub(super) fn drop_upload(&mut self, cause: EventId, name: Name) -> EventId {
        while let Some((_, step)) = self.node.keeper.pop_front() {
            if matches!(step, Step::FilterChanged { .. }) {
                break;
            }
        }
        self.disk.remove(name);
        self.disk_event(cause, Kind::FilterRefused, name)
    }

    pub(super) fn rename_filter(&mut self, cause: EventId, of: Opened, number: u64) -> EventId {
        let buffer = of.buffer;
        let upload = Name::FilterUpload(buffer, number);
        let tags = self.disk.read(upload).map(|bytes| decode(bytes));
        let Some(Ok(tags)) = tags.filter(|_| !self.is_other_opening(&of)) else {
            return self.drop_upload(cause, upload);
        };
        let name = Name::Filter(buffer, number);
        self.disk.rename(upload, name);
        self.models[buffer].filters.change(number, Some(tags));
        self.disk_event(cause, Kind::DiskRenamed, name)
    }

    pub(super) fn remove_filter(&mut self, cause: EventId, of: Opened, number: u64) -> EventId {
        let name = Name::Filter(of.buffer, number);
        if self.is_other_opening(&of) || !self.disk.exists(name) {
            return cause;
        }
        self.disk.remove(name);
        self.models[of.buffer].filters.change(number, None);
        self.disk_event(cause, Kind::DiskRemoved, name)
    }

    pub(super) fn filter_changed(&mut self, cause: EventId, of: Opened, number: u64) -> EventId {
        if self.is_other_opening(&of) {
            return cause;
        }
        let filters = &mut self.models[of.buffer].filters;
        filters.answered(number);
        let kind = match filters.now(number) {
            Some(_) => Kind::FilterStored,
            None => Kind::FilterRemoved,
        };
        let event = self.disk_event(cause, kind, Name::Filter(of.buffer, number));
        let draw = self.draws.draw(Purpose::Filter, event.0, 0);
        if !self.draining && draw.percent(60) {
            self.move_those_who_name(event, of.buffer, number, draw.next());
        }
        event
    }

    /// An operator wants the filter to hold for what was passed before, too.
    fn move_those_who_name(&mut self, cause: EventId, buffer: usize, number: u64, draw: Draw) {
        let names = |consumer: &&Consumer| {
            let config = self.registry.consumer(consumer.uuid).map(|it| it.0);
            let stored = config.and_then(|config| config.filter.stored.as_deref());
            stored.and_then(number_of) == Some(number)
        };
        let named = self.crew.consumers.iter().filter(names);
        let at = |consumer: &Consumer| At {
            consumer: consumer.uuid,
            buffer,
        };
        let named: Vec<At> = named.map(at).collect();
        for at in named {
            let start = some_start(draw, self.now(), self.models[buffer].commit);
            let after = self.place_of(buffer, start);
            if self.is_begun(at) {
                self.call_consumer(cause, None, at, ConsumerCall::Seek(after));
            }
        }
    }

    fn is_other_opening(&self, of: &Opened) -> bool {
        self.node.opened(of.buffer) != *of
    }

    /// A start: are the filters what they were left as?
    pub(super) fn check_filters(&mut self) {
        for buffer in 0..self.plan.buffers {
            for number in 0..FILTERS {
                let found = match self.filter_on_disk(buffer, number).transpose() {
                    Ok(found) => found,
                    Err(error) => {
                        let what = format!("filter {number} of buffer {buffer}: {error}");
                        self.broke(Invariant::FiltersKept, what);
                        continue;
                    }
                };
                let said = format!("{found:?}");
                let kept = self.models[buffer].filters.found(number, found);
                self.check(kept, Invariant::FiltersKept, || {
                    format!("filter {number} of buffer {buffer} is {said} behind a crash")
                });
            }
        }
    }

    fn filter_on_disk(&self, buffer: usize, number: u64) -> Option<Result<Tags, String>> {
        let bytes = self.disk.read(Name::Filter(buffer, number))?;
        Some(decode(bytes))
    }

    /// The tags of the filter that a look goes by: none where no filter is named; an error where
    /// there is none of the name.
    pub(super) fn filter_of_look(&mut self, at: At, filter: &Filter) -> Result<Option<Tags>, ()> {
        let Some(number) = filter.stored.as_deref().and_then(number_of) else {
            return Ok(None);
        };
        let stale = self.crew.first_read.get(&(at.buffer, number));
        if let Some(tags) = stale.filter(|_| self.bug == Some(Bug::FilterStale)) {
            return Ok(Some(tags.clone()));
        }
        let Some(Ok(tags)) = self.filter_on_disk(at.buffer, number) else {
            return Err(());
        };
        let place = (at.buffer, number);
        self.crew
            .first_read
            .entry(place)
            .or_insert_with(|| tags.clone());
        Ok(Some(tags))
    }

    /// What a look should take now.
    pub(super) fn taking(&self, at: At, filter: &Filter) -> Taking {
        let number = filter.stored.as_deref().and_then(number_of);
        let stored = number.map(|number| {
            let filters = &self.models[at.buffer].filters;
            filters.now(number).cloned().unwrap_or_default()
        });
        Taking::new(filter.clone(), stored)
    }

    /// So that all can be handed out in the end.
    pub(super) fn store_missing(&mut self, cause: EventId) {
        let mut missing = Vec::new();
        for consumer in &self.crew.consumers {
            let config = self.registry.consumer(consumer.uuid).map(|it| it.0);
            let number = config.and_then(|config| number_of(config.filter.stored.as_deref()?));
            let lacks = |buffer: &&usize| {
                number.is_some_and(|number| {
                    let model = &self.models[**buffer];
                    model.filters.now(number).is_none() && model.state.takes_filters()
                })
            };
            let buffers = consumer.members.iter().filter(lacks);
            missing.extend(buffers.filter_map(|buffer| Some((*buffer, number?))));
        }
        missing.sort_unstable();
        missing.dedup();
        for (buffer, number) in missing {
            let tags = any_tags(self.draws.draw(Purpose::Filter, 0, number));
            self.store_filter(cause, buffer, number, &tags);
        }
    }

    /// A look found no filter of the name.
    pub(super) fn filter_missing(&mut self, cause: EventId, at: At) -> EventId {
        let facts = Facts {
            buffer: Some(at.buffer),
            ..Facts::default()
        };
        self.event(cause, Kind::FilterMissing, &facts)
    }
}

/// Messages have the tags `b` and `c`.
fn any_tags(draw: Draw) -> Tags {
    let all: [&[&str]; 4] = [&["b"], &["c"], &["b", "x"], &["x"]];
    let chosen = usize::try_from(draw.below(4)).expect("below four");
    let tags = all[chosen].iter();
    tags.map(|tag| tag.as_bytes().to_vec()).collect()
}
