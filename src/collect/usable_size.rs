//! What an object takes, in four bytes.

/// Of the number: it is of pages, not of bytes.
const PAGES: u32 = 1 << 31;
const PAGE_BYTES: u64 = 4096;

/// What an object takes: bytes, or pages where it takes whole ones, as all large ones do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsableSize(u32);

impl UsableSize {
    /// `None` for what is neither whole pages, 2^31 at most, nor less than 2 GiB.
    #[inline]
    pub(super) fn of(bytes: u64) -> Option<Self> {
        let (number, unit) = if bytes.is_multiple_of(PAGE_BYTES) { (bytes / PAGE_BYTES, PAGES) } else { (bytes, 0) };
        u32::try_from(number).ok().filter(|number| number & PAGES == 0).map(|number| Self(number | unit))
    }

    pub(super) fn bytes(self) -> u64 {
        let number = u64::from(self.0 & !PAGES);
        if self.0 & PAGES == 0 { number } else { number * PAGE_BYTES }
    }

    /// As one word.
    pub(super) fn code(self) -> u32 {
        self.0
    }
}

/// A size class below 16 KiB, of which jemalloc has four between a power of two and the next (sc.h, `SC_LG_NGROUP`): from
/// there on, its sizes are as many as pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SmallClass(u8);

impl SmallClass {
    pub(super) const COUNT: usize = 14 << 2;

    /// That of an object of `usable` bytes; `None` where there is none.
    #[inline]
    pub(super) fn of(usable: u64) -> Option<Self> {
        let power = usable.checked_ilog2()?;
        let quarter = usable >> power.checked_sub(2)? & 3;
        let class = Self((power as u8) << 2 | quarter as u8);
        (class.number() < Self::COUNT && class.usable() == usable).then_some(class)
    }

    /// Below [`SmallClass::COUNT`].
    pub(super) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// What an object of it takes, in bytes.
    pub(super) fn usable(self) -> u64 {
        // Below four bytes there are no quarters, and no classes either.
        (4 | u64::from(self.0 & 3)) << (u32::from(self.0) >> 2).saturating_sub(2)
    }

    /// All that there can be.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SMALL_BYTES;

    /// All sizes that jemalloc has, up to a tebibyte or so.
    fn sizes() -> Vec<u64> {
        let mut sizes = vec![];
        let mut asked = 1;
        while asked < 1 << 40 {
            // SAFETY: asks for the size of what would be allocated.
            let usable = unsafe { tikv_jemalloc_sys::nallocx(asked as usize, 0) } as u64;
            sizes.push(usable);
            // Each small one, and one page in many.
            asked = usable + 1 + usable / (1 << 16) * 997;
        }
        sizes
    }

    #[test]
    fn all_sizes_of_jemalloc_fit() {
        let sizes = sizes();
        assert!(sizes.len() > 200, "{}", sizes.len());
        let codes: std::collections::HashSet<u32> =
            sizes.iter().map(|&size| UsableSize::of(size).unwrap_or_else(|| panic!("{size}")).code()).collect();
        assert_eq!(codes.len(), sizes.len());
        assert!(sizes.iter().all(|&size| UsableSize::of(size).map(UsableSize::bytes) == Some(size)));
        for other in [(1 << 31) + 1, PAGE_BYTES << 31, u64::MAX] {
            assert_eq!(UsableSize::of(other), None, "{other}");
        }
        let last = (PAGE_BYTES << 31) - PAGE_BYTES;
        assert_eq!(UsableSize::of(last).map(UsableSize::bytes), Some(last));
    }

    #[test]
    fn each_small_size_has_a_number_of_its_own() {
        let small: Vec<u64> = sizes().into_iter().filter(|&size| size < SMALL_BYTES).collect();
        let classes: Vec<SmallClass> = small.iter().map(|&size| SmallClass::of(size).unwrap()).collect();
        assert!(classes.len() > 30 && classes.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert!(classes.iter().zip(small).all(|(class, size)| class.usable() == size));
        for other in [0, 1, 2, 3, 9, 100, 65, SMALL_BYTES, 1 << 30, u64::MAX] {
            assert_eq!(SmallClass::of(other), None, "{other}");
        }
    }
}
