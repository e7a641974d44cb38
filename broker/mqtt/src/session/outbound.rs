//! QoS 1 and 2 messages on their way to the client.
//!
//! Identifiers are given out in sequence, so those in use lie in a window that slides: a deque indexed by the distance
//! from the oldest. Everything is constant time while the client acknowledges roughly in order. A client that never
//! acknowledges one message stops the window from growing, and so gets nothing more, before the deque gets long.

use crate::packet::{PacketId, QoS};
use std::collections::VecDeque;

/// How many identifiers there are: 1 to 65,535.
const IDS: u32 = 65_535;
/// Identifiers between the oldest and the newest message in flight at most, however large the window is.
const SPAN_MAX: u32 = 32_767;
/// The same, as a multiple of the window: how far newer messages may overtake one that is not acknowledged.
const SPAN_WINDOWS: u32 = 4;
/// The least that is allowed, however small the window is.
const SPAN_MIN: u32 = 64;
/// An empty deque longer than this is freed at once.
const SPARE_SLOTS: usize = 32;

/// What is left to do for one message.
///
/// ```text
///            send                PUBACK, or PUBREC >= 0x80
///   (free) --------> Publish ------------------------------> (free)
///                       | PUBREC < 0x80 (QoS 2)                 ^
///                       v                  PUBCOMP              |
///                    Released ----------------------------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight<T> {
    /// PUBLISH was sent; PUBACK or PUBREC is awaited.
    Publish {
        /// QoS 1 or 2.
        qos: QoS,
        /// The message.
        message: T,
    },
    /// PUBREC came and PUBREL was sent; PUBCOMP is awaited.
    Released,
}

/// What to send again on a new connection `[MQTT-4.4.0-1]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend<'a, T> {
    /// PUBLISH with its original identifier and DUP 1 `[MQTT-3.3.1-1]`.
    Publish {
        /// Its identifier.
        id: PacketId,
        /// QoS 1 or 2.
        qos: QoS,
        /// The message.
        message: &'a T,
    },
    /// PUBREL with its original identifier `[MQTT-4.3.3-5]`.
    PubRel {
        /// Its identifier.
        id: PacketId,
    },
}

/// What follows from a PUBREC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecOutcome<T> {
    /// The client has the message: answer with PUBREL `[MQTT-4.3.3-4]`. The message is never sent again
    /// `[MQTT-4.3.3-6]`.
    Release(T),
    /// The client refused it (reason code 0x80 or above): delivery has ended, no PUBREL `[MQTT-4.4.0-2]`.
    Ended(T),
    /// It was released before: answer with PUBREL again.
    Again,
}

/// An acknowledgement that fits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckError {
    /// No message with this identifier is in flight. Ignore PUBACK and PUBCOMP; answer PUBREC with PUBREL 0x92.
    Unknown,
    /// The message with this identifier awaits another acknowledgement: a protocol error, 0x82.
    WrongKind,
}

/// The QoS 1 and 2 messages in flight to one client.
#[derive(Debug, Clone)]
pub struct Outbound<T> {
    /// Messages by distance from `base`; the first slot is in use.
    slots: VecDeque<Option<InFlight<T>>>,
    /// The identifier of the first slot, or the next to be given out when there is none.
    base: PacketId,
    /// How many messages the client takes at once.
    window: u16,
    /// Slots in use.
    in_flight: u16,
    /// Slots in use that were sent on this connection: what counts against the window.
    sent: u16,
    /// Slots from here on were not sent again on this connection yet.
    unsent_from: u16,
}

/// The identifier `distance` after `id`.
fn advance(id: PacketId, distance: usize) -> PacketId {
    let zero_based = (u32::from(id.get()) - 1 + distance as u32 % IDS) % IDS;
    PacketId::new(zero_based as u16 + 1).unwrap_or(PacketId::MIN)
}

/// How far `id` comes after `base`.
fn distance(base: PacketId, id: PacketId) -> usize {
    ((u32::from(id.get()) + IDS - u32::from(base.get())) % IDS) as usize
}

