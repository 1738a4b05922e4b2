#![no_main]

mod check;

use libfuzzer_sys::fuzz_target;

// profile.proto or anything gzipped: text has a target of its own.
fuzz_target!(|bytes: &[u8]| check::check(bytes));
