use super::*;
use crate::packet::{PacketId, QoS};
use proptest::prelude::*;

fn id(n: u16) -> PacketId {
    PacketId::new(n).expect("tests use identifiers from 1")
}

const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// An `Outbound` whose next identifier is `next`.
fn outbound_at(next: u16, window: u16) -> Outbound<u32> {
    let mut outbound = Outbound::new(window);
    if next > 1 {
        outbound.restore(id(next - 1), InFlight::Released);
        outbound.pubcomp(id(next - 1)).expect("just restored");
    }
    outbound
}

fn resend_all(outbound: &mut Outbound<u32>) -> Vec<(u16, Option<u32>)> {
    let mut all = Vec::new();
    while let Some(resend) = outbound.next_resend() {
        all.push(match resend {
            Resend::Publish { id, message, .. } => (id.get(), Some(*message)),
            Resend::PubRel { id } => (id.get(), None),
        });
    }
    all
}

#[test]
fn an_idle_outbound_is_small() {
    assert!(size_of::<Outbound<u64>>() <= 48, "{}", size_of::<Outbound<u64>>());
    assert!(size_of::<Inbound>() <= 32, "{}", size_of::<Inbound>());
}

#[test]
fn identifiers_are_sequential_and_never_zero_mqtt_2_2_1_4() {
    let mut outbound = outbound_at(65_534, 10);
    let ids: Vec<u16> = (0..4).map(|n| outbound.send(Q1, n).get()).collect();
    assert_eq!(ids, [65_534, 65_535, 1, 2]);
    assert_eq!(outbound.puback(id(1)), Ok(2));
    assert_eq!(outbound.puback(id(65_534)), Ok(0));
    assert_eq!(outbound.send(Q1, 4).get(), 3);
    assert_eq!(outbound.in_flight(), 3);
}

#[test]
fn only_what_the_client_takes_is_in_flight_mqtt_3_3_4_9() {
    let mut outbound = Outbound::new(2);
    let first = outbound.send(Q1, 1);
    let second = outbound.send(Q2, 2);
    assert!(!outbound.has_room());
    assert_eq!(outbound.pubrec(second, false), Ok(RecOutcome::Release(2)));
    assert!(!outbound.has_room(), "a slot is free after PUBCOMP, not after PUBREC [MQTT-4.9.0-2]");
    assert_eq!(outbound.pubcomp(second), Ok(()));
    assert!(outbound.has_room());
    outbound.send(Q2, 3);
    assert!(!outbound.has_room());
    assert_eq!(outbound.puback(first), Ok(1));
    assert!(outbound.has_room());
}

#[test]
fn a_refused_qos_2_message_has_ended_mqtt_4_4_0_2() {
    let mut outbound = Outbound::new(1);
    let refused = outbound.send(Q2, 7);
    assert_eq!(outbound.pubrec(refused, true), Ok(RecOutcome::Ended(7)));
    assert!(outbound.has_room() && outbound.in_flight() == 0);
    assert_eq!(outbound.pubrec(refused, false), Err(AckError::Unknown));
}

#[test]
fn a_repeated_pubrec_is_answered_with_pubrel_again_mqtt_4_3_3_4() {
    let mut outbound = Outbound::new(1);
    let sent = outbound.send(Q2, 7);
    assert_eq!(outbound.pubrec(sent, false), Ok(RecOutcome::Release(7)));
    assert_eq!(outbound.pubrec(sent, false), Ok(RecOutcome::Again));
    assert_eq!(outbound.pubrec(sent, true), Ok(RecOutcome::Again));
    assert_eq!(outbound.pubcomp(sent), Ok(()));
    assert_eq!(outbound.pubcomp(sent), Err(AckError::Unknown));
}

#[test]
fn acknowledgements_of_the_wrong_kind_change_nothing() {
    let mut outbound = Outbound::new(10);
    let one = outbound.send(Q1, 1);
    let two = outbound.send(Q2, 2);
    let released = outbound.send(Q2, 3);
    assert_eq!(outbound.pubrec(released, false), Ok(RecOutcome::Release(3)));
    assert_eq!(outbound.pubrec(one, false), Err(AckError::WrongKind));
    assert_eq!(outbound.pubcomp(one), Err(AckError::WrongKind));
    assert_eq!(outbound.puback(two), Err(AckError::WrongKind));
    assert_eq!(outbound.pubcomp(two), Err(AckError::WrongKind));
    assert_eq!(outbound.puback(released), Err(AckError::WrongKind));
    assert_eq!(outbound.puback(id(4)), Err(AckError::Unknown));
    assert_eq!(outbound.puback(id(65_535)), Err(AckError::Unknown));
    assert_eq!(outbound.in_flight(), 3);
}

