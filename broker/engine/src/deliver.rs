//! Delivery of plain messages to sessions: fan-out to the subscriptions that match, and the pump that moves what
//! waits into a connection's ring.
//!
//! Invariant: a QoS 1 or 2 message is either in flight (it has a packet identifier) or in the queue, and QoS 1 and 2
//! messages of one topic leave in the order in which they came `[MQTT-4.6.0-6]`. Nothing is appended to a ring that
//! is over its budget.

use crate::{
    access::Action,
    io::Now,
    journal::{Journal, Waiter},
    link::Links,
    message::{Delivery, Message, Shared},
    mutant::Mutant,
    persist,
    queue::Queued,
    session::{Ids, Origin, Sent, Session, Sessions},
    settings::{QueuePolicy, Settings},
};
use bytes::Bytes;
use katydid_mqtt::packet::{PacketId, QoS, Version};
use katydid_mqtt::reason::ReasonCode;
use katydid_mqtt::session::{InFlight, Resend};

/// What a subscription, or several merged, grant to one delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: &'a [u32],
}

/// The parts of an engine that a delivery touches.
pub(crate) struct Delivering<'a> {
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) links: &'a mut Links,
    pub(crate) journal: &'a mut Journal,
    pub(crate) templates: &'a mut Templates,
    pub(crate) settings: &'a Settings,
    pub(crate) now: Now,
}

/// Packets of one message, encoded once a variant and copied for each delivery.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    variants: [Template; 12],
}

#[derive(Debug, Default)]
struct Template {
    is_made: bool,
    bytes: Vec<u8>,
    shared: Option<Bytes>,
    id_at: usize,
}

impl Templates {
    /// Forgets the message before.
    pub(crate) fn reset(&mut self) {
        for template in &mut self.variants {
            template.is_made = false;
            template.shared = None;
        }
    }

    fn variant(&mut self, message: &Message, delivery: Delivery<'_>, now: Now) -> &Template {
        let version = usize::from(delivery.version == Version::V5);
        let index = (version * 3 + delivery.qos as usize) * 2 + usize::from(delivery.retain);
        let template = &mut self.variants[index];
        if !template.is_made {
            template.bytes.clear();
            template.shared = message.encode(delivery, now, &mut template.bytes);
            template.id_at = packet_id_at(&template.bytes);
            template.is_made = true;
        }
        template
    }
}

/// Where the packet identifier of an encoded PUBLISH of QoS 1 or 2 stands.
pub(crate) fn packet_id_at(packet: &[u8]) -> usize {
    let length_bytes = 1 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    let topic_at = 1 + length_bytes;
    topic_at + 2 + usize::from(u16::from_be_bytes([packet[topic_at], packet[topic_at + 1]]))
}

