//! A request gets scratch memory by hand and gives it back at its end, which the one in twenty that fails never
//! reaches: 100 KiB/s of 2 MiB/s.

use crate::common::Random;
use crate::run::Run;

const REQUESTS_A_TICK: u64 = 20;

/// Scratch memory as a plain pointer, the way it is handed through an interface for C.
#[derive(Debug)]
struct Scratch(*mut [u8; 2048]);

#[derive(Debug)]
struct BadRequest;

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut failed = 0u64;
    for _ in run.ticks() {
        for _ in 0..REQUESTS_A_TICK {
            failed += u64::from(handle_request(random.within(0..20) as u8).is_err());
        }
    }
    assert!(failed > 0, "no request failed");
}

fn handle_request(first: u8) -> Result<(), BadRequest> {
    let scratch = open_scratch(first);
    // The bug: `?` leaves before the scratch memory is given back.
    check_request(first)?;
    close_scratch(scratch);
    Ok(())
}

#[inline(never)]
fn open_scratch(byte: u8) -> Scratch {
    Scratch(Box::into_raw(Box::new([byte; 2048])))
}

fn close_scratch(scratch: Scratch) {
    // SAFETY: it came from `Box::into_raw`, and a scratch is closed once.
    drop(unsafe { Box::from_raw(scratch.0) });
}

fn check_request(first: u8) -> Result<(), BadRequest> {
    if first == 13 { Err(BadRequest) } else { Ok(()) }
}
