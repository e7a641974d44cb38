//! Boards: the posts of a group with their replies, and how they expire.
//!
//! Its invariant: the parent of a post is there, so a post goes with all that answers it.

use super::places::{Pid, Root};
use super::records::{self, PostRecord};
use super::requests::Asker;
use super::{Directory, Due, Effect};
use crate::code::Code;
use crate::event::{self, Notice, Why};
use crate::permission::Deed;
use crate::request::{
    BoardDelete, BoardGet, BoardList, BoardPost, Done, LIST_ENTRIES_USUAL, Post, Posted, Posts,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The board of a group.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The highest number that was ever given.
    pub(super) last: u64,
    pub(super) posts: BTreeMap<u64, PostState>,
    /// What answers a post directly.
    replies: BTreeMap<u64, BTreeSet<u64>>,
    pub(super) changed: u64,
}

#[derive(Debug)]
pub(super) struct PostState {
    pub(super) parent: u64,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) from: Arc<str>,
    pub(super) time_ms: u64,
    /// By the wall clock; 0 is never.
    pub(super) expires_ms: u64,
    /// When it is due, in steady time.
    pub(super) expires: Option<u64>,
}

impl PostState {
    pub(super) fn bytes(&self) -> usize {
        self.title.len() + self.text.len()
    }

    pub(super) fn record(&self) -> PostRecord {
        PostRecord {
            v: records::VERSION,
            parent: self.parent,
            title: self.title.clone(),
            text: self.text.clone(),
            from: self.from.to_string(),
            time_ms: self.time_ms,
            expires_ms: self.expires_ms,
        }
    }
}

impl Board {
    pub(super) fn insert(&mut self, number: u64, post: PostState) {
        if post.parent != 0 {
            self.replies.entry(post.parent).or_default().insert(number);
        }
        self.last = self.last.max(number);
        self.posts.insert(number, post);
    }

    /// Takes a post and all that answers it off, without recursion: threads may be deep.
    fn remove(&mut self, number: u64) -> Vec<(u64, PostState)> {
        let mut gone = Vec::new();
        let mut waiting = vec![number];
        while let Some(number) = waiting.pop() {
            waiting.extend(self.replies.remove(&number).unwrap_or_default());
            if let Some(post) = self.posts.remove(&number) {
                if let Some(siblings) = self.replies.get_mut(&post.parent) {
                    siblings.remove(&number);
                }
                gone.push((number, post));
            }
        }
        self.replies.retain(|_, replies| !replies.is_empty());
        gone
    }

    fn replies_to(&self, number: u64) -> u64 {
        self.replies.get(&number).map_or(0, |replies| replies.len() as u64)
    }
}

impl Directory {
    fn board_of(&self, asker: &Asker, group: &str, deed: Deed) -> Result<Pid, Code> {
        let pid = self.find(Root::Group, group)?;
        self.may(asker, pid, deed)?;
        Ok(pid)
    }

    pub(super) fn board_post(&mut self, asker: &Asker, ask: BoardPost) -> Result<Option<Posted>, Code> {
        let pid = self.board_of(asker, &ask.group, Deed::Post)?;
        let most = self.rules.posts_per_group;
        let (wall, from) = (self.clock.wall, self.name_of(asker.uid));
        let Some(place) = self.places.all.get_mut(&pid) else { return Err(Code::GroupNotFound) };
        if ask.parent != 0 && !place.board.posts.contains_key(&ask.parent) {
            return Err(Code::PostNotFound);
        }
        let bytes = ask.title.len() + ask.text.len();
        if place.board.posts.len() >= most || self.board_bytes + bytes > self.rules.board_bytes {
            return Err(Code::BoardFull);
        }
        self.board_bytes += bytes;
        let number = place.board.last + 1;
        let expires_ms =
            if ask.expiry_secs == 0 { 0 } else { wall.saturating_add(ask.expiry_secs.saturating_mul(1000)) };
        let post = PostState {
            parent: ask.parent,
            title: ask.title.clone(),
            text: ask.text,
            from: from.clone(),
            time_ms: wall,
            expires_ms,
            expires: None,
        };
        let key = records::key_of_two(records::POST, &place.record_name(), &number.to_be_bytes());
        self.out.push(Effect::Put { key, value: records::value(&post.record()) });
        place.board.insert(number, post);
        self.schedule_post(pid, number);
        self.keep_place(pid);
        self.board_changed(pid);
        let notice =
            Notice::Post { number, parent: ask.parent, title: ask.title, expires_in_secs: ask.expiry_secs };
        self.say_as(pid, format!("post/{from}"), event::json(&notice));
        Ok(Some(Posted { number }))
    }

