//! The task of one chat user: an MQTT client of its own, with that user's rights and no others.
//!
//! Calls are started in their order and may wait for their answers at the same time. Events are handed on one at a time,
//! and not while the user's link has too much to write, so that the broker keeps what a slow reader has not read.

use super::{Brought, link::Gate};
use crate::{
    chat::{Call, Event, Message, Place, Refusal, Tag, Voice},
    machine::Link,
};
use katydid_sdk::{
    Address, Client, Draft, Event as SdkEvent, Events, Interest, Join, Options, Place as SdkPlace, Proof,
    Refusal as SdkRefusal, Replay, Secret, Tls,
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque, future::poll_fn, net::SocketAddr, pin::Pin, sync::Arc, task::Poll, time::Duration,
};
use tokio::sync::mpsc;

/// The user property that holds a guest's display name.
pub const NAME: &str = "name";

/// How the broker calls guests. Nobody else can have such a name.
const GUEST: &str = "guest-";

/// Calls of one user that wait for their answers at most.
const MOST_PENDING: usize = 96;

/// How long what a user has said last may wait for the broker after the user is gone.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// How long a good-bye to the broker may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// How users are signed in to the broker.
#[derive(Debug, Clone)]
pub struct Users {
    /// Where the broker is.
    pub broker: Address,
    /// TLS to it.
    pub tls: Option<Tls>,
    /// Tell the broker each user's real address, in a PROXY protocol header. Its listener must expect that.
    pub tells_address: bool,
    /// Whether users are told who comes and goes.
    pub hears_presence: bool,
    /// Whether the sessions of registered users outlive their connections, so that private messages wait there.
    pub kept: Option<Kept>,
    /// Whether a password is exchanged for a token of the broker, and forgotten.
    pub exchanges_password: bool,
}

/// A session that the broker keeps. A user has one for each protocol: who signs in again goes on with it, and the connection
/// that had it before ends.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Tells apart the sessions of one user: the client identifier.
    pub client_id: &'static str,
    /// How long it outlives its connection.
    pub expiry: Duration,
    /// Whether what is said in places that were joined waits, too. Otherwise they are left at the end.
    pub keeps_places: bool,
}

/// Whose task it is, and where its events go.
pub(crate) struct Way {
    pub(crate) link: Link,
    pub(crate) voice: Voice,
    pub(crate) from: SocketAddr,
    pub(crate) brought: mpsc::Sender<Brought>,
    pub(crate) gate: Arc<Gate>,
}

impl Way {
    /// Whether anybody still hears.
    async fn tell(&self, event: Event) -> bool {
        self.brought.send(Brought::Chat { link: self.link, voice: self.voice, event }).await.is_ok()
    }

    async fn answer(&self, tag: Tag, outcome: Result<Value, SdkRefusal>) -> bool {
        let outcome =
            outcome.map_err(|refusal| Refusal { code: code(&refusal), reason: refusal.to_string() });
        self.tell(Event::Answered { tag, outcome }).await
    }
}

