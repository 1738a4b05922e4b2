//! The name of the machine.

/// The name of this machine, or of the container that looks like one; empty when unknown.
pub(crate) fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_a_name() {
        assert!(!super::machine_name().is_empty());
    }
}
