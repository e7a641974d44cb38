//! Requests about other people: who is there, friends, whom one ignores, and offers to one person.

use super::fields::{check_count, check_optional, check_text, is_false};
use super::{Ask, Done, Kind, LIST_ENTRIES, PlaceInfo, Standing, State};
use crate::code::Code;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Somebody in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The name.
    pub user: String,
    /// What kind of user.
    pub kind: Kind,
    /// The number of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Name for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// How present.
    pub state: State,
    /// Status text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What the person is in the place that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Standing>,
    /// Whether the person is muted there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub muted: bool,
}

/// People: the answer to lists of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// By name.
    pub users: Vec<Person>,
    /// Whether there is another page.
    pub more: bool,
}

/// `users`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// Those in it; everybody who is connected without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Whoever is offline or asleep, too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub all: bool,
    /// The last name of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

impl Ask for Users {
    const VERB: &'static str = "users";
    type Answer = People;

    fn check(&self) -> Result<(), Code> {
        check_count(self.count, LIST_ENTRIES)
    }
}

/// What [`Search`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sought {
    /// People.
    User,
    /// Rooms.
    Room,
    /// Groups.
    Group,
}

/// `search`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Part of a name.
    pub text: String,
    /// Everything without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Sought>,
    /// At most so many of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// The answer to [`Search`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// People.
    pub users: Vec<Person>,
    /// Rooms and groups.
    pub places: Vec<PlaceInfo>,
    /// Whether there are more than these.
    pub more: bool,
}

impl Ask for Search {
    const VERB: &'static str = "search";
    type Answer = Found;

    fn check(&self) -> Result<(), Code> {
        if self.text.is_empty() {
            return Err(Code::BadField);
        }
        check_count(self.count, LIST_ENTRIES)?;
        check_text(&self.text, 64)
    }
}

macro_rules! about_somebody {
    ($($(#[$doc:meta])* $name:ident = $verb:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Whom it is about.
            pub user: String,
        }

        impl Ask for $name {
            const VERB: &'static str = $verb;
            type Answer = Done;
        }
    )+};
}

about_somebody! {
    /// `friend/add`.
    FriendAdd = "friend/add";
    /// `friend/remove`.
    FriendRemove = "friend/remove";
    /// `ignore/add`.
    IgnoreAdd = "ignore/add";
    /// `ignore/remove`.
    IgnoreRemove = "ignore/remove";
}

macro_rules! list_of_people {
    ($($(#[$doc:meta])* $name:ident = $verb:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The last name of the page before.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub after: Option<String>,
            /// At most so many.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub count: Option<u32>,
        }

        impl Ask for $name {
            const VERB: &'static str = $verb;
            type Answer = People;

            fn check(&self) -> Result<(), Code> {
                check_optional(self.after.as_deref(), 256)?;
                check_count(self.count, LIST_ENTRIES)
            }
        }
    )+};
}

list_of_people! {
    /// `friend/list`.
    FriendList = "friend/list";
    /// `ignore/list`.
    IgnoreList = "ignore/list";
}

/// What an [`Offer`] offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OfferKind {
    /// A connection from client to client.
    Peer,
    /// A file.
    File,
}

/// `offer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// To whom.
    pub to: String,
    /// What.
    pub kind: OfferKind,
    /// What the two need for it; not looked at.
    pub data: Map<String, Value>,
}

/// Longest `data` of an offer, in bytes of JSON.
pub const OFFER_BYTES: usize = 4096;

impl Ask for Offer {
    const VERB: &'static str = "offer";
    type Answer = Done;

    fn check(&self) -> Result<(), Code> {
        let bytes = serde_json::to_string(&self.data).map_err(|_| Code::BadField)?.len();
        if bytes > OFFER_BYTES { Err(Code::BadField) } else { Ok(()) }
    }
}
