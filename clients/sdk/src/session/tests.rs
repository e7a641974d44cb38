//! The session against a scripted broker, without a socket: packets are read from what it wants to send, and handed in.

mod random;

use super::{Lost, Session, command::Command, command::Question};
use crate::{
    Event, Interest, Join, Json, Options, Place, Proof, Refusal, Replay, json, outlet::Outlet,
    session::command::Publication,
};
use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        ConnAck, ConnAckProperties, ConnectReturnCode, Packet, PubAck, PubAckProperties, PubAckReason,
        Publish, PublishProperties, SubAck, Subscribe, SubscribeReasonCode,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// A session, and the broker's side of it.
struct Play {
    session: Session,
    events: mpsc::Receiver<Event>,
    work: Arc<Semaphore>,
    now: Instant,
}

type Outcome<T> = oneshot::Receiver<Result<T, Refusal>>;

impl Play {
    fn with(options: Options) -> Self {
        let (queue, events) = mpsc::channel(options.events);
        let now = Instant::now();
        let session = Session::new(options, Outlet::new(queue), now);
        Self { session, events, work: Arc::new(Semaphore::new(64)), now }
    }

    /// A session that is signed in as `me`, with its own subscription granted.
    fn ready() -> Self {
        let mut play = Self::with(options());
        play.link(false);
        let subscribe = play.subscription();
        play.grant(&subscribe);
        play
    }

    fn link(&mut self, session_present: bool) {
        let properties = ConnAckProperties {
            user_properties: vec![("user".into(), "me".into())],
            ..no_connack_properties()
        };
        let code = ConnectReturnCode::Success;
        let connack = ConnAck { session_present, code, properties: Some(properties) };
        self.session.on_linked(connack, self.now);
    }

    fn cut(&mut self) {
        self.session.on_lost(&Lost::link("cut"));
    }

    /// What the session sends now.
    fn sent(&mut self) -> Vec<Packet> {
        let mut out = BytesMut::new();
        self.session.fill(&mut out, self.now);
        let mut packets = Vec::new();
        while !out.is_empty() {
            packets.push(Packet::read(&mut out, None).expect("a whole packet"));
        }
        packets
    }

    /// The one packet that it sends, a SUBSCRIBE.
    fn subscription(&mut self) -> Subscribe {
        match self.sent().as_slice() {
            [Packet::Subscribe(subscribe)] => subscribe.clone(),
            other => panic!("not one SUBSCRIBE: {other:?}"),
        }
    }

    /// The one packet that it sends, a PUBLISH.
    fn publish(&mut self) -> Publish {
        match self.sent().as_slice() {
            [Packet::Publish(publish)] => publish.clone(),
            other => panic!("not one PUBLISH: {other:?}"),
        }
    }

    fn take(&mut self, packet: Packet) {
        self.session.on_packet(packet, self.now).expect("the connection goes on");
    }

    fn answer(&mut self, subscribe: &Subscribe, code: SubscribeReasonCode) {
        let return_codes = vec![code; subscribe.filters.len()];
        self.take(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None }));
    }

    fn grant(&mut self, subscribe: &Subscribe) {
        self.answer(subscribe, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    }

    fn say(&mut self, text: &str) -> Outcome<crate::Ack> {
        let (done, outcome) = oneshot::channel();
        let payload = text.to_owned().into();
        let publication = Publication { place: room(), channel: "msg", payload, properties: None };
        let permit = self.work.clone().try_acquire_owned().unwrap();
        self.session.on_command(Command::Publish(Box::new(publication), done, permit), self.now);
        outcome
    }

    /// Says something whose id is its text.
    fn say_as(&mut self, text: &str) -> Outcome<crate::Ack> {
        let (done, outcome) = oneshot::channel();
        let properties =
            PublishProperties { user_properties: vec![("id".into(), text.into())], ..Default::default() };
        let payload = text.to_owned().into();
        let publication =
            Publication { place: room(), channel: "msg", payload, properties: Some(properties) };
        let permit = self.work.clone().try_acquire_owned().unwrap();
        self.session.on_command(Command::Publish(Box::new(publication), done, permit), self.now);
        outcome
    }

    fn ask(&mut self, verb: &str) -> Outcome<Json> {
        let (done, outcome) = oneshot::channel();
        let question = Question { verb: verb.into(), body: json!({}), done };
        let permit = self.work.clone().try_acquire_owned().unwrap();
        self.session.on_command(Command::Call(Box::new(question), permit), self.now);
        outcome
    }

    fn join(&mut self, place: Place, join: Join) -> Outcome<()> {
        let (done, outcome) = oneshot::channel();
        let permit = self.work.clone().try_acquire_owned().unwrap();
        self.session.on_command(Command::Join(place, Box::new(join), done, permit), self.now);
        outcome
    }

    /// In the room, from now on.
    fn join_room(&mut self) {
        let mut outcome = self.join(room(), Join::new(Replay::Live));
        let subscribe = self.subscription();
        self.grant(&subscribe);
        outcome.try_recv().unwrap().unwrap();
    }

    fn hear(&mut self, topic: &str, payload: &str, properties: &[(&str, &str)], retain: bool) {
        let user_properties =
            properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let properties = PublishProperties { user_properties, ..Default::default() };
        let mut publish = Publish::new(topic, QoS::AtMostOnce, payload.to_owned(), Some(properties));
        publish.retain = retain;
        self.take(Packet::Publish(publish));
    }

    fn texts(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let Event::Message(message) = event {
                texts.push(message.text().into_owned());
            }
        }
        texts
    }
}

