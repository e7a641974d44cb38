//! The handle of a client: what one can say and ask. Cheap to clone; every clone means the same session.

use crate::{
    Ack, Draft, Events, History, Join, Json, Options, Place, Proof, Refusal, Replay, Search, Secret, Window,
    contract,
    driver::Driver,
    link::Dialer,
    outlet::Outlet,
    request,
    session::{
        Session,
        command::{Command, Done, Permit, Publication, Question},
    },
};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// How many messages, requests and subscriptions of a client wait at once; who wants more waits to ask.
const WORK_MAX: usize = 64;

/// How long a token in place of the password serves, should nobody revoke it: 30 days.
const TOKEN_SECS: u64 = 30 * 24 * 60 * 60;

/// How many of them wait for the client's task to look at them.
const COMMANDS: usize = 16;

/// The answer to a request: the whole JSON object, whose `ok` is `true`.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer(pub Json);

/// A chat client: one session at the broker.
///
/// Every call may be made while the connection is down: it waits until it stands again. Dropping a call's future does
/// not take back what it asked for. When the last clone is dropped, the connection is closed.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    commands: mpsc::Sender<Command>,
    work: Arc<Semaphore>,
    shared: Arc<Shared>,
    request_timeout: Duration,
    /// Makes the ids of messages unique.
    salt: u64,
    counter: AtomicU64,
}

/// What the client's task tells its handles.
pub(crate) struct Shared {
    user: Mutex<Arc<str>>,
    token: Mutex<Option<Token>>,
    is_connected: AtomicBool,
}

/// The token that stands for the password, and its name.
struct Token {
    secret: Secret,
    key: String,
}

