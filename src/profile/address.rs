//! Kinds of code address, so that "subtract one?" cannot be forgotten.

use std::fmt;

/// An address inside the instruction that is meant: what symbols are looked up at and what profiles carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(pub u64);

/// What a call left on the stack: the address after the call, so one past the instruction that is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct ReturnAddress(pub u64);

impl ReturnAddress {
    /// The address inside the call.
    pub(crate) fn call_site(self) -> Address {
        Address(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for ReturnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ret {:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_is_before_where_it_returns_to() {
        assert_eq!(ReturnAddress(0x1000).call_site(), Address(0xfff));
        assert_eq!(ReturnAddress(0).call_site(), Address(0));
    }
}
