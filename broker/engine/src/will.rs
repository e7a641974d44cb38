//! Wills: built from CONNECT, published when a connection ends without DISCONNECT 0x00, after their delay, or when the
//! session ends `[MQTT-3.1.2-8]`. One that waits for its delay is on disk, so that it is published after a restart.

use crate::{
    Engine,
    crossing::By,
    io::Now,
    message::{Message, Shared},
    mutant::Mutant,
    persist,
    timers::Timer,
};
use katydid_chat::topic::Topic;
use katydid_mqtt::packet::{Publish, Will as WillPacket};
use std::sync::Arc;

/// The will of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) message: Shared,
    /// Its expiry counts from its publication.
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) delay_secs: u32,
}

/// A will that waits for its delay.
#[derive(Debug)]
pub(crate) struct DelayedWill {
    will: Will,
    at_ms: u64,
    is_on_disk: bool,
}

impl Will {
    pub(crate) fn new(will: &WillPacket<'_>, publisher: u64, now: Now) -> Self {
        let mut properties = will.properties.clone();
        let expiry_secs = properties.message_expiry_secs.take();
        let publish = Publish {
            dup: false,
            qos: will.qos,
            retain: will.retain,
            topic: will.topic,
            packet_id: None,
            topic_alias: None,
            properties,
            payload: will.payload,
        };
        let message = Message::from_publish(&publish, will.topic, publisher, now);
        Self { message: Arc::new(message), expiry_secs, delay_secs: will.delay_secs }
    }
}

impl Engine {
    /// A connection ended and its will stands: it is published now, or after its delay while the session lives.
    pub(crate) fn schedule_will(&mut self, index: u32, will: Will) {
        let Some(session) = self.sessions.by_index(index) else { return };
        if will.delay_secs == 0 || session.expiry_secs == 0 {
            self.publish_will(index, will);
            return;
        }
        let delay_ms = u64::from(will.delay_secs) * 1000;
        let at_ms = self.now.mono_ms + delay_ms;
        let is_on_disk = self.journal.is_on();
        if is_on_disk {
            self.journal.push(persist::put_will(session.id, &will, self.now.unix_ms + delay_ms));
        }
        session.will = Some(Box::new(DelayedWill { will, at_ms, is_on_disk }));
        self.timers.set(at_ms, Timer::Will(index));
    }

    /// A will waited for its delay when the broker stopped; time went on meanwhile.
    pub(crate) fn restore_will(&mut self, index: u32, will: Will, at_unix_ms: u64) {
        let Some(session) = self.sessions.by_index(index) else { return };
        let at_ms = self.now.mono_ms + at_unix_ms.saturating_sub(self.now.unix_ms);
        session.will = Some(Box::new(DelayedWill { will, at_ms, is_on_disk: true }));
        self.timers.set(at_ms, Timer::Will(index));
    }

    /// The session goes on before the delay was over: no will `[MQTT-3.1.3-9]`. Tells whether that is yet to be written.
    pub(crate) fn cancel_will(&mut self, index: u32) -> bool {
        if Mutant::WillNotCancelled.is_on() {
            return false;
        }
        self.take_will(index).is_some_and(|delayed| delayed.is_on_disk)
    }

    /// The broker goes down: a will that waits and is not on disk cannot wait any longer.
    pub(crate) fn settle_will(&mut self, index: u32) {
        let waits = self.sessions.peek(index).and_then(|session| session.will.as_ref());
        if waits.is_some_and(|delayed| !delayed.is_on_disk) {
            self.fire_will(index);
        }
    }

    /// The delay is over, or the session ends.
    pub(crate) fn fire_will(&mut self, index: u32) {
        if let Some(delayed) = self.take_will(index) {
            self.publish_will(index, delayed.will);
        }
    }

    fn take_will(&mut self, index: u32) -> Option<Box<DelayedWill>> {
        let session = self.sessions.by_index(index)?;
        let delayed = session.will.take()?;
        self.timers.cancel(delayed.at_ms, Timer::Will(index));
        if delayed.is_on_disk {
            self.journal.push(persist::delete_will(session.id));
        }
        Some(delayed)
    }

    fn publish_will(&mut self, index: u32, will: Will) {
        let Some(session) = self.sessions.peek(index) else { return };
        let may = self.permits_publish(session, will.message.topic());
        let by = By::User { kind: session.kind, is_deaf: false };
        let Will { message, expiry_secs, .. } = will;
        let at_ms = expiry_secs.map(|secs| self.now.unix_ms + u64::from(secs) * 1000);
        let message = Arc::unwrap_or_clone(message).expiring(at_ms);
        self.links.counters.wills_published += 1;
        // A will into a room, or into a topic that its sender may no longer write, is judged when it is published.
        if may.is_ok() && !matches!(self.classify(message.topic()), Topic::Request { .. }) {
            self.route(Arc::new(message), None, None, by);
        } else {
            self.links.counters.refused_not_authorized += 1;
        }
    }
}