impl Shared {
    fn token(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Release);
    }

    pub(crate) fn set_user(&self, user: Arc<str>) {
        *self.user.lock().unwrap_or_else(PoisonError::into_inner) = user;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("user", &self.user()).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and signs in. The client connects again by itself after a lost connection, until it is closed, or the
    /// broker refuses it for good.
    ///
    /// # Errors
    /// `login.*` of `topics.md`; [`Refusal::UNREACHABLE`].
    pub async fn connect(options: Options) -> Result<(Self, Events), Refusal> {
        check(&options)?;
        let (user, wants_token) =
            (options.user.clone(), options.use_token && matches!(options.proof, Proof::Password(_)));
        let dialer = Arc::new(Dialer::new(&options)?);
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (events, outlet) = mpsc::channel(options.events.max(1));
        let (started, has_started) = oneshot::channel();
        let shared = Arc::new(Shared {
            user: Mutex::new(user.as_str().into()),
            token: Mutex::new(None),
            is_connected: AtomicBool::new(false),
        });
        let inner = Inner {
            commands,
            work: Arc::new(Semaphore::new(WORK_MAX)),
            shared: shared.clone(),
            request_timeout: options.request_timeout,
            salt: RandomState::new().hash_one((SystemTime::now(), std::process::id(), user)),
            counter: AtomicU64::new(0),
        };
        let retry_max = options.retry_max;
        let session = Session::new(options, Outlet::new(events), Instant::now());
        let driver = Driver { session, commands: queue, dialer, shared, started: Some(started), retry_max };
        tokio::spawn(driver.run());
        has_started.await.unwrap_or_else(|_| Err(Refusal::closed()))?;
        let client = Self { inner: Arc::new(inner) };
        if wants_token {
            client.exchange_password().await;
        }
        Ok((client, Events { queue: outlet }))
    }

    /// The name under which the broker knows this client.
    /// Empty for a guest whom the broker did not tell.
    pub fn user(&self) -> Arc<str> {
        self.inner.shared.user.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.inner.shared.is_connected.load(Ordering::Acquire)
    }

    /// The token that stands for the password, where [`Options::use_token`] got one.
    pub fn token(&self) -> Option<Secret> {
        self.inner.shared.token().as_ref().map(|token| token.secret.clone())
    }

    /// Enters a place and hears everything in it. For a private conversation nothing needs to be joined.
    ///
    /// # Errors
    /// `room.*` and `group.*` of `topics.md`.
    pub async fn join(&self, place: &Place, replay: Replay) -> Result<(), Refusal> {
        self.join_with(place, Join::new(replay)).await
    }

    /// Enters a place. Who is in already changes what is wanted of it, and hears again what the replay says.
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn join_with(&self, place: &Place, join: Join) -> Result<(), Refusal> {
        self.order(|done, permit| Command::Join(place.clone(), Box::new(join), done, permit)).await
    }

    /// Stops listening to a place. A room is left with that; a group only by [`Client::request`]`("group/leave", ..)`.
    ///
    /// # Errors
    /// [`Refusal::CLOSED`].
    pub async fn leave(&self, place: &Place) -> Result<(), Refusal> {
        self.order(|done, permit| Command::Leave(place.clone(), done, permit)).await
    }

    /// Says something; resolves when it is on the broker's disk. `id` names the message, so that saying it again does not
    /// double it; without, a unique one is made, which serves for reconnects.
    ///
    /// # Errors
    /// `room.*`, `group.*`, `message.*` of `topics.md`; [`Refusal::TOO_LARGE`].
    pub async fn say(&self, place: &Place, text: impl Into<Bytes>, id: Option<&str>) -> Result<Ack, Refusal> {
        let mut draft = Draft::new(text);
        draft.id = id.map(Into::into);
        self.send(place, draft).await
    }

    /// Says something with all that can be said about it.
    ///
    /// # Errors
    /// As [`Client::say`].
    pub async fn send(&self, place: &Place, draft: Draft) -> Result<Ack, Refusal> {
        let mut user_properties = draft.properties;
        let id = draft.id.unwrap_or_else(|| self.unique_id());
        user_properties.push((contract::ID.into(), id));
        if let Some(seq) = draft.reply_to {
            user_properties.push((contract::REPLY_TO.into(), seq.to_string()));
        }
        let content_type = draft.content_type;
        let is_pair =
            |(name, value): &(String, String)| contract::is_string(name) && contract::is_string(value);
        if !user_properties.iter().all(is_pair) || !content_type.iter().all(|text| contract::is_string(text))
        {
            return Err(Refusal::argument("a property that MQTT cannot carry"));
        }
        let properties = PublishProperties { user_properties, content_type, ..Default::default() };
        self.publish(place, "msg", draft.payload, Some(properties)).await
    }

    /// Says something to a user: [`Client::say`] at [`Place::user`].
    ///
    /// # Errors
    /// As [`Client::say`].
    pub async fn tell(&self, user: &str, text: impl Into<Bytes>, id: Option<&str>) -> Result<Ack, Refusal> {
        self.say(&Place::user(user)?, text, id).await
    }

    /// Publishes an event: JSON of `topics.md` such as `{"type":"edit","seq":7,"text":"..."}`.
    ///
    /// # Errors
    /// As [`Client::say`], and `message.not-yours`.
    pub async fn event(&self, place: &Place, body: &Json) -> Result<Ack, Refusal> {
        let user_properties = vec![(contract::ID.to_owned(), self.unique_id())];
        let properties = PublishProperties { user_properties, ..Default::default() };
        let payload = body.to_string().into();
        self.publish(place, "event", payload, Some(properties)).await
    }

    /// Tells a place that one types. Not kept, not acknowledged, dropped while there is no connection.
    ///
    /// # Errors
    /// [`Refusal::CLOSED`].
    pub async fn typing(&self, place: &Place) -> Result<(), Refusal> {
        let publication =
            Publication { place: place.clone(), channel: "typing", payload: Bytes::new(), properties: None };
        // A signal that has to wait is worth nothing: it is dropped where the task is busy.
        match self.inner.commands.try_send(Command::Signal(Box::new(publication))) {
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Refusal::closed()),
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
        }
    }

    /// Sets the read marker of a place; it never goes back.
    ///
    /// # Errors
    /// As [`Client::say`].
    pub async fn mark_read(&self, place: &Place, seq: u64) -> Result<(), Refusal> {
        self.publish(place, "read", seq.to_string().into(), None).await.map(drop)
    }

    /// Asks the broker: publishes `body`, a JSON object, to `$chat/{verb}` and waits for the answer.
    ///
    /// # Errors
    /// The code and reason of an answer that is not `ok`; [`Refusal::TIMED_OUT`] after [`Options::request_timeout`];
    /// [`Refusal::INTERRUPTED`] when the connection is lost in between.
    pub async fn request(&self, verb: &str, body: Json) -> Result<Answer, Refusal> {
        self.request_within(verb, body, self.inner.request_timeout).await
    }

    /// As [`Client::request`], with a time limit of its own.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn request_within(&self, verb: &str, body: Json, limit: Duration) -> Result<Answer, Refusal> {
        let is_topic = !verb.is_empty() && !verb.contains(['+', '#']) && contract::is_string(verb);
        if !is_topic || !body.is_object() {
            return Err(Refusal::argument("a request is a verb and a JSON object"));
        }
        let (verb, (done, answer)) = (verb.to_owned(), oneshot::channel());
        let asking = async {
            let question = Box::new(Question { verb, body, done });
            let permit = self.permit().await?;
            self.command(Command::Call(question, permit)).await?;
            answer.await.unwrap_or_else(|_| Err(Refusal::closed()))
        };
        match tokio::time::timeout(limit, asking).await {
            Ok(outcome) => outcome.map(Answer),
            Err(_) => Err(Refusal::new(Refusal::TIMED_OUT, format!("no answer within {limit:?}"))),
        }
    }

    /// The past of a place, page by page.
    pub fn history(&self, place: &Place, window: Window) -> History {
        History::new(self.clone(), place, window)
    }

    /// Looks for words in what was said, page by page: what one may read of [`request::Find::place`], or of every place that
    /// one is in. What a query is stands in `topics.md`.
    pub fn search(&self, what: request::Find) -> Search {
        Search::new(self.clone(), what)
    }

    /// Hears one more topic filter that is none of a place, such as `user/bob/presence`; it comes as an event.
    ///
    /// # Errors
    /// A code for the broker's reason.
    pub async fn watch(&self, filter: &str) -> Result<(), Refusal> {
        check_filter(filter)?;
        self.order(|done, permit| Command::Watch(filter.to_owned(), done, permit)).await
    }

    /// Stops hearing a filter of [`Client::watch`].
    ///
    /// # Errors
    /// [`Refusal::CLOSED`].
    pub async fn unwatch(&self, filter: &str) -> Result<(), Refusal> {
        check_filter(filter)?;
        self.order(|done, permit| Command::Unwatch(filter.to_owned(), done, permit)).await
    }

    /// Closes the connection in good order, after what was said is acknowledged or `limit` has passed. The session ends
    /// too, unless it is kept ([`Options::session_expiry`]).
    pub async fn close(&self, limit: Duration) {
        let started = Instant::now();
        self.deafen().await;
        let token = self.inner.shared.token().take();
        if let Some(token) = token.filter(|_| self.is_connected()) {
            let revoke = request::TokenRevoke { key: token.key };
            let revoked = tokio::time::timeout(limit, self.ask(&revoke)).await;
            if !matches!(revoked, Ok(Ok(_))) {
                tracing::debug!(
                    user = &*self.user(),
                    "the token was not revoked, and serves until it expires"
                );
            }
        }
        let (done, is_done) = oneshot::channel();
        let limit = limit.saturating_sub(started.elapsed());
        if self.command(Command::Close(limit, done)).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Takes no more messages and events that the broker wants acknowledged: a session that outlives its connection gets them
    /// the next time. For who knows that the end is near, and has something to do before [`Client::close`].
    pub async fn deafen(&self) {
        let _ = self.command(Command::Deafen).await;
    }

    /// A token for the password; without one the password goes on being used.
    async fn exchange_password(&self) {
        let label = Some("katydid-sdk".to_owned());
        match self.ask(&request::TokenCreate { label, expiry_secs: Some(TOKEN_SECS) }).await {
            Ok(made) => {
                let secret = Secret::new(made.token);
                if self.command(Command::Token(secret.clone())).await.is_ok() {
                    *self.inner.shared.token() = Some(Token { secret, key: made.key });
                }
            }
            Err(refusal) => tracing::debug!(user = &*self.user(), %refusal, "no token for the password"),
        }
    }

    async fn publish(
        &self,
        place: &Place,
        channel: &'static str,
        payload: Bytes,
        properties: Option<PublishProperties>,
    ) -> Result<Ack, Refusal> {
        let publication = Box::new(Publication { place: place.clone(), channel, payload, properties });
        self.order(|done, permit| Command::Publish(publication, done, permit)).await
    }

    /// Hands the task a command and waits for how it went.
    async fn order<T>(&self, command: impl FnOnce(Done<T>, Permit) -> Command) -> Result<T, Refusal> {
        let permit = self.permit().await?;
        let (done, outcome) = oneshot::channel();
        self.command(command(done, permit)).await?;
        outcome.await.unwrap_or_else(|_| Err(Refusal::closed()))
    }

    async fn permit(&self) -> Result<Permit, Refusal> {
        self.inner.work.clone().acquire_owned().await.map_err(|_| Refusal::closed())
    }

    async fn command(&self, command: Command) -> Result<(), Refusal> {
        self.inner.commands.send(command).await.map_err(|_| Refusal::closed())
    }

    fn unique_id(&self) -> String {
        format!("{:016x}-{:x}", self.inner.salt, self.inner.counter.fetch_add(1, Ordering::Relaxed))
    }
}

fn check_filter(filter: &str) -> Result<(), Refusal> {
    let is_filter = !filter.is_empty() && contract::is_string(filter);
    if is_filter { Ok(()) } else { Err(Refusal::argument("no topic filter")) }
}

fn check(options: &Options) -> Result<(), Refusal> {
    let needs_name = options.proof != Proof::Guest;
    if needs_name && options.user.is_empty() {
        return Err(Refusal::argument("a proof needs a user name"));
    }
    if let Proof::Password(secret) | Proof::Token(secret) = &options.proof
        && (secret.expose().is_empty() || secret.expose().len() > contract::STRING_BYTES_MAX)
    {
        return Err(Refusal::argument("the password is empty or too long"));
    }
    if ![&options.user, &options.client_id].into_iter().all(|text| contract::is_string(text)) {
        return Err(Refusal::argument("a name that MQTT cannot carry"));
    }
    if !options.session_expiry.is_zero() && options.client_id.is_empty() {
        return Err(Refusal::argument("a session that is kept needs a client id"));
    }
    Ok(())
}
