//! One tick of a shard: inputs are handed out to what they are about, timers fire, and at its end everything that
//! waits moves as far as connections and windows allow.

use crate::{
    Engine,
    acks::farewell_reason,
    crossing::{self, By, Crossing, Reply},
    deliver,
    desk::Asked,
    io::{ConnId, Input, Output, ShardId, Transmit},
    journal::Waiter,
    link::{Pause, Phase},
    message::Message,
    mutant::Mutant,
    persist,
    receive::Fault,
    timers::Timer,
};
use katydid_chat::code::Code;
use katydid_mqtt::{reason::ReasonCode, session::Resend};
use std::{io::IoSlice, sync::Arc};

/// How often rooms are looked at for memory to give back, and how long one has to be unused for it.
pub(crate) const IDLE_ROOMS_MS: u64 = 30_000;
/// How long delivery positions that moved may stay unwritten.
const POSITIONS_MS: u64 = 1_000;
/// How long the rest of a packet may keep its sender waiting for, where its keep alive allows more.
const HALF_MS: u64 = 60_000;
/// Slices of one gathered write.
const SLICES: usize = 64;

impl Engine {
    pub(crate) fn take_input(&mut self, input: Input) {
        match input {
            Input::Open { .. } | Input::Closed { .. } | Input::Verified { .. } | Input::Vouched { .. } => {
                self.handle_link(input)
            }
            Input::Shard { from, message } => self.on_crossing(from, message.0),
            Input::Durable { number } => self.on_durable(number),
            Input::Fetched { ticket, entries } => self.on_fetched(ticket, &entries),
            Input::Tick => {
                self.fire_timers();
                self.wake_desk();
            }
            Input::Hashed { ticket, phc, scram } => self.on_hashed(ticket, &phc, scram.as_deref()),
            Input::VerifiedFor { ticket, good } => self.on_verified_for(ticket, good),
            Input::Found { ticket, findings } => self.on_found(ticket, &findings),
            Input::Operate { ticket, verb, body } => self.operate(ticket, &verb, &body),
            Input::Reload(settings) => {
                self.settings = settings;
                self.reload_desk();
            }
            Input::System(values) => {
                for (topic, payload) in values {
                    let message = Message::from_broker(&topic, payload.as_bytes(), true);
                    self.route(Arc::new(message), None, None, By::Broker);
                }
            }
            Input::Shutdown => self.shut_down(),
        }
    }

    pub(crate) fn on_crossing(&mut self, from: ShardId, crossing: Crossing) {
        match crossing {
            Crossing::Publish { message, reply, mark, by } => {
                self.publish_at_home(message, reply.map(|token| Reply { shard: from, token }), mark, by);
            }
            Crossing::Published { token, outcome } => self.settle_ack(token, outcome),
            Crossing::Deliver { message, plain, groups, part, mark } => {
                self.deliver_for(from, &message, (plain, &groups), part, mark);
            }
            Crossing::Marked { mark } => self.forget_arrived(mark),
            Crossing::Delivered { part } => self.part_done(part),
            Crossing::Watch { filter, group, ticket, retained } => {
                let page = self.watched_from(from, &filter, group.as_ref(), retained);
                self.send_to(from, Crossing::Watched { ticket, page });
            }
            Crossing::Watched { ticket, page } => self.on_watched(from, ticket, page),
            Crossing::Walk { session, ticket, filter, rest } => {
                self.walk_at_home(from, session, ticket, &filter, &rest);
            }
            Crossing::Retained { session, ticket, page } => self.on_retained(session, ticket, page),
            Crossing::Present { filter, group, count } => {
                self.plain.set_present(&filter, &group, from, count);
            }
            Crossing::Unwatch { filter, group } => self.plain.unwatch(&filter, group.as_ref(), from),
            Crossing::Leave { place, answers } => self.leave_at_home(from, &place, answers),
            Crossing::Entries { place, entries } => self.entries_here(&place, &entries),
            Crossing::Signal { place, message } => self.signal_here(&place, &message),
            Crossing::Read { place, from: first, ticket } => self.read_at_home(from, &place, first, ticket),
            Crossing::Page { ticket, entries, next, first } => {
                self.on_page(ticket, entries, next, first);
            }
            other => self.on_chat_crossing(from, other),
        }
    }

