//! One buffer that is replaced by a larger one, again and again: a vector or a table that only grows.

use super::Window;

/// The most objects that such a site holds at a time.
const MOST_OBJECTS: u64 = 3;

/// A level rises by a step when it comes to so many times the former one.
const STEP: f64 = 1.2;

/// With fewer steps it is a buffer that was replaced once or twice.
const LEAST_STEPS: usize = 3;

/// What grows at a steady pace in a buffer that doubles takes twice as long for the next step as for the last.
const MOST_WAIT: f64 = 2.0;

/// How many steps up the window shows, if nothing else but steps up; `None` if there are too few, one went down, or the
/// next is overdue.
///
/// The objects of such a site are always young, and there are too few to count: neither ages nor the number of samples
/// tell anything. But all of them are so large that hardly one escapes sampling.
pub(super) fn steps(window: &Window<'_>) -> Option<usize> {
    let all = &window.all;
    let mut steps: Vec<usize> = Vec::new();
    let mut former: Option<f64> = None;
    for at in window.start..=window.last {
        let objects = all.objects(at);
        if objects > MOST_OBJECTS {
            return None;
        }
        if objects == 0 {
            // One that was not sampled.
            continue;
        }
        let level = all.level(at);
        match former {
            Some(former) if level < former / STEP => return None,
            Some(former) if level > former * STEP => steps.push(at),
            Some(_) => continue,
            None => {}
        }
        former = Some(level);
    }
    // A step happened after the snapshot before the one that shows it.
    let [.., before, last] = steps[..] else { return None };
    let since = all.time(window.last) - all.time(last);
    let gap = all.time(last) - all.time(before - 1);
    (steps.len() >= LEAST_STEPS && since <= MOST_WAIT * gap).then_some(steps.len())
}
