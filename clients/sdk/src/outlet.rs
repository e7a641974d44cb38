//! The way out for events: a queue of fixed length, and a short waiting line before it for when nobody takes them.
//!
//! Invariant: order is kept. What comes with QoS 1 waits unacknowledged, so the broker sends no more than its Receive
//! Maximum; of the rest at most [`LOOSE_MAX`] wait, and what is more is dropped and counted.

use crate::{Event, Gap};
use std::collections::VecDeque;
use tokio::sync::mpsc::{self, Permit, error::TrySendError};

/// How many events wait in line that no acknowledgement holds back.
const LOOSE_MAX: usize = 64;

/// From how many on nothing more should be read for a while.
const LOOSE_FULL: usize = LOOSE_MAX / 2;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is with the user, or nobody wants it: to be acknowledged now.
    Out,
    /// It waits, and is acknowledged later.
    Waits,
    /// There is no place for it.
    Dropped,
}

/// The events' way out.
#[derive(Debug)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<Event>,
    /// Events in line, with the packet id that is owed an acknowledgement, or 0.
    line: VecDeque<(Event, u16)>,
    loose: usize,
    signals_dropped: u64,
    /// Whether the end was asked for: nobody takes events any more, and nothing is acknowledged for them.
    is_deaf: bool,
}

impl Outlet {
    pub(crate) fn new(queue: mpsc::Sender<Event>) -> Self {
        Self { queue, line: VecDeque::new(), loose: 0, signals_dropped: 0, is_deaf: false }
    }

    /// The queue, to wait on for room.
    pub(crate) fn queue(&self) -> mpsc::Sender<Event> {
        self.queue.clone()
    }

    /// Takes nothing more that owes an acknowledgement, so that the broker keeps it for the next connection of the session.
    pub(crate) fn deafen(&mut self) {
        self.is_deaf = true;
    }

    /// Whether something waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.line.is_empty() || self.signals_dropped > 0
    }

    /// Whether so much waits that more would soon be dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.loose >= LOOSE_FULL
    }

    /// An event that came under a packet id; 0 for one that owes no acknowledgement.
    pub(crate) fn push(&mut self, event: Event, packet_id: u16) -> Pushed {
        if self.is_deaf && packet_id != 0 {
            return Pushed::Waits;
        }
        let Some(event) = self.at_once(event) else { return Pushed::Out };
        if packet_id == 0 {
            if self.loose >= LOOSE_MAX {
                return Pushed::Dropped;
            }
            self.loose += 1;
        }
        self.line.push_back((event, packet_id));
        Pushed::Waits
    }

    /// A signal: dropped and counted when there is no place.
    pub(crate) fn push_signal(&mut self, event: Event, packet_id: u16) -> Pushed {
        let pushed = self.push(event, packet_id);
        if pushed == Pushed::Dropped {
            self.signals_dropped += 1;
        }
        pushed
    }

    /// What must be told: it always gets a place in line. Of the connection's coming and going only the last word waits.
    pub(crate) fn tell(&mut self, event: Event) {
        let Some(event) = self.at_once(event) else { return };
        let is_status = |event: &Event| matches!(event, Event::Connected { .. } | Event::Disconnected(_));
        if is_status(&event) {
            let before = self.line.len();
            self.line.retain(|(waiting, _)| !is_status(waiting));
            self.loose -= before - self.line.len();
        }
        self.loose += 1;
        self.line.push_back((event, 0));
    }

    /// Tries to get an event out without waiting; gives it back when it has to wait.
    fn at_once(&mut self, event: Event) -> Option<Event> {
        if self.is_waiting() {
            return Some(event);
        }
        match self.queue.try_send(event) {
            Err(TrySendError::Full(event)) => Some(event),
            Ok(()) | Err(TrySendError::Closed(_)) => None,
        }
    }

    /// There is room for one event. Gives the packet ids that are to be acknowledged.
    pub(crate) fn on_room(&mut self, room: Permit<'_, Event>) -> Vec<u16> {
        if self.is_deaf {
            self.line.retain(|(_, packet_id)| *packet_id == 0);
        }
        let mut acks = Vec::new();
        self.pop(&mut acks, |event| {
            room.send(event);
            None
        });
        while self.is_waiting() {
            let queue = self.queue.clone();
            let is_full = self.pop(&mut acks, |event| match queue.try_send(event) {
                Err(TrySendError::Full(event)) => Some(event),
                Ok(()) | Err(TrySendError::Closed(_)) => None,
            });
            if is_full {
                break;
            }
        }
        acks
    }

    /// Nobody takes events any more. Gives the packet ids that are to be acknowledged.
    pub(crate) fn on_closed(&mut self) -> Vec<u16> {
        self.loose = 0;
        self.signals_dropped = 0;
        if self.is_deaf {
            self.line.clear();
            return Vec::new();
        }
        self.line.drain(..).map(|(_, packet_id)| packet_id).filter(|id| *id != 0).collect()
    }

    /// The connection is lost: nothing is owed for what waits.
    pub(crate) fn on_lost(&mut self) {
        for (_, packet_id) in &mut self.line {
            if *packet_id != 0 {
                *packet_id = 0;
                self.loose += 1;
            }
        }
    }

    /// Hands out the first in line; `true` when it was given back.
    fn pop(&mut self, acks: &mut Vec<u16>, send: impl FnOnce(Event) -> Option<Event>) -> bool {
        match self.line.pop_front() {
            Some((event, packet_id)) => match send(event) {
                Some(event) => {
                    self.line.push_front((event, packet_id));
                    return true;
                }
                None if packet_id != 0 => acks.push(packet_id),
                None => self.loose = self.loose.saturating_sub(1),
            },
            None if self.signals_dropped > 0 => {
                let gap = Gap { place: None, messages: Some(0), signals: self.signals_dropped };
                match send(Event::Gap(gap)) {
                    Some(_) => return true,
                    None => self.signals_dropped = 0,
                }
            }
            None => {}
        }
        false
    }

    /// Waits until everything is out, or nobody takes it any more.
    pub(crate) async fn finish(mut self, last: Event) {
        let line = std::mem::take(&mut self.line);
        for (event, _) in line {
            if self.queue.send(event).await.is_err() {
                return;
            }
        }
        let _ = self.queue.send(last).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Refusal;

    /// MQTT 5.0, 4.1: what is not acknowledged stays with the session.
    #[test]
    fn who_is_deaf_acknowledges_nothing() {
        let event = || Event::Disconnected(Refusal::closed());
        let (queue, mut events) = mpsc::channel(1);
        let mut outlet = Outlet::new(queue);
        assert_eq!(outlet.push(event(), 1), Pushed::Out);
        assert_eq!(outlet.push(event(), 2), Pushed::Waits);
        outlet.deafen();
        assert_eq!(outlet.push(event(), 3), Pushed::Waits);
        events.try_recv().expect("the first");
        let queue = outlet.queue();
        assert_eq!(outlet.on_room(queue.try_reserve().expect("room")), Vec::<u16>::new());
        drop(events);
        assert_eq!(outlet.on_closed(), Vec::<u16>::new());
        assert_eq!(outlet.push(event(), 4), Pushed::Waits);
    }
}