    fn board_changed(&mut self, pid: Pid) {
        let changed = self.count(|counters| &mut counters.posts);
        if let Some(place) = self.places.all.get_mut(&pid) {
            place.board.changed = changed;
        }
        self.mark_place(pid);
    }

    pub(super) fn schedule_post(&mut self, pid: Pid, number: u64) {
        let clock = self.clock;
        let post = self.places.all.get_mut(&pid).and_then(|place| place.board.posts.get_mut(&number));
        let Some(post) = post else { return };
        if post.expires_ms > 0 && post.expires.is_none() {
            let at = clock.steady_at(post.expires_ms);
            post.expires = Some(at);
            self.due.insert((at, Due::Post(pid, number)));
        }
    }

    pub(super) fn post_is_due(&mut self, pid: Pid, number: u64) {
        self.remove_post(pid, number, Why::Expired);
    }

    fn remove_post(&mut self, pid: Pid, number: u64, why: Why) {
        let Some(place) = self.places.all.get_mut(&pid) else { return };
        let record_name = place.record_name();
        for (number, post) in place.board.remove(number) {
            let key = records::key_of_two(records::POST, &record_name, &number.to_be_bytes());
            self.out.push(Effect::Delete { key });
            self.board_bytes -= post.bytes();
            if let Some(at) = post.expires {
                self.due.remove(&(at, Due::Post(pid, number)));
            }
        }
        self.board_changed(pid);
        self.say(pid, &Notice::PostGone { number, why });
    }

    pub(super) fn board_list(&mut self, asker: &Asker, ask: BoardList) -> Result<Option<Posts>, Code> {
        let pid = self.board_of(asker, &ask.group, Deed::Read)?;
        let place = self.place(pid).ok_or(Code::GroupNotFound)?;
        let count = ask.count.unwrap_or(LIST_ENTRIES_USUAL) as usize;
        let from = ask.after.map_or(0, |after| after.saturating_add(1));
        let wanted = |post: &PostState| ask.parent.is_none_or(|parent| post.parent == parent);
        let mut posts = place.board.posts.range(from..).filter(|(_, post)| wanted(post));
        let page: Vec<Post> =
            posts.by_ref().take(count).map(|(&number, post)| self.post(&place.board, number, post)).collect();
        let more = posts.next().is_some();
        Ok(Some(Posts { posts: page, more }))
    }

    pub(super) fn board_get(&mut self, asker: &Asker, ask: BoardGet) -> Result<Option<Post>, Code> {
        let pid = self.board_of(asker, &ask.group, Deed::Read)?;
        let board = &self.place(pid).ok_or(Code::GroupNotFound)?.board;
        let post = board.posts.get(&ask.number).ok_or(Code::PostNotFound)?;
        let text = Some(post.text.clone());
        Ok(Some(Post { text, ..self.post(board, ask.number, post) }))
    }

    pub(super) fn board_delete(&mut self, asker: &Asker, ask: BoardDelete) -> Result<Option<Done>, Code> {
        let pid = self.board_of(asker, &ask.group, Deed::Read)?;
        let board = &self.place(pid).ok_or(Code::GroupNotFound)?.board;
        let post = board.posts.get(&ask.number).ok_or(Code::PostNotFound)?;
        let own = post.from == self.name_of(asker.uid);
        let outcome = self.may(asker, pid, Deed::Delete { own });
        outcome.map_err(|code| if own { code } else { Code::NotYours })?;
        self.remove_post(pid, ask.number, Why::Deleted);
        Ok(Some(Done {}))
    }

    fn post(&self, board: &Board, number: u64, post: &PostState) -> Post {
        let left = post.expires.map(|at| at.saturating_sub(self.clock.steady).div_ceil(1000).max(1));
        Post {
            number,
            parent: post.parent,
            replies: board.replies_to(number),
            title: post.title.clone(),
            from: post.from.to_string(),
            time: crate::time::format(post.time_ms),
            lines: post.text.lines().count().max(1) as u64,
            expires_in_secs: left.unwrap_or(0),
            text: None,
        }
    }

    /// Takes away what a user wrote on boards; the posts stay, empty, and nobody is told whose they were.
    pub(super) fn erase_posts(&mut self, name: &str) {
        let mut puts = Vec::new();
        for place in self.places.all.values_mut() {
            let record_name = place.record_name();
            for (&number, post) in place.board.posts.iter_mut().filter(|(_, post)| &*post.from == name) {
                self.board_bytes -= post.bytes();
                (post.title, post.text) = (String::new(), String::new());
                post.from = crate::name::ERASED.into();
                self.board_bytes += post.bytes();
                let key = records::key_of_two(records::POST, &record_name, &number.to_be_bytes());
                puts.push(Effect::Put { key, value: records::value(&post.record()) });
            }
        }
        self.out.extend(puts);
    }
}
