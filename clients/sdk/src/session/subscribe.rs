//! Subscriptions of a session: what is the user's own, places, and single filters; asked for, answered, and asked for
//! again on a connection for which the broker has no session.

use super::{
    Session,
    command::{Done, Permit},
    places::{self, Course},
    reasons,
};
use crate::{Event, Interest, Join, Place, Refusal, Replay};
use bytes::BytesMut;
use rumqttc::v5::{
    Request,
    mqttbytes::{
        QoS,
        v5::{Filter, Packet, Publish, SubAck, SubAckProperties, Subscribe, Unsubscribe},
    },
};
use std::time::{Duration, Instant};

/// What comes while a connection is lost and the next one stands is asked for with so much overlap; what was heard
/// already is left out by its number.
const OVERLAP: Duration = Duration::from_secs(5);

/// A subscription to send, or another packet that goes before messages.
#[derive(Debug)]
pub(super) struct Op {
    kind: Kind,
    caller: Option<(Done<()>, Permit)>,
}

#[derive(Debug)]
enum Kind {
    /// Answers, and what happens to the user, from there on.
    Personal(Replay),
    /// Enter a place.
    Join(Place, Join),
    /// Go on hearing a place where it stopped.
    Return(Place),
    Watch(String),
    Unsubscribe(Vec<String>),
    Signal(Publish),
    /// A guest asks who it is.
    AskName,
}

/// A subscription that waits for the broker's answer.
#[derive(Debug)]
pub(super) struct Sent {
    packet_id: u16,
    op: Op,
}

impl Op {
    pub(super) fn join(place: Place, join: Join, done: Done<()>, permit: Permit) -> Self {
        Self { kind: Kind::Join(place, join), caller: Some((done, permit)) }
    }

    pub(super) fn watch(filter: String, done: Done<()>, permit: Permit) -> Self {
        Self { kind: Kind::Watch(filter), caller: Some((done, permit)) }
    }

    pub(super) fn unsubscribe(filters: Vec<String>, caller: Option<(Done<()>, Permit)>) -> Self {
        Self { kind: Kind::Unsubscribe(filters), caller }
    }

    pub(super) fn signal(publish: Publish) -> Self {
        Kind::Signal(publish).into()
    }

    fn answer(self, outcome: Result<(), Refusal>) {
        if let Some((done, _)) = self.caller {
            let _ = done.send(outcome);
        }
    }
}

impl From<Kind> for Op {
    fn from(kind: Kind) -> Self {
        Self { kind, caller: None }
    }
}

impl Session {
    /// What has to be asked for on a new connection, before anything else.
    pub(super) fn plan_subscriptions(&mut self, now: Instant) {
        let mut plan: Vec<Op> = Vec::new();
        if self.is_resumed && self.has_replies {
            self.set_ready();
        } else {
            let replay = if self.is_first_link {
                self.options.personal_replay
            } else {
                Replay::SinceAgo(now.duration_since(self.last_heard) + OVERLAP)
            };
            plan.push(Kind::Personal(replay).into());
        }
        if self.is_resumed {
            // The broker goes on where it was, but not with what was dropped here.
            for joined in self.places.joined.values_mut().filter(|joined| joined.course != Course::Following)
            {
                joined.course = Course::Behind;
            }
        } else {
            let places: Vec<Place> = self.places.joined.keys().cloned().collect();
            plan.extend(places.into_iter().map(|place| Op::from(Kind::Return(place))));
            plan.extend(self.watches.iter().cloned().map(|filter| Op::from(Kind::Watch(filter))));
        }
        for op in plan.into_iter().rev() {
            self.ops.push_front(op);
        }
        if self.is_resumed && !self.outlet.is_waiting() {
            self.return_to_places();
        }
    }

    /// Places that fell behind are asked for what was dropped.
    pub(super) fn return_to_places(&mut self) {
        for (place, joined) in &mut self.places.joined {
            if joined.course == Course::Behind {
                joined.course = Course::Returning;
                self.ops.push_back(Kind::Return(place.clone()).into());
            }
        }
    }

    /// The connection is lost: what a caller waits for is asked for again, the rest is planned anew.
    pub(super) fn subscriptions_lost(&mut self) {
        let sent = self.sent_ops.drain(..).map(|sent| sent.op);
        let waiting: Vec<Op> = sent.chain(self.ops.drain(..)).collect();
        for op in waiting {
            match op.kind {
                Kind::Personal(_) | Kind::Return(_) | Kind::Signal(_) | Kind::AskName => {}
                Kind::Watch(_) if op.caller.is_none() => {}
                _ => self.ops.push_back(op),
            }
        }
    }

    /// Everybody who waits for a subscription is told that there will be none.
    pub(super) fn close_subscriptions(&mut self, refusal: &Refusal) {
        for op in self.sent_ops.drain(..).map(|sent| sent.op).chain(self.ops.drain(..)) {
            op.answer(Err(refusal.clone()));
        }
    }

    /// Stops hearing a place.
    pub(super) fn leave(&mut self, place: &Place, done: Done<()>, permit: Permit) {
        let joined = self.places.joined.remove(place);
        let mut filters = match joined {
            Some(joined) => self.paths(place, joined.join.interest),
            None => self.paths(place, Interest::ALL),
        };
        if filters.len() == 1 {
            // An earlier run of this session may have entered it in the other way.
            filters.extend(self.paths(place, Interest::TALK));
        }
        self.ops.push_back(Op::unsubscribe(filters, Some((done, permit))));
    }

