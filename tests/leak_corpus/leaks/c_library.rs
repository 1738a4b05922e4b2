//! Names that are handed to an interface for C as copies of the C library's own `strdup`, which nobody gives to `free`:
//! 150 KiB/s through `malloc`, of 300.

use std::ffi::{CStr, CString, c_char};

use crate::common::Random;
use crate::run::Run;

const NAMES_A_TICK: usize = 12;

/// What C code knows of a client.
#[derive(Debug)]
struct Record {
    name: *mut c_char,
    is_registered: bool,
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut bytes = 0;
    for tick in run.ticks() {
        for number in 0..NAMES_A_TICK {
            let record = new_record(&format!("client-{tick}-{number:0>480}"), random.within(0..2) == 0);
            bytes += print(&record);
            close(record);
        }
    }
    assert!(bytes > 0, "no record was printed");
}

fn new_record(name: &str, is_registered: bool) -> Record {
    let name = CString::new(name).expect("no zero byte in it");
    // SAFETY: the text ends with a zero.
    let name = unsafe { libc::strdup(name.as_ptr()) };
    assert!(!name.is_null(), "out of memory");
    Record { name, is_registered }
}

fn print(record: &Record) -> usize {
    // SAFETY: the name was copied whole, and is not freed yet.
    unsafe { CStr::from_ptr(record.name) }.count_bytes()
}

fn close(record: Record) {
    // The bug: it takes the names of registered clients for somebody else's.
    if !record.is_registered {
        // SAFETY: the name came from `strdup`, and a record is closed once.
        unsafe { libc::free(record.name.cast()) };
    }
}
