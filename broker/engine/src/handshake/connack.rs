//! CONNACK: what it says to who is let in, and to who is not.

use super::Request;
use crate::{Engine, exchange::Method, session::Session};
use katydid_chat::code::Code;
use katydid_mqtt::{
    encode,
    packet::{ConnAck, ConnAckProperties, Secret, Version},
    properties::UserPropertiesBuf,
    reason::ReasonCode,
};

/// No CONNACK is longer, but for the client identifier in it.
const CONNACK_BYTES: usize = 64;

/// No name with what belongs to it is longer there.
const NAME_BYTES: usize = 128;

impl Request {
    /// No CONNACK is longer, but for the names in it.
    fn connack_bytes(&self) -> usize {
        let proof = self.method.map_or(0, |method| method.as_str().len() + 6);
        CONNACK_BYTES + self.client_id.len() + proof + self.signature.as_ref().map_or(0, |text| text.len())
    }
}

impl Engine {
    /// Refuses a CONNECT, with the answer that its version has, and closes.
    pub(crate) fn refuse_connect(&mut self, slot: u32, reason: ReasonCode) {
        self.refuse_connect_for(slot, reason, None);
    }

    /// The same, with the code that says why.
    pub(crate) fn refuse_connect_for(&mut self, slot: u32, reason: ReasonCode, code: Option<Code>) {
        let Some(link) = self.links.by_slot(slot) else { return };
        let version = link.version;
        self.links.counters.connects_refused += 1;
        let has_answer = version == Version::V5 || reason.connack_return_code().is_some();
        if has_answer {
            let reason_string = code.filter(|_| version == Version::V5).map(Code::as_str);
            let properties = ConnAckProperties { reason_string, ..ConnAckProperties::default() };
            let connack = ConnAck { session_present: false, reason, properties };
            self.links.send(slot, |out| {
                let _ = encode::connack(out, version, &connack);
            });
        }
        self.links.close(slot, true);
    }

    /// The CONNACK that lets a client in.
    fn connack<'a>(
        &mut self,
        slot: u32,
        request: &'a Request,
        session_present: bool,
        expiry_secs: u32,
    ) -> ConnAck<'a> {
        let limits = &self.settings.limits;
        let listener = self.links.by_slot(slot).map_or(0, |link| usize::from(link.peer.listener));
        let listener_bytes = self.settings.listeners.get(listener).map_or(u32::MAX, |it| it.packet_bytes);
        let server_secs = limits.keep_alive_secs;
        let asked = request.keep_alive_secs;
        let properties = ConnAckProperties {
            session_expiry_secs: (expiry_secs != request.expiry_secs).then_some(expiry_secs),
            receive_maximum: (limits.receive_maximum != u16::MAX).then_some(limits.receive_maximum),
            maximum_packet_size: Some(limits.packet_bytes.min(listener_bytes)),
            assigned_client_id: request.is_assigned.then_some(&*request.client_id),
            topic_alias_maximum: (limits.topic_aliases > 0).then_some(limits.topic_aliases),
            server_keep_alive_secs: (server_secs > 0 && (asked == 0 || asked > server_secs))
                .then_some(server_secs),
            authentication_method: request.method.map(Method::as_str),
            authentication_data: request.signature.as_deref().map(|text| Secret(text.as_bytes())),
            ..ConnAckProperties::default()
        };
        ConnAck { session_present, reason: ReasonCode::Success, properties }
    }

    /// Whether a client takes its CONNACK, at least without the offer of topic aliases. All else in it binds the client,
    /// so that there is no shorter one `[MQTT-3.1.2-24]`.
    pub(super) fn takes_connack(&mut self, slot: u32, request: &Request, expiry_secs: u32) -> bool {
        let Some((version, limit)) = self.links.by_slot(slot).map(|link| (link.version, link.packet_bytes))
        else {
            return false;
        };
        if limit as usize >= request.connack_bytes() {
            return true;
        }
        let mut connack = self.connack(slot, request, false, expiry_secs);
        connack.properties.topic_alias_maximum = None;
        let mut packet = Vec::new();
        encode::connack(&mut packet, version, &connack).is_ok() && packet.len() <= limit as usize
    }

    pub(super) fn send_connack(
        &mut self,
        slot: u32,
        request: &Request,
        session_present: bool,
        (expiry_secs, session): (u32, u64),
    ) {
        let mut connack = self.connack(slot, request, session_present, expiry_secs);
        let has_names = self.settings.rooms.enabled;
        let Some(link) = self.links.by_slot(slot) else { return };
        let version = link.version;
        let mut names = UserPropertiesBuf::default();
        // Whoever takes little is told by `whoami`.
        let room = request.connack_bytes() + NAME_BYTES;
        if has_names && version == Version::V5 && link.packet_bytes as usize >= room {
            let guest = || Session::guest_name(session).into();
            let _ = names.push("user", &request.account.clone().unwrap_or_else(guest));
        }
        connack.properties.user_properties = names.borrowed();
        if (link.packet_bytes as usize) < request.connack_bytes() {
            connack.properties.topic_alias_maximum = None;
        }
        self.links.send(slot, |out| {
            let _ = encode::connack(out, version, &connack);
        });
    }
}
