//! What black-box tests share: the broker as a process and clients that speak bytes.
//!
//! Owns the life of a `katydid` process ([`Broker`]), a client over any stream ([`RawClient`]) and a tiny packet
//! writer and reader ([`packet`]). It must never use the broker's own codec: a mistake made on both sides would prove
//! itself right. Invariant: whatever the broker sends is checked to be well formed before a test sees it, and every wait
//! ends at an event or at a limit that fails the test. Driven by the test binaries beside it; each uses a part of it.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of the harness")]

mod broker;
pub(crate) mod client;
pub(crate) mod packet;
pub(crate) mod property;
pub(crate) mod stream;

pub(crate) use broker::{Broker, Settings};
pub(crate) use client::{RawClient, Read};
pub(crate) use packet::{Connect, Publish, Version, Version::V3, Version::V5};
