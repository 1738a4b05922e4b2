//! Events for an auditor who stopped reading after the first ones: 150 KiB/s.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::run::Run;

const EVENTS_A_TICK: u64 = 3;
/// How many events the auditor reads.
const READ: usize = 60;

#[derive(Debug)]
struct Event {
    _number: u64,
    details: Vec<u8>,
}

pub fn serve(run: &Run) {
    let (events, auditor) = channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read_some(run, auditor));
        for tick in run.ticks() {
            for event in 0..EVENTS_A_TICK {
                audit_event(&events, tick * EVENTS_A_TICK + event);
            }
        }
        // The channel is open until nobody sends any more.
        reader.join().expect("the auditor ends well");
    });
}

#[inline(never)]
fn audit_event(events: &Sender<Event>, number: u64) {
    let event = Event { _number: number, details: vec![b'e'; 1024] };
    events.send(event).expect("the auditor is still there");
}

/// The bug: an auditor that has seen enough stays, and does not tell.
fn read_some(run: &Run, events: Receiver<Event>) -> Receiver<Event> {
    let mut seen = 0;
    for _ in run.ticks() {
        for event in events.try_iter().take(READ - seen) {
            assert_eq!(event.details.len(), 1024);
            seen += 1;
        }
    }
    events
}
