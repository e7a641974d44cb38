//! Groups: made, joined, spoken in, left, and left by force (7.6 to 7.10).

use super::{
    command::Command,
    map,
    server::{Server, write},
    sessions::Doing,
};
use crate::{
    chat::{Call, Place, Refusal},
    machine::{Link, Output},
    requests::{self, Listed, NewPlace},
};
use serde_json::Value;
use std::collections::VecDeque;

/// Groups of one listing at most.
const MOST_GROUPS: usize = 500;

/// Members of one group that are listed at most.
const MOST_MEMBERS: usize = 1000;

/// Groups that one client hears at most.
const MOST_HEARD: usize = 1000;

/// A listing that is being made, group by group.
#[derive(Debug, Default)]
pub(super) struct Census {
    groups: VecDeque<Listed>,
    members: Vec<String>,
    rows: Vec<String>,
}

/// What a group is told of somebody who was kicked.
pub(super) fn kicked_out(user: &str, group: &str) -> String {
    format!("user \"{user}\" has been kicked out of group \"{group}\"")
}

impl Server {
    pub(super) fn about_groups(&mut self, link: Link, command: Command, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get(&link) else { return };
        match command {
            Command::CreateGroup { group } => {
                let call = requests::create(&Place::group(&group), &NewPlace::default());
                self.ask(link, call, Doing::CreateGroup { group }, out);
            }
            Command::GetGroups => {
                self.ask(link, requests::list_groups(None), Doing::ListGroups(Census::default()), out);
            }
            Command::JoinGroup { group } => {
                self.ask(link, requests::info(&Place::group(&group)), Doing::FindToJoin { group }, out);
            }
            Command::GroupMessage { group, text } if client.groups.contains(group.as_str()) => {
                self.say_in_group(link, &group, text, out);
            }
            Command::GroupMessage { group, text } => {
                let call = requests::info(&Place::group(&group));
                self.ask(link, call, Doing::FindToSay { group, text }, out);
            }
            Command::LeaveGroup { group } => {
                self.ask(link, requests::leave_group(&group), Doing::LeaveGroup { group }, out);
            }
            Command::Kick { group, user } => {
                if self.user_of(link).as_deref() == Some(self.names.user(&user)) {
                    return self.ask(link, requests::info(&Place::group(&group)), Doing::FindToKick, out);
                }
                let call = requests::kick_from_group(&group, self.names.user(&user));
                self.ask(link, call, Doing::Kick { group, user }, out);
            }
            _ => {}
        }
    }

    fn say_in_group(&mut self, link: Link, group: &str, text: Vec<u8>, out: &mut Vec<Output>) {
        let call = Call::Say { place: Place::group(group), text: text.into(), name: None };
        self.ask(link, call, Doing::SayInGroup, out);
    }

    pub(super) fn group_answered(&mut self, link: Link, doing: Doing, answer: &Value, out: &mut Vec<Output>) {
        match doing {
            Doing::CreateGroup { group } => {
                let answer = format!("+SUCCESS group \"{group}\" has been created!");
                self.enter_group(link, &group, answer, out);
            }
            Doing::FindToJoin { .. } if requests::has_role(answer) => {
                write(out, link, "-SOFT_ERR you are already a member of that group!");
            }
            Doing::FindToJoin { group } => {
                self.ask(link, requests::join_group(&group, None), Doing::JoinGroup { group }, out);
            }
            Doing::JoinGroup { group } => {
                let answer = format!("+SUCCESS you have successfully entered group {group}");
                self.enter_group(link, &group, answer, out);
            }
            Doing::EnterGroup { place, answer } => {
                self.heard_group(link, place.name());
                write(out, link, &answer);
            }
            // A member by another client of the same user.
            Doing::FindToSay { group, text } if requests::has_role(answer) => {
                self.hear_group(link, &group, out);
                self.say_in_group(link, &group, text, out);
            }
            Doing::FindToSay { .. } => {
                write(out, link, "-SOFT_ERR you are not allowed to write in that group!");
            }
            Doing::LeaveGroup { group } => {
                self.forget_group(link, &group);
                let line = format!("+SUCCESS you have successfully left the group \"{group}\" !");
                write(out, link, &line);
            }
            Doing::FindToKick if requests::is_moderated(answer) => {
                write(out, link, "-SOFT_ERR why would you kick yourself out of your group :)?");
            }
            Doing::FindToKick => {
                write(out, link, "-SOFT_ERR you are not allowed to kick members out that group!");
            }
            Doing::Kick { group, user } => {
                write(out, link, &format!("+SUCCESS {}", kicked_out(&user, &group)));
            }
            Doing::ListGroups(census) => self.list_groups(link, census, answer, out),
            Doing::ListMembers(census) => self.list_members(link, census, Some(answer), out),
            _ => {}
        }
    }