fn options() -> Options {
    Options::new("localhost".parse().unwrap()).user("me")
}

fn room() -> Place {
    Place::room("r").unwrap()
}

fn no_connack_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

fn property<'a>(subscribe: &'a Subscribe, name: &str) -> Option<&'a str> {
    crate::contract::property(&subscribe.properties.as_ref()?.user_properties, name)
}

fn paths(subscribe: &Subscribe) -> Vec<&str> {
    subscribe.filters.iter().map(|filter| filter.path.as_str()).collect()
}

#[test]
fn what_is_the_users_own_is_subscribed_to_first() {
    let mut play = Play::with(options());
    let _said = play.say("hello");
    play.link(false);
    let packets = play.sent();
    let [Packet::Subscribe(first), Packet::Publish(second)] = packets.as_slice() else {
        panic!("{packets:?}")
    };
    assert_eq!(paths(first), ["user/me/reply", "user/me/event/+", "user/me/msg/+"]);
    assert_eq!(second.topic, "room/r/msg/me");
    assert!(!play.session.is_ready());
    play.grant(first);
    assert!(play.session.is_ready());
}

#[test]
fn a_request_waits_for_the_subscription_and_takes_its_answer_by_correlation_data() {
    let mut play = Play::with(options());
    let mut outcome = play.ask("whoami");
    play.link(false);
    let subscribe = play.subscription();
    play.grant(&subscribe);
    let question = play.publish();
    assert_eq!(question.topic, "$chat/whoami");
    let properties = question.properties.clone().unwrap();
    assert_eq!(properties.response_topic.as_deref(), Some("user/me/reply"));
    play.take(Packet::PubAck(PubAck::new(question.pkid, None)));
    assert!(outcome.try_recv().is_err(), "an acknowledgement is no answer");
    let correlation_data = properties.correlation_data;
    let answer = PublishProperties { correlation_data, ..Default::default() };
    let payload = r#"{"ok":true,"user":"me"}"#;
    play.take(Packet::Publish(Publish::new("user/me/reply", QoS::AtMostOnce, payload, Some(answer))));
    assert_eq!(outcome.try_recv().unwrap().unwrap()["user"], "me");
}

#[test]
fn answers_that_refuse_carry_their_code_and_the_id_is_enough() {
    let mut play = Play::ready();
    let mut outcome = play.ask("room/join");
    let question = play.publish();
    let body: Json = serde_json::from_slice(&question.payload).unwrap();
    let answer = json!({ "ok": false, "id": body["id"], "code": "room.banned", "reason": "no" });
    play.hear("user/me/reply", &answer.to_string(), &[], false);
    assert_eq!(outcome.try_recv().unwrap().unwrap_err(), Refusal::new("room.banned", "no"));
    // An answer to nothing is no harm.
    play.hear("user/me/reply", &answer.to_string(), &[], false);
    play.hear("user/me/reply", "no JSON", &[], false);
}

#[test]
fn a_request_in_flight_fails_with_the_connection_and_one_that_waits_goes_on() {
    let mut play = Play::ready();
    let mut asked = play.ask("one");
    play.publish();
    play.cut();
    assert_eq!(asked.try_recv().unwrap().unwrap_err().code, Refusal::INTERRUPTED);
    let mut waits = play.ask("two");
    play.link(false);
    let subscribe = play.subscription();
    play.grant(&subscribe);
    assert_eq!(play.publish().topic, "$chat/two");
    assert!(waits.try_recv().is_err());
}

