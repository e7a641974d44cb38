//! A user's own filters, `user/{me}/...`: which pairs they mean, and that they show the user's presence and profile too.
//!
//! Invariant: what everybody may see of a user is watched under the filter that means this user alone, so that nobody is
//! shown to somebody else by it.

use crate::Engine;
use katydid_chat::topic::{self, Filter as ChatFilter};
use std::sync::Arc;

impl Engine {
    /// Whether a subscription of a session still shows it what everybody may see of its user.
    pub(crate) fn shows(&self, index: u32, shown: &str, me: Option<&str>) -> bool {
        let Some(session) = self.sessions.peek(index) else { return false };
        let mut own = session.subscriptions.within("user/");
        own.any(|known| {
            let meaning = self.classify_filter(&known.filter, me);
            shown_of(&meaning, me).is_some_and(|known| *known == *shown)
        })
    }
}

/// The filter under which one's own filter reaches what everybody may see of a user, where it does: `user/{me}/#`, say.
pub(crate) fn shown_of(filter: &ChatFilter<'_>, me: Option<&str>) -> Option<Box<str>> {
    let (ChatFilter::Own { filter }, Some(me)) = (filter, me) else { return None };
    let shows = |what: &str| katydid_mqtt::topic::matches(filter, &format!("user/{me}/{what}"));
    (shows("presence") || shows("profile")).then(|| filter.as_ref().into())
}

/// The pair that a filter names, where it means no other.
pub(crate) fn one_pair(filter: &ChatFilter<'_>) -> Option<Arc<str>> {
    let ChatFilter::Own { filter } = filter else { return None };
    let levels: Vec<&str> = filter.split('/').collect();
    let [_, to, _, from] = levels[..] else { return None };
    let is_name = |level: &str| !matches!(level, "+" | "#");
    (is_name(to) && is_name(from)).then(|| topic::pair(to, from).into())
}