#[test]
fn what_is_unacknowledged_is_resent_in_order_with_its_identifiers_mqtt_4_4_0_1() {
    let mut outbound = outbound_at(65_534, 10);
    for n in 0..5 {
        outbound.send(if n % 2 == 0 { Q2 } else { Q1 }, n);
    }
    assert_eq!(outbound.pubrec(id(1), false), Ok(RecOutcome::Release(2)));
    assert_eq!(outbound.puback(id(2)), Ok(3));
    outbound.resume();
    assert!(!outbound.has_room(), "nothing new before what is old [MQTT-4.6.0-1]");
    let all = vec![(65_534, Some(0)), (65_535, Some(1)), (1, None), (3, Some(4))];
    assert_eq!(resend_all(&mut outbound), all);
    assert!(outbound.has_room());
    assert_eq!(outbound.iter().count(), 4);
    assert_eq!(outbound.send(Q1, 9), id(4));
}

#[test]
fn resending_keeps_to_a_smaller_receive_maximum_mqtt_3_3_4_9() {
    let mut outbound = Outbound::new(10);
    for n in 0..6 {
        outbound.send(Q1, n);
    }
    outbound.set_window(2);
    outbound.resume();
    assert_eq!(resend_all(&mut outbound), [(1, Some(0)), (2, Some(1))]);
    assert!(!outbound.has_room());
    // An acknowledgement from before the connection broke, for what was not resent, frees no slot of this one.
    assert_eq!(outbound.puback(id(4)), Ok(3));
    assert_eq!(resend_all(&mut outbound), []);
    assert_eq!(outbound.puback(id(1)), Ok(0));
    assert_eq!(resend_all(&mut outbound), [(3, Some(2))]);
    assert_eq!(outbound.puback(id(2)), Ok(1));
    assert_eq!(outbound.puback(id(3)), Ok(2));
    assert_eq!(resend_all(&mut outbound), [(5, Some(4)), (6, Some(5))]);
    assert!(!outbound.has_room());
    assert_eq!(outbound.puback(id(5)), Ok(4));
    assert!(outbound.has_room());
}

#[test]
fn one_message_without_acknowledgement_stops_the_window_not_the_memory() {
    let mut outbound = Outbound::new(20);
    let stuck = outbound.send(Q1, 0);
    let mut sent = 1;
    while outbound.has_room() {
        let next = outbound.send(Q1, sent);
        sent += 1;
        assert_eq!(outbound.puback(next), Ok(sent - 1));
        assert!(sent < 100_000);
    }
    assert_eq!((sent, outbound.in_flight()), (80, 1));
    assert_eq!(outbound.puback(stuck), Ok(0));
    assert!(outbound.has_room());
}

#[test]
fn restoring_gives_the_same_resends_in_any_order() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
        let states = [
            (id(65_530), InFlight::Publish { qos: Q1, message: 1 }),
            (id(65_535), InFlight::Released),
            (id(1), InFlight::Publish { qos: Q2, message: 3 }),
            (id(40), InFlight::Publish { qos: Q1, message: 4 }),
        ];
        let mut outbound = Outbound::new(100);
        for n in order {
            let (id, state) = states[n];
            outbound.restore(id, state);
        }
        assert!(!outbound.has_room());
        let all = [(65_530, Some(1)), (65_535, None), (1, Some(3)), (40, Some(4))];
        assert_eq!(resend_all(&mut outbound), all);
        assert_eq!(outbound.send(Q1, 5), id(41));
        let drained: Vec<u16> = outbound.drain().map(|(id, _)| id.get()).collect();
        assert_eq!(drained, [65_530, 65_535, 1, 40, 41]);
        assert_eq!((outbound.in_flight(), outbound.send(Q1, 6)), (0, id(42)));
    }
}

#[test]
fn a_repeated_qos_2_publish_is_a_duplicate_until_pubrel_mqtt_4_3_3_10() {
    let mut inbound = Inbound::new();
    assert_eq!(inbound.receive(Q2, id(9), 10), Ok(Receipt::New));
    assert_eq!(inbound.receive(Q2, id(9), 10), Ok(Receipt::Duplicate));
    inbound.reconnect();
    assert_eq!(inbound.receive(Q2, id(9), 10), Ok(Receipt::Duplicate), "the session remembers it");
    assert!(inbound.release(id(9)));
    assert!(!inbound.release(id(9)), "unknown: PUBCOMP 0x92 [MQTT-4.3.3-11]");
    assert_eq!(inbound.receive(Q2, id(9), 10), Ok(Receipt::New), "free for another message [MQTT-4.3.3-12]");
}

