//! Messages on their way: each is sent, and arrives, arrives twice, or is lost.

use std::rc::Rc;

use super::message::Message;
use super::{About, Due, World, node_of};
use crate::draw::mix;
use crate::kinds::Kind;
use crate::net::{Arrival, Delivery, Endpoint, NetFault, Packet};
use crate::tracefile::EventId;

impl World {
    /// Says whether it is to arrive more than once.
    pub(super) fn send(
        &mut self,
        cause: EventId,
        from: Endpoint,
        to: Endpoint,
        message: Message,
    ) -> bool {
        let sent = self.net.send(self.t, from, to, message.bytes());
        let message = Rc::new(message);
        let about = self.about_packet(from, sent.packet, &message);
        // Whom it is for tells it from what is sent to others for the same reason.
        let scope = std::mem::replace(&mut self.scope, mix(3 << 32, to.key()));
        let event = self.event(&[cause], Kind::PacketSent, &about);
        self.scope = scope;
        let twice = sent.arrivals.len() > 1;
        for Arrival { at, packet } in sent.arrivals {
            let message = Rc::clone(&message);
            let eid = self.reserve_arrival(event);
            self.due_as(event, eid, at, Due::Arrive { packet, message });
        }
        for (packet, fault) in sent.lost {
            self.lost(event, packet, fault.name());
        }
        if sent.reset {
            self.connection_lost(event, from, to);
        }
        twice
    }

    /// Only what it was sent by tells an arrival from others.
    fn reserve_arrival(&mut self, sent: EventId) -> EventId {
        self.trace.reserve(Some(sent), Kind::PacketArrived)
    }

    fn about_packet<'a>(&self, at: Endpoint, packet: Packet, message: &'a Message) -> About<'a> {
        About {
            host: node_of(at),
            client: match at {
                Endpoint::Client(number) => Some(number as usize - 1),
                Endpoint::Node(_) => None,
            },
            buffer: message.buffer(),
            log: message.log(),
            epoch: message.epoch(),
            seqs: message.seqs(),
            packet: Some(packet),
            note: message.what(),
            ..About::default()
        }
    }

    /// Until when a packet does not arrive since its link stands still, or who it is for.
    pub(super) fn packet_waits(&self, packet: Packet) -> Option<u64> {
        let host = node_of(packet.link.to).and_then(|host| self.stands_still(host));
        host.or_else(|| self.net.waits(self.t, packet))
    }

    pub(super) fn arrive(
        &mut self,
        cause: EventId,
        eid: EventId,
        packet: Packet,
        message: &Rc<Message>,
    ) {
        match self.net.deliver(self.t, packet) {
            Delivery::Arrived => self.arrived(cause, eid, packet, message),
            Delivery::Later(at) => {
                let message = Rc::clone(message);
                self.due_as(cause, eid, at, Due::Arrive { packet, message });
            }
            Delivery::Lost(fault) if fault.is_told_at_once() => {}
            Delivery::Lost(fault) => self.lost(cause, packet, fault.name()),
        }
    }

    fn arrived(&mut self, cause: EventId, eid: EventId, packet: Packet, message: &Message) {
        let (from, to) = (packet.link.from, packet.link.to);
        let listens = |host: usize| self.hosts[host].up && !self.hosts[host].cut_off;
        if node_of(to).is_some_and(|host| !listens(host)) {
            self.lost(cause, packet, "nobody listens");
            return;
        }
        // Nobody on the way repeats what cannot be told from another one.
        if packet.copy > 0 && message.is_unrepeatable() {
            self.lost(cause, packet, "a second time");
            return;
        }
        let about = self.about_packet(to, packet, message);
        self.happens(eid, &[cause], Kind::PacketArrived, &about);
        match to {
            Endpoint::Node(number) => self.host_takes(eid, number as usize - 1, from, message),
            Endpoint::Client(number) => self.client_takes(eid, number as usize - 1, message),
        }
    }

    pub(super) fn lost(&mut self, cause: EventId, packet: Packet, why: &str) {
        let about = About {
            host: node_of(packet.link.from),
            packet: Some(packet),
            note: why,
            ..About::default()
        };
        self.event(&[cause], Kind::PacketLost, &about);
    }

    /// A hand loses a packet.
    pub(super) fn lose(&mut self, cause: EventId, packet: Packet) {
        if self.net.lose(packet) {
            self.lost(cause, packet, "by hand");
        }
    }
}

impl NetFault {
    /// Whether what is lost by it is told when it is lost, and not when it would have arrived.
    const fn is_told_at_once(self) -> bool {
        matches!(self, Self::Drop | Self::Reset | Self::Capacity)
    }
}