impl Delivering<'_> {
    /// Offers a message to a session under one grant: it is sent, queued, or dropped and counted.
    pub(crate) fn offer(&mut self, index: u32, message: &Shared, grant: Grant<'_>) {
        let qos = message.qos.min(grant.qos);
        let Some(session) = self.sessions.by_index(index) else { return };
        if !may_read(self.settings, session, message) {
            self.links.counters.refused_not_authorized += 1;
            return;
        }
        let Some(slot) = session.link else {
            if qos != QoS::AtMostOnce {
                self.enqueue(index, message, qos, grant);
            }
            return;
        };
        let Some(link) = self.links.by_slot(slot) else { return };
        let is_open = link.is_open();
        let fits = link.ring.len() < self.settings.limits.ring_bytes;
        match qos {
            QoS::AtMostOnce if !is_open || session.has_once_queued() => {
                self.enqueue(index, message, qos, grant)
            }
            QoS::AtMostOnce if fits => self.send_once(slot, message, grant),
            QoS::AtMostOnce => {
                self.links.counters.dropped_slow_reader += 1;
                self.links.counters.publishes_dropped += 1;
            }
            _ if is_open && fits && !session.has_queued() && session.outbound.has_room() => {
                let seq = self.store(index, message, qos, grant);
                self.send_tracked(index, slot, message, qos, grant, seq);
            }
            _ => self.enqueue(index, message, qos, grant),
        }
    }

    /// Offers a retained message to a new subscription: as any other, but one of QoS 0 waits for room in the ring.
    pub(crate) fn offer_retained(&mut self, index: u32, message: &Shared, grant: Grant<'_>) {
        let slot = self.sessions.peek(index).and_then(|session| session.link);
        let link = slot.and_then(|slot| self.links.by_slot(slot));
        let is_full = link.is_some_and(|link| link.ring.len() >= self.settings.limits.ring_bytes);
        let is_once = message.qos.min(grant.qos) == QoS::AtMostOnce;
        let may_read =
            self.sessions.peek(index).is_some_and(|session| may_read(self.settings, session, message));
        if is_full && is_once && may_read {
            self.enqueue(index, message, QoS::AtMostOnce, grant);
        } else {
            self.offer(index, message, grant);
        }
    }

    /// Whether a message comes from this session, so that No Local leaves it out `[MQTT-3.8.3-3]`.
    pub(crate) fn published(&self, index: u32, message: &Message) -> bool {
        self.sessions.peek(index).is_some_and(|session| session.id == message.publisher)
    }

    /// Whether a connection can be sent entries of a room now; if not, the session is looked at when it can.
    pub(crate) fn takes_more(&mut self, slot: u32) -> bool {
        let ring_bytes = self.settings.limits.ring_bytes;
        let Some(link) = self.links.by_slot(slot) else { return false };
        link.is_behind |= link.ring.len() >= ring_bytes;
        link.is_open() && link.ring.len() < ring_bytes
    }

    /// Sends an entry of a room to a session; `false` when its window is full.
    pub(crate) fn send_entry(&mut self, index: u32, slot: u32, qos: QoS, sent: Sent) -> bool {
        let Some(session) = self.sessions.by_index(index) else { return false };
        if session.outbound.is_resuming() {
            return false;
        }
        // What waits for the disk must not be overtaken: a room has one order, whatever the quality of service.
        if session.held > 0 && qos != QoS::ExactlyOnce && !Mutant::OvertakenOrder.is_on() {
            return false;
        }
        self.templates.reset();
        if qos == QoS::AtMostOnce {
            let grant = Grant { qos, retain: sent.retain, ids: sent.ids.as_slice() };
            self.send_once(slot, &sent.message, grant);
            return true;
        }
        if !session.outbound.has_room() {
            return false;
        }
        session.has_moved = true;
        self.send(index, slot, qos, sent);
        true
    }

    fn send_once(&mut self, slot: u32, message: &Shared, grant: Grant<'_>) {
        let Some(link) = self.links.by_slot(slot) else { return };
        let delivery = Delivery {
            version: link.version,
            qos: QoS::AtMostOnce,
            dup: false,
            retain: grant.retain,
            packet_id: 0,
            subscription_ids: grant.ids,
        };
        self.transmit(slot, message, delivery);
    }

    /// Writes a PUBLISH into a ring, from the message's template where the delivery has nothing of its own.
    fn transmit(&mut self, slot: u32, message: &Message, delivery: Delivery<'_>) {
        let Some(link) = self.links.by_slot(slot) else { return };
        let limit = link.packet_bytes as usize;
        let has_aliases = link.own_aliases.is_some();
        if limit < message.encoded_bound(delivery.subscription_ids)
            && limit < message.encoded_len(delivery, self.now)
        {
            return self.too_large(slot, delivery);
        }
        if !delivery.subscription_ids.is_empty() || delivery.dup || has_aliases {
            return self.links.publish(slot, message, delivery, self.now);
        }
        let template = self.templates.variant(message, delivery, self.now);
        let (id_at, id) = (template.id_at, delivery.packet_id);
        self.links.publish_encoded(slot, &template.bytes, |bytes| {
            if id != 0 {
                bytes[id_at..id_at + 2].copy_from_slice(&id.to_be_bytes());
            }
        });
        if let Some(shared) = &template.shared {
            self.links.append_shared(slot, shared.clone());
        }
        self.links.count_publish(1, message.payload().len());
    }

    /// A packet longer than the client takes is not sent, as if it had been acknowledged `[MQTT-3.1.2-25]`.
    fn too_large(&mut self, slot: u32, delivery: Delivery<'_>) {
        self.links.counters.dropped_too_large += 1;
        self.links.counters.publishes_dropped += 1;
        let Some(link) = self.links.by_slot(slot) else { return };
        let crate::link::Phase::Open(index) = link.phase else { return };
        if let (Some(id), Some(session)) = (PacketId::new(delivery.packet_id), self.sessions.by_index(index))
        {
            // An error in PUBREC and a PUBACK free the identifier; which one fits depends on the QoS.
            let _ = session.outbound.puback(id).map(drop);
            let _ = session.outbound.pubrec(id, true).map(drop);
            session.has_moved = true;
        }
    }

    /// Sends a QoS 1 or 2 message under a new packet identifier.
    pub(crate) fn send_tracked(
        &mut self,
        index: u32,
        slot: u32,
        message: &Shared,
        qos: QoS,
        grant: Grant<'_>,
        seq: u64,
    ) {
        let ids = Ids::from_slice(grant.ids);
        let sent = Sent { message: message.clone(), retain: grant.retain, ids, origin: Origin::Queue(seq) };
        self.send(index, slot, qos, sent);
    }

    /// Sends a message that is tracked: at once, or, for QoS 2 to a session that outlives its connection, when its
    /// packet identifier is on disk, so that a crash cannot give it another one.
    pub(crate) fn send(&mut self, index: u32, slot: u32, qos: QoS, sent: Sent) {
        let Some(session) = self.sessions.by_index(index) else { return };
        let (message, retain, ids) = (sent.message.clone(), sent.retain, sent.ids.clone());
        let keep = qos == QoS::ExactlyOnce && session.is_persistent() && self.journal.is_on();
        let record = keep.then(|| sent.clone());
        let packet_id = session.outbound.send(qos, sent);
        let Some(link) = self.links.by_slot(slot) else { return };
        if let Some(record) = record {
            let conn = link.conn;
            session.held += 1;
            self.journal.push(persist::put_outbound(session, packet_id, Some(&record)));
            persist::put_sent(session.id, &record).into_iter().for_each(|op| self.journal.push(op));
            self.journal.wait(Waiter::Outbound(index, conn, packet_id));
            return;
        }
        let delivery = Delivery {
            version: link.version,
            qos,
            dup: false,
            retain,
            packet_id: packet_id.get(),
            subscription_ids: ids.as_slice(),
        };
        self.transmit(slot, &message, delivery);
    }

    /// A QoS 2 identifier is on disk: the message leaves on the connection that it was meant for.
    pub(crate) fn outbound_durable(&mut self, index: u32, slot: u32, packet_id: PacketId) {
        let Some(session) = self.sessions.by_index(index) else { return };
        session.held = session.held.saturating_sub(1);
        let is_last = session.held == 0;
        let Some(link) = self.links.by_slot(slot) else { return };
        let version = link.version;
        if let Some(InFlight::Publish { qos, message }) = session.outbound.peek(packet_id) {
            let (qos, sent) = (*qos, message.clone());
            let delivery = Delivery {
                version,
                qos,
                dup: false,
                retain: sent.retain,
                packet_id: packet_id.get(),
                subscription_ids: sent.ids.as_slice(),
            };
            self.templates.reset();
            self.transmit(slot, &sent.message, delivery);
        }
        if is_last {
            self.sessions.mark_ready(index);
        }
    }

    /// Appends a message to a session's log, when the session outlives its connection; returns its number, or 0.
    fn store(&mut self, index: u32, message: &Shared, qos: QoS, grant: Grant<'_>) -> u64 {
        let Some(session) = self.sessions.by_index(index) else { return 0 };
        if qos == QoS::AtMostOnce || !session.is_persistent() || !self.journal.is_on() {
            return 0;
        }
        let id = session.id;
        let queue = session.queue_mut();
        let seq = queue.next_seq;
        queue.next_seq += 1;
        self.journal.push(persist::append_queued(id, seq, message, qos, grant));
        seq
    }

    fn enqueue(&mut self, index: u32, message: &Shared, qos: QoS, grant: Grant<'_>) {
        let limits = &self.settings.limits;
        let Some(session) = self.sessions.by_index(index) else { return };
        let link = session.link;
        let queue = session.queue_mut();
        let is_full = queue.len() >= limits.queue_messages || queue.bytes() >= limits.queue_bytes;
        if queue.len() <= limits.queue_messages / 2 && queue.bytes() <= limits.queue_bytes / 2 {
            queue.catches_up = false;
        }
        let catches_up = queue.catches_up;
        if is_full {
            self.links.counters.dropped_queue_full += 1;
            self.links.counters.publishes_dropped += 1;
            if let (QueuePolicy::Disconnect, Some(slot), false) = (limits.queue_policy, link, catches_up) {
                self.links.doom(slot, ReasonCode::QuotaExceeded);
                return;
            }
            if !queue.drop_oldest() {
                return;
            }
            session.has_moved = true;
            // Its log is trimmed when the tick settles, whether it is connected or not.
            self.sessions.mark_ready(index);
        }
        let seq = self.store(index, message, qos, grant);
        let Some(session) = self.sessions.by_index(index) else { return };
        let ids = Ids::from_slice(grant.ids);
        session.queue_mut().push(Queued { message: message.clone(), qos, retain: grant.retain, ids, seq });
        if session.link.is_some() {
            self.sessions.mark_ready(index);
        }
    }

    /// Moves what waits for a session into its connection's ring: what was in flight before, then the queue.
    /// Returns the slot when the connection takes more, and the first number of the queue that is on disk only.
    pub(crate) fn pump(&mut self, index: u32) -> (Option<u32>, Option<u64>) {
        let Some(slot) = self.sessions.peek(index).and_then(|session| session.link) else {
            return (None, None);
        };
        let ring_bytes = self.settings.limits.ring_bytes;
        loop {
            let Some(link) = self.links.by_slot(slot) else { return (None, None) };
            if !link.is_open() || link.ring.len() >= ring_bytes {
                link.is_behind = true;
                return (None, None);
            }
            let version = link.version;
            let Some(session) = self.sessions.by_index(index) else { return (None, None) };
            if let Some(resend) = session.outbound.next_resend() {
                match resend {
                    Resend::PubRel { id } => self.links.send_release(slot, id),
                    Resend::Publish { id, qos, message } => {
                        let sent = message.clone();
                        let delivery = Delivery {
                            version,
                            qos,
                            dup: true,
                            retain: sent.retain,
                            packet_id: id.get(),
                            subscription_ids: sent.ids.as_slice(),
                        };
                        self.transmit(slot, &sent.message, delivery);
                        if Mutant::DoubledRedelivery.is_on() {
                            self.transmit(slot, &sent.message, delivery);
                        }
                    }
                }
                continue;
            }
            match self.pump_queue(index, slot) {
                Pumped::One => {}
                Pumped::Blocked => return (None, None),
                Pumped::Empty => break,
            }
        }
        let queue = self.sessions.peek(index).and_then(|session| session.queue.as_deref());
        (Some(slot), queue.and_then(crate::queue::Queue::wants_page))
    }

    fn pump_queue(&mut self, index: u32, slot: u32) -> Pumped {
        let Some(session) = self.sessions.by_index(index) else { return Pumped::Empty };
        let has_room = session.outbound.has_room();
        let Some(queue) = session.queue.as_mut() else { return Pumped::Empty };
        let Some(front) = queue.front() else { return Pumped::Empty };
        if front.qos != QoS::AtMostOnce && !has_room {
            return Pumped::Blocked;
        }
        let Some(Queued { message, qos, retain, ids, seq }) = queue.pop() else { return Pumped::Empty };
        session.has_moved |= seq > 0;
        if message.is_expired(self.now) {
            self.links.counters.dropped_expired += 1;
            return Pumped::One;
        }
        // It may have waited for long, and rights hold at delivery.
        if !may_read(self.settings, session, &message) && !Mutant::RightNotRechecked.is_on() {
            self.links.counters.refused_not_authorized += 1;
            return Pumped::One;
        }
        self.templates.reset();
        match qos {
            QoS::AtMostOnce => self.send_once(slot, &message, Grant { qos, retain, ids: ids.as_slice() }),
            _ => self.send(index, slot, qos, Sent { message, retain, ids, origin: Origin::Queue(seq) }),
        }
        Pumped::One
    }
}

/// Whether a session may read a plain message now.
fn may_read(settings: &Settings, session: &Session, message: &Message) -> bool {
    let (account, client) = (session.account.as_deref(), &*session.client_id);
    settings.access.is_open() || settings.access.permits(account, client, Action::Read, message.topic())
}

enum Pumped {
    One,
    Blocked,
    Empty,
}

/// The first number of a session's log that is still needed.
pub(crate) fn first_needed(session: &Session) -> u64 {
    let waiting = session.queue.as_ref().map_or(u64::MAX, |queue| queue.first_needed());
    let in_flight = session.outbound.iter().find_map(|resend| match resend {
        Resend::Publish { message: Sent { origin: Origin::Queue(seq), .. }, .. } if *seq > 0 => Some(*seq),
        _ => None,
    });
    in_flight.unwrap_or(u64::MAX).min(waiting)
}
