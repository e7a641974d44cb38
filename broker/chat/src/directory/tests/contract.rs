//! The contract on paper and the one in the code are one: `topics.md` names every verb and code, and every answer is exactly
//! what its type says.

use crate::code::Code;
use crate::request::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const TOPICS: &str = include_str!("../../../../../topics.md");

/// Whether an answer holds nothing but what its type says.
fn is_exactly<T: Serialize + DeserializeOwned>(value: &Value) -> bool {
    let mut bare = value.clone();
    if let Some(fields) = bare.as_object_mut() {
        fields.remove("ok");
        fields.remove("id");
    }
    serde_json::from_value::<T>(bare.clone()).is_ok_and(|typed| serde_json::to_value(typed).unwrap() == bare)
}

macro_rules! verbs {
    ($($ask:ident)+; $($place_ask:ident)+) => {
        /// Holds an answer against the type of its verb.
        pub(super) fn check_answer(verb: &str, value: &Value) {
            let in_place = verb.strip_prefix("room/").or(verb.strip_prefix("group/"));
            let is_exact = match (verb, in_place) {
                $((<$ask as Ask>::VERB, _) => is_exactly::<<$ask as Ask>::Answer>(value),)+
                $((_, Some(<$place_ask as Ask>::VERB)) => is_exactly::<<$place_ask as Ask>::Answer>(value),)+
                _ => false,
            };
            assert!(is_exact, "{verb}: {value}");
        }

        pub(super) fn all_verbs() -> Vec<&'static str> {
            vec![$(<$ask as Ask>::VERB,)+ $(<$place_ask as Ask>::VERB,)+]
        }
    };
}

verbs! {
    WhoAmI Register Unregister Password TokenCreate TokenList TokenRevoke ProfileGet ProfileSet PresenceSet Users Search
    FriendAdd FriendRemove FriendList IgnoreAdd IgnoreRemove IgnoreList Offer History Find Counters BoardPost BoardList
    BoardGet BoardDelete UserAdd UserPasswd UserRemove UserList UserErase UserErasing UserBlock UserUnblock;
    Create Delete Join Leave List Info Members Invite Kick Ban Unban Mute Unmute Moderators Settings
}

#[test]
fn the_contract_names_every_verb_and_every_code() {
    let missing = |names: Vec<&'static str>| -> Vec<&'static str> {
        names.into_iter().filter(|name| !TOPICS.contains(&format!("`{name}`"))).collect()
    };
    assert_eq!(missing(all_verbs()), [""; 0]);
    assert_eq!(missing(Code::ALL.iter().map(|code| code.as_str()).collect()), [""; 0]);
}

/// The codes of the JSON Schema are those that there are.
#[test]
fn the_schema_names_every_code() {
    let schema: Value = serde_json::from_str(include_str!("../../../schema/answers.json")).unwrap();
    let named = schema["$defs"]["code"]["enum"].as_array().unwrap();
    let missing: Vec<_> =
        Code::ALL.iter().filter(|code| !named.contains(&Value::from(code.as_str()))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
