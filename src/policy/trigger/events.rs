//! The kernel counted trouble of the control group.

use super::{Hold, Verdict};
use crate::policy::Reason;
use crate::profile::{CgroupEvent, CgroupEvents, Reading};

/// What the rule looks at, the worst first. Not `max`: a group whose page cache fills its limit has that all the time, and
/// not `low`, which is about protection.
const WATCHED: [CgroupEvent; 3] = [CgroupEvent::OomKill, CgroupEvent::Oom, CgroupEvent::High];

/// Compares with the counts at the last snapshot, whatever it was taken for: what happens while the last one is too young
/// is not forgotten. Counts are exact, so that one reading is enough.
#[derive(Debug)]
pub(super) struct EventsRule {
    is_on: bool,
    base: CgroupEvents,
}

impl EventsRule {
    pub(super) fn new(is_on: bool) -> Self {
        Self { is_on, base: CgroupEvents::default() }
    }

    pub(super) fn judge(&mut self, reading: &Reading) -> Verdict {
        let mut is_known = false;
        let mut fires = None;
        for event in WATCHED {
            let Some(count) = reading.events.of(event) else { continue };
            is_known = true;
            let base = self.base.of_mut(event);
            // Known for the first time, or of another group than before: what was counted until now is another story.
            if base.is_none_or(|base| count < base) {
                *base = Some(count);
            }
            let risen = base.map_or(0, |base| count - base);
            if risen > 0 && fires.is_none() {
                fires = Some(Reason::CgroupEvent { event: event.name(), count: risen });
            }
        }
        match fires {
            _ if !self.is_on => Verdict::Holds(Hold::Off { setting: "HEAPWARD_TRIGGER_EVENTS" }),
            Some(reason) => Verdict::Fires(reason),
            None if is_known => Verdict::Holds(Hold::NoneRose),
            None => Verdict::Holds(Hold::NoEvents),
        }
    }

    /// A snapshot was taken.
    pub(super) fn taken(&mut self, reading: &Reading) {
        for event in WATCHED {
            // What this reading lacks is not started anew.
            if let Some(count) = reading.events.of(event) {
                *self.base.of_mut(event) = Some(count);
            }
        }
    }
}
