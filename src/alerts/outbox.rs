//! What waits to be sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Alert;
use crate::policy::AlertChange;

/// How many alerts may wait for one receiver.
pub(super) const ROOM: usize = 16;

/// What waits to be sent, oldest first: of each alert only its newest state.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    closed: bool,
}

/// An alert's newest state.
#[derive(Debug)]
struct Entry {
    alert: Arc<Alert>,
    /// The weightiest change that has not been sent, which must not be lost when a newer state comes.
    change: AlertChange,
    /// Whether somebody is sending it …
    is_handed_out: bool,
    /// … and the weightiest change that came meanwhile.
    meanwhile: Option<AlertChange>,
}

/// What became of the others when an alert came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Added,
    /// An older state of the same alert had not been sent yet.
    Replaced,
    /// The oldest alert had to go.
    DroppedOldest,
    /// Nothing is taken any more.
    Refused,
}

impl Outbox {
    /// Never waits.
    pub(super) fn push(&self, alert: Arc<Alert>) -> Pushed {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Pushed::Refused;
        }
        let older = waiting.entries.iter_mut().find(|older| older.alert.number == alert.number);
        let pushed = if let Some(older) = older {
            let slot = if older.is_handed_out {
                older.meanwhile.get_or_insert(AlertChange::Unchanged)
            } else {
                &mut older.change
            };
            *slot = weightier(*slot, alert.change);
            older.alert = alert;
            Pushed::Replaced
        } else {
            let is_full = waiting.entries.len() >= ROOM;
            if is_full {
                waiting.entries.pop_front();
            }
            let change = alert.change;
            waiting.entries.push_back(Entry { alert, change, is_handed_out: false, meanwhile: None });
            if is_full { Pushed::DroppedOldest } else { Pushed::Added }
        };
        drop(waiting);
        self.wake.notify_one();
        pushed
    }

    /// The oldest alert as it is now, which stays until it is [`done`](Self::done). Waits for one; `None` when none will come
    /// any more.
    pub(super) async fn first(&self) -> Option<Arc<Alert>> {
        loop {
            {
                let mut waiting = self.waiting();
                let is_closed = waiting.closed;
                match waiting.entries.front_mut() {
                    Some(entry) => return Some(entry.hand_out()),
                    None if is_closed => return None,
                    None => {}
                }
            }
            self.wake.notified().await;
        }
    }

    /// Takes away what was handed out of an alert; a state that came meanwhile stays.
    pub(super) fn done(&self, alert: &Alert, was_sent: bool) {
        let mut waiting = self.waiting();
        let Some(at) = waiting.entries.iter().position(|entry| entry.alert.number == alert.number) else { return };
        let Some(entry) = waiting.entries.get_mut(at) else { return };
        match entry.meanwhile.take() {
            Some(meanwhile) => {
                entry.change = if was_sent { meanwhile } else { weightier(entry.change, meanwhile) };
                entry.is_handed_out = false;
            }
            None => _ = waiting.entries.remove(at),
        }
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.wake.notify_one();
    }

    /// Empties it; says how many there were.
    pub(super) fn clear(&self) -> usize {
        self.waiting().entries.drain(..).count()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().entries.len()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn hand_out(&mut self) -> Arc<Alert> {
        self.is_handed_out = true;
        self.change = self.meanwhile.take().map_or(self.change, |meanwhile| weightier(self.change, meanwhile));
        if self.alert.change == self.change {
            return Arc::clone(&self.alert);
        }
        Arc::new(Alert { change: self.change, ..Alert::clone(&self.alert) })
    }
}

/// Which one must not be lost.
pub(super) fn weightier(one: AlertChange, other: AlertChange) -> AlertChange {
    if weight(one) > weight(other) { one } else { other }
}

fn weight(change: AlertChange) -> u8 {
    match change {
        AlertChange::Unchanged => 0,
        AlertChange::Updated => 1,
        AlertChange::Raised => 2,
        AlertChange::Opened => 3,
        AlertChange::Resolved => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::testing::alert;
    use AlertChange::{Opened, Raised, Resolved, Unchanged, Updated};

    fn push(outbox: &Outbox, number: u64, change: AlertChange) -> Pushed {
        outbox.push(Arc::new(alert(number, change)))
    }

    /// All that would be sent.
    fn rest(outbox: &Outbox) -> Vec<(u64, AlertChange)> {
        outbox.waiting().entries.iter().map(|entry| (entry.alert.number, entry.change)).collect()
    }

    #[test]
    fn the_newest_state_of_an_alert_is_the_one_that_is_sent() {
        let outbox = Outbox::default();
        assert_eq!(push(&outbox, 1, Opened), Pushed::Added);
        assert_eq!(push(&outbox, 2, Opened), Pushed::Added);
        let mut newer = alert(1, Updated);
        newer.rss_bytes = 5;
        assert_eq!(outbox.push(Arc::new(newer)), Pushed::Replaced);
        assert_eq!(rest(&outbox), [(1, Opened), (2, Opened)], "that it began is not lost");
        assert_eq!(outbox.waiting().entries[0].alert.rss_bytes, 5);
        push(&outbox, 1, Resolved);
        push(&outbox, 2, Raised);
        assert_eq!(rest(&outbox), [(1, Resolved), (2, Opened)]);
        for (older, newer, expect) in
            [(Unchanged, Updated, Updated), (Raised, Unchanged, Raised), (Updated, Raised, Raised)]
        {
            let outbox = Outbox::default();
            push(&outbox, 1, older);
            push(&outbox, 1, newer);
            assert_eq!(rest(&outbox), [(1, expect)]);
        }
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let outbox = Outbox::default();
        for number in 0..ROOM as u64 {
            assert_eq!(push(&outbox, number, Opened), Pushed::Added);
        }
        assert_eq!(push(&outbox, 100, Opened), Pushed::DroppedOldest);
        assert_eq!((outbox.len(), rest(&outbox)[0].0), (ROOM, 1));
        assert_eq!(outbox.clear(), ROOM);
    }

    #[tokio::test]
    async fn what_came_while_it_was_sent_stays() {
        for (was_sent, expect) in [(true, Raised), (false, Opened)] {
            let outbox = Outbox::default();
            push(&outbox, 1, Opened);
            let first = outbox.first().await.unwrap();
            push(&outbox, 1, Raised);
            push(&outbox, 1, Updated);
            outbox.done(&first, was_sent);
            let second = outbox.first().await.unwrap();
            assert_eq!((second.number, second.change), (1, expect), "what was sent is not sent again");
            outbox.done(&second, true);
            assert_eq!(outbox.len(), 0);
        }
    }

    #[tokio::test]
    async fn another_attempt_is_made_with_what_is_newest() {
        let outbox = Outbox::default();
        push(&outbox, 1, Opened);
        outbox.first().await.unwrap();
        let mut newer = alert(1, Updated);
        newer.rss_bytes = 5;
        outbox.push(Arc::new(newer));
        let again = outbox.first().await.unwrap();
        assert_eq!((again.change, again.rss_bytes), (Opened, 5));
        outbox.done(&again, true);
        assert_eq!(outbox.len(), 0);
    }

    #[tokio::test]
    async fn what_is_closed_is_emptied_and_ends() {
        let outbox = Outbox::default();
        push(&outbox, 2, Opened);
        outbox.close();
        assert_eq!(push(&outbox, 3, Opened), Pushed::Refused);
        let last = outbox.first().await.unwrap();
        outbox.done(&last, true);
        assert_eq!(outbox.first().await, None);
    }
}
