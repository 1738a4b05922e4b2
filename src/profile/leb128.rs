//! Whole numbers in as few bytes as they need: seven bits a byte, the lowest first; the top bit says that more follow.

/// Bytes that are put together before they are added to the rest.
const BLOCK: usize = 1024;

/// The most that a number takes.
const LONGEST: usize = 10;

/// Puts numbers end to end. Most are small and there are many, so that a call for each would be most of the time.
pub(super) struct Writer {
    bytes: Vec<u8>,
    block: [u8; BLOCK],
    len: usize,
}

impl Writer {
    /// With room for about so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), block: [0; BLOCK], len: 0 }
    }

    /// Adds some numbers to the end.
    #[inline]
    pub(super) fn push<const N: usize>(&mut self, numbers: [u64; N]) {
        const { assert!(N * LONGEST <= BLOCK) };
        if self.len > BLOCK - N * LONGEST {
            self.flush();
        }
        // All of one byte: usual, and one comparison.
        if numbers.iter().fold(0, |bits, number| bits | number) < 0x80 {
            if let Some(place) = self.block.get_mut(self.len..self.len + N) {
                place.iter_mut().zip(numbers).for_each(|(byte, number)| *byte = number as u8);
            }
            self.len += N;
            return;
        }
        numbers.iter().for_each(|&number| self.push_one(number));
    }

    #[inline]
    fn push_one(&mut self, number: u64) {
        let Some(place) = self.block.get_mut(self.len..self.len + LONGEST) else { return };
        // Four bytes at once, of which those count that are needed.
        // Zero takes one, as one does.
        let bits = 64 - (number | 1).leading_zeros();
        if let (..=28, Some(four)) = (bits, place.first_chunk_mut::<4>()) {
            let spread =
                number & 0x7f | (number & 0x3f80) << 1 | (number & 0x1f_c000) << 2 | (number & 0xfe0_0000) << 3;
            let len = bits.div_ceil(7);
            // The top bit of all but the last.
            let more = 0x0080_8080_u32 & ((1u64 << (8 * (len - 1))) - 1) as u32;
            *four = (spread as u32 | more).to_le_bytes();
            self.len += len as usize;
            return;
        }
        let mut number = number;
        for byte in place {
            self.len += 1;
            if number < 0x80 {
                *byte = number as u8;
                return;
            }
            *byte = number as u8 | 0x80;
            number >>= 7;
        }
    }

    fn flush(&mut self) {
        self.bytes.extend_from_slice(self.block.get(..self.len).unwrap_or_default());
        self.len = 0;
    }

    /// All of them, in no more memory than they need.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.bytes.shrink_to_fit();
        self.bytes
    }
}

/// Takes a number off the start of `rest`; `None` at its end.
pub(crate) fn pop(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some(number)
}

/// A step up or down as a number that is small where the step is.
pub(super) fn zigzag(step: i64) -> u64 {
    (step << 1 ^ step >> 63) as u64
}

/// The step of such a number.
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<u64> {
        let mut rest = bytes;
        std::iter::from_fn(|| pop(&mut rest)).collect()
    }

    #[test]
    fn what_is_pushed_comes_out_again() {
        let edges = [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut writer = Writer::with_capacity(0);
        edges.chunks(3).for_each(|some| writer.push::<3>(some.try_into().unwrap()));
        let bytes = writer.finish();
        assert_eq!(bytes.len(), 1 + 1 + 1 + 2 + 2 + 3 + 5 + 10 + 10);
        assert_eq!(read(&bytes), edges);
        assert_eq!(pop(&mut &[0x80][..]), None, "cut off");
    }

    /// Each length, at both ends and with all kinds of neighbours, over many blocks.
    #[test]
    fn numbers_of_all_lengths_come_out_again() {
        let ends =
            (0..64).flat_map(|bits| [1u64 << bits, (1 << bits) - 1, (1 << bits) + 1, 0x5555_5555_5555_5555 >> bits]);
        let numbers: Vec<u64> = ends.cycle().take(256 * 37).collect();
        let mut writer = Writer::with_capacity(0);
        for (at, some) in numbers.chunks_exact(4).enumerate() {
            let some: [u64; 4] = some.try_into().unwrap();
            if at % 3 == 0 { writer.push(some) } else { some.into_iter().for_each(|number| writer.push([number])) }
        }
        let bytes = writer.finish();
        assert_eq!(read(&bytes), numbers);
        let len = |number: u64| (64 - (number | 1).leading_zeros()).div_ceil(7) as usize;
        assert_eq!(bytes.len(), numbers.iter().map(|&number| len(number)).sum::<usize>());
    }

    #[test]
    fn steps_are_small_numbers() {
        assert_eq!([0, -1, 1, -2, 2].map(zigzag), [0, 1, 2, 3, 4]);
        for step in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(step)), step);
        }
    }
}