    /// What the directory and its answers are about.
    fn on_chat_crossing(&mut self, from: ShardId, crossing: Crossing) {
        match crossing {
            Crossing::Ask(asked) => self.asks.push_back((from, *asked)),
            Crossing::SignedIn { conn, outcome } => self.on_signed_in(conn, outcome),
            Crossing::Enter { place, start, entrant } => self.enter_at_home(&place, start, entrant),
            Crossing::Entered(entered) => self.on_entered(*entered),
            Crossing::NotEntered { why, code } => self.on_not_entered(why, code),
            Crossing::EnteredAll { ticket, places } => self.on_entered_all(ticket, Some(places)),
            Crossing::LeftPlace { pending } => self.filter_answered(pending),
            Crossing::Rules { place, rules } => self.set_place_rules(&place, rules),
            Crossing::Ruled { place } => self.place_ruled(&place),
            Crossing::Stands { place, user, standing } => self.set_standing(&place, user, standing),
            // The directory tells the home, and the home the shards.
            Crossing::Evict { place, user, ticket } => {
                if crossing::home(&place, self.shards) == self.shard {
                    self.evict_at_home(&place, user.as_ref(), ticket);
                } else {
                    self.evict_here(&place, user.as_ref(), ticket);
                }
            }
            Crossing::Drop { place } => self.drop_place(&place),
            Crossing::Keep { place, within, payload } => self.keep_at_home(&place, &within, &payload),
            Crossing::History(of) => self.history_at_home(*of),
            Crossing::HistoryPage { ticket, payload } => self.history_answered(ticket, payload),
            Crossing::Erase { user, sweeps: false } => self.end_sessions_of(&user),
            Crossing::Erase { user, sweeps: true } => self.sweep(user),
            Crossing::Ignore { index, session, ignored } => self.set_ignored(index, session, ignored),
            Crossing::Forgets { index, session, forgets } => self.set_forgets(index, session, forgets),
            Crossing::HowFar { ticket, index, session, place } => {
                let below = self.acknowledged_below(index, session, &place);
                self.ask(Asked::Reached { ticket, below });
            }
            Crossing::Forget { place, user, below } => self.forget_at_home(&place, &user, below),
            Crossing::Dismiss { index, session, ends } => self.dismiss(index, session, ends),
            Crossing::Answer { to, payload } => self.deliver_answer(&to, &payload),
            Crossing::Amended { place, entry } => self.amend_here(&place, &entry),
            _ => {}
        }
    }

    fn on_durable(&mut self, number: u64) {
        self.journal.set_durable(number);
        self.ended.retain(|_, commit| *commit > number);
        while let Some(waiter) = self.journal.next_ready() {
            self.finish(waiter);
        }
        if !self.congested.is_empty() && !self.journal.is_congested() {
            for conn in std::mem::take(&mut self.congested) {
                if self.links.by_conn(conn).is_some() {
                    self.links.resume(conn.slot, Pause::Congestion);
                }
            }
        }
    }

