use std::time::{Duration, SystemTime};

use super::*;
use crate::error::ErrorKind;
use crate::policy::Reason;
use crate::profile::{
    AllocatorMemory, BuildId, Cohort, Cohorts, Gaps, Mapping, PackedTotals, Partial, ReturnAddress, SampleInterval,
    Totals, Whole,
};
use crate::snapshot::{RunId, Snapshot, empty_snapshot};

fn text() -> HeadText {
    HeadText {
        run: RunId { number: 3, random: 77 },
        program: "/opt/service".to_owned(),
        build_id: Some(BuildId([1, 2, 3].into())),
        sample_interval: 1 << 19,
        has_birthdays: true,
    }
}

/// Of stack `id`: deep, and in its root alike for neighbours.
fn frames_of(id: u32) -> Vec<ReturnAddress> {
    let depth = u64::from(id) % 40;
    (0..depth)
        .map(|at| ReturnAddress(0x5555_5555_0000 + at * 0x77 + if at < 3 { u64::from(id) * 0x1003 } else { 0 }))
        .collect()
}

fn frames(id: u32, each: &mut dyn FnMut(ReturnAddress)) {
    frames_of(id).into_iter().for_each(each);
}

/// Of `stacks` stacks, of which every second holds something.
fn snapshot(stacks: u32) -> Snapshot {
    let interval = SampleInterval::from_lg(19).unwrap();
    let cohort = |id: u32| Cohort { stack: id, epoch: id % 3, live: interval.weigh(u64::from(id) * 16 + 16).times(2) };
    let cohorts = Cohorts::of(&(0..stacks).step_by(2).map(cohort).collect::<Vec<_>>());
    let total = |id: u32| Totals {
        stack: id,
        objects: 9,
        bytes: 9 << 12,
        estimated_objects: 1000,
        estimated_bytes: 9 << 19,
        freed_lifetimes_millis: u64::from(id) << 20,
    };
    let totals = PackedTotals::pack(stacks as usize, (0..stacks).map(total));
    let mut snapshot = Snapshot::clone(&empty_snapshot(7, 100 << 20));
    snapshot.time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_283_516_123);
    snapshot.reason = Reason::RssAboveThreshold { rss: 100 << 20, threshold: 1 };
    snapshot.whole = Whole::of(&cohorts, total(0));
    snapshot.live = snapshot.whole.live();
    (snapshot.cohorts, snapshot.totals) = (cohorts, totals);
    (snapshot.epoch, snapshot.told_apart) = (5, vec![0, 1, 4]);
    snapshot.gaps = Gaps { dropped_objects: 1, dropped_bytes: 2, pauses: 3, rescales: 4 };
    snapshot.partial = Some(Partial::PAUSED);
    snapshot.reading.process.swap = Some(0);
    snapshot.reading.allocator = Some(AllocatorMemory { allocated: 9, muzzy: Some(1), ..AllocatorMemory::default() });
    snapshot.reading.cgroup.limit = Some(1 << 30);
    let mapping = |start: u64, id: &[u8]| Mapping {
        start,
        limit: start + 0x1000,
        file_offset: 0x40,
        path: "/opt/service".to_owned(),
        build_id: (!id.is_empty()).then(|| BuildId(id.into())),
    };
    snapshot.mappings = [mapping(0x1000, &[9; 20]), mapping(0x2000, &[])].into();
    snapshot
}

fn encoded(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    let len = Packer::new().write(snapshot, &text(), &frames, &mut bytes).unwrap();
    assert_eq!(len, bytes.len() as u64);
    bytes
}

