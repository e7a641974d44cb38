//! A driver for tests: keeps the records as a disk does, hashes and checks at once or when told, and collects what is said.

use crate::directory::*;
use crate::permission::{Standing, UserKind};
use crate::request::{self, Ask};
use crate::scram::Verifier;
use serde_json::Value;
use std::net::IpAddr;

pub(super) struct World {
    pub(super) directory: Directory,
    pub(super) disk: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) now: u64,
    /// What the last step said, without records.
    pub(super) said: Vec<Effect>,
    pub(super) answers: BTreeMap<Ticket, String>,
    /// How users stand, as a home knows it.
    pub(super) homes: BTreeMap<String, BTreeMap<String, Standing>>,
    pub(super) rules: BTreeMap<String, Option<Arc<crate::permission::PlaceRules>>>,
    /// Whether hashes, checks, evictions and erasures are answered at once.
    pub(super) is_prompt: bool,
    pub(super) waiting: Vec<Effect>,
    tickets: Ticket,
}

pub(super) const START: u64 = 1_800_000_000_000;

pub(super) fn address(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, last]))
}

impl World {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            directory: Directory::new(rules, [7; 32]),
            disk: BTreeMap::new(),
            now: START,
            said: Vec::new(),
            answers: BTreeMap::new(),
            homes: BTreeMap::new(),
            rules: BTreeMap::new(),
            is_prompt: true,
            waiting: Vec::new(),
            tickets: 1_000_000,
        }
    }

    pub(super) fn usual() -> Self {
        Self::new(Rules::default())
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn step(&mut self, command: Command<'_>) {
        self.said.clear();
        self.handle(command);
    }

    fn handle(&mut self, command: Command<'_>) {
        let mut effects = Vec::new();
        self.directory.handle(self.now, command, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match &effect {
            Effect::Put { key, value } => {
                self.disk.insert(key.clone(), value.clone());
                return;
            }
            Effect::Delete { key } => {
                self.disk.remove(key);
                return;
            }
            Effect::Answer { ticket, payload } => {
                let before = self.answers.insert(*ticket, payload.clone());
                assert_eq!(before, None, "answered twice");
            }
            Effect::Rules { place, rules } => {
                self.rules.insert(place.to_string(), rules.clone());
                self.homes.insert(place.to_string(), self.homes.get(&**place).cloned().unwrap_or_default());
                if rules.is_none() {
                    self.homes.remove(&**place);
                }
            }
            Effect::Stands { place, user, standing } => {
                assert!(self.rules.contains_key(&**place), "{place} was told nothing before {user}");
                let home = self.homes.entry(place.to_string()).or_default();
                match standing {
                    Some(standing) => home.insert(user.to_string(), *standing),
                    None => home.remove(&**user),
                };
            }
            Effect::Say { place, .. } | Effect::Keep { place, .. } => {
                assert!(self.rules.contains_key(&**place), "{place} was told nothing");
            }
            Effect::Hash { .. } | Effect::Verify { .. } | Effect::Evict { .. } | Effect::Erase { .. } => {
                self.said.push(effect.clone());
                self.waiting.push(effect);
                if self.is_prompt {
                    self.answer_waiting();
                }
                return;
            }
            _ => {}
        }
        self.said.push(effect);
    }

    /// Answers every hash, check, eviction and erasure that waits.
    pub(super) fn answer_waiting(&mut self) {
        for effect in std::mem::take(&mut self.waiting) {
            match effect {
                Effect::Hash { ticket, wants_scram, password } => {
                    let phc = format!("hash of {}", String::from_utf8_lossy(&password));
                    let scram = Verifier::of_password(&password, b"salt", 1).to_string();
                    let scram = Some(&*scram).filter(|_| wants_scram);
                    self.handle(Command::Hashed { ticket, phc: &phc, scram });
                }
                Effect::Verify { ticket, hash, password } => {
                    let good = *hash == format!("hash of {}", String::from_utf8_lossy(&password));
                    self.handle(Command::Verified { ticket, good });
                }
                Effect::Evict { ticket, .. } => self.handle(Command::Evicted { ticket }),
                Effect::Erase { user } => self.handle(Command::Erased { user: &user }),
                _ => {}
            }
        }
    }

    /// Time passes, and everything that becomes due happens.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        self.said.clear();
        while let Some(at) = self.directory.next_deadline().filter(|&at| at <= until) {
            self.now = at.max(self.now);
            self.handle(Command::Tick);
        }
        self.now = until;
        self.handle(Command::Tick);
    }

    pub(super) fn sign_in(&mut self, name: &str, proof: Proof<'_>, address: Option<IpAddr>) -> SignIn {
        let ticket = self.ticket();
        self.step(Command::SignIn { ticket, name, proof, address });
        let outcome = self.said.iter().find_map(|effect| match effect {
            Effect::SignIn { ticket: at, outcome } if *at == ticket => Some(outcome.clone()),
            _ => None,
        });
        outcome.unwrap()
    }

    /// Signs an anonymous user in and connects a session.
    pub(super) fn connect(&mut self, session: SessionId, name: &str) {
        let outcome = self.sign_in(name, Proof::None { exclusive: false }, address(1));
        assert!(matches!(outcome, SignIn::Enter { .. }), "{name}: {outcome:?}");
        self.open(session, name, UserKind::Anonymous);
    }

    pub(super) fn open(&mut self, session: SessionId, name: &str, kind: UserKind) {
        self.step(Command::SessionOpened { session, user: name, kind });
        self.handle(Command::Connected { session, address: address(1) });
    }

    /// Registers a user, from outside, and connects a session.
    pub(super) fn register(&mut self, session: SessionId, name: &str) {
        let body = format!("{{\"name\":\"{name}\",\"password\":\"pw-{name}\"}}");
        self.operate("user/add", &body).unwrap();
        self.open(session, name, UserKind::Registered);
    }

    pub(super) fn enter(
        &mut self,
        session: SessionId,
        place: &str,
        password: Option<&str>,
    ) -> Result<(), crate::code::Code> {
        self.enter_as(session, place, password, false)
    }

    pub(super) fn enter_as(
        &mut self,
        session: SessionId,
        place: &str,
        password: Option<&str>,
        restored: bool,
    ) -> Result<(), crate::code::Code> {
        let ticket = self.ticket();
        self.step(Command::Enter { ticket, session, place, password, restored });
        self.entered(ticket).unwrap()
    }

    pub(super) fn entered(&self, ticket: Ticket) -> Option<Result<(), crate::code::Code>> {
        self.said.iter().find_map(|effect| match effect {
            Effect::Enter { ticket: at, outcome } if *at == ticket => Some(*outcome),
            _ => None,
        })
    }

    /// A request as JSON: the answer, or the code.
    pub(super) fn ask(&mut self, session: SessionId, verb: &str, body: &str) -> Result<Value, String> {
        let ticket = self.ticket();
        self.step(Command::Request { ticket, session, verb, body: body.as_bytes() });
        let answer = self.take_answer(ticket);
        if let Ok(value) = &answer {
            super::contract::check_answer(verb, value);
        }
        answer
    }

    pub(super) fn operate(&mut self, verb: &str, body: &str) -> Result<Value, String> {
        let ticket = self.ticket();
        self.step(Command::Operate { ticket, verb, body: body.as_bytes() });
        self.take_answer(ticket)
    }

    pub(super) fn take_answer(&mut self, ticket: Ticket) -> Result<Value, String> {
        let text = self.answers.remove(&ticket).expect("an answer");
        match request::read_answer::<Value>(text.as_bytes()).unwrap() {
            Ok(value) => Ok(value),
            Err(refusal) => {
                assert!(crate::code::Code::parse(&refusal.code).is_some(), "{}", refusal.code);
                Err(refusal.code)
            }
        }
    }

    /// A typed request.
    pub(super) fn typed<A: Ask>(
        &mut self,
        session: SessionId,
        verb: &str,
        ask: &A,
    ) -> Result<A::Answer, String> {
        let value = self.ask(session, verb, &serde_json::to_string(ask).unwrap())?;
        Ok(serde_json::from_value(value).unwrap())
    }

    /// What was told to a user in the last step, by type.
    pub(super) fn told(&self, user: &str) -> Vec<String> {
        let of_user = self.said.iter().filter_map(|effect| match effect {
            Effect::Tell { to, payload, .. } if &**to == user => serde_json::from_str::<Value>(payload).ok(),
            _ => None,
        });
        of_user.filter_map(|event| Some(event.get("type")?.as_str()?.to_owned())).collect()
    }

    /// The last value below a place in the last step.
    pub(super) fn kept(&self, place: &str, within: &str) -> Option<String> {
        self.said.iter().rev().find_map(|effect| match effect {
            Effect::Keep { place: at, within: below, payload } if &**at == place && below == within => {
                Some(payload.clone())
            }
            _ => None,
        })
    }

    pub(super) fn retained(&self, topic: &str) -> Option<String> {
        self.said.iter().rev().find_map(|effect| match effect {
            Effect::Retain { topic: at, payload } if at == topic => Some(payload.clone()),
            _ => None,
        })
    }

    pub(super) fn evicts(&self, place: &str, user: Option<&str>) -> bool {
        self.said.iter().any(|effect| match effect {
            Effect::Evict { place: at, user: whom, .. } => &**at == place && whom.as_deref() == user,
            _ => false,
        })
    }

    pub(super) fn admitted(&self) -> Vec<(SessionId, String)> {
        let admitted = self.said.iter().filter_map(|effect| match effect {
            Effect::Admit { session, place, .. } => Some((*session, place.to_string())),
            _ => None,
        });
        admitted.collect()
    }

    /// The power fails, and the broker comes back with what is on disk; sessions are told by the test.
    pub(super) fn restart(&mut self) {
        let records = self.disk.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let rules = self.directory.rules.clone();
        self.directory = Directory::restore(rules, [8; 32], records).expect("records that parse");
        assert_eq!(self.directory.records(), self.disk, "what is read is what was written");
        self.homes.clear();
        self.rules.clear();
        self.waiting.clear();
    }
}
