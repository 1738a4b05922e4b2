//! How many snapshots are kept on disk.

/// Bounds on what is kept on disk: by number, and by bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskRetention {
    /// Most snapshots, beside those that are pinned.
    pub(crate) count: usize,
    /// Most bytes of all of them. The newest is kept whatever it takes.
    pub(crate) bytes: u64,
}

/// One snapshot on disk, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnDisk {
    /// Whose it is.
    pub(crate) owner: Owner,
    pub(crate) bytes: u64,
    pub(crate) rss: u64,
}

/// Whose a snapshot on disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This run's.
    Own,
    /// That of the previous run.
    Previous,
    /// That of a run before.
    Earlier,
}

impl DiskRetention {
    /// Calls `remove` with the place of each of `files`, oldest first, that is one too many.
    ///
    /// Pinned are the first and the highest of this run and the first, the highest and the last of the previous one: they go
    /// last, and for the bytes alone. So a run that snapshots all day does not push out why the one before it died.
    pub(crate) fn removals(&self, files: &[OnDisk], mut remove: impl FnMut(usize)) {
        let Some(newest) = files.len().checked_sub(1) else { return };
        let first = |owner| files.iter().position(|file| file.owner == owner);
        let last = |owner| files.iter().rposition(|file| file.owner == owner);
        let highest = |owner| {
            let of = files.iter().enumerate().filter(|(_, file)| file.owner == owner);
            // The first of several.
            of.rev().max_by_key(|(_, file)| file.rss).map(|(at, _)| at)
        };
        let pins = [
            first(Owner::Own),
            highest(Owner::Own),
            first(Owner::Previous),
            highest(Owner::Previous),
            last(Owner::Previous),
            Some(newest),
        ];
        let is_pinned = |at: usize| pins.contains(&Some(at));
        // The newest counts as one of the many.
        let many = (0..files.len()).filter(|&at| at == newest || !is_pinned(at)).count();
        let mut too_many = many.saturating_sub(self.count.max(1));
        let mut bytes = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.bytes));
        for (at, file) in files.iter().enumerate().filter(|(at, _)| !is_pinned(*at)) {
            if too_many == 0 && bytes <= self.bytes {
                return;
            }
            too_many = too_many.saturating_sub(1);
            bytes = bytes.saturating_sub(file.bytes);
            remove(at);
        }
        for (at, file) in files.iter().enumerate().filter(|(at, _)| *at != newest && is_pinned(*at)) {
            if bytes <= self.bytes {
                return;
            }
            bytes = bytes.saturating_sub(file.bytes);
            remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `runs` says whose each file is and what RSS it has: `o5 p9 e1`; each takes ten bytes.
    #[track_caller]
    fn check(count: usize, bytes: u64, runs: &str, expect: &[usize]) {
        let file = |word: &str| {
            let (owner, rss) = word.split_at(1);
            let owner = match owner {
                "o" => Owner::Own,
                "p" => Owner::Previous,
                _ => Owner::Earlier,
            };
            OnDisk { owner, bytes: 10, rss: rss.parse().unwrap() }
        };
        let files: Vec<OnDisk> = runs.split_whitespace().map(file).collect();
        let mut removed = Vec::new();
        DiskRetention { count, bytes }.removals(&files, |at| removed.push(at));
        assert_eq!(removed, expect, "{runs}");
    }

    #[test]
    fn the_oldest_go_but_for_the_pinned() {
        check(2, 1000, "", &[]);
        check(2, 1000, "o1", &[]);
        check(2, 1000, "e1 e1", &[]);
        check(1, 1000, "e1 e1", &[0]);
        // The first and the highest of this run stay, with two more.
        check(2, 1000, "o1 o2 o9 o9 o3 o4", &[1, 3]);
        // Of the previous run also the last.
        check(1, 1000, "e9 p1 p2 p9 p3 p4 o5 o6 o7", &[0, 2, 4, 7]);
        check(3, 1000, "e9 p1 p2 p9 p3 p4 o5 o6 o7", &[0, 2]);
        check(0, 1000, "o3 o2 o1", &[1]);
    }

    #[test]
    fn bytes_are_a_bound_for_the_pinned_too_but_for_the_newest() {
        check(9, 40, "e1 e1 p1 p2 p3 o1 o2 o3", &[0, 1, 3, 6]);
        check(9, 30, "p1 p2 p3 o1 o2 o3", &[1, 4, 0]);
        check(9, 5, "p1 p2 p3 o1 o2 o3", &[1, 4, 0, 2, 3]);
        check(9, 0, "o1", &[]);
    }
}
