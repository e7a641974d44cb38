//! The verbs of `topics.md` as calls: each takes and gives the types that the broker itself reads and writes.
//!
//! Thin on purpose: what is allowed is the broker's business, and what a field means stands at its type.

use crate::{Ack, Answer, Client, Place, Refusal, request};
use katydid_chat::request::{Act, Ask};

/// Rooms or groups: the root below which a verb about places stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// `room/...`
    Room,
    /// `group/...`
    Group,
}

impl Root {
    /// As it stands in topics and verbs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Group => "group",
        }
    }
}

impl Place {
    /// Whether it is a room or a group.
    ///
    /// # Errors
    /// [`Refusal::ARGUMENT`] for private messages, which are neither.
    pub fn kind(&self) -> Result<Root, Refusal> {
        match self {
            Self::Room(_) => Ok(Root::Room),
            Self::Group(_) => Ok(Root::Group),
            Self::User(_) => Err(Refusal::argument(format!("{self} is neither a room nor a group"))),
        }
    }
}

/// Any request by its type. All of these fail as [`Client::request`] does, with the codes that `topics.md` gives them.
#[allow(clippy::missing_errors_doc, reason = "the impl says it for all")]
impl Client {
    /// Asks a request that is not about rooms or groups.
    pub async fn ask<A: Ask>(&self, ask: &A) -> Result<A::Answer, Refusal> {
        self.ask_verb(A::VERB.to_owned(), ask).await
    }

    /// Asks one of the requests that stand below `room/` and below `group/`.
    pub async fn ask_of<A: Ask>(&self, root: Root, ask: &A) -> Result<A::Answer, Refusal> {
        self.ask_verb(format!("{}/{}", root.as_str(), A::VERB), ask).await
    }

    async fn ask_verb<A: Ask>(&self, verb: String, ask: &A) -> Result<A::Answer, Refusal> {
        ask.check().map_err(|code| Refusal::new(code.as_str(), code.reason()))?;
        let body = serde_json::to_value(ask).map_err(|error| Refusal::argument(error.to_string()))?;
        let Answer(answer) = self.request(&verb, body).await?;
        serde_json::from_value(answer).map_err(|error| Refusal::new(Refusal::ANSWER, error.to_string()))
    }

    /// Who one is to the broker.
    pub async fn whoami(&self) -> Result<request::Myself, Refusal> {
        self.ask(&request::WhoAmI {}).await
    }

    /// Makes an account. Under the anonymous name that one has, it becomes the account's; connect anew to be it.
    pub async fn register(&self, account: &request::Register) -> Result<request::Registered, Refusal> {
        self.ask(account).await
    }

    /// Deletes one's account.
    pub async fn unregister(&self) -> Result<(), Refusal> {
        self.ask(&request::Unregister {}).await.map(drop)
    }

    /// Changes one's password.
    pub async fn change_password(&self, old: &str, new: &str) -> Result<(), Refusal> {
        self.ask(&request::Password { old: old.into(), new: new.into() }).await.map(drop)
    }

    /// Somebody's profile; `None` is one's own.
    pub async fn profile(&self, user: Option<&str>) -> Result<request::Profile, Refusal> {
        self.ask(&request::ProfileGet { user: user.map(Into::into), number: None }).await
    }

    /// Changes one's profile.
    pub async fn set_profile(&self, profile: &request::ProfileSet) -> Result<request::Profile, Refusal> {
        self.ask(profile).await
    }

    /// Sets how present this session is, and one's status text.
    pub async fn set_presence(&self, presence: &request::PresenceSet) -> Result<request::Present, Refusal> {
        self.ask(presence).await
    }

    /// People: who is connected, who is in a place, or everybody.
    pub async fn users(&self, which: &request::Users) -> Result<request::People, Refusal> {
        self.ask(which).await
    }

    /// Looks for people and places by a part of their names.
    pub async fn look_up(&self, what: &request::Search) -> Result<request::Found, Refusal> {
        self.ask(what).await
    }

    /// Makes somebody a friend: one hears when they come online.
    pub async fn befriend(&self, user: &str) -> Result<(), Refusal> {
        self.ask(&request::FriendAdd { user: user.into() }).await.map(drop)
    }

    /// Takes a friend off the list.
    pub async fn unfriend(&self, user: &str) -> Result<(), Refusal> {
        self.ask(&request::FriendRemove { user: user.into() }).await.map(drop)
    }

    /// A page of one's friends, after a name.
    pub async fn friends(&self, after: Option<&str>) -> Result<request::People, Refusal> {
        self.ask(&request::FriendList { after: after.map(Into::into), count: None }).await
    }

    /// Does not want to hear somebody.
    pub async fn ignore(&self, user: &str) -> Result<(), Refusal> {
        self.ask(&request::IgnoreAdd { user: user.into() }).await.map(drop)
    }

    /// Wants to hear somebody again.
    pub async fn unignore(&self, user: &str) -> Result<(), Refusal> {
        self.ask(&request::IgnoreRemove { user: user.into() }).await.map(drop)
    }

    /// A page of those whom one ignores, after a name.
    pub async fn ignored(&self, after: Option<&str>) -> Result<request::People, Refusal> {
        self.ask(&request::IgnoreList { after: after.map(Into::into), count: None }).await
    }

    /// Makes a room or a group. The name in `settings` is put in from the place.
    pub async fn create(
        &self,
        place: &Place,
        mut settings: request::Create,
    ) -> Result<request::PlaceInfo, Refusal> {
        settings.name = Some(place.name().into());
        self.ask_of(place.kind()?, &settings).await
    }

