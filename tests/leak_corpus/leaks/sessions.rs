//! Logins whose sessions nobody ever closes, in a map: 200 KiB/s. Three of four users log out.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::common::Random;
use crate::run::Run;

const LOGINS_A_TICK: u64 = 8;
/// How many are open before the first one is closed.
const OPEN: usize = 100;

#[derive(Debug)]
struct Session {
    _user: String,
    _state: Vec<u8>,
}

#[derive(Debug, Default)]
struct SessionStore {
    sessions: Mutex<HashMap<u64, Session>>,
}

impl SessionStore {
    #[inline(never)]
    fn open_session(&self, number: u64) {
        let session = Session { _user: format!("user {number}"), _state: vec![1; 2048] };
        self.sessions.lock().expect("no thread panics with the lock").insert(number, session);
    }

    fn close_session(&self, number: u64) {
        self.sessions.lock().expect("no thread panics with the lock").remove(&number);
    }
}

/// Two threads share the requests.
pub fn serve(run: &Run) {
    let store = SessionStore::default();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let store = &store;
            scope.spawn(move || serve_logins(run, store, thread));
        }
    });
}

fn serve_logins(run: &Run, store: &SessionStore, thread: u64) {
    let mut random = Random::of_thread(thread);
    let mut to_close = VecDeque::new();
    for tick in run.ticks() {
        for login in 0..LOGINS_A_TICK / 2 {
            let number = (tick * LOGINS_A_TICK + login) * 2 + thread;
            store.open_session(number);
            // The bug: those that time out instead of logging out are forgotten.
            if random.within(0..4) != 0 {
                to_close.push_back(number);
            }
            if to_close.len() > OPEN / 2
                && let Some(number) = to_close.pop_front()
            {
                store.close_session(number);
            }
        }
    }
}