#[test]
fn without_replies_requests_are_refused_here() {
    let mut play = Play::with(options());
    play.link(false);
    let subscribe = play.subscription();
    play.answer(&subscribe, SubscribeReasonCode::NotAuthorized);
    let mut asked = play.ask("whoami");
    assert!(play.sent().is_empty());
    assert_eq!(asked.try_recv().unwrap().unwrap_err().code, Refusal::UNSUPPORTED);
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_its_order() {
    let mut play = Play::ready();
    let mut said: Vec<_> = ["a", "b", "c"].map(|text| play.say(text)).into();
    let sent = play.sent();
    let Packet::Publish(first) = &sent[0] else { panic!("{sent:?}") };
    let user_properties =
        vec![("seq".into(), "7".into()), ("time".into(), "1970-01-01T00:00:01.000Z".into())];
    let properties = Some(PubAckProperties { reason_string: None, user_properties });
    play.take(Packet::PubAck(PubAck::new(first.pkid, properties)));
    assert_eq!(said[0].try_recv().unwrap().unwrap(), crate::Ack { seq: 7, time_ms: 1000 });
    play.cut();
    let _later = play.say("d");
    play.link(true);
    let again: Vec<_> = play
        .sent()
        .into_iter()
        .filter_map(|packet| match packet {
            Packet::Publish(publish) => Some(publish.payload),
            _ => None,
        })
        .collect();
    assert_eq!(again, ["b", "c", "d"]);
}

#[test]
fn never_more_is_on_its_way_than_ids_go_round() {
    let mut play = Play::ready();
    let said: Vec<_> = (0..40).map(|number| play.say(&number.to_string())).collect();
    let sent = play.sent();
    assert_eq!(sent.len(), 16, "{}", sent.len());
    let ids: Vec<u16> =
        sent.iter().map(|packet| if let Packet::Publish(p) = packet { p.pkid } else { 0 }).collect();
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 16);
    // The second is acknowledged first: the id of the first must not be used again before it is free.
    play.take(Packet::PubAck(PubAck::new(ids[1], None)));
    assert!(play.sent().is_empty());
    play.take(Packet::PubAck(PubAck::new(ids[0], None)));
    assert_eq!(play.sent().len(), 2);
    drop(said);
}

#[test]
fn a_refused_message_says_why() {
    let mut play = Play::ready();
    let mut said = play.say("x");
    let publish = play.publish();
    let properties = PubAckProperties {
        reason_string: Some("you are muted".into()),
        user_properties: vec![("code".into(), "room.muted".into())],
    };
    let reason = PubAckReason::NotAuthorized;
    play.take(Packet::PubAck(PubAck { pkid: publish.pkid, reason, properties: Some(properties) }));
    assert_eq!(said.try_recv().unwrap().unwrap_err(), Refusal::new("room.muted", "you are muted"));
}

