//! The rules of one session for QoS 1 and 2, in both directions, without I/O.
//!
//! [`Outbound`] owns the packet identifiers of messages on their way to the client and what is left to do for each;
//! [`Inbound`] owns the identifiers of QoS 2 messages from the client and counts what it sent and nobody acknowledged
//! yet. Neither knows topics, queues, the time or the network: a message is a handle `T` of the caller's. Both survive
//! the connection; [`Outbound::resume`] and [`Inbound::reconnect`] begin the next one.
//!
//! Invariant: an identifier is in use from [`Outbound::send`] until PUBACK, PUBCOMP or a refusing PUBREC
//! `[MQTT-2.2.1-4]` `[MQTT-4.4.0-2]`, and messages are resent in the order they were first sent `[MQTT-4.6.0-1]`.

mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

pub use inbound::{Inbound, QuotaExceeded, Receipt};
pub use outbound::{AckError, InFlight, Outbound, RecOutcome, Resend};