    fn paths(&self, place: &Place, interest: Interest) -> Vec<String> {
        let filters = places::filters(place, &self.user, interest, true);
        filters.into_iter().map(|filter| filter.path).collect()
    }

    pub(super) fn send_op(&mut self, op: Op, out: &mut BytesMut, now: Instant) {
        let request = match &op.kind {
            Kind::Signal(publish) => {
                let mut publish = publish.clone();
                publish.pkid = 0;
                if publish.size() <= self.packet_bytes_max {
                    let _ = Packet::Publish(publish).write(out, None);
                }
                return;
            }
            Kind::Personal(replay) => {
                Subscribe::new_many(self.personal_filters(), places::properties(*replay, None)).into()
            }
            Kind::Join(place, join) => {
                let password = join.password.as_ref().map(|password| password.expose());
                let filters = places::filters(place, &self.user, join.interest, join.echo);
                Subscribe::new_many(filters, places::properties(join.replay, password)).into()
            }
            Kind::Return(place) => {
                let Some(joined) = self.places.joined.get(place) else { return };
                let password = joined.join.password.as_ref().map(|password| password.expose());
                let replay = self.places.catch_up(place, joined, now);
                let filters = places::filters(place, &self.user, joined.join.interest, joined.join.echo);
                Subscribe::new_many(filters, places::properties(replay, password)).into()
            }
            Kind::Watch(filter) => Subscribe::new(Filter::new(filter.clone(), QoS::AtLeastOnce), None).into(),
            Kind::AskName => {
                let question = Publish::new("$chat/whoami", QoS::AtLeastOnce, &b"{}"[..], None);
                // Its acknowledgement says nothing; the answer's topic does.
                let _ = self.number(Request::Publish(question), out);
                return;
            }
            Kind::Unsubscribe(filters) => {
                Request::Unsubscribe(Unsubscribe { pkid: 0, filters: filters.clone(), properties: None })
            }
        };
        match self.number(request, out) {
            Ok(packet_id) => self.sent_ops.push(Sent { packet_id, op }),
            Err(refusal) => op.answer(Err(refusal)),
        }
    }

    fn personal_filters(&self) -> Vec<Filter> {
        let me = if self.user.is_empty() { "+" } else { &*self.user };
        let mut paths = vec![format!("user/{me}/reply")];
        if self.options.personal {
            paths.push(format!("user/{me}/event/+"));
            paths.push(format!("user/{me}/msg/+"));
            if self.options.own_private && me != "+" {
                paths.push(format!("user/+/msg/{me}"));
            }
        }
        paths.into_iter().map(|path| Filter::new(path, QoS::AtLeastOnce)).collect()
    }

    pub(super) fn on_suback(&mut self, ack: &SubAck, now: Instant) {
        self.arrived(ack.pkid);
        let Some(at) = self.sent_ops.iter().position(|sent| sent.packet_id == ack.pkid) else { return };
        let op = self.sent_ops.swap_remove(at).op;
        let none = SubAckProperties { reason_string: None, user_properties: Vec::new() };
        let more = ack.properties.as_ref().unwrap_or(&none);
        // The first filter is the one that matters: answers, or a place's messages.
        let outcome = match ack.return_codes.first() {
            Some(code) => reasons::of_suback(*code, more.reason_string.as_ref(), &more.user_properties),
            None => Err(Refusal::new("mqtt.refused", "the broker answered without a code")),
        };
        match (&op.kind, &outcome) {
            (Kind::Personal(_), _) => {
                self.has_replies = outcome.is_ok();
                if self.has_replies && self.user.is_empty() {
                    self.ops.push_front(Kind::AskName.into());
                } else {
                    self.set_ready();
                }
            }
            (Kind::Join(place, join), Ok(())) => self.entered(place.clone(), join.clone(), now),
            (Kind::Return(place), Ok(())) => {
                if let Some(joined) = self.places.joined.get_mut(place) {
                    joined.course = Course::Following;
                }
            }
            (Kind::Return(place), Err(refusal)) => self.closed_to_us(place, refusal),
            (Kind::Watch(filter), Ok(())) if !self.watches.contains(filter) => {
                self.watches.push(filter.clone());
            }
            _ => {}
        }
        op.answer(outcome);
    }

    /// A place that this client was in does not take it back.
    fn closed_to_us(&mut self, place: &Place, refusal: &Refusal) {
        if self.places.joined.remove(place).is_some() {
            let (place, refusal) = (place.clone(), refusal.clone());
            self.outlet.tell(Event::Refused { place, refusal });
        }
    }

    /// The broker let this client into a place; filters of an earlier joining that are not wanted any more go.
    fn entered(&mut self, place: Place, join: Join, now: Instant) {
        let before = self.places.joined.get(&place).map(|joined| joined.join.interest);
        if let Some(before) = before.filter(|before| *before != join.interest) {
            let wanted = self.paths(&place, join.interest);
            let mut filters = self.paths(&place, before);
            filters.retain(|path| !wanted.contains(path));
            if !filters.is_empty() {
                self.ops.push_back(Op::unsubscribe(filters, None));
            }
        }
        self.places.entered(&place, join, now);
    }

    pub(super) fn on_unsuback(&mut self, packet_id: u16) {
        self.arrived(packet_id);
        if let Some(at) = self.sent_ops.iter().position(|sent| sent.packet_id == packet_id) {
            self.sent_ops.swap_remove(at).op.answer(Ok(()));
        }
    }
}