impl<T> Outbound<T> {
    /// Nothing in flight; the client takes `window` messages at once (at least one).
    pub const fn new(window: u16) -> Self {
        let window = if window == 0 { 1 } else { window };
        Self { slots: VecDeque::new(), base: PacketId::MIN, window, in_flight: 0, sent: 0, unsent_from: 0 }
    }

    /// Sets how many messages the client takes at once: its Receive Maximum, capped by the server's own limit.
    pub fn set_window(&mut self, window: u16) {
        self.window = window.max(1);
    }

    /// Whether another message may be sent now `[MQTT-3.3.4-9]` `[MQTT-4.9.0-1]` `[MQTT-4.9.0-2]`.
    ///
    /// False while something waits to be resent, so that order holds.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.sent < self.window
            && usize::from(self.unsent_from) == self.slots.len()
            && (self.slots.len() as u32) < self.span_max()
    }

    /// How many messages can be sent before the window is full.
    pub fn spare(&self) -> usize {
        if self.has_room() {
            let span = (self.span_max() as usize).saturating_sub(self.slots.len());
            usize::from(self.window - self.sent).min(span)
        } else {
            0
        }
    }

    /// Whether messages of before the reconnect still have to be sent again.
    pub fn is_resuming(&self) -> bool {
        usize::from(self.unsent_from) != self.slots.len()
    }

    /// What is in flight under an identifier.
    pub fn peek(&self, id: PacketId) -> Option<&InFlight<T>> {
        self.slots.get(distance(self.base, id))?.as_ref()
    }

    fn span_max(&self) -> u32 {
        (u32::from(self.window) * SPAN_WINDOWS).clamp(SPAN_MIN, SPAN_MAX)
    }

    /// Messages in flight: sent, and neither acknowledged nor completed nor refused.
    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    /// Takes the next free identifier for a message that is now sent `[MQTT-2.2.1-4]`; `qos` is 1 or 2.
    ///
    /// # Panics
    /// Where [`Outbound::has_room`] is false.
    pub fn send(&mut self, qos: QoS, message: T) -> PacketId {
        assert!(self.has_room(), "the caller asks has_room() first");
        debug_assert_ne!(qos, QoS::AtMostOnce);
        let id = advance(self.base, self.slots.len());
        self.slots.push_back(Some(InFlight::Publish { qos, message }));
        self.in_flight += 1;
        self.sent += 1;
        self.unsent_from += 1;
        id
    }

    /// Takes a PUBACK, whatever its reason code, and gives the message back: delivery has ended.
    pub fn puback(&mut self, id: PacketId) -> Result<T, AckError> {
        let index = self.index(id)?;
        match self.slots[index].take() {
            Some(InFlight::Publish { qos: QoS::AtLeastOnce, message }) => {
                self.freed(index);
                Ok(message)
            }
            other => self.refuse(index, other),
        }
    }

    /// Takes a PUBREC; `is_error` says that its reason code is 0x80 or above.
    pub fn pubrec(&mut self, id: PacketId, is_error: bool) -> Result<RecOutcome<T>, AckError> {
        let index = self.index(id)?;
        match self.slots[index].take() {
            Some(InFlight::Publish { qos: QoS::ExactlyOnce, message }) if is_error => {
                self.freed(index);
                Ok(RecOutcome::Ended(message))
            }
            Some(InFlight::Publish { qos: QoS::ExactlyOnce, message }) => {
                self.slots[index] = Some(InFlight::Released);
                Ok(RecOutcome::Release(message))
            }
            Some(InFlight::Released) => {
                self.slots[index] = Some(InFlight::Released);
                Ok(RecOutcome::Again)
            }
            other => self.refuse(index, other),
        }
    }

    /// Takes a PUBCOMP: delivery has ended.
    pub fn pubcomp(&mut self, id: PacketId) -> Result<(), AckError> {
        let index = self.index(id)?;
        match self.slots[index].take() {
            Some(InFlight::Released) => {
                self.freed(index);
                Ok(())
            }
            other => self.refuse(index, other),
        }
    }

    /// Begins a new connection: nothing was sent on it yet. Drive [`Outbound::next_resend`] after it.
    pub fn resume(&mut self) {
        self.sent = 0;
        self.unsent_from = 0;
    }

    /// What to send again next, in the order of the first sending `[MQTT-4.4.0-1]` `[MQTT-4.6.0-1]`; it counts as sent.
    ///
    /// `None` when nothing is left or the client takes no more now: ask again after each acknowledgement, before
    /// anything new is sent.
    pub fn next_resend(&mut self) -> Option<Resend<'_, T>> {
        while matches!(self.slots.get(usize::from(self.unsent_from)), Some(None)) {
            self.unsent_from += 1;
        }
        let index = usize::from(self.unsent_from);
        let id = advance(self.base, index);
        match self.slots.get(index)?.as_ref()? {
            // A PUBREL is never held back: only PUBLISH counts against the client's Receive Maximum.
            InFlight::Publish { .. } if self.sent >= self.window => None,
            slot => {
                self.unsent_from += 1;
                self.sent += 1;
                Some(Resend::of(id, slot))
            }
        }
    }

    /// Everything in flight, in the order of the first sending.
    pub fn iter(&self) -> impl Iterator<Item = Resend<'_, T>> {
        let ids = (0..).map(|index| advance(self.base, index));
        ids.zip(&self.slots).filter_map(|(id, slot)| Some(Resend::of(id, slot.as_ref()?)))
    }

    /// Takes everything out, in the order of the first sending.
    pub fn drain(&mut self) -> impl Iterator<Item = (PacketId, InFlight<T>)> {
        let base = self.base;
        self.base = advance(base, self.slots.len());
        (self.in_flight, self.sent, self.unsent_from) = (0, 0, 0);
        let slots = std::mem::take(&mut self.slots);
        (0..).map(move |index| advance(base, index)).zip(slots).filter_map(|(id, slot)| Some((id, slot?)))
    }

    /// Puts back what was in flight before a restart, best in the order of the first sending; [`Outbound::resume`]
    /// comes after it. An identifier that is in use already is replaced.
    pub fn restore(&mut self, id: PacketId, state: InFlight<T>) {
        if self.slots.is_empty() {
            self.base = id;
        }
        let mut index = distance(self.base, id);
        if index > self.slots.len() && index as u32 > SPAN_MAX {
            // Nearer from the other side: it comes before all others.
            let before = IDS as usize - index;
            (0..before).for_each(|_| self.slots.push_front(None));
            self.base = id;
            index = 0;
        }
        while self.slots.len() <= index {
            self.slots.push_back(None);
        }
        if self.slots[index].replace(state).is_none() {
            self.in_flight += 1;
        }
        self.resume();
    }

    /// Puts something else in the place of what is in flight; nothing happens where nothing is.
    pub fn replace(&mut self, id: PacketId, state: InFlight<T>) {
        if let Ok(index) = self.index(id) {
            self.slots[index] = Some(state);
        }
    }

    fn index(&self, id: PacketId) -> Result<usize, AckError> {
        let index = distance(self.base, id);
        match self.slots.get(index) {
            Some(Some(_)) => Ok(index),
            _ => Err(AckError::Unknown),
        }
    }

    /// Puts back a slot that awaits something else.
    fn refuse<R>(&mut self, index: usize, slot: Option<InFlight<T>>) -> Result<R, AckError> {
        self.slots[index] = slot;
        Err(AckError::WrongKind)
    }

    /// Ends the use of a slot that was just emptied, and slides the window over empty slots at its ends.
    fn freed(&mut self, index: usize) {
        self.in_flight -= 1;
        if index < usize::from(self.unsent_from) {
            self.sent -= 1;
        }
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base = advance(self.base, 1);
            self.unsent_from = self.unsent_from.saturating_sub(1);
        }
        if self.slots.is_empty() && self.slots.capacity() > SPARE_SLOTS {
            self.slots = VecDeque::new();
        }
    }
}

impl<'a, T> Resend<'a, T> {
    fn of(id: PacketId, slot: &'a InFlight<T>) -> Self {
        match slot {
            InFlight::Publish { qos, message } => Self::Publish { id, qos: *qos, message },
            InFlight::Released => Self::PubRel { id },
        }
    }
}