#[test]
fn what_is_written_is_read_again() {
    let snapshot = snapshot(3000);
    let stored = decode(&encoded(&snapshot)).unwrap();
    assert_eq!((&stored.cohorts, &stored.totals), (&snapshot.cohorts, &snapshot.totals));
    assert_eq!((&stored.mappings[..], &stored.told_apart), (&snapshot.mappings[..], &snapshot.told_apart));
    let head = &stored.head;
    assert_eq!((head.id, head.time, head.epoch), (snapshot.id, snapshot.time, snapshot.epoch));
    assert_eq!((&*head.reason, &head.why), (snapshot.reason.name(), &snapshot.reason.to_string()));
    assert_eq!((head.reading, head.live, head.small), (snapshot.reading, snapshot.live, snapshot.whole.small));
    assert_eq!((head.gaps, head.partial, head.allocated), (snapshot.gaps, snapshot.partial, snapshot.whole.allocated));
    assert_eq!((head.stacks, head.duration), (1500, snapshot.duration));
    assert_eq!(
        (head.text.run, &*head.text.program, &head.text.build_id),
        (text().run, "/opt/service", &text().build_id)
    );
    assert_eq!((&*head.version, head.text.sample_interval), (env!("CARGO_PKG_VERSION"), 1 << 19));
    assert_eq!(stored.stacks.len(), 3000);
    assert!(stored.stacks.iter().all(|(id, frames)| frames == frames_of(id)));
    assert_eq!(stored.stacks.frames(17), frames_of(17));
    assert!(stored.stacks.frames(3000).is_empty());
}

#[test]
fn an_empty_heap_and_the_largest_numbers_are_written_too() {
    let mut one = Snapshot::clone(&empty_snapshot(u64::MAX, u64::MAX));
    one.time = SystemTime::UNIX_EPOCH - Duration::from_nanos(5);
    let stored = decode(&encoded(&one)).unwrap();
    assert_eq!((stored.head.id, stored.head.time, stored.stacks.len()), (u64::MAX, one.time, 0));
    let weights = vec![SampleInterval::from_lg(0).unwrap().weigh(1)];
    let row = |stack| crate::profile::CohortRow { stack, epoch: u32::MAX, weight: 0, objects: u32::MAX };
    one.cohorts = Cohorts::pack(3, [row(0), row(1), row(u32::MAX)].into_iter(), weights);
    let stored = decode(&encoded(&one)).unwrap();
    assert_eq!(stored.stacks.iter().map(|(id, _)| id).collect::<Vec<_>>(), [0, 1, u32::MAX]);
}

#[test]
fn a_file_is_told_to_be_whole_by_its_ends_alone() {
    let bytes = encoded(&snapshot(100));
    let (head, len) = read_head(&bytes[..MOST_HEAD_BYTES.min(bytes.len())]).unwrap();
    let end = bytes.len() - TRAILER_BYTES;
    assert_eq!(head.id, 7);
    assert!(Trailer::read(&bytes[end..], len, bytes.len() as u64).is_ok());
    let error = Trailer::read(&bytes[end - 1..bytes.len() - 1], len, bytes.len() as u64 - 1).unwrap_err();
    assert!(error.to_string().contains("cut off or damaged"), "{error}");
    let error = Trailer::read(&bytes[end..], len, bytes.len() as u64 + 1).unwrap_err();
    assert!(error.to_string().contains("another length"), "{error}");
}

/// Every cut and every flipped bit is an error that names a place, never a panic and never another snapshot.
#[test]
fn damage_is_told_with_its_place() {
    let bytes = encoded(&snapshot(60));
    for end in 0..bytes.len() {
        let error = decode(&bytes[..end]).unwrap_err().to_string();
        assert!(error.contains("at byte "), "cut at {end}: {error}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let error = decode(&damaged).map(|stored| stored.head.id).unwrap_err().to_string();
            assert!(error.contains("at byte "), "bit {bit} of byte {at}: {error}");
        }
    }
    let mut future = bytes.clone();
    future[8] = 2;
    let error = decode(&future).unwrap_err();
    assert_eq!(error.to_string(), "at byte 8: format version 2, and this heapward reads version 1 alone");
    // Nothing is wrong with it.
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
    future[8] = 0;
    assert_eq!(decode(&future).unwrap_err().kind(), ErrorKind::Malformed);
}