    /// Deletes a room or a group.
    pub async fn delete_place(&self, place: &Place, if_empty: bool) -> Result<(), Refusal> {
        self.ask_of(place.kind()?, &request::Delete { name: place.name().into(), if_empty }).await.map(drop)
    }

    /// Becomes a member without listening; [`Client::join`] does both.
    pub async fn enroll(&self, place: &Place, password: Option<&str>) -> Result<request::PlaceInfo, Refusal> {
        let (name, password) = (place.name().into(), password.map(Into::into));
        self.ask_of(place.kind()?, &request::Join { name, password }).await
    }

    /// Is a member no more. Subscriptions to it are dormant from then on.
    pub async fn withdraw(&self, place: &Place) -> Result<(), Refusal> {
        self.ask_of(place.kind()?, &request::Leave { name: place.name().into() }).await.map(drop)
    }

    /// A page of rooms or groups.
    pub async fn places(&self, root: Root, which: &request::List) -> Result<request::Places, Refusal> {
        self.ask_of(root, which).await
    }

    /// What a room or a group is.
    pub async fn info(&self, place: &Place) -> Result<request::PlaceInfo, Refusal> {
        self.ask_of(place.kind()?, &request::Info { name: Some(place.name().into()), number: None }).await
    }

    /// A page of a place's members, after a name.
    pub async fn members(&self, place: &Place, after: Option<&str>) -> Result<request::MemberList, Refusal> {
        let name = place.name().into();
        self.ask_of(place.kind()?, &request::Members { name, after: after.map(Into::into), count: None })
            .await
    }

    /// Invites somebody; `add` puts them into a group at once.
    pub async fn invite(&self, place: &Place, user: &str, add: bool) -> Result<(), Refusal> {
        let ask = request::Invite { name: place.name().into(), user: user.into(), add };
        self.ask_of(place.kind()?, &ask).await.map(drop)
    }

    /// Puts somebody out, and keeps them out with `ban`.
    pub async fn kick(&self, place: &Place, user: &str, ban: bool) -> Result<(), Refusal> {
        let ask = request::Kick { name: place.name().into(), user: user.into(), ban };
        self.ask_of(place.kind()?, &ask).await.map(drop)
    }

    /// Keeps somebody out.
    pub async fn ban(&self, place: &Place, user: &str) -> Result<(), Refusal> {
        let ask = request::Ban { name: place.name().into(), user: user.into() };
        self.ask_of(place.kind()?, &ask).await.map(drop)
    }

    /// Keeps somebody out no more.
    pub async fn unban(&self, place: &Place, user: &str) -> Result<(), Refusal> {
        let ask = request::Unban { name: place.name().into(), user: user.into() };
        self.ask_of(place.kind()?, &ask).await.map(drop)
    }

    /// Lets somebody read and not speak.
    pub async fn mute(&self, place: &Place, user: &str) -> Result<(), Refusal> {
        let ask = request::Mute { name: place.name().into(), user: user.into() };
        self.ask_of(place.kind()?, &ask).await.map(drop)
    }

    /// Lets somebody speak again.
    pub async fn unmute(&self, place: &Place, user: &str) -> Result<(), Refusal> {
        let ask = request::Unmute { name: place.name().into(), user: user.into() };
        self.ask_of(place.kind()?, &ask).await.map(drop)
    }

    /// Adds and removes moderators; says who they are now.
    pub async fn moderators(
        &self,
        place: &Place,
        add: Vec<String>,
        remove: Vec<String>,
    ) -> Result<Vec<String>, Refusal> {
        let ask = request::Moderators { name: place.name().into(), add, remove };
        self.ask_of(place.kind()?, &ask).await.map(|list| list.moderators)
    }

    /// Changes a place's settings. The name in `settings` is put in from the place.
    pub async fn settings(
        &self,
        place: &Place,
        mut settings: request::Settings,
    ) -> Result<request::PlaceInfo, Refusal> {
        settings.name = place.name().into();
        self.ask_of(place.kind()?, &settings).await
    }

    /// Puts a post on a group's board; says its number.
    pub async fn post(&self, post: &request::BoardPost) -> Result<u64, Refusal> {
        self.ask(post).await.map(|posted| posted.number)
    }

    /// A page of a group's board, without the texts.
    pub async fn posts(&self, which: &request::BoardList) -> Result<request::Posts, Refusal> {
        self.ask(which).await
    }

    /// A post with its text.
    pub async fn read_post(&self, group: &str, number: u64) -> Result<request::Post, Refusal> {
        self.ask(&request::BoardGet { group: group.into(), number }).await
    }

    /// Takes a post and its replies off the board.
    pub async fn delete_post(&self, group: &str, number: u64) -> Result<(), Refusal> {
        self.ask(&request::BoardDelete { group: group.into(), number }).await.map(drop)
    }

    /// Numbers that change when something changes.
    pub async fn counters(&self, place: Option<&Place>) -> Result<request::Counts, Refusal> {
        self.ask(&request::Counters { place: place.map(ToString::to_string) }).await
    }

    /// Does something about a message: edits it, deletes it, reacts to it, pins it.
    pub async fn act(&self, place: &Place, act: &Act) -> Result<Ack, Refusal> {
        let body = serde_json::to_value(act).map_err(|error| Refusal::argument(error.to_string()))?;
        self.event(place, &body).await
    }
}
