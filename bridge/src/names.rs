//! Names of the broker as a protocol with a smaller alphabet can say them, and back.
//!
//! Invariant: within one [`Names`], two users never have the same shown name, and [`Names::user`] takes back what
//! [`Names::shown`] gave. A shown name changes its user only when somebody is seen whose name it is in the broker: a name that
//! can be said as it is belongs to its user, whoever was called so before. It holds a bounded number of names.

use katydid_chat::name::BROKER;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Names remembered at most; the oldest is forgotten for a new one.
const MOST: usize = 10_000;

/// What a protocol allows in a name.
#[derive(Debug, Clone, Copy)]
pub struct Alphabet {
    /// Longest name, in what `counts` counts.
    pub longest: usize,
    /// How much a character takes: its bytes, or 1.
    pub counts: fn(char) -> usize,
    /// Whether a character may stand in a name.
    pub allows: fn(char) -> bool,
    /// Stands for a character that may not.
    pub instead: char,
    /// Stands before the number that tells apart two users of one name.
    pub mark: char,
    /// Names that mean something else where they are shown, in any case; nobody is shown by one.
    pub reserved: &'static [&'static str],
}

/// The names of one session, or of all connections of a protocol where they share what they see.
#[derive(Debug)]
pub struct Names {
    alphabet: Alphabet,
    /// By the user's name in the broker: what was asked to be shown, and what is.
    shown: HashMap<Arc<str>, (Arc<str>, Arc<str>)>,
    users: HashMap<Arc<str>, Arc<str>>,
    /// Names shown, oldest first.
    order: VecDeque<Arc<str>>,
}

impl Names {
    /// No names yet.
    pub fn new(alphabet: Alphabet) -> Self {
        Self { alphabet, shown: HashMap::new(), users: HashMap::new(), order: VecDeque::new() }
    }

    /// How a user is called here: by the display name if there is one, else by the name in the broker, made valid and
    /// unique. A user who changes the display name gets another shown name, and the old one still means the same user.
    pub fn shown(&mut self, user: &str, display: Option<&str>) -> Arc<str> {
        let wanted = display.unwrap_or(user);
        if let Some((asked, shown)) = self.shown.get(user)
            && (display.is_none() || &**asked == wanted)
        {
            return shown.clone();
        }
        let user: Arc<str> = user.into();
        let mut shown = self.fit(wanted, 0);
        let mut number = 1;
        while self.is_of_another(&shown, &user) {
            number += 1;
            let tail = format!("{}{number}", self.alphabet.mark);
            shown = self.fit(wanted, tail.chars().map(self.alphabet.counts).sum()) + &tail;
        }
        let shown: Arc<str> = shown.into();
        self.shown.insert(user.clone(), (wanted.into(), shown.clone()));
        match self.users.insert(shown.clone(), user.clone()) {
            None => self.order.push_back(shown.clone()),
            // Who was called so is called otherwise when next seen.
            Some(old) if old != user && self.shown.get(&old).is_some_and(|(_, its)| *its == shown) => {
                self.shown.remove(&old);
            }
            Some(_) => {}
        }
        if self.order.len() > MOST {
            self.forget_oldest();
        }
        shown
    }

    /// Whether a user can't be shown by a name.
    fn is_of_another(&self, shown: &str, user: &str) -> bool {
        if user == BROKER {
            return false;
        }
        let is_reserved = |name: &&str| name.eq_ignore_ascii_case(shown);
        if shown.eq_ignore_ascii_case(BROKER) || self.alphabet.reserved.iter().any(is_reserved) {
            return true;
        }
        shown != user && self.users.get(shown).is_some_and(|other| &**other != user)
    }

    /// Whom a name means here: the user it was shown for, else the user of that name in the broker.
    pub fn user<'a>(&'a self, shown: &'a str) -> &'a str {
        self.users.get(shown).map_or(shown, |user| user)
    }

    /// Whether a name means another user than the one of that name in the broker.
    pub fn is_taken(&self, shown: &str) -> bool {
        self.users.get(shown).is_some_and(|user| &**user != shown)
    }

