use super::*;

const MIB: u64 = 1 << 20;
const ABOVE: Reason = Reason::RssAboveThreshold { rss: 2, threshold: 1 };

/// Readings and snapshots, a minute apart.
#[derive(Default)]
struct Story {
    episodes: Episodes,
    minute: u64,
    id: u64,
}

impl Story {
    fn reading(&mut self, rss_mib: u64) -> Reading {
        self.minute += 1;
        Reading::of_rss(60 * self.minute, rss_mib * MIB)
    }

    fn see(&mut self, rss_mib: u64) {
        let reading = self.reading(rss_mib);
        self.episodes.observe(&reading);
    }

    /// A reading with a snapshot.
    fn take(&mut self, rss_mib: u64, reason: Reason) -> Option<u64> {
        let reading = self.reading(rss_mib);
        self.episodes.observe(&reading);
        self.id += 1;
        self.episodes.snapshot(self.id, &reason, &reading)
    }

    /// The last one: its start, peak and end as minute and MiB, how it ended, its snapshots.
    #[track_caller]
    fn check_last(&self, expect: &str) {
        let episode = self.episodes.all().last().expect("an episode");
        let point = |point: EpisodePoint| format!("{}:{}", point.uptime.as_secs() / 60, point.rss / MIB);
        let end = episode.end.map_or("goes on".to_owned(), |(end, ending)| format!("{} {}", ending.name(), point(end)));
        let told = format!("{}, {}, {end}, {:?}", point(episode.start), point(episode.peak), episode.snapshots);
        assert_eq!(told, expect);
    }
}

#[test]
fn the_snapshots_of_a_rise_are_one_episode_with_start_peak_and_end() {
    let mut story = Story::default();
    for rss in [100, 101, 100, 101] {
        story.see(rss);
    }
    assert_eq!(story.take(100, Reason::Requested), None, "one on request begins none");
    story.see(120);
    assert_eq!(story.take(140, ABOVE), Some(1));
    story.check_last("5:100, 7:140, goes on, [2]");
    assert_eq!(story.take(180, ABOVE), Some(1));
    assert_eq!(story.take(170, Reason::Requested), Some(1), "one on request is of the rise that goes on");
    story.see(200);
    story.see(190);
    story.check_last("5:100, 10:200, goes on, [2, 3, 4]");
    // Half of the rise is at 150.
    story.see(151);
    story.see(150);
    story.see(151);
    story.see(150);
    assert!(story.episodes.open().is_some(), "one reading can be wrong");
    story.see(149);
    story.check_last("5:100, 10:200, fell 16:149, [2, 3, 4]");
    let episode = story.episodes.all().last().unwrap();
    let reasons: Vec<_> = episode.reasons_taken().collect();
    assert_eq!(reasons, [("rss_above_threshold", 2), ("requested", 1)]);
    assert_eq!((episode.taken(), episode.highest, episode.opened_by), (3, 3, ABOVE));
}

#[test]
fn what_stays_high_settles_and_is_no_new_episode() {
    let mut story = Story::default();
    story.see(50);
    assert_eq!(story.take(400, ABOVE), Some(1));
    // A service that stays above its threshold has a snapshot a minute.
    for minute in 0..14 {
        assert_eq!(story.take(401 + minute % 2, ABOVE), Some(1), "{minute}");
    }
    assert_eq!(story.take(400, ABOVE), None);
    let ids: Vec<String> = (1..=15).map(|id| id.to_string()).collect();
    story.check_last(&format!("1:50, 4:402, settled 17:400, [{}]", ids.join(", ")));
    for minute in 0..1000 {
        assert_eq!(story.take(400 + minute % 20, ABOVE), None, "{minute}");
    }
    // A sixteenth of 400 is 25.
    assert_eq!(story.take(424, ABOVE), None);
    assert_eq!(story.take(425, ABOVE), Some(2));
    assert_eq!(story.episodes.started(), 2);
}

#[test]
fn a_slow_rise_is_one_episode_for_as_long_as_it_rises() {
    let mut story = Story::default();
    story.see(100);
    // 6 MiB in 15 minutes, which is 1% up to 600 MiB.
    for minute in 0..1000u64 {
        let rss = 120 + minute * 4 / 10;
        let episode = story.take(rss, ABOVE);
        assert_eq!(episode, Some(1), "{minute}");
    }
    let episode = story.episodes.open().expect("it goes on");
    assert_eq!((episode.taken(), episode.snapshots.len()), (1000, MOST_SNAPSHOTS));
    assert_eq!((episode.snapshots[0], episode.snapshots[1], episode.snapshots[63]), (1, 1000 - 62, 1000));
    assert_eq!(episode.highest, 999, "the first of equal ones");
}

#[test]
fn a_small_rise_is_none() {
    let mut story = Story::default();
    story.see(10);
    assert_eq!(story.take(13, ABOVE), None, "4 MiB at least");
    assert_eq!(story.take(14, ABOVE), Some(1));
    let mut story = Story::default();
    story.see(1600);
    assert_eq!(story.take(1699, ABOVE), None, "a sixteenth at least");
    assert_eq!(story.take(1900, Reason::Requested), None, "one on request begins none");
    assert_eq!(story.take(1700, ABOVE), Some(1));
    // Without any reading before there is nothing that it rose from.
    assert_eq!(Story::default().take(1000, ABOVE), None);
}

#[test]
fn the_rise_begins_at_the_last_reading_down_there() {
    let mut story = Story::default();
    for rss in [300, 200, 205, 210, 203, 400, 230, 350] {
        story.see(rss);
    }
    assert_eq!(story.take(380, ABOVE), Some(1));
    // 203 is the last within a quarter of a least rise of the lowest; the highest since was before the snapshot.
    story.check_last("5:203, 6:400, goes on, [1]");
}

#[test]
fn the_last_twenty_are_kept() {
    let mut story = Story::default();
    for round in 1..=50 {
        story.see(100);
        assert_eq!(story.take(200, ABOVE), Some(round));
        story.see(100);
        story.see(100);
    }
    let ids: Vec<u64> = story.episodes.all().map(|episode| episode.id).collect();
    assert_eq!(ids, (31..=50).collect::<Vec<u64>>());
    assert!(story.episodes.open().is_none());
}