    /// Lets a waiter go: what it waited for is on disk, or needs no disk.
    pub(crate) fn finish(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Publish(reply, outcome) => self.reply(reply, outcome),
            Waiter::Part(shard, part) if shard == self.shard => self.part_done(part),
            Waiter::Part(shard, part) => self.send_to(shard, Crossing::Delivered { part }),
            Waiter::Subscribe(pending) => self.answer_subscribe(pending),
            Waiter::Lease => self.lease_durable(),
            Waiter::Answer(key) => self.answer_durable(key),
            Waiter::Swept => self.swept_so_far(),
            Waiter::Evicted(ticket) => self.ask(Asked::Evicted { ticket }),
            Waiter::Outbound(index, conn, packet_id) => {
                if self.is_on(index, conn) {
                    let (_, mut delivering) = self.delivering();
                    delivering.outbound_durable(index, conn.slot, packet_id);
                }
            }
            Waiter::Release(index, conn, packet_id) => {
                if self.is_on(index, conn) {
                    self.links.send_release(conn.slot, packet_id);
                }
            }
            Waiter::Resume(index, conn) => {
                if let (true, Some(link)) = (self.is_on(index, conn), self.links.by_conn(conn)) {
                    link.is_resuming = false;
                    self.sessions.mark_ready(index);
                }
            }
            Waiter::Page(index, session, from) => self.fetch_queue(index, session, from),
            Waiter::Marked(mark, shards) => self.tell_marked(mark, shards),
            Waiter::Enter(conn) => self.enter_again(conn),
            Waiter::Complete(conn, packet_id, reason) => self.send_pubcomp(conn, packet_id, reason),
        }
    }

    /// Whether a session still is on the connection it was on.
    fn is_on(&mut self, index: u32, conn: ConnId) -> bool {
        let is_on = self.sessions.peek(index).is_some_and(|session| session.link == Some(conn.slot));
        is_on && self.links.by_conn(conn).is_some()
    }

    fn fire_timers(&mut self) {
        let now_ms = self.now.mono_ms;
        while let Some((at_ms, timer)) = self.timers.pop(now_ms) {
            match timer {
                Timer::Link(slot) => self.link_due(slot, at_ms),
                Timer::Will(index) => self.fire_will(index),
                Timer::Unpublished => self.publish_unpublished(|_| true),
                Timer::Expiry(index) => {
                    if let Some(session) = self.sessions.by_index(index) {
                        session.ends_at_ms = 0;
                        self.links.counters.sessions_expired += 1;
                        self.end_session(index);
                    }
                }
                Timer::Positions => self.write_positions(),
                Timer::Sweep => self.sweep_on(),
                Timer::IdleRooms => {
                    self.rest_homes(IDLE_ROOMS_MS);
                    self.rest_views();
                    self.timers.set(now_ms + IDLE_ROOMS_MS, Timer::IdleRooms);
                }
            }
        }
    }

    fn link_due(&mut self, slot: u32, at_ms: u64) {
        let now_ms = self.now.mono_ms;
        let Some(link) = self.links.by_slot(slot) else { return };
        if link.deadline_ms != at_ms {
            return;
        }
        link.deadline_ms = 0;
        match link.phase {
            // It waits for its password to be checked, not the broker for it.
            Phase::Verifying(_) => {}
            Phase::Greeting | Phase::Authenticating(_) => {
                self.links.counters.keep_alive_timeouts += 1;
                self.links.close(slot, false);
            }
            Phase::Open(_) => {
                if link.paused != 0 {
                    // Nobody reads from it: it is not silent.
                    link.last_received_ms = now_ms;
                    if link.half_since_ms > 0 {
                        link.half_since_ms = now_ms;
                    }
                }
                if link.rate_until_ms <= now_ms {
                    self.links.resume(slot, Pause::Rate);
                }
                self.watch_link(slot);
            }
            Phase::Closing => {}
        }
    }

    /// Sets a connection's timer to what comes first: the end of its silence, of its access token, or of the second that
    /// its rate is for.
    pub(crate) fn watch_link(&mut self, slot: u32) {
        let now_ms = self.now.mono_ms;
        let Some(link) = self.links.by_slot(slot) else { return };
        let silent_ms = (link.silence_ms > 0).then_some(link.last_received_ms + link.silence_ms);
        let half_ms = (link.half_since_ms > 0).then_some(link.half_since_ms + HALF_MS);
        if silent_ms.into_iter().chain(half_ms).any(|at_ms| at_ms <= now_ms) {
            let conn = link.conn;
            self.links.counters.keep_alive_timeouts += 1;
            if half_ms.is_some() {
                self.warn(conn, Fault(ReasonCode::KeepAliveTimeout, "the rest of a packet never came"));
            }
            self.disconnect(slot, ReasonCode::KeepAliveTimeout);
            return;
        }
        let expires_ms = link.auth.as_ref().map(|auth| auth.until_ms).filter(|&until_ms| until_ms > 0);
        if expires_ms.is_some_and(|until_ms| until_ms <= now_ms) && matches!(link.phase, Phase::Open(_)) {
            let code = Code::LoginAccessExpired;
            return self.disconnect_for(slot, farewell_reason(code), Some(code));
        }
        let rated_ms = link.is_paused_for(Pause::Rate).then_some(link.rate_until_ms);
        let dues = silent_ms.into_iter().chain(half_ms).chain(rated_ms).chain(expires_ms);
        let Some(due_ms) = dues.min() else { return };
        link.deadline_ms = due_ms;
        self.timers.set(due_ms, Timer::Link(slot));
    }

    /// What a client has sent ends in the middle of a packet, or does not. The timer is set where none is there that
    /// comes in time; most packets are whole long before it is due.
    pub(crate) fn note_half(&mut self, conn: ConnId, is_half: bool) {
        let now_ms = self.now.mono_ms;
        let Some(link) = self.links.by_conn(conn) else { return };
        if !is_half || !matches!(link.phase, Phase::Open(_)) {
            return;
        }
        link.half_since_ms = now_ms;
        let due_ms = now_ms + HALF_MS;
        if link.deadline_ms == 0 || link.deadline_ms > due_ms {
            if link.deadline_ms != 0 {
                self.timers.cancel(link.deadline_ms, Timer::Link(conn.slot));
            }
            link.deadline_ms = due_ms;
            self.timers.set(due_ms, Timer::Link(conn.slot));
        }
    }

    pub(crate) fn end_tick(&mut self) {
        while !self.dirty_homes.is_empty() {
            for place in std::mem::take(&mut self.dirty_homes) {
                self.distribute(&place);
            }
            self.serve();
        }
        while let Some(view) = self.dirty_views.pop() {
            self.settle_view(view);
        }
        let count = self.sessions.ready_count();
        for _ in 0..count {
            let Some(index) = self.sessions.pop_ready() else { break };
            self.pump_session(index);
        }
        for (conn, reason) in std::mem::take(&mut self.links.doomed) {
            if self.links.by_conn(conn).is_some() {
                self.disconnect(conn.slot, reason);
            }
        }
        // What that led to is in the same commit; what is said because of it leaves with the next tick.
        self.serve();
        if let Some(commit) = self.journal.take_commit() {
            self.links.counters.commits += 1;
            self.outputs.push_back(commit);
        }
    }

    fn pump_session(&mut self, index: u32) {
        let (_, mut delivering) = self.delivering();
        let (open, page) = delivering.pump(index);
        if let Some(from) = page {
            self.read_queue(index, from);
        }
        if open.is_some() {
            self.walk_on(index);
            self.advance_places(index);
        }
        self.note_moved(index);
    }

    /// A session's queue or positions moved: what its log does not need any more goes, and positions are written soon.
    fn note_moved(&mut self, index: u32) {
        let is_on = self.journal.is_on();
        let Some(session) = self.sessions.by_index(index) else { return };
        if !std::mem::take(&mut session.has_moved) || !session.is_persistent() || !is_on {
            return;
        }
        let below = deliver::first_needed(session);
        let id = session.id;
        let has_seats = !session.seats.is_empty();
        if let Some(queue) = session.queue.as_mut()
            && queue.trimmed < below
        {
            queue.trimmed = below;
            self.journal.push(persist::trim_queue(id, below));
        }
        if has_seats {
            self.list_moved(index);
        }
    }

    /// A session's positions moved: they are written soon, however often they move until then.
    pub(crate) fn list_moved(&mut self, index: u32) {
        let Some(session) = self.sessions.by_index(index).filter(|session| session.wants_listing()) else {
            return;
        };
        session.is_listed = true;
        if self.moved.is_empty() {
            self.timers.set(self.now.mono_ms + POSITIONS_MS, Timer::Positions);
        }
        self.moved.push(index);
    }

    fn write_positions(&mut self) {
        for index in std::mem::take(&mut self.moved) {
            if let Some(session) = self.sessions.by_index(index) {
                session.is_listed = false;
            }
            self.save_positions(index);
        }
    }

    pub(crate) fn write_ring(
        &mut self,
        conn: ConnId,
        mut write: impl FnMut(&[IoSlice<'_>]) -> std::io::Result<usize>,
    ) -> Transmit {
        loop {
            let Some((link, pool, counters)) = self.links.for_writing(conn) else { return Transmit::Drained };
            if link.ring.is_empty() {
                let is_behind = std::mem::take(&mut link.is_behind);
                if let (true, Phase::Open(index)) = (is_behind && !Mutant::LostWakeUp.is_on(), &link.phase) {
                    let index = *index;
                    self.sessions.mark_ready(index);
                }
                return Transmit::Drained;
            }
            let outcome = match link.ring.whole() {
                Some(bytes) => write(&[IoSlice::new(bytes)]),
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = link.ring.slices(&mut slices);
                    write(&slices[..count])
                }
            };
            match outcome {
                Ok(0) => return Transmit::Failed,
                Ok(written) => {
                    counters.bytes_sent += written as u64;
                    link.ring.advance(pool, written);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Transmit::Blocked,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Transmit::Failed,
            }
        }
    }

    /// Tells 5.0 clients, closes every connection, publishes wills, and makes what is kept exact.
    fn shut_down(&mut self) {
        self.is_going_down = true;
        let slots: Vec<u32> = self.links.slots().collect();
        for slot in slots {
            self.disconnect(slot, ReasonCode::ServerShuttingDown);
        }
        for index in self.sessions.indices() {
            self.settle_will(index);
            self.keep_in_flight(index);
            self.save_positions(index);
        }
        self.settle_leases();
        self.outputs.push_back(Output::Down);
    }

    /// Writes what is in flight to a session, so that after the restart it is sent again under the same identifiers.
    fn keep_in_flight(&mut self, index: u32) {
        let Some(session) = self.sessions.peek(index) else { return };
        if !session.is_persistent() {
            return;
        }
        for resend in session.outbound.iter() {
            if let Resend::Publish { id, qos, message } = resend {
                self.journal.push(persist::put_outbound_at(session.id, id, qos, Some(message)));
            }
        }
    }
}