/// A service near its limit is not ended by looking at what an earlier run left.
#[test]
fn no_more_is_held_than_there_is_room_for_and_that_is_no_damage() {
    let bytes = encoded(&snapshot(20_000));
    let fits = |room: u64| match decode_within(&bytes, Some(room)) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            false
        }
    };
    assert!(fits(bytes.len() as u64 * 32), "what is asked for before");
    let (mut low, mut high) = (0, bytes.len() as u64 * 32);
    while high - low > 1 << 10 {
        let middle = low.midpoint(high);
        if fits(middle) { high = middle } else { low = middle }
    }
    println!("{} bytes on disk take {high} at most", bytes.len());
    assert!(low > bytes.len() as u64, "{low}");
}

/// Bodies that a checksum cannot refuse, as somebody made them.
#[test]
fn a_body_that_lies_is_refused_before_it_takes_memory() {
    let body = |plain: &[u8]| {
        let mut bytes = encoded(&snapshot(0));
        let (_, start) = read_head(&bytes).unwrap();
        bytes.truncate(start);
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, plain).unwrap();
        let packed = packed.finish().unwrap();
        bytes.extend(&packed);
        let mut trailer = Vec::new();
        trailer.extend((packed.len() as u64).to_le_bytes());
        trailer.extend((plain.len() as u64).to_le_bytes());
        trailer.extend(head::crc(&packed).to_le_bytes());
        trailer.extend(END_MAGIC);
        let crc = head::crc(&trailer);
        trailer.extend(crc.to_le_bytes());
        bytes.extend(trailer);
        decode(&bytes).map(|_| ()).map_err(|error| error.to_string())
    };
    let empty: &[u8] = &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7];
    assert_eq!(body(empty), Ok(()));
    let with = |at: usize, bytes: &[u8]| [&empty[..at], bytes, &empty[at + 1..]].concat();
    let many = [0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let check = |plain: Vec<u8>, expect: &str| {
        let error = body(&plain).unwrap_err();
        assert!(error.contains(" of the unpacked body: ") && error.contains(expect), "{error}");
    };
    check(empty[..12].to_vec(), "ends too early");
    check([empty, &[0]].concat(), "");
    check(with(1, &many), "");
    check(with(7, &many), "ends too early");
    check(with(2, &[9]), "section 2 should begin here, and 9 does");
    // One row, cut off; and one of a size that there is not.
    check(with(7, &[2, 1, 1]), "a row is cut off");
    check(with(7, &[4, 1, 1, 0, 1]), "a row says what cannot be");
    // Sums that would overflow in whoever makes them: a row of all stacks that has more than there is, and two that have
    // together.
    let half = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f];
    let row = |number: &[u8]| [&[1], number, &[0; 4]].concat();
    let block = |rows: &[u8]| [&[rows.len() as u8], rows].concat();
    assert_eq!(body(&with(9, &block(&row(&half)))), Ok(()));
    check(with(9, &block(&[row(&half), row(&half), row(&[2])].concat())), "a row says what cannot be");
    check(
        with(9, &block(&row(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]))),
        "a row says what cannot be",
    );
    // Of one object that counts for so many; then two of these, then four.
    let weight = |figure: f64| [&[1][..], &half, &[0], &figure.to_le_bytes(), &[0; 24]].concat();
    let weighed = |weight: &[u8], objects: u8| [&empty[..5], weight, &[4, 4, 1, 0, 0, objects], &empty[8..]].concat();
    assert_eq!(body(&weighed(&weight(1.0), 2)), Ok(()));
    check(weighed(&weight(1.0), 4), "a row says what cannot be");
    for figure in [-1.0, 1e61, f64::NAN, f64::INFINITY] {
        check(weighed(&weight(figure), 1), "a figure that no heap has");
    }
    check(with(11, &[1, 1, 0]), "a stack of 0 frames and 1 of the one before, which has 0");
    check(with(11, &[1, 0, 0x81, 0x08]), "a stack of 1025 frames");
    // A thousand frames, and again and again the same: 2 bytes for 8 KiB.
    let mut bomb = empty[..11].to_vec();
    bomb.extend([1, 0, 0xe8, 0x07]);
    bomb.extend([2; 1000]);
    bomb.extend([1, 0xe8, 0x07, 0].repeat(100_000));
    check(bomb, "holding it would take more than 192.0 MiB");
}
