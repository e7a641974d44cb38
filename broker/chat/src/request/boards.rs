//! Requests about the boards of groups.

use super::fields::{check_count, check_number, check_text};
use super::{Ask, Done, EXPIRY_SECS, LIST_ENTRIES};
use crate::code::Code;
use serde::{Deserialize, Serialize};

/// Longest text of a post in bytes.
pub const POST_BYTES: usize = 32 * 1024;

/// `board/post`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardPost {
    /// The group's name.
    pub group: String,
    /// The title.
    pub title: String,
    /// The text.
    pub text: String,
    /// What it answers; 0 is nothing.
    #[serde(default)]
    pub parent: u64,
    /// Seconds after which it goes; 0 is never.
    #[serde(default)]
    pub expiry_secs: u64,
}

/// The answer to [`BoardPost`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The number of the post.
    pub number: u64,
}

impl Ask for BoardPost {
    const VERB: &'static str = "board/post";
    type Answer = Posted;

    fn check(&self) -> Result<(), Code> {
        let expires_as_reply = self.parent != 0 && self.expiry_secs != 0;
        if self.title.is_empty() || expires_as_reply || self.expiry_secs > EXPIRY_SECS {
            return Err(Code::BadField);
        }
        check_number(Some(self.parent))?;
        check_text(&self.title, 256)?;
        check_text(&self.text, POST_BYTES)
    }
}

/// `board/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardList {
    /// The group's name.
    pub group: String,
    /// Only what answers this post; 0: only what answers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// The last number of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// A post of a board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// Its number in the group.
    pub number: u64,
    /// What it answers; 0 is nothing.
    pub parent: u64,
    /// How many answer it directly.
    pub replies: u64,
    /// The title.
    pub title: String,
    /// Who wrote it.
    pub from: String,
    /// When.
    pub time: String,
    /// Lines of its text.
    pub lines: u64,
    /// Seconds that are left; 0 is for ever, and on replies.
    pub expires_in_secs: u64,
    /// The text; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Posts: the answer to [`BoardList`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posts {
    /// By number.
    pub posts: Vec<Post>,
    /// Whether there is another page.
    pub more: bool,
}

impl Ask for BoardList {
    const VERB: &'static str = "board/list";
    type Answer = Posts;

    fn check(&self) -> Result<(), Code> {
        check_count(self.count, LIST_ENTRIES)
    }
}

/// `board/get`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardGet {
    /// The group's name.
    pub group: String,
    /// The post's number.
    pub number: u64,
}

impl Ask for BoardGet {
    const VERB: &'static str = "board/get";
    type Answer = Post;
}

/// `board/delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardDelete {
    /// The group's name.
    pub group: String,
    /// The post's number.
    pub number: u64,
}

impl Ask for BoardDelete {
    const VERB: &'static str = "board/delete";
    type Answer = Done;
}