    pub(super) fn group_was_refused(
        &mut self,
        link: Link,
        doing: Doing,
        refusal: &Refusal,
        out: &mut Vec<Output>,
    ) {
        let code = refusal.code.as_str();
        let line = match doing {
            Doing::CreateGroup { .. } if code == "name.spelling" => {
                "-SOFT_ERR a group with that name already exists!".into()
            }
            Doing::Kick { group, user } if matches!(code, "room.no-such-member" | "user.not-found") => {
                format!("-SOFT_ERR user \"{user}\" is not a member of group \"{group}\" !")
            }
            Doing::SayInGroup if code.starts_with("room.") && code != "room.not-found" => {
                "-SOFT_ERR you are not allowed to write in that group!".into()
            }
            // Not for this user to see.
            Doing::ListMembers(census) => return self.list_members(link, census, None, out),
            Doing::CreateGroup { .. } if code.starts_with("name.") => map::soft(refusal),
            Doing::FindToJoin { .. }
            | Doing::JoinGroup { .. }
            | Doing::FindToSay { .. }
            | Doing::LeaveGroup { .. }
            | Doing::FindToKick
            | Doing::Kick { .. }
                if code.starts_with("name.") =>
            {
                map::NO_SUCH_GROUP.into()
            }
            _ => map::group_refused(refusal),
        };
        write(out, link, &line);
    }

    fn enter_group(&mut self, link: Link, group: &str, answer: String, out: &mut Vec<Output>) {
        let place = Place::group(group);
        let call = Call::Join { place: place.clone(), password: None, last: 0 };
        self.ask(link, call, Doing::EnterGroup { place, answer }, out);
    }

    /// Hears a group that one is a member of already.
    pub(super) fn hear_group(&mut self, link: Link, group: &str, out: &mut Vec<Output>) {
        if self.heard_group(link, group) {
            let call = Call::Join { place: Place::group(group), password: None, last: 0 };
            self.also_ask(link, call, out);
        }
    }

    fn heard_group(&mut self, link: Link, group: &str) -> bool {
        let client = self.clients.get_mut(&link).filter(|client| client.groups.len() < MOST_HEARD);
        client.is_some_and(|client| client.groups.insert(group.into()))
    }

    pub(super) fn forget_group(&mut self, link: Link, group: &str) {
        if let Some(client) = self.clients.get_mut(&link) {
            client.groups.remove(group);
        }
    }

    fn list_groups(&mut self, link: Link, mut census: Census, answer: &Value, out: &mut Vec<Output>) {
        census.groups.extend(requests::read_listed(answer));
        let goes_on = requests::has_more(answer) && census.groups.len() < MOST_GROUPS;
        if let Some(last) = census.groups.back().filter(|_| goes_on) {
            let call = requests::list_groups(Some(&last.name));
            return self.ask(link, call, Doing::ListGroups(census), out);
        }
        self.ask_members(link, census, None, out);
    }

    fn list_members(
        &mut self,
        link: Link,
        mut census: Census,
        answer: Option<&Value>,
        out: &mut Vec<Output>,
    ) {
        let people = answer.map(requests::read_people).unwrap_or_default();
        let last = people.last().map(|person| person.user.clone());
        let Some(group) = census.groups.front() else { return };
        let others = people.into_iter().filter(|person| person.user != group.owner);
        census.members.extend(others.map(|person| person.user));
        if answer.is_some_and(requests::has_more) && last.is_some() && census.members.len() < MOST_MEMBERS {
            return self.ask_members(link, census, last.as_deref(), out);
        }
        let banned = answer.map(requests::read_banned).unwrap_or_default();
        let (name, owner) = (crate::flow::line(&group.name), group.owner.clone());
        let owner = self.shown(&owner);
        let members = self.all_shown(&std::mem::take(&mut census.members));
        let banned = self.all_shown(&banned);
        census
            .rows
            .push(format!("Group name='{name}', admin='{owner}'members=[{members}], banned=[{banned}]"));
        census.groups.pop_front();
        self.ask_members(link, census, None, out);
    }

    fn ask_members(&mut self, link: Link, census: Census, after: Option<&str>, out: &mut Vec<Output>) {
        if let Some(group) = census.groups.front() {
            let call = requests::members(&Place::group(&group.name), after);
            return self.ask(link, call, Doing::ListMembers(census), out);
        }
        if census.rows.is_empty() {
            return write(out, link, "-SOFT_ERR there are no groups yet");
        }
        write(out, link, &format!("+SUCCESS [{}]", census.rows.join(", ")));
    }

    fn all_shown(&mut self, users: &[String]) -> String {
        let shown: Vec<_> = users.iter().map(|user| self.shown(user)).collect();
        shown.join(", ")
    }
}
