//! Requests of the operator about accounts.

use super::accounts::NewAccount;
use super::people::{BROKER_UID, Uid};
use super::requests::Asker;
use super::{Directory, Effect, Pending};
use crate::code::Code;
use crate::name;
use crate::request::{
    AccountInfo, Accounts, Done, LIST_ENTRIES_USUAL, Registered, UserAdd, UserBlock, UserList, UserPasswd,
    UserRemove, UserUnblock,
};
use std::ops::Bound;

impl Directory {
    fn account_of(&self, name: &str) -> Result<Uid, Code> {
        let uid = self.people.by_name(name);
        let uid = uid.filter(|&uid| self.user(uid).is_some_and(|user| user.account.is_some()));
        match uid {
            Some(uid) => Ok(uid),
            None if name::user_key(name).is_ok_and(|key| self.rules.accounts.contains_key(&key)) => {
                Err(Code::LoginOperatorsAccount)
            }
            None => Err(Code::UserNotFound),
        }
    }

    pub(super) fn user_add(&mut self, asker: &Asker, ask: UserAdd) -> Result<Option<Registered>, Code> {
        asker.operator()?;
        self.free_name(&ask.name, asker.uid)?;
        let UserAdd { name, password, email, display } = ask;
        let account = NewAccount { name, email, display, uid: asker.uid };
        self.hash(password, Pending::Register { reply: asker.reply.clone(), account });
        Ok(None)
    }

    pub(super) fn user_passwd(&mut self, asker: &Asker, ask: UserPasswd) -> Result<Option<Done>, Code> {
        asker.operator()?;
        let uid = self.account_of(&ask.name)?;
        if self.rules.accounts.contains_key(self.key_of(uid)) {
            return Err(Code::LoginOperatorsAccount);
        }
        self.hash(ask.password, Pending::Password { reply: asker.reply.clone(), uid });
        Ok(None)
    }

    pub(super) fn user_remove(&mut self, asker: &Asker, ask: UserRemove) -> Result<Option<Done>, Code> {
        asker.operator()?;
        let uid = self.account_of(&ask.name)?;
        self.end_account(uid, None)?;
        Ok(Some(Done {}))
    }

    pub(super) fn user_list(&mut self, asker: &Asker, ask: UserList) -> Result<Option<Accounts>, Code> {
        asker.operator()?;
        let after = ask.after.map(|after| name::user_key(&after).unwrap_or(after));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let count = ask.count.unwrap_or(LIST_ENTRIES_USUAL) as usize;
        let users = self.people.by_key.range((from, Bound::Unbounded));
        let mut accounts = users.filter_map(|(_, uid)| {
            let user = self.user(*uid)?;
            let account = user.account.as_ref().filter(|_| *uid != BROKER_UID)?;
            Some(AccountInfo {
                user: user.name.to_string(),
                number: account.number,
                email: user.profile.email.clone(),
                display: user.profile.display.clone(),
                created: crate::time::format(account.created_ms),
                seen: (account.seen_ms > 0).then(|| crate::time::format(account.seen_ms)),
                address: account.address.clone(),
                blocked: account.is_blocked,
            })
        });
        let users = accounts.by_ref().take(count).collect();
        let more = accounts.next().is_some();
        Ok(Some(Accounts { users, more }))
    }

    pub(super) fn user_block(&mut self, asker: &Asker, ask: UserBlock) -> Result<Option<Done>, Code> {
        asker.operator()?;
        let uid = self.block(&ask.name, true)?;
        self.after.push(Effect::Disconnect { user: self.name_of(uid), ends: false });
        Ok(Some(Done {}))
    }

    pub(super) fn user_unblock(&mut self, asker: &Asker, ask: UserUnblock) -> Result<Option<Done>, Code> {
        asker.operator()?;
        self.block(&ask.name, false)?;
        Ok(Some(Done {}))
    }

    fn block(&mut self, name: &str, is_blocked: bool) -> Result<Uid, Code> {
        let uid = self.account_of(name)?;
        if let Some(account) = self.people.all.get_mut(&uid).and_then(|user| user.account.as_mut()) {
            account.is_blocked = is_blocked;
        }
        self.keep_user(uid);
        Ok(uid)
    }
}