/// Runs until nobody calls any more, or the broker has ended it.
pub(crate) async fn run(users: Arc<Users>, way: Way, mut calls: mpsc::Receiver<(Tag, Call)>) {
    let (client, events) = loop {
        let Some((tag, call)) = calls.recv().await else { return };
        let Call::SignIn { user, password, exclusive } = call else {
            let outcome = Err(SdkRefusal::new(Refusal::NOT_SIGNED_IN, ""));
            if !way.answer(tag, outcome).await {
                return;
            }
            continue;
        };
        let kind = match (&user, &password) {
            (None, _) => "guest",
            (Some(_), None) => "anonymous",
            (Some(_), Some(_)) => "registered",
        };
        let password = password.map(|secret| Secret::new(secret.reveal()));
        match Client::connect(options(&users, &way, user, password, exclusive)).await {
            Ok((client, events)) => {
                let user = client.user();
                // Where there are no accounts at all, the broker looks at no password.
                let kind = match kind {
                    "registered" => {
                        let asked = client.request("whoami", json!({})).await;
                        asked.map_or(kind.into(), |answer| text(&answer.0, "kind", kind))
                    }
                    kind => kind.to_owned(),
                };
                if !way.answer(tag, Ok(json!({"user": &*user, "kind": kind}))).await {
                    return;
                }
                break (client, events);
            }
            Err(refusal) => {
                if !way.answer(tag, Err(refusal)).await {
                    return;
                }
            }
        }
    };
    let mut joined = Vec::new();
    talk(&users, &way, &client, events, &mut calls, &mut joined).await;
    if users.kept.as_ref().is_some_and(|kept| !kept.keeps_places) && client.is_connected() {
        let leaving = async {
            for place in joined {
                let _ = client.leave(&place).await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, leaving).await;
    }
    client.close(GOODBYE).await;
}

fn text(json: &Value, field: &str, otherwise: &str) -> String {
    json.get(field).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
}

fn options(
    users: &Users,
    way: &Way,
    user: Option<String>,
    password: Option<Secret>,
    exclusive: bool,
) -> Options {
    let mut options = Options::new(users.broker.clone());
    options.proof = match (&user, password) {
        (None, _) => Proof::Guest,
        (Some(_), None) => Proof::Anonymous { exclusive },
        (Some(_), Some(password)) => Proof::Password(password),
    };
    options.user = user.unwrap_or_default();
    options.tls = users.tls.clone();
    options.real_address = users.tells_address.then_some(way.from);
    options.use_token = users.exchanges_password;
    if let (Some(kept), Proof::Password(_)) = (&users.kept, &options.proof) {
        options = options.session(kept.client_id, kept.expiry);
        options.resume = true;
        // What is taken is acknowledged: as little of it as can be lost when the user's link breaks.
        options.events = 1;
    }
    options
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Value, SdkRefusal>> + Send + 'a>>;

/// Calls that were started, in their order.
#[derive(Default)]
struct Pending<'a> {
    calls: VecDeque<(Tag, Answering<'a>)>,
}

impl Pending<'_> {
    /// The first call that is answered. All are looked at in their order, so that they are started in it.
    async fn next(&mut self) -> (Tag, Result<Value, SdkRefusal>) {
        poll_fn(|context| {
            for (at, (tag, answering)) in self.calls.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = answering.as_mut().poll(context) {
                    let tag = *tag;
                    self.calls.remove(at);
                    return Poll::Ready((tag, outcome));
                }
            }
            Poll::Pending
        })
        .await
    }
}

async fn talk(
    users: &Users,
    way: &Way,
    client: &Client,
    mut events: Events,
    calls: &mut mpsc::Receiver<(Tag, Call)>,
    joined: &mut Vec<SdkPlace>,
) {
    let mut pending = Pending::default();
    let mut ears = Ears { me: client.user(), is_away: false };
    // An event that waits for the link to have written.
    let mut held: Option<Event> = None;
    let mut is_hung_up = false;
    let patience = tokio::time::sleep(Duration::MAX);
    tokio::pin!(patience);
    loop {
        if is_hung_up && pending.calls.is_empty() {
            return;
        }
        tokio::select! {
            call = calls.recv(), if !is_hung_up && pending.calls.len() < MOST_PENDING => match call {
                Some((tag, call)) => {
                    if let Call::Join { place, .. } = &call
                        && let Ok(place) = sdk_place(place)
                        && users.kept.is_some()
                        && !joined.contains(&place)
                    {
                        joined.push(place);
                    }
                    pending.calls.push_back((tag, start(users, client, call)));
                }
                None => {
                    is_hung_up = true;
                    // What comes from now on waits for the next connection of a session that is kept.
                    client.deafen().await;
                    patience.as_mut().reset(tokio::time::Instant::now() + LAST_WORDS);
                }
            },
            (tag, outcome) = pending.next(), if !pending.calls.is_empty() => {
                if !way.answer(tag, outcome).await {
                    return;
                }
            }
            () = &mut patience, if is_hung_up => return,
            event = events.next(), if held.is_none() && !is_hung_up => match event {
                Some(event) => held = ears.hear(event),
                None => return,
            },
            () = way.gate.pass(), if held.is_some() => {
                if let Some(event) = held.take()
                    && !is_hung_up
                    && !way.tell(event).await
                {
                    return;
                }
            }
        }
    }
}