#[test]
fn a_client_over_the_receive_maximum_is_caught_mqtt_3_3_4_7() {
    let mut inbound = Inbound::new();
    assert_eq!(inbound.receive(Q1, id(1), 2), Ok(Receipt::New));
    assert_eq!(inbound.receive(Q2, id(2), 2), Ok(Receipt::New));
    assert_eq!(inbound.receive(Q2, id(2), 2), Ok(Receipt::Duplicate), "counted once");
    assert_eq!(inbound.receive(Q1, id(3), 2), Err(QuotaExceeded));
    inbound.acknowledged(Q1, id(1));
    assert_eq!(inbound.receive(Q2, id(3), 2), Ok(Receipt::New));
    inbound.acknowledged(Q2, id(3));
    assert!(!inbound.is_unreleased(id(3)), "a refusing PUBREC ends it [MQTT-4.3.3-9]");
    assert_eq!(inbound.receive(Q1, id(3), 2), Ok(Receipt::New));
    assert_eq!(inbound.pending(), 2);
}

#[test]
fn a_new_connection_has_the_whole_quota_mqtt_4_9_0_1() {
    let mut inbound = Inbound::new();
    for n in 1..=3 {
        assert_eq!(inbound.receive(Q2, id(n), 3), Ok(Receipt::New));
    }
    inbound.reconnect();
    for n in 4..=6 {
        assert_eq!(inbound.receive(Q1, id(n), 3), Ok(Receipt::New));
    }
    assert!(inbound.release(id(1)), "released, though not counted on this connection");
    assert_eq!(inbound.receive(Q1, id(7), 3), Err(QuotaExceeded));
    assert_eq!(inbound.ids().map(PacketId::get).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_3_1_1_client_has_no_quota_but_its_identifiers() {
    let mut inbound = Inbound::new();
    for n in 1..=u16::MAX {
        assert_eq!(inbound.receive(Q2, id(n), u16::MAX), Ok(Receipt::New));
    }
    for n in 1..=u16::MAX {
        assert!(inbound.release(id(n)));
    }
    assert_eq!(inbound.pending(), 0);
    inbound.restore(id(5));
    inbound.restore(id(5));
    assert_eq!(inbound.ids().count(), 1);
}

/// The rules of [`Outbound`] in the plainest way: a list in the order of sending.
struct Model {
    next: u16,
    window: usize,
    flights: Vec<Flight>,
}

struct Flight {
    id: u16,
    state: Option<(QoS, u32)>,
    sent: bool,
}

impl Model {
    fn sent(&self) -> usize {
        self.flights.iter().filter(|flight| flight.sent).count()
    }

    fn span(&self) -> usize {
        self.flights.first().map_or(0, |first| {
            let mut span = 0;
            let mut at = first.id;
            while at != self.next {
                at = at.checked_add(1).unwrap_or(1);
                span += 1;
            }
            span
        })
    }

    fn has_room(&self) -> bool {
        let span_max = (self.window * 4).clamp(64, 32_767);
        self.flights.iter().all(|flight| flight.sent) && self.sent() < self.window && self.span() < span_max
    }

    fn position(&self, id: u16) -> Option<usize> {
        self.flights.iter().position(|flight| flight.id == id)
    }

    fn ack(&mut self, kind: Kind, id: u16) -> Result<Option<RecOutcome<u32>>, AckError> {
        let at = self.position(id).ok_or(AckError::Unknown)?;
        match (kind, self.flights[at].state) {
            (Kind::Ack, Some((Q1, message))) | (Kind::RecError, Some((Q2, message))) => {
                self.flights.remove(at);
                Ok(Some(RecOutcome::Ended(message)))
            }
            (Kind::Rec, Some((Q2, message))) => {
                self.flights[at].state = None;
                Ok(Some(RecOutcome::Release(message)))
            }
            (Kind::Rec | Kind::RecError, None) => Ok(Some(RecOutcome::Again)),
            (Kind::Comp, None) => {
                self.flights.remove(at);
                Ok(None)
            }
            _ => Err(AckError::WrongKind),
        }
    }

    fn next_resend(&mut self) -> Option<(u16, Option<u32>)> {
        let sent = self.sent();
        let flight = self.flights.iter_mut().find(|flight| !flight.sent)?;
        if flight.state.is_some() && sent >= self.window {
            return None;
        }
        flight.sent = true;
        Some((flight.id, flight.state.map(|(_, message)| message)))
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Ack,
    Rec,
    RecError,
    Comp,
}

#[derive(Debug, Clone)]
enum Step {
    Send(QoS),
    /// Acknowledges the n-th in flight (from the oldest), with the kind it awaits or another.
    Answer(usize, bool),
    Ack(Kind, u16),
    Window(u16),
    Resume,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || prop_oneof![Just(Kind::Ack), Just(Kind::Rec), Just(Kind::RecError), Just(Kind::Comp)];
    prop_oneof![
        10 => prop_oneof![Just(Q1), Just(Q2)].prop_map(Step::Send),
        8 => (0..4_usize, any::<bool>()).prop_map(|(n, refuse)| Step::Answer(n, refuse)),
        2 => (0..200_usize, any::<bool>()).prop_map(|(n, refuse)| Step::Answer(n, refuse)),
        1 => (kind(), prop_oneof![1..120_u16, 65_400..=65_535_u16]).prop_map(|(kind, id)| Step::Ack(kind, id)),
        1 => (1..30_u16).prop_map(Step::Window),
        1 => Just(Step::Resume),
        1 => Just(Step::Restart),
    ]
}

fn ack(outbound: &mut Outbound<u32>, kind: Kind, id: PacketId) -> Result<Option<RecOutcome<u32>>, AckError> {
    match kind {
        Kind::Ack => outbound.puback(id).map(|message| Some(RecOutcome::Ended(message))),
        Kind::Rec => outbound.pubrec(id, false).map(Some),
        Kind::RecError => outbound.pubrec(id, true).map(Some),
        Kind::Comp => outbound.pubcomp(id).map(|()| None),
    }
}

proptest! {
    #[test]
    fn an_outbound_behaves_as_a_list(
        start in prop_oneof![Just(1_u16), 65_450..=65_535_u16],
        steps in proptest::collection::vec(step(), 1..400),
    ) {
        let mut outbound = outbound_at(start, 20);
        let mut model = Model { next: start, window: 20, flights: Vec::new() };
        for (message, step) in (0_u32..).zip(steps) {
            match step {
                Step::Send(qos) => {
                    prop_assert_eq!(outbound.has_room(), model.has_room());
                    if model.has_room() {
                        prop_assert_eq!(outbound.send(qos, message).get(), model.next);
                        model.flights.push(Flight { id: model.next, state: Some((qos, message)), sent: true });
                        model.next = model.next.checked_add(1).unwrap_or(1);
                    }
                }
                Step::Answer(n, refuse) if !model.flights.is_empty() => {
                    let flight = &model.flights[n % model.flights.len()];
                    let kind = match flight.state {
                        Some((Q1, _)) => Kind::Ack,
                        Some(_) if refuse => Kind::RecError,
                        Some(_) => Kind::Rec,
                        None => Kind::Comp,
                    };
                    let at = id(flight.id);
                    prop_assert_eq!(ack(&mut outbound, kind, at), model.ack(kind, at.get()));
                }
                Step::Answer(..) => {}
                Step::Ack(kind, n) => prop_assert_eq!(ack(&mut outbound, kind, id(n)), model.ack(kind, n)),
                Step::Window(window) => {
                    outbound.set_window(window);
                    model.window = usize::from(window);
                }
                Step::Resume | Step::Restart => {
                    if matches!(step, Step::Restart) && !model.flights.is_empty() {
                        let mut restored = Outbound::new(1);
                        restored.set_window(model.window as u16);
                        outbound.drain().for_each(|(id, state)| restored.restore(id, state));
                        outbound = restored;
                        // What follows the last that is in flight is free again.
                        let last = model.flights.last().map_or(0, |flight| flight.id);
                        model.next = last.checked_add(1).unwrap_or(1);
                    }
                    outbound.resume();
                    model.flights.iter_mut().for_each(|flight| flight.sent = false);
                }
            }
            while let Some(resend) = model.next_resend() {
                prop_assert_eq!(resend_one(&mut outbound), Some(resend));
            }
            prop_assert_eq!(resend_one(&mut outbound), None);
            prop_assert_eq!(outbound.in_flight(), model.flights.len());
            let listed: Vec<u16> = outbound.iter().map(|resend| match resend {
                Resend::Publish { id, .. } | Resend::PubRel { id } => id.get(),
            }).collect();
            prop_assert_eq!(listed, model.flights.iter().map(|flight| flight.id).collect::<Vec<_>>());
        }
    }
}

fn resend_one(outbound: &mut Outbound<u32>) -> Option<(u16, Option<u32>)> {
    outbound.next_resend().map(|resend| match resend {
        Resend::Publish { id, message, .. } => (id.get(), Some(*message)),
        Resend::PubRel { id } => (id.get(), None),
    })
}
