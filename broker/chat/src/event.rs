//! The JSON of events (`topics.md`, "Events"): what happens to a user, and what the broker says in a place.

use crate::request::{Kept, OfferKind, Standing, State, Visible};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Why a place or a post is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Somebody deleted it.
    Deleted,
    /// Its time was over.
    Expired,
}

/// What happens to a user: `user/{me}/event/{from}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Happening {
    /// One may enter without a password.
    Invitation {
        place: String,
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
    },
    /// In the group from now on.
    Added {
        place: String,
        by: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        created: bool,
    },
    /// Out.
    Kicked { place: String, by: String },
    /// Out and kept out.
    Banned { place: String, by: String },
    /// Kept out no more.
    Unbanned { place: String, by: String },
    /// May not speak.
    Muted { place: String, by: String },
    /// May speak again.
    Unmuted { place: String, by: String },
    /// What one is there now.
    Role { place: String, by: String, role: Standing },
    /// A group one was in is gone.
    Gone {
        place: String,
        why: Why,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// Somebody named one in a room or group.
    Mention {
        place: String,
        by: String,
        /// The newest message that did.
        seq: u64,
        /// How many did since the last event.
        count: u64,
    },
    /// A friend came online.
    Friend { user: String, state: State },
    /// Somebody offers a connection or a file.
    Offer { by: String, kind: OfferKind, data: Map<String, Value> },
}

/// What the broker says in a room or group: `{place}/event/katydid`, and `group/{group}/post/{from}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Notice {
    /// Settings changed: those that are there.
    Settings {
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        visibility: Option<Visible>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        registered_only: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read_only: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<Kept>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expiry_secs: Option<u64>,
    },
    /// Somebody was put out.
    Kicked { user: String, by: String },
    /// Somebody was put out and is kept out.
    Banned { user: String, by: String },
    /// Somebody may not speak.
    Muted { user: String, by: String },
    /// Somebody may speak again.
    Unmuted { user: String, by: String },
    /// Another owner.
    Owner {
        user: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// The last that is said here.
    Gone {
        why: Why,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A new post.
    Post { number: u64, parent: u64, title: String, expires_in_secs: u64 },
    /// A post and its replies are gone.
    PostGone { number: u64, why: Why },
}

/// How present somebody is: `user/{user}/presence` and `{place}/presence/{user}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who.
    pub user: String,
    /// How present.
    pub state: State,
    /// Status text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Since when.
    pub since: String,
}

/// The JSON of an event. The types here have string keys only and cannot fail.
pub(crate) fn json<T: Serialize>(event: &T) -> String {
    serde_json::to_string(event).unwrap_or_default()
}
