//! Wills: built from CONNECT, published when a connection ends without DISCONNECT 0x00, after their delay, or when the
//! session ends `[MQTT-3.1.2-8]`.
//!
//! The will of a session that outlives its connection is on disk from CONNECT on, so that it is published after a crash,
//! too. When it is due its record moves to another key, and goes in the commit that has the published message: however a
//! crash falls, it is published once.

use crate::{
    Engine,
    crossing::{By, Mark},
    io::Now,
    message::{Message, Shared},
    mutant::Mutant,
    persist::{self, Fate, WillRecord},
    timers::Timer,
};
use katydid_chat::topic::Topic;
use katydid_mqtt::packet::{Publish, Will as WillPacket};
use std::sync::Arc;

/// How long wills wait after a restart: until all shards know again who is subscribed to what.
const RESTART_MS: u64 = 1_000;

/// The will of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Will {
    pub(crate) message: Shared,
    /// Its expiry counts from its publication.
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) delay_secs: u32,
    pub(crate) is_on_disk: bool,
}

/// A will that waits for its delay.
#[derive(Debug)]
pub(crate) struct DelayedWill {
    will: Will,
    due_ms: u64,
    /// When its timer is set; after a restart later than that.
    timer_ms: u64,
}

/// A will that was being published when the broker stopped.
#[derive(Debug)]
pub(crate) struct Unpublished {
    message: Shared,
    by: By,
    mark: Mark,
    since_unix_ms: u64,
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
        Self { message: Arc::new(message), expiry_secs, delay_secs: will.delay_secs, is_on_disk: false }
    }
}

impl Engine {
    /// A connection begins, with a will: it is kept where its session is.
    pub(crate) fn arm_will(&mut self, index: u32, will: &mut Will) {
        let Some(session) = self.sessions.peek(index) else { return };
        will.is_on_disk = session.is_persistent() && self.journal.is_on();
        if will.is_on_disk {
            self.journal.push(persist::put_will(session, will, Fate::Armed));
        }
    }

    /// Its client said goodbye `[MQTT-3.14.4-3]`.
    pub(crate) fn discard_will(&mut self, index: u32, will: &Will) {
        if let (true, Some(session)) = (will.is_on_disk, self.sessions.peek(index)) {
            self.journal.push(persist::delete_will(session.id));
        }
    }

    /// A connection ended and its will stands: it is published now, or after its delay while the session lives.
    pub(crate) fn schedule_will(&mut self, index: u32, mut will: Will) {
        let Some(session) = self.sessions.peek(index) else { return };
        if will.delay_secs == 0 || session.expiry_secs == 0 {
            self.publish_will(index, will);
            return;
        }
        let delay_ms = u64::from(will.delay_secs) * 1000;
        let due_ms = self.now.mono_ms + delay_ms;
        will.is_on_disk = self.journal.is_on();
        if will.is_on_disk {
            let fate = Fate::Until(self.now.unix_ms + delay_ms);
            self.journal.push(persist::put_will(session, &will, fate));
        }
        self.delay_will(index, DelayedWill { will, due_ms, timer_ms: due_ms });
    }

    fn delay_will(&mut self, index: u32, delayed: DelayedWill) {
        let Some(session) = self.sessions.by_index(index) else { return };
        self.timers.set(delayed.timer_ms, Timer::Will(index));
        session.will = Some(Box::new(delayed));
    }

    /// A will that was on disk when the broker stopped: of a session, where that is here, or on its way to this shard.
    pub(crate) fn restore_will(&mut self, index: Option<u32>, record: WillRecord) {
        let WillRecord { session, will, fate, kind } = record;
        let now_ms = self.now.mono_ms;
        let due_ms = match fate {
            // Its connection ended when the broker did; nobody knows when that was.
            Fate::Armed => now_ms + u64::from(will.delay_secs) * 1000,
            Fate::Until(at_unix_ms) => now_ms + at_unix_ms.saturating_sub(self.now.unix_ms),
            Fate::Fired(since_unix_ms) => {
                if self.home_of(will.message.topic()) == self.shard {
                    let by = By::User { kind, is_deaf: false };
                    self.unpublished.push(Unpublished {
                        message: will.message,
                        by,
                        mark: Mark::of_will(session),
                        since_unix_ms,
                    });
                    self.unpublished.sort_by_key(|it| it.since_unix_ms);
                    self.timers.set(now_ms + RESTART_MS, Timer::Unpublished);
                }
                return;
            }
        };
        if let Some(index) = index {
            let timer_ms = due_ms.max(now_ms + RESTART_MS);
            self.delay_will(index, DelayedWill { will, due_ms, timer_ms });
        }
    }

