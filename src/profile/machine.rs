//! Memory of the whole machine, as far as an alert looks at it.

use super::SystemMemory;

/// Swap of the machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SwapUse {
    /// All of it; not zero.
    pub total: u64,
    /// What is in use.
    pub used: u64,
}

/// Memory of the machine, in bytes. What is unknown is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineMemory {
    /// All that the kernel has to give.
    pub total: Option<u64>,
    /// `None` also where there is no swap.
    pub swap: Option<SwapUse>,
}

impl MachineMemory {
    /// What of `memory` an alert looks at.
    pub(crate) fn of(memory: &SystemMemory) -> Self {
        let swap = memory.swap_total.filter(|total| *total > 0).zip(memory.swap_used());
        Self { total: Some(memory.total), swap: swap.map(|(total, used)| SwapUse { total, used }) }
    }
}

impl SwapUse {
    /// What is in use, in percent.
    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.used as f64 / self.total.max(1) as f64
    }

    /// Whether more than `percent` is in use; exactly that is not more.
    pub(crate) fn is_over(&self, percent: u64) -> bool {
        u128::from(self.used) * 100 > u128::from(self.total) * u128::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_swap_is_no_use_of_it() {
        let memory = |swap_total, swap_free| {
            MachineMemory::of(&SystemMemory { total: 9, swap_total, swap_free, ..SystemMemory::default() })
        };
        assert_eq!(
            memory(Some(8), Some(2)),
            MachineMemory { total: Some(9), swap: Some(SwapUse { total: 8, used: 6 }) }
        );
        for nothing in [memory(Some(0), Some(0)), memory(None, None), memory(Some(8), None)] {
            assert_eq!(nothing, MachineMemory { total: Some(9), swap: None });
        }
    }

    #[test]
    fn half_of_the_swap_is_not_over_half() {
        let used = |used| SwapUse { total: 2000, used };
        assert!(!used(1000).is_over(50) && used(1001).is_over(50));
        assert_eq!(used(1001).percent(), 50.05);
        assert!(SwapUse { total: u64::MAX, used: u64::MAX }.is_over(50));
    }
}
