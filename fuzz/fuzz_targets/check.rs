//! What holds for any bytes at all.

use heapward::HeapProfile;

/// Reads `bytes`; what reads must be written, and be the same when it is read again.
pub fn check(bytes: &[u8]) {
    let Ok(profile) = HeapProfile::read(bytes) else { return };
    let written = profile.heap_prof().expect("what was read can be written");
    let again = HeapProfile::read(&written).unwrap_or_else(|error| panic!("what was written can be read: {error}"));
    assert_eq!(again.totals(), profile.totals());
    assert_eq!(again.time(), profile.time());
    assert_eq!(again.comments(), profile.comments());
    assert_eq!(again.top(5).len(), profile.top(5).len());
}
