//! Gauges of the host's, which are functions that it gives us.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::status::Status;
use super::threads;
use crate::error::{Error, Result};
use crate::policy::{GaugeValue, Gauged};

/// So many at most: each is asked at every poll.
const MOST: usize = 16;
const LONGEST_NAME: usize = 64;
/// A function that panics so often in a row is not asked any more: each time, the host's log gets a trace.
const PANICS: u32 = 3;
/// A function that takes longer is told.
const SLOW: Duration = Duration::from_millis(50);

/// A gauge of the host's, with the value above which snapshots are taken.
#[derive(Clone)]
pub(crate) struct HostGauge {
    pub(crate) name: &'static str,
    pub(crate) above: f64,
    read: Arc<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl HostGauge {
    pub(crate) fn new(name: &'static str, above: f64, read: impl Fn() -> Option<f64> + Send + Sync + 'static) -> Self {
        Self { name, above, read: Arc::new(read) }
    }
}

impl fmt::Debug for HostGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostGauge").field("name", &self.name).field("above", &self.above).finish_non_exhaustive()
    }
}

impl Shared {
    /// The host's gauges as `status` has them, in their order: name, value above which snapshots are taken, value; that is
    /// `None` where it is unknown. None of them before the first poll.
    pub(crate) fn host_gauges(&self, status: &Status) -> impl Iterator<Item = (&'static str, f64, Option<f64>)> {
        self.config.gauges.iter().zip(&status.gauged).map(|(gauge, gauged)| {
            let value = match gauged.value {
                GaugeValue::Known(value) => Some(value),
                GaugeValue::Unknown | GaugeValue::Panicked => None,
            };
            (gauge.name, gauge.above, value)
        })
    }
}

/// Whether these are allowed.
pub(super) fn validated(gauges: &[HostGauge]) -> Result<()> {
    if gauges.len() > MOST {
        return Err(Error::config(format!("trigger_on_gauge was set {} times: allowed are {MOST}", gauges.len())));
    }
    for (index, HostGauge { name, above, .. }) in gauges.iter().enumerate() {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_allowed) {
            return Err(Error::config(format!(
                "trigger_on_gauge has the name `{name}`: allowed are 1 to {LONGEST_NAME} of a to z, 0 to 9 and _"
            )));
        }
        if !above.is_finite() {
            return Err(Error::config(format!(
                "trigger_on_gauge `{name}` is above {above}: allowed is a finite number"
            )));
        }
        if gauges.iter().take(index).any(|before| before.name == *name) {
            return Err(Error::config(format!("trigger_on_gauge has the name `{name}` twice: each needs its own")));
        }
    }
    Ok(())
}

/// The gauges, on the watcher's thread.
pub(super) struct HostGauges {
    /// Each with its panics in a row.
    gauges: Vec<(HostGauge, u32)>,
    /// Of the last poll; kept to be filled again without allocating.
    gauged: Vec<Gauged>,
}

impl HostGauges {
    pub(super) fn new(gauges: Vec<HostGauge>) -> Self {
        let none = Gauged { value: GaugeValue::Unknown, slow: None };
        Self { gauged: vec![none; gauges.len()], gauges: gauges.into_iter().map(|gauge| (gauge, 0)).collect() }
    }