    /// Publishes what was being published when the broker stopped, in certain topics: before anything else there.
    pub(crate) fn publish_unpublished(&mut self, is_due: impl Fn(&str) -> bool) {
        let is_due = |it: &mut Unpublished| is_due(it.message.topic());
        let due: Vec<Unpublished> = self.unpublished.extract_if(.., is_due).collect();
        for Unpublished { message, by, mark, .. } in due {
            self.links.counters.wills_published += 1;
            self.publish_at_home(message, None, Some(mark), by);
        }
    }

    /// The session goes on before the delay was over: no will `[MQTT-3.1.3-9]`. Tells whether that is yet to be written.
    pub(crate) fn cancel_will(&mut self, index: u32) -> bool {
        if Mutant::WillNotCancelled.is_on() {
            return false;
        }
        let Some(DelayedWill { will, due_ms, .. }) = self.take_will(index) else { return false };
        if due_ms <= self.now.mono_ms {
            self.publish_will(index, will);
            return false;
        }
        self.discard_will(index, &will);
        will.is_on_disk
    }

    /// The broker goes down: a will that waits and is not on disk cannot wait any longer.
    pub(crate) fn settle_will(&mut self, index: u32) {
        let waits = self.sessions.peek(index).and_then(|session| session.will.as_ref());
        if waits.is_some_and(|delayed| !delayed.will.is_on_disk) {
            self.fire_will(index);
        }
    }

    /// The delay is over, or the session ends.
    pub(crate) fn fire_will(&mut self, index: u32) {
        if let Some(delayed) = self.take_will(index) {
            self.publish_will(index, delayed.will);
        }
    }

    /// A session's user is erased: nothing that it left to be said is said.
    pub(crate) fn drop_wills(&mut self, index: u32, slot: Option<u32>) {
        if let Some(DelayedWill { will, .. }) = self.take_will(index) {
            self.discard_will(index, &will);
        }
        if let Some(will) = slot.and_then(|slot| self.links.by_slot(slot)?.will.take()) {
            self.discard_will(index, &will);
        }
    }

    fn take_will(&mut self, index: u32) -> Option<DelayedWill> {
        let delayed = self.sessions.by_index(index)?.will.take()?;
        self.timers.cancel(delayed.timer_ms, Timer::Will(index));
        Some(*delayed)
    }

    fn publish_will(&mut self, index: u32, mut will: Will) {
        self.discard_will(index, &will);
        let Some(session) = self.sessions.peek(index) else { return };
        let topic = will.message.topic();
        // A will into a room, or into a topic that its sender may no longer write, is judged when it is published.
        let may = self.permits_publish(session, topic).is_ok();
        let is_request = matches!(self.classify(topic), Topic::Request { .. });
        self.links.counters.wills_published += 1;
        if !may || is_request {
            self.links.counters.refused_not_authorized += 1;
            return;
        }
        let by = By::User { kind: session.kind, is_deaf: false };
        let at_ms = will.expiry_secs.take().map(|secs| self.now.unix_ms + u64::from(secs) * 1000);
        will.message = Arc::new(Arc::unwrap_or_clone(will.message).expiring(at_ms));
        let mark = will.is_on_disk.then(|| Mark::of_will(session.id));
        if will.is_on_disk {
            self.journal.push(persist::put_will(session, &will, Fate::Fired(self.now.unix_ms)));
        }
        self.route(will.message, None, mark, by);
    }

    /// What was published is not kept, or refused; where it is a will, that is done with.
    pub(crate) fn forget_will(&mut self, mark: Option<Mark>) {
        if let Some(mark) = mark.filter(|mark| mark.is_will()) {
            self.journal.push(persist::settle_mark(mark));
        }
    }
}
