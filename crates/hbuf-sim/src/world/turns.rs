//! Clients' turns: appends, changes of state, copies of directories.

use hbuf_core::append::{AppendRefused, Appended};
use hbuf_core::input::{BufferState, Input};

use super::{Due, World};
use crate::bugs::Bug;
use crate::clients::{Ask, LETTERS, MIRROR};
use crate::draw::{Draw, Purpose, mix};
use crate::kinds::Kind;
use crate::model::{Backup, Content};
use crate::trace::{EventId, Facts};

impl World<'_> {
    pub(super) fn client_turn(&mut self, cause: EventId, client: usize) {
        if self.asks.values().any(|ask| ask.client == client)
            || self.state_asks.values().any(|(other, _)| *other == client)
        {
            return;
        }
        if let Some(ask) = self.clients[client].again.take() {
            self.send(cause, ask);
            return;
        }
        if self.draining {
            return;
        }
        self.clients[client].turns += 1;
        let turn = mix(client as u64, self.clients[client].turns);
        let draw = |ordinal| self.draws.draw(Purpose::Workload, turn, ordinal);
        let buffer =
            usize::try_from(draw(20).below(self.plan.buffers as u64)).expect("few buffers");
        let (what, how): (Draw, Draw) = (draw(21), draw(22));
        let (states, backups, rolls) = (self.plan.states, self.plan.backups, self.plan.rolls);
        match what.below(100) {
            n if n < states => self.change_state(cause, client, buffer, how),
            n if n < states + backups => self.copy_or_restore(cause, client, buffer, how),
            n if n < states + backups + rolls => {
                let event = self.buffer_event(cause, Kind::RollAsked, buffer);
                self.shard(
                    event,
                    Input::RollNext {
                        buffer: self.registry.uuid(buffer),
                    },
                );
                self.due(event, 300, Due::Client(client));
            }
            _ => self.append(cause, client, buffer),
        }
    }

    fn append(&mut self, cause: EventId, client: usize, buffer: usize) {
        // A mirror takes nothing else.
        let buffer = if self.mirror() == Some(buffer) {
            0
        } else {
            buffer
        };
        let at = (self.models[buffer].end(), self.now());
        let place = (client, buffer);
        let ask = Ask::new(&self.draws, &self.plan, place, &self.clients[client], at);
        self.send(cause, ask);
    }

    pub(super) fn send(&mut self, cause: EventId, mut ask: Ask) {
        let event = self.buffer_event(cause, Kind::AppendAsked, ask.buffer);
        ask.framed = None;
        let request = ask.request(&self.on_the_wire(&ask.contents));
        let (buffer, token) = (self.registry.uuid(ask.buffer), self.token());
        self.asks.insert(token, ask);
        self.shard(
            event,
            Input::Append {
                buffer,
                token,
                request,
            },
        );
    }

    /// What the node takes for the contents.
    pub(super) fn on_the_wire(&self, contents: &[Content]) -> Vec<Content> {
        let mut contents = contents.to_vec();
        if self.bug == Some(Bug::OtherBody) {
            for content in contents
                .iter_mut()
                .filter(|content| content.body.len() > 900)
            {
                let mut body = content.body.to_vec();
                body[0] ^= 1;
                content.body = body.into();
            }
        }
        contents
    }

    fn change_state(&mut self, cause: EventId, client: usize, buffer: usize, draw: Draw) {
        let state = match self.models[buffer].state {
            BufferState::Open if draw.percent(30) => BufferState::Closed,
            BufferState::Open => BufferState::Paused,
            BufferState::Closed | BufferState::Paused => BufferState::Open,
        };
        self.set_state(cause, client, buffer, state);
    }

    pub(super) fn set_state(
        &mut self,
        cause: EventId,
        client: usize,
        buffer: usize,
        state: BufferState,
    ) {
        let uuid = self.registry.uuid(buffer);
        if !self.node.started || self.node.failed || self.node.shard.buffer(&uuid).is_none() {
            self.due(cause, 2_000, Due::Client(client));
            return;
        }
        let event = self.event(
            cause,
            Kind::StateAsked,
            &Facts {
                buffer: Some(buffer),
                note: state.as_str(),
                ..Facts::default()
            },
        );
        self.registry.set_state(buffer, state);
        self.models[buffer].state = state;
        self.models[buffer].settled = false;
        self.models[buffer].changes += 1;
        let token = self.token();
        self.state_asks.insert(token, (client, buffer));
        let journal = self.node.position;
        self.shard(
            event,
            Input::SetState {
                buffer: uuid,
                token,
                state,
                journal,
            },
        );
    }

    /// A paused buffer is copied; a later pause may put the copy back.
    fn copy_or_restore(&mut self, cause: EventId, client: usize, buffer: usize, draw: Draw) {
        if self.models[buffer].state == BufferState::Open {
            self.set_state(cause, client, buffer, BufferState::Paused);
            return;
        }
        self.due(cause, 500, Due::Client(client));
        let model = &self.models[buffer];
        let still = model.state == BufferState::Paused && model.settled && !model.damaged;
        let uuid = self.registry.uuid(buffer);
        if !still
            || !self.node.started
            || self.node.failed
            || self.node.shard.buffer(&uuid).is_none()
        {
            return;
        }
        if model.backup.is_some() && draw.percent(80) {
            self.restore(cause, buffer);
            return;
        }
        let files = self.disk.copy_of(buffer);
        let ledgers = self.ledgers_of(buffer);
        self.buffer_event(cause, Kind::BackupTaken, buffer);
        let model = &mut self.models[buffer];
        model.backup = Some(Backup {
            end: model.end(),
            first: model.first,
            files,
            ledgers,
            filters: model.filters.copied(),
        });
        // So that there is something to give up when the copy is put back.
        self.set_state(cause, client, buffer, BufferState::Open);
    }

    pub(super) fn client_answered(&mut self, event: EventId, ask: Ask, appended: &Appended) {
        if ask.client == MIRROR {
            return self.mirror_answered();
        }
        if ask.client == LETTERS {
            return self.letter_answered(event, &ask, true);
        }
        let client = ask.client;
        let draw = self
            .draws
            .draw(Purpose::Workload, event.0, appended.first.0);
        let after = draw.next().within(50, 2_000) * self.plan.pace;
        if ask.is_repeatable() && !self.draining && draw.percent(self.plan.lost_answers) {
            self.clients[client].again = Some(ask);
        } else if ask.producer.is_some() {
            self.clients[client].producers[ask.buffer].1 += 1;
        }
        self.due(event, after, Due::Client(client));
    }

    pub(super) fn client_refused(&mut self, event: EventId, ask: Ask, refused: &AppendRefused) {
        use AppendRefused as R;
        if ask.client == MIRROR {
            return self.mirror_refused(refused);
        }
        if ask.client == LETTERS {
            return self.letter_answered(event, &ask, false);
        }
        let (client, buffer) = (ask.client, ask.buffer);
        let mut after = 1_000;
        match refused {
            R::ProducerGap { .. } | R::ProducerFenced { .. } | R::ProducerOld { .. } => {
                let producer = &mut self.clients[client].producers[buffer];
                *producer = (producer.0 + 1, 0);
            }
            R::DiskFull | R::DiskFailed | R::NotOpen | R::Busy { .. } => {
                // It may be stored all the same, so nothing else may take its number.
                after = 4_000;
                if !self.draining && ask.is_repeatable() {
                    self.clients[client].again = Some(ask);
                }
            }
            R::Paused | R::Closed => {
                let draw = self.draws.draw(Purpose::Workload, event.0, 1);
                let opening = self.state_asks.values().any(|(_, other)| *other == buffer);
                if ask.is_repeatable() && !self.draining {
                    self.clients[client].again = Some(ask);
                }
                if !self.draining && !opening && draw.percent(35) {
                    self.set_state(event, client, buffer, BufferState::Open);
                    return;
                }
                after = 3_000;
            }
            R::IsMirror | R::NotFollowed { .. } | R::Mirrored { .. } => {}
            R::NotPrimary | R::PrimaryChanged => unreachable!("this world has one node"),
            R::EndDiffers { .. }
            | R::BatchSize { .. }
            | R::SeqExhausted
            | R::Damaged { .. }
            | R::CursorsDamaged { .. }
            | R::Stream(_) => {}
        }
        self.due(event, after, Due::Client(client));
    }

    /// A crash took the answer with it.
    pub(super) fn client_unknown(&mut self, cause: EventId, ask: Ask) {
        let facts = Facts {
            buffer: Some(ask.buffer),
            seqs: ask.framed.map(|(a, b)| (a.0, b.0)),
            note: "",
        };
        self.event(cause, Kind::AppendUnknown, &facts);
        let nobodys = matches!(ask.client, MIRROR | LETTERS);
        if ask.is_repeatable() && !nobodys && !self.draining {
            let client = ask.client;
            self.clients[client].again = Some(ask);
        }
    }
}