    /// Asks each, in their order. One that panics is counted by `panicked`; that is told in the log, and one that is slow when
    /// it begins to be.
    pub(super) fn read(&mut self, mut panicked: impl FnMut()) -> &[Gauged] {
        for ((gauge, panics), gauged) in self.gauges.iter_mut().zip(&mut self.gauged) {
            if *panics >= PANICS {
                continue;
            }
            let was_slow = gauged.slow.is_some();
            let begun = Instant::now();
            let value = threads::quietly(|| (gauge.read)());
            let took = begun.elapsed();
            gauged.slow = (took >= SLOW).then_some(took);
            gauged.value = match value {
                Some(Some(value)) if !value.is_nan() => GaugeValue::Known(value),
                Some(_) => GaugeValue::Unknown,
                None => GaugeValue::Panicked,
            };
            *panics = if gauged.value == GaugeValue::Panicked { *panics + 1 } else { 0 };
            if *panics > 0 {
                panicked();
                tracing::error!(
                    "heapward: the function of the gauge {} panicked, and counts as unknown{}",
                    gauge.name,
                    if *panics == PANICS { "; it is not asked any more" } else { "" }
                );
            }
            if gauged.slow.is_some() && !was_slow {
                tracing::warn!(
                    "heapward: the function of the gauge {} took {:.2} s, and nothing is polled while it runs",
                    gauge.name,
                    took.as_secs_f64()
                );
            }
        }
        &self.gauged
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

    use super::*;

    fn gauge(name: &'static str, above: f64) -> HostGauge {
        HostGauge::new(name, above, || None)
    }

    #[track_caller]
    fn check_refused(gauges: &[HostGauge], expect: &str) {
        assert_eq!(validated(gauges).unwrap_err().to_string(), expect);
    }

    #[test]
    fn names_are_words_of_their_own_and_thresholds_are_numbers() {
        assert!(validated(&[gauge("queue_bytes", 1.0), gauge("z9", -1.0)]).is_ok());
        for name in ["", "Queue", "queue bytes", "schlüssel", "a\"b"] {
            let expect = "allowed are 1 to 64 of a to z, 0 to 9 and _";
            check_refused(&[gauge(name, 1.0)], &format!("trigger_on_gauge has the name `{name}`: {expect}"));
        }
        check_refused(&[gauge("a", f64::NAN)], "trigger_on_gauge `a` is above NaN: allowed is a finite number");
        check_refused(
            &[gauge("a", 1.0), gauge("b", 1.0), gauge("a", 2.0)],
            "trigger_on_gauge has the name `a` twice: each needs its own",
        );
        check_refused(&vec![gauge("a", 1.0); 17], "trigger_on_gauge was set 17 times: allowed are 16");
    }

    #[test]
    fn what_has_no_value_is_unknown_and_a_panic_is_outlived_and_counted() {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let mut gauges = HostGauges::new(vec![
            HostGauge::new("known", 1.0, || Some(ASKED.fetch_add(1, Relaxed) as f64)),
            HostGauge::new("none", 1.0, || None),
            HostGauge::new("nan", 1.0, || Some(f64::NAN)),
            HostGauge::new("panics", 1.0, || panic!("it does")),
            HostGauge::new("last", 1.0, || Some(7.0)),
        ]);
        let mut panics = 0;
        for poll in 0..5 {
            let values: Vec<GaugeValue> = gauges.read(|| panics += 1).iter().map(|gauged| gauged.value).collect();
            let known = |value| GaugeValue::Known(value);
            let unknown = GaugeValue::Unknown;
            assert_eq!(values, [known(f64::from(poll)), unknown, unknown, GaugeValue::Panicked, known(7.0)]);
        }
        assert_eq!(panics, PANICS, "it is not asked any more");
    }

    #[test]
    fn a_slow_one_is_told_and_its_value_counts() {
        static IS_SLOW: AtomicBool = AtomicBool::new(true);
        let slow = || {
            let begun = Instant::now();
            while IS_SLOW.load(Relaxed) && begun.elapsed() < SLOW {
                std::hint::spin_loop();
            }
            Some(2.0)
        };
        let mut gauges = HostGauges::new(vec![HostGauge::new("slow", 1.0, slow)]);
        let gauged = gauges.read(|| ())[0];
        assert_eq!(gauged.value, GaugeValue::Known(2.0));
        assert!(gauged.slow.is_some_and(|took| took >= SLOW), "{gauged:?}");
        IS_SLOW.store(false, Relaxed);
        // Quick, whenever this thread is not kept from running.
        assert!((0..100).any(|_| gauges.read(|| ())[0].slow.is_none()));
    }
}
