//! QoS 1 and 2 messages from the client.

use crate::packet::{PacketId, QoS};

/// Whether a PUBLISH is to be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// A message to process.
    New,
    /// A QoS 2 message that was processed before: answer with PUBREC, and do nothing else `[MQTT-4.3.3-10]`.
    Duplicate,
}

/// The client sent more unacknowledged messages than the server takes: disconnect with 0x93 `[MQTT-3.3.4-7]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded;

/// What the client has sent at QoS 1 and 2 and the server has not finished.
#[derive(Debug, Clone, Default)]
pub struct Inbound {
    /// QoS 2 messages whose PUBREL has not come, ascending by identifier.
    unreleased: Vec<Unreleased>,
    /// Messages received on this connection that are not acknowledged (QoS 1) or released (QoS 2).
    pending: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unreleased {
    id: PacketId,
    /// Whether it counts in `pending`: it came on this connection.
    counted: bool,
}

impl Inbound {
    /// Nothing received.
    pub const fn new() -> Self {
        Self { unreleased: Vec::new(), pending: 0 }
    }

    /// Takes a QoS 1 or 2 PUBLISH; `maximum` is the Receive Maximum that the client was told, `u16::MAX` in 3.1.1.
    ///
    /// A QoS 2 identifier is remembered until its PUBREL `[MQTT-4.3.3-10]`.
    pub fn receive(&mut self, qos: QoS, id: PacketId, maximum: u16) -> Result<Receipt, QuotaExceeded> {
        let place = self.find(id);
        if qos == QoS::ExactlyOnce && place.is_ok() {
            return Ok(Receipt::Duplicate);
        }
        if self.pending >= maximum {
            return Err(QuotaExceeded);
        }
        self.pending += 1;
        if let (QoS::ExactlyOnce, Err(place)) = (qos, place) {
            self.unreleased.insert(place, Unreleased { id, counted: true });
        }
        Ok(Receipt::New)
    }

    /// PUBACK, or a PUBREC that refuses (0x80 or above), has been sent for a message of this `qos`: it is finished
    /// `[MQTT-4.3.3-9]`.
    ///
    /// A PUBREC that accepts finishes nothing, and for PUBCOMP [`Inbound::release`] has said it already.
    pub fn acknowledged(&mut self, qos: QoS, id: PacketId) {
        if qos == QoS::ExactlyOnce {
            self.release(id);
        } else {
            self.pending = self.pending.saturating_sub(1);
        }
    }

    /// Takes a PUBREL and returns whether the identifier was known; PUBCOMP is the answer in either case, with 0x92 in
    /// 5.0 when it was not `[MQTT-4.3.3-11]`. The identifier is free for another message after it
    /// `[MQTT-4.3.3-12]`.
    pub fn release(&mut self, id: PacketId) -> bool {
        let Ok(place) = self.find(id) else { return false };
        if self.unreleased.remove(place).counted {
            self.pending = self.pending.saturating_sub(1);
        }
        if self.unreleased.is_empty() {
            self.unreleased = Vec::new();
        }
        true
    }

    /// Whether a QoS 2 message with this identifier awaits its PUBREL.
    pub fn is_unreleased(&self, id: PacketId) -> bool {
        self.find(id).is_ok()
    }

    /// The QoS 2 identifiers that await their PUBREL, ascending.
    pub fn ids(&self) -> impl Iterator<Item = PacketId> {
        self.unreleased.iter().map(|unreleased| unreleased.id)
    }

    /// Puts back a QoS 2 identifier after a restart.
    pub fn restore(&mut self, id: PacketId) {
        if let Err(place) = self.find(id) {
            self.unreleased.insert(place, Unreleased { id, counted: false });
        }
    }

    /// Begins a new connection: the client's quota is whole again `[MQTT-4.9.0-1]`, and QoS 2 identifiers stay.
    pub fn reconnect(&mut self) {
        self.pending = 0;
        self.unreleased.iter_mut().for_each(|unreleased| unreleased.counted = false);
    }

    /// Messages that count against the client's quota now.
    pub fn pending(&self) -> usize {
        usize::from(self.pending)
    }

    fn find(&self, id: PacketId) -> Result<usize, usize> {
        // Most messages are released in the order they came, with identifiers that grow.
        match self.unreleased.last() {
            Some(last) if last.id < id => Err(self.unreleased.len()),
            _ => self.unreleased.binary_search_by_key(&id, |unreleased| unreleased.id),
        }
    }
}
