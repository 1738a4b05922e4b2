//! Whole numbers in as few bytes as they need: seven bits a byte, the lowest first; the top bit says that more follow.

/// Room for the most numbers that are added at once, of ten bytes at most.
const ROOM: usize = 64;

/// Adds up to six numbers to the end of `bytes`.
pub(crate) fn push<const N: usize>(bytes: &mut Vec<u8>, numbers: [u64; N]) {
    const { assert!(N * 10 <= ROOM) };
    let mut buffer = [0; ROOM];
    let mut len = 0;
    for mut number in numbers {
        while number >= 0x80 {
            buffer[len] = number as u8 | 0x80;
            number >>= 7;
            len += 1;
        }
        buffer[len] = number as u8;
        len += 1;
    }
    bytes.extend_from_slice(&buffer[..len]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_comes_out_again() {
        let edges = [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut bytes = Vec::new();
        edges.chunks(3).for_each(|some| push::<3>(&mut bytes, some.try_into().unwrap()));
        assert_eq!(bytes.len(), 1 + 1 + 1 + 2 + 2 + 3 + 5 + 10 + 10);
        let mut rest = bytes.as_slice();
        let found: Vec<u64> = std::iter::from_fn(|| pop(&mut rest)).collect();
        assert_eq!(found, edges);
        assert_eq!(pop(&mut &[0x80][..]), None, "cut off");
    }
}