fn start<'a>(users: &Users, client: &'a Client, call: Call) -> Answering<'a> {
    let hears_presence = users.hears_presence;
    Box::pin(async move {
        match call {
            Call::SignIn { .. } => Err(SdkRefusal::new(SdkRefusal::ARGUMENT, "signed in already")),
            Call::SignOut => Ok(Value::Null),
            Call::Join { place, password, last } => {
                let replay = if last == 0 { Replay::Live } else { Replay::Last(last) };
                let mut join = Join::new(replay);
                join.interest = Interest { presence: hears_presence, ..Interest::TALK };
                join.password = password.map(|secret| Secret::new(secret.reveal()));
                client.join_with(&sdk_place(&place)?, join).await.map(|()| Value::Null)
            }
            Call::Leave { place } => client.leave(&sdk_place(&place)?).await.map(|()| Value::Null),
            Call::Say { place, text, name } => {
                let place = sdk_place(&place)?;
                client.send(&place, draft(text, name)).await.map(|ack| json!({"seq": ack.seq}))
            }
            Call::Tell { user, text, name } => {
                let place = SdkPlace::user(&user)?;
                client.send(&place, draft(text, name)).await.map(|ack| json!({"seq": ack.seq}))
            }
            Call::Request { verb, json } => client.request(verb, json).await.map(|answer| answer.0),
        }
    })
}

fn draft(text: bytes::Bytes, name: Option<String>) -> Draft {
    let mut draft = Draft::new(text);
    draft.properties.extend(name.map(|name| (NAME.to_owned(), name)));
    draft
}

fn sdk_place(place: &Place) -> Result<SdkPlace, SdkRefusal> {
    match place {
        Place::Room(name) => SdkPlace::room(name),
        Place::Group(name) => SdkPlace::group(name),
    }
}

fn chat_place(place: &SdkPlace) -> Option<Place> {
    match place {
        SdkPlace::Room(name) => Some(Place::Room(name.clone())),
        SdkPlace::Group(name) => Some(Place::Group(name.clone())),
        SdkPlace::User(_) => None,
    }
}

/// A code of the broker stays; what went wrong on the way is the bridge's.
fn code(refusal: &SdkRefusal) -> String {
    match &*refusal.code {
        SdkRefusal::ARGUMENT => "name.invalid".into(),
        SdkRefusal::BUSY => Refusal::FULL.into(),
        code if code.starts_with("client.") => Refusal::LOST.into(),
        code => code.into(),
    }
}

/// What a user hears, in the vocabulary of chat.
struct Ears {
    me: Arc<str>,
    is_away: bool,
}

impl Ears {
    fn hear(&mut self, event: SdkEvent) -> Option<Event> {
        match event {
            SdkEvent::Connected { user, .. } => {
                self.me = user;
                let user = self.me.clone();
                std::mem::take(&mut self.is_away).then_some(Event::Back { user })
            }
            SdkEvent::Disconnected(_) => (!std::mem::replace(&mut self.is_away, true)).then_some(Event::Gone),
            SdkEvent::Closed(refusal) => Some(Event::Ended { reason: refusal.to_string() }),
            SdkEvent::Message(said) => self.hear_message(said),
            SdkEvent::Change(change) if !change.replay => Some(Event::Noted {
                place: chat_place(&change.place)?,
                from: change.from.into(),
                json: change.body,
            }),
            SdkEvent::User(event) => {
                let by = event.body.get("by").and_then(Value::as_str).unwrap_or(&event.from);
                Some(Event::Signalled { from: by.into(), json: event.body })
            }
            SdkEvent::Presence { place: Some(place), user, body } => {
                let is_here = matches!(body.get("state").and_then(Value::as_str), Some("online" | "away"));
                let (place, user) = (chat_place(&place)?, user.into());
                Some(if is_here { Event::Entered { place, user } } else { Event::Left { place, user } })
            }
            SdkEvent::Refused { place, refusal } => {
                Some(Event::Removed { place: chat_place(&place)?, reason: refusal.reason })
            }
            SdkEvent::Gap(gap) if gap.messages != Some(0) => {
                let place = gap.place.map(|place| place.to_string()).unwrap_or_default();
                let from = katydid_chat::name::BROKER.into();
                Some(Event::Signalled { from, json: json!({"type": "gap", "place": place}) })
            }
            _ => None,
        }
    }

    fn hear_message(&self, said: katydid_sdk::Message) -> Option<Event> {
        let is_guest = said.from.starts_with(GUEST);
        let name = said.properties.into_iter().find(|(name, _)| name == NAME).map(|(_, value)| value);
        let is_mine = *said.from == *self.me;
        let message = Message {
            from: said.from.into(),
            name: name.filter(|_| is_guest),
            text: said.payload,
            seq: said.seq,
            is_replayed: said.replay,
        };
        match chat_place(&said.place) {
            Some(place) => Some(Event::Said { place, message }),
            None => (!is_mine).then_some(Event::Told { message }),
        }
    }
}