#[test]
fn a_new_session_is_asked_for_what_was_missed_and_doubles_are_dropped() {
    let mut play = Play::ready();
    play.join_room();
    play.hear("room/r/msg/ann", "1", &[("seq", "1")], false);
    play.hear("room/r/msg/ann", "5", &[("seq", "5")], false);
    play.cut();
    play.link(false);
    let sent = play.sent();
    let [Packet::Subscribe(own), Packet::Subscribe(again)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((paths(again), property(again, "since")), (vec!["room/r/#"], Some("5")));
    assert_eq!(property(own, "since"), Some("5s"), "what is private is asked for with an overlap");
    let again = again.clone();
    play.grant(&again);
    play.hear("room/r/msg/ann", "5", &[("seq", "5")], true);
    play.hear("room/r/msg/ann", "6", &[("seq", "6")], true);
    assert_eq!(play.texts(), ["1", "5", "6"]);
}

#[test]
fn a_session_that_is_resumed_asks_for_nothing() {
    let mut play = Play::ready();
    play.join_room();
    play.cut();
    play.link(true);
    assert!(play.session.is_ready());
    assert!(play.sent().is_empty());
    play.hear("room/r/msg/ann", "1", &[("seq", "1")], false);
    play.hear("room/r/msg/ann", "1", &[("seq", "1")], false);
    assert_eq!(play.texts(), ["1"]);
}

#[test]
fn numbers_that_begin_anew_are_heard_with_a_gap() {
    let mut play = Play::ready();
    play.join_room();
    play.hear("room/r/msg/ann", "old", &[("seq", "9")], false);
    play.cut();
    play.link(false);
    for packet in play.sent() {
        if let Packet::Subscribe(subscribe) = packet {
            play.grant(&subscribe);
        }
    }
    play.hear("room/r/msg/ann", "new", &[("seq", "1")], false);
    let mut gaps = 0;
    let mut texts = Vec::new();
    while let Ok(event) = play.events.try_recv() {
        match event {
            Event::Gap(gap) => gaps += usize::from(gap.place == Some(room())),
            Event::Message(message) => texts.push(message.text().into_owned()),
            _ => {}
        }
    }
    assert_eq!((gaps, texts), (1, vec!["old".to_owned(), "new".to_owned()]));
}

#[test]
fn who_is_kicked_does_not_knock_again() {
    let mut play = Play::ready();
    play.join_room();
    let kicked = r#"{"type":"kicked","place":"room/r","by":"ann"}"#;
    play.hear("user/me/event/ann", kicked, &[("seq", "1")], false);
    play.cut();
    play.link(false);
    assert_eq!(play.sent().len(), 1, "only what is one's own");
    let mut closed = None;
    while let Ok(event) = play.events.try_recv() {
        if let Event::Refused { place, refusal } = event {
            closed = Some((place, refusal.code));
        }
    }
    assert_eq!(closed, Some((room(), "room.not-member".into())));
}

#[test]
fn a_place_that_does_not_take_the_client_back_is_told() {
    let mut play = Play::ready();
    play.join_room();
    play.cut();
    play.link(false);
    for packet in play.sent() {
        if let Packet::Subscribe(subscribe) = packet {
            let is_room = subscribe.filters[0].path.starts_with("room/");
            let code = if is_room {
                SubscribeReasonCode::NotAuthorized
            } else {
                SubscribeReasonCode::Success(QoS::AtLeastOnce)
            };
            play.answer(&subscribe, code);
        }
    }
    let mut is_told = false;
    while let Ok(event) = play.events.try_recv() {
        is_told |= matches!(event, Event::Refused { place, .. } if place == room());
    }
    assert!(is_told);
}

#[test]
fn wanting_less_of_a_place_gives_the_rest_back() {
    let mut play = Play::ready();
    play.join_room();
    let join = Join { interest: Interest::TALK, ..Join::new(Replay::Default) };
    let mut outcome = play.join(room(), join);
    let subscribe = play.subscription();
    assert_eq!(paths(&subscribe), ["room/r/msg/+", "room/r/event/+"]);
    play.grant(&subscribe);
    outcome.try_recv().unwrap().unwrap();
    match play.sent().as_slice() {
        [Packet::Unsubscribe(unsubscribe)] => assert_eq!(unsubscribe.filters, ["room/r/#"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pair_is_joined_by_both_its_filters_and_a_password_goes_along() {
    let mut play = Play::ready();
    let _pair = play.join(Place::user("bob").unwrap(), Join::new(Replay::Since(3)));
    let subscribe = play.subscription();
    assert_eq!(paths(&subscribe), ["user/me/msg/bob", "user/me/event/bob"]);
    assert_eq!(property(&subscribe, "since"), Some("3"));
    let join = Join::new(Replay::SinceAgo(Duration::from_millis(1500))).password(crate::Secret::new("pw"));
    let _room = play.join(room(), join);
    let subscribe = play.subscription();
    assert_eq!((property(&subscribe, "since"), property(&subscribe, "password")), (Some("2s"), Some("pw")));
}

#[test]
fn qos_1_waits_unacknowledged_while_nobody_takes_events() {
    let mut play = Play::with(Options { events: 2, ..options() });
    play.link(false);
    let subscribe = play.subscription();
    play.grant(&subscribe);
    play.join_room();
    for number in 1..=5u16 {
        let user_properties = vec![("seq".into(), number.to_string())];
        let properties = PublishProperties { user_properties, ..Default::default() };
        let mut publish =
            Publish::new("room/r/msg/ann", QoS::AtLeastOnce, number.to_string(), Some(properties));
        publish.pkid = number;
        play.take(Packet::Publish(publish));
    }
    // `Connected` and the first message have a place.
    let acks =
        |packets: Vec<Packet>| packets.iter().filter(|packet| matches!(packet, Packet::PubAck(_))).count();
    assert_eq!(acks(play.sent()), 1);
    let mut texts = play.texts();
    for _ in 0..10 {
        let queue = play.session.outlet.queue();
        let Ok(room) = queue.try_reserve() else { break };
        if play.session.outlet.is_waiting() {
            let owed = play.session.outlet.on_room(room);
            play.session.on_room(owed);
        } else {
            drop(room);
        }
        texts.extend(play.texts());
    }
    assert_eq!(texts, ["1", "2", "3", "4", "5"]);
    assert_eq!(acks(play.sent()), 4);
}

#[test]
fn the_greeting_says_who_comes_and_hides_it_in_debug() {
    let play = Play::with(Options { proof: Proof::Anonymous { exclusive: true }, ..options() });
    let (connect, login) = play.session.greeting();
    assert_eq!(login.map(|login| (login.username, login.password)), Some(("me".into(), String::new())));
    assert!(connect.clean_start);
    let properties = connect.properties.unwrap();
    assert_eq!(properties.user_properties, [("exclusive".to_owned(), "1".to_owned())]);
    let mut play = Play::with(options().password("hush").session("phone", Duration::from_secs(60)));
    assert!(play.session.greeting().0.clean_start, "a new run begins a new session");
    play.link(false);
    assert!(!play.session.greeting().0.clean_start, "and goes on with it");
    assert!(!format!("{:?}", play.session).contains("hush"));
    play.session.on_command(Command::Token(crate::Secret::new("tok")), play.now);
    assert_eq!(play.session.greeting().1.map(|login| login.password), Some("tok".into()));
}

#[test]
fn a_guest_learns_its_name_before_it_speaks() {
    let mut play = Play::with(Options::new("localhost".parse().unwrap()));
    let _said = play.say("hello");
    let code = ConnectReturnCode::Success;
    play.session.on_linked(ConnAck { session_present: false, code, properties: None }, play.now);
    let subscribe = play.subscription();
    assert_eq!(paths(&subscribe), ["user/+/reply", "user/+/event/+", "user/+/msg/+"]);
    play.grant(&subscribe);
    let question = play.publish();
    assert_eq!(question.topic, "$chat/whoami");
    assert!(!play.session.is_ready());
    play.take(Packet::PubAck(PubAck::new(question.pkid, None)));
    play.hear("user/guest-7/reply", r#"{"ok":true,"user":"guest-7"}"#, &[], false);
    assert!(play.session.is_ready());
    assert_eq!(play.publish().topic, "room/r/msg/guest-7");
    assert!(matches!(play.events.try_recv(), Ok(Event::Connected { user, .. }) if &*user == "guest-7"));
}

#[test]
fn the_code_may_be_the_reason_string() {
    let mut play = Play::ready();
    let mut said = play.say("x");
    let publish = play.publish();
    let properties =
        PubAckProperties { reason_string: Some("room.muted".into()), user_properties: Vec::new() };
    let reason = PubAckReason::NotAuthorized;
    play.take(Packet::PubAck(PubAck { pkid: publish.pkid, reason, properties: Some(properties) }));
    let refusal = said.try_recv().unwrap().unwrap_err();
    assert_eq!(refusal.code, "room.muted");
    assert_ne!(refusal.reason, "room.muted", "the reason is for people");
}

#[test]
fn a_message_that_was_told_before_a_crash_and_numbered_again_is_heard_once() {
    let mut play = Play::ready();
    play.join_room();
    play.hear("room/r/msg/ann", "lost", &[("seq", "3"), ("id", "x")], false);
    play.cut();
    play.link(false);
    for packet in play.sent() {
        if let Packet::Subscribe(subscribe) = packet {
            play.grant(&subscribe);
        }
    }
    play.hear("room/r/msg/ann", "lost", &[("seq", "1000"), ("id", "x")], false);
    play.hear("room/r/msg/bob", "another's", &[("seq", "1001"), ("id", "x")], false);
    assert_eq!(play.texts(), ["lost", "another's"]);
    // Who asks for the past again gets it again.
    let _again = play.join(room(), Join::new(Replay::Since(0)));
    let subscribe = play.subscription();
    play.grant(&subscribe);
    play.hear("room/r/msg/ann", "lost", &[("seq", "1000"), ("id", "x")], true);
    assert_eq!(play.texts(), ["lost"]);
}
