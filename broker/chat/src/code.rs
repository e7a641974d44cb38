//! The codes of refusals (`topics.md`): stable, and rich enough for every error of every legacy protocol.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $reason:literal;)+) => {
        /// Why something was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: ", $reason, ".")] $name,)+
        }

        impl Code {
            /// Every code there is, in the order of `topics.md`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// For people; it may change.
            pub fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)+
                }
            }
        }
    };
}

codes! {
    LoginWrongPassword = "login.wrong-password", "the password does not fit";
    LoginUnknownName = "login.unknown-name", "a password for a name that is not registered";
    LoginNameUsed = "login.name-used", "somebody else has this name";
    LoginRegisteredName = "login.registered-name", "the name is registered and needs its password";
    LoginAnonymousRefused = "login.anonymous-refused", "a password is needed here";
    LoginBlocked = "login.blocked", "the account is blocked";
    LoginNeeded = "login.needed", "only for users who are registered, or at least have a name";
    LoginRegistrationClosed = "login.registration-closed", "nobody registers here by themselves";
    LoginBadToken = "login.bad-token", "the token for registering is not the right one";
    LoginBadPassword = "login.bad-password", "a password has 1 to 256 bytes";
    LoginNoScram = "login.no-scram", "no SCRAM credentials yet: sign in with the password once";
    LoginBadExchange = "login.bad-exchange", "not a message of the authentication method";
    LoginBadAccessToken = "login.bad-access-token", "the access token is not good here";
    LoginAccessExpired = "login.access-expired", "the access token has expired";
    LoginOtherName = "login.other-name", "the proof is for another name";
    LoginOtherAccount = "login.other-account", "the name belongs to an account that is not of this provider's user";
    LoginProvider = "login.provider", "the provider's keys cannot be had now";
    LoginOperatorsAccount = "login.operators-account", "an account of the operator's password file";
    NameInvalid = "name.invalid", "not a name";
    NameTooLong = "name.too-long", "the name is too long";
    NameSpelling = "name.spelling", "the name exists in another spelling";
    NameUsed = "name.used", "the name is taken";
    NameReserved = "name.reserved", "the name is reserved";
    UserNotFound = "user.not-found", "no such user";
    UserOffline = "user.offline", "the user is not connected";
    UserYourself = "user.yourself", "that is you";
    RoomNotFound = "room.not-found", "no such room";
    GroupNotFound = "group.not-found", "no such group";
    RoomExists = "room.exists", "the room is there already";
    GroupExists = "group.exists", "the group is there already";
    CreationRefused = "room.creation-refused", "only the operator makes this";
    TooMany = "room.too-many", "as many places as one user may own, or be in";
    WrongPassword = "room.wrong-password", "neither the right password nor an invitation";
    Banned = "room.banned", "banned from it";
    Muted = "room.muted", "may read and not speak";
    ReadOnly = "room.read-only", "only moderators and the owner speak";
    RegisteredOnly = "room.registered-only", "only for registered users";
    NotMember = "room.not-member", "not in it";
    AlreadyMember = "room.already-member", "in it already";
    NoSuchMember = "room.no-such-member", "the user is not in it";
    NotModerator = "room.not-moderator", "only moderators may";
    NotOwner = "room.not-owner", "only the owner may";
    OwnerStays = "room.owner-stays", "the owner cannot leave";
    Full = "room.full", "as many members as its limit";
    NotEmpty = "room.not-empty", "others are in it";
    Permanent = "room.permanent", "it can be neither deleted nor given away";
    NotYours = "message.not-yours", "somebody else wrote it";
    MessageNotFound = "message.not-found", "no such message";
    NotSender = "message.not-sender", "the topic names somebody else as the sender";
    Reserved = "message.reserved", "only the broker says this";
    BadEvent = "message.bad-event", "not an event";
    MessageTooLong = "message.too-long", "more than is kept of a message";
    PostNotFound = "board.not-found", "no such post";
    BoardFull = "board.full", "as many posts as a board holds";
    Malformed = "request.malformed", "not a JSON object";
    TooLong = "request.too-long", "more than 64 KiB";
    TooDeep = "request.too-deep", "more than 32 levels";
    UnknownVerb = "request.unknown-verb", "no such request";
    UnknownField = "request.unknown-field", "a field that the request does not have";
    BadField = "request.bad-field", "a field is missing, of another type or out of its limits";
    BadQuery = "search.bad-query", "no word to look for, more than a search takes, or a quote without its end";
    ResponseTopic = "request.response-topic", "the Response Topic is not yours";
    NotPermitted = "request.not-permitted", "only the operator may";
    NotFound = "request.not-found", "it is not there";
    Limit = "request.limit", "as many of these as one user may have";
    RateSignIn = "rate.sign-in", "too many failed attempts";
    RatePassword = "rate.password", "too many attempts at a password";
    RateRequests = "rate.requests", "too many requests";
    RateHistory = "rate.history", "too many pages";
    Failed = "broker.failed", "the broker could not";
}

impl Code {
    /// The code of a place that is not there.
    pub fn not_found(is_group: bool) -> Self {
        if is_group { Self::GroupNotFound } else { Self::RoomNotFound }
    }

    /// The code of a place that is not there, by the place: `room/...`, `group/...`, or `user/...` for a pair.
    pub fn no_place(place: &str) -> Self {
        match place.split('/').next() {
            Some("group") => Self::GroupNotFound,
            Some("user") => Self::UserNotFound,
            _ => Self::RoomNotFound,
        }
    }

    /// The code that reads like this.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_its_own_text() {
        let texts: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|&code| Code::parse(code.as_str()) == Some(code)));
        assert_eq!(Code::parse("room"), None);
        assert_eq!(Code::no_place("user/a/b"), Code::UserNotFound);
    }
}