    fn fit(&self, wanted: &str, reserved: usize) -> String {
        let Alphabet { longest, counts, allows, instead, .. } = self.alphabet;
        let mut taken = reserved;
        let fits = |character: &char| {
            taken += counts(*character);
            taken <= longest
        };
        let valid = |character| if allows(character) { character } else { instead };
        let name: String = wanted.chars().map(valid).take_while(fits).collect();
        if name.is_empty() { instead.to_string() } else { name }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        let user = self.users.remove(&oldest);
        if let Some(user) =
            user.filter(|user| self.shown.get(user).is_some_and(|(_, shown)| *shown == oldest))
        {
            self.shown.remove(&user);
        }
    }
}

/// Any character that neither ends a word nor steers a terminal.
pub fn is_plain(character: char) -> bool {
    !character.is_whitespace() && !character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHORT: Alphabet = Alphabet {
        longest: 8,
        counts: char::len_utf8,
        allows: |character| character.is_ascii_alphanumeric() || character == '_',
        instead: '_',
        mark: '_',
        reserved: &["SYSTEM"],
    };

    #[test]
    fn a_name_that_is_valid_stays() {
        let mut names = Names::new(SHORT);
        assert_eq!(&*names.shown("ann", None), "ann");
        assert_eq!(names.user("ann"), "ann");
        assert_eq!(names.user("nobody"), "nobody");
    }

    #[test]
    fn names_are_made_valid_and_unique_and_can_be_taken_back() {
        let mut names = Names::new(SHORT);
        assert_eq!(&*names.shown("a-b", None), "a_b");
        assert_eq!(&*names.shown("a.b", None), "a_b_2");
        assert_eq!(&*names.shown("guest-1f", Some("ann")), "ann");
        assert_eq!(&*names.shown("guest-2f", Some("ann")), "ann_2");
        assert_eq!(&*names.shown("verylongname", None), "verylong");
        assert_eq!(&*names.shown("verylonger", None), "verylo_2");
        assert_eq!((names.user("ann"), names.user("ann_2")), ("guest-1f", "guest-2f"));
        assert_eq!(names.user("a_b_2"), "a.b");
        assert!(names.is_taken("ann") && !names.is_taken("bob"));
    }

    #[test]
    fn a_name_belongs_to_the_user_whose_name_it_is() {
        let mut names = Names::new(SHORT);
        assert_eq!(&*names.shown("guest-1f", Some("ann")), "ann");
        assert_eq!(&*names.shown("ann", None), "ann");
        assert_eq!((names.user("ann"), names.is_taken("ann")), ("ann", false));
        assert_eq!(&*names.shown("guest-1f", Some("ann")), "ann_2");
        assert_eq!(&*names.shown("guest-1f", None), "ann_2");
        assert_eq!(&*names.shown("a-b", None), "a_b");
        assert_eq!(&*names.shown("a_b", None), "a_b");
        assert_eq!(&*names.shown("a-b", None), "a_b_2");
    }

    #[test]
    fn nobody_is_shown_by_a_name_that_means_something_else() {
        let mut names = Names::new(SHORT);
        assert_eq!(&*names.shown("SYSTEM", None), "SYSTEM_2");
        assert_eq!(&*names.shown("guest-1f", Some("System")), "System_2");
        assert_eq!(&*names.shown("guest-2f", Some("katydid")), "katydi_2");
        assert_eq!(&*names.shown(BROKER, None), "katydid");
    }

    #[test]
    fn a_new_display_name_is_shown_and_the_old_one_still_means_the_same() {
        let mut names = Names::new(SHORT);
        names.shown("guest-1f", Some("ann"));
        assert_eq!(&*names.shown("guest-1f", Some("bea")), "bea");
        assert_eq!(&*names.shown("guest-1f", None), "bea");
        assert_eq!((names.user("ann"), names.user("bea")), ("guest-1f", "guest-1f"));
        assert_eq!(&*names.shown("guest-1f", Some("ann")), "ann");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_taken_back(users in proptest::collection::vec("\\PC{1,12}", 1..60)) {
            let mut names = Names::new(SHORT);
            for user in &users {
                let shown = names.shown(user, None);
                prop_assert!(shown.len() <= 8 && shown.chars().all(SHORT.allows), "{}", shown);
                prop_assert_eq!(names.user(&shown), user.as_str());
            }
            for user in &users {
                let shown = names.shown(user, None);
                prop_assert_eq!(names.user(&shown), user.as_str());
            }
        }
    }
}
