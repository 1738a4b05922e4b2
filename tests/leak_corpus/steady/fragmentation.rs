//! Messages of alternating sizes that are freed in between each other and leave holes: RSS is far above what lives,
//! which is always the same.

use std::collections::VecDeque;

use crate::common::Random;
use crate::run::Run;

/// Of each kind alive at once.
const ALIVE: usize = 600;
const MESSAGES_A_TICK: usize = 24;
/// In each phase two of them, the first with the last and so on, so that new messages do not fit into the holes of old
/// ones, and the mean is 2048 in all phases.
const SIZES: [usize; 6] = [512, 1024, 1536, 2560, 3072, 3584];
const PHASE: u64 = 40;
/// Of so many messages one stays for long.
const LONG: usize = 8;

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let (mut short, mut long) = (VecDeque::new(), VecDeque::new());
    let ticks = run.ticks();
    for _ in 0..ALIVE {
        short.push_back(read_message(SIZES[random.within(0..SIZES.len())]));
        long.push_back(read_message(SIZES[random.within(0..SIZES.len())]));
    }
    for tick in ticks {
        for _ in 0..MESSAGES_A_TICK {
            let phase = (tick / PHASE) as usize % SIZES.len();
            let size = SIZES[if random.within(0..2) == 0 { phase } else { SIZES.len() - 1 - phase }];
            let kind = if random.within(0..LONG) == 0 { &mut long } else { &mut short };
            kind.push_back(read_message(size));
            kind.pop_front();
        }
    }
}

#[inline(never)]
fn read_message(size: usize) -> Vec<u8> {
    vec![b'm'; size]
}
