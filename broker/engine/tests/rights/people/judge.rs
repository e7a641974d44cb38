//! What came of a step against the model: what was granted, what was received, and the states that a step can lead to.

use super::{Act, Action, Run};
use crate::model::{Model, OWNER, Said};
use serde_json::Value;

impl Run {
    /// What the broker did must have been permitted, whatever the others did.
    pub(super) fn judge_action(&mut self, action: &Action, states: &[Model]) {
        let me = self.clients[action.session].user;
        if let (Act::Publish { payload } | Act::Sleep { will: Some(payload) }, Some((said, permitted))) =
            (&action.act, payload_of(&action.act).and_then(|payload| self.said.get_mut(payload)))
        {
            *permitted = states.iter().any(|state| state.may_say(said));
            if action.outcome == Some(true) && !*permitted && matches!(action.act, Act::Publish { .. }) {
                let violation = format!("{payload} on {} was taken from {}", said.topic, said.by);
                self.violation.get_or_insert(violation);
            }
        }
        if action.outcome != Some(true) {
            return;
        }
        self.granted += 1;
        let may = |permits: &dyn Fn(&Model) -> bool| states.iter().any(permits);
        let is_permitted = match &action.act {
            Act::Subscribe { filter, with_password, .. } => {
                may(&|state| may_subscribe(state, me, filter, *with_password))
            }
            Act::Ask { verb, place, whom, with_password } => match verb.as_str() {
                "join" => may(&|state| state.may_enter(me, place, *with_password)),
                "history" => may(&|state| state.may_read(me, place)),
                "invite" => may(&|state| state.is_in(me, place)),
                "leave" | "ignore/add" | "ignore/remove" => true,
                _ => me == OWNER && *whom != OWNER,
            },
            _ => true,
        };
        if !is_permitted {
            self.violation.get_or_insert(format!("granted to {me}: {:?}", action.act));
        }
    }

    pub(super) fn judge_heard(&mut self, session: usize, topic: &str, payload: &[u8], states: &[Model]) {
        let me = self.clients[session].user;
        let text = String::from_utf8_lossy(payload).into_owned();
        let levels: Vec<&str> = topic.split('/').collect();
        let is_permitted = match levels[..] {
            ["user", to, "reply"] => to == me && self.judge_answer(me, &text, states),
            ["user", to, "presence" | "profile"] => to == me,
            ["room" | "group", _, "info"] => {
                let place = topic.trim_end_matches("/info");
                // What it is may be known to who may enter a private one.
                place == "room/priv" || states.iter().any(|state| state.may_read(me, place))
            }
            _ => match self.said.get(&text) {
                Some((said, permitted)) => {
                    *permitted
                        && said.topic == topic
                        && states.iter().any(|state| state.may_receive(session, said))
                }
                None => {
                    let said = Said { topic: topic.into(), by: levels.last().copied().unwrap_or("").into() };
                    states.iter().any(|state| state.may_receive(session, &said))
                }
            },
        };
        self.received += 1;
        if !is_permitted {
            self.violation.get_or_insert(format!("{me} ({session}) received {text} on {topic}"));
        }
    }

    /// A page of history holds nothing that its asker may not read.
    fn judge_answer(&self, me: &str, text: &str, states: &[Model]) -> bool {
        let answer: Value = serde_json::from_str(text).expect("JSON");
        let Some(entries) = answer["entries"].as_array() else { return true };
        let place = answer["place"].as_str().unwrap_or_default();
        entries.iter().all(|entry| {
            let (from, text) = (entry["from"].as_str().unwrap_or(""), entry["text"].as_str().unwrap_or(""));
            let was_permitted = self.said.get(text).is_none_or(|(_, permitted)| *permitted);
            was_permitted && states.iter().any(|state| state.may_read(me, place) && state.hears(me, from))
        })
    }
}

fn payload_of(act: &Act) -> Option<&str> {
    match act {
        Act::Publish { payload } | Act::Sleep { will: Some(payload) } => Some(payload),
        _ => None,
    }
}

fn may_subscribe(state: &Model, me: &str, filter: &str, with_password: bool) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    match levels[..] {
        ["room" | "group", "+" | "#", ..] => true,
        [root @ ("room" | "group"), name, ..] => {
            state.may_enter(me, &format!("{root}/{name}"), with_password)
        }
        ["user", to, _, from] => to == "+" || to == me || from == me,
        ["user", to, _] => to == me,
        ["$share", _, "room" | "group", ..] => false,
        _ => true,
    }
}

/// What an action that was done changes.
pub(super) fn apply(model: &mut Model, action: &Action) {
    if action.outcome != Some(true) {
        return;
    }
    let session = action.session;
    match &action.act {
        Act::Subscribe { filter, .. } => model.subscribed(session, filter),
        Act::Unsubscribe { filter } => model.unsubscribed(session, filter),
        Act::Wake { is_clean: true } => model.ended(session),
        Act::Ask { verb, place, whom, .. } => {
            let me = model.user_of(session);
            match verb.as_str() {
                "join" => model.joined(&me, place),
                "leave" => model.put_out(&me, place),
                "kick" => model.put_out(whom, place),
                "ban" => model.set_banned(whom, place, true),
                "unban" => model.set_banned(whom, place, false),
                "mute" => model.set_muted(whom, place, true),
                "unmute" => model.set_muted(whom, place, false),
                "invite" => model.invited(whom, place),
                "ignore/add" => model.set_ignored(&me, whom, true),
                "ignore/remove" => model.set_ignored(&me, whom, false),
                _ => {}
            }
        }
        _ => {}
    }
}

/// Every state that some of the actions lead to, in their order, all but one that is left out.
pub(super) fn states(model: &Model, actions: &[Action], without: Option<usize>) -> Vec<Model> {
    let subsets = 0..1usize << actions.len();
    let subsets = subsets.filter(|subset| without.is_none_or(|without| subset & (1 << without) == 0));
    let state = |subset: usize| {
        let mut state = model.clone();
        for (at, action) in actions.iter().enumerate() {
            if subset & (1 << at) != 0 {
                apply(&mut state, action);
            }
        }
        state
    };
    subsets.map(state).collect()
}

pub(super) fn states_without(model: &Model, actions: &[Action], at: usize) -> Vec<Model> {
    states(model, actions, Some(at))
}
