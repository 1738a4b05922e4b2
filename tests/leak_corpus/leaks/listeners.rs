//! Each request subscribes to changes of the settings, and no request ever unsubscribes: 150 KiB/s.

use std::cell::Cell;

use crate::run::Run;

const REQUESTS_A_TICK: u64 = 3;
/// The settings change every so many ticks.
const CHANGE: u64 = 25;

type Listener<'l> = Box<dyn Fn(u64) + 'l>;

#[derive(Default)]
struct Settings<'l> {
    listeners: Vec<Listener<'l>>,
}

impl<'l> Settings<'l> {
    /// The bug: there is no way to unsubscribe.
    #[inline(never)]
    fn subscribe(&mut self, request: u64, told: &'l Cell<u64>) {
        let context = vec![request as u8; 1000];
        self.listeners.push(Box::new(move |version| {
            told.set(told.get() + version.min(1) + context.is_empty() as u64);
        }));
    }

    fn change(&self, version: u64) {
        self.listeners.iter().for_each(|listener| listener(version));
    }
}

pub fn serve(run: &Run) {
    let told = Cell::new(0);
    let mut settings = Settings::default();
    for tick in run.ticks() {
        for request in 0..REQUESTS_A_TICK {
            settings.subscribe(tick * REQUESTS_A_TICK + request, &told);
        }
        if tick % CHANGE == 0 {
            settings.change(tick);
        }
    }
    assert!(told.get() > 0, "nobody was told of a change");
}
