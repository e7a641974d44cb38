//! A run: the new entries of a place, encoded one after another as one kind of member gets them. A member who is up to
//! date takes a run with one copy; only packet identifiers are set in it.

use crate::{
    deliver::packet_id_at,
    io::Now,
    message::{Delivery, Shared},
};
use katydid_mqtt::packet::{QoS, Version};

/// What the members of one kind have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) version: Version,
    pub(crate) qos: QoS,
    /// Whether events and posts are wanted beside messages.
    pub(crate) events: bool,
}

/// One packet of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    /// Index of its entry in the batch.
    pub(crate) entry: u32,
    pub(crate) qos: QoS,
    /// Where its packet identifier stands in the run.
    pub(crate) id_at: u32,
}

/// The encoded entries of a batch.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    pub(crate) packets: Vec<Packet>,
    /// Packets that need an identifier.
    pub(crate) tracked: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) longest: usize,
}

/// Longest run in bytes; a longer batch is delivered entry by entry.
const RUN_BYTES: usize = 256 << 10;

impl Run {
    /// Encodes a batch for a kind; `None` when one of its entries needs more than a copy.
    pub(crate) fn encode(kind: Kind, batch: &[(Shared, bool)], now: Now) -> Option<Self> {
        let mut run = Self {
            kind,
            bytes: Vec::new(),
            packets: Vec::with_capacity(batch.len()),
            tracked: 0,
            payload_bytes: 0,
            longest: 0,
        };
        for (entry, (message, is_other)) in batch.iter().enumerate() {
            if *is_other && !kind.events {
                continue;
            }
            let qos = message.qos.min(kind.qos);
            let start = run.bytes.len();
            let delivery = Delivery {
                version: kind.version,
                qos,
                dup: false,
                retain: false,
                packet_id: 0,
                subscription_ids: &[],
            };
            let is_long =
                run.bytes.len() > RUN_BYTES || message.expires_at_ms.is_some() || message.is_deleted;
            if is_long || message.encode(delivery, now, &mut run.bytes).is_some() {
                return None;
            }
            let id_at = if qos == QoS::AtMostOnce { 0 } else { start + packet_id_at(&run.bytes[start..]) };
            run.tracked += usize::from(qos != QoS::AtMostOnce);
            run.longest = run.longest.max(run.bytes.len() - start);
            run.payload_bytes += message.payload().len();
            run.packets.push(Packet { entry: entry as u32, qos, id_at: id_at as u32 });
        }
        Some(run)
    }
}
