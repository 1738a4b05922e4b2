//! How to get from one frame to the frame that called it.

#[cfg(target_arch = "aarch64")]
use super::entry::strip_signature;
use super::stack::Stack;

/// Bits of a packed rule.
pub(super) const RULE_BITS: u32 = 27;

const CFA_BITS: u32 = 13;
const SAVED_BITS: u32 = 12;
const FROM_FP: u32 = 1 << (CFA_BITS + SAVED_BITS);
const OUTERMOST: u32 = FROM_FP << 1;

/// Where the caller's registers are, seen from a return address: what the `.eh_frame` tables say of all but a few places
/// in a program, in 27 bits.
///
/// ```text
/// bits 0–12   canonical frame address (CFA: the stack pointer after the return), in words above the base
/// bits 13–24  where the caller's frame pointer is saved, in words below the CFA; 0: still in its register
/// bit 25      base: 0 the stack pointer, 1 the frame pointer
/// bit 26      the outermost frame: nobody called it
/// ```
///
/// The return address is in the word below the CFA on x86_64, and above the saved frame pointer on aarch64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule(u32);

/// What a step starts from and ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    /// In the function that the next return address leads to.
    pub(super) pc: u64,
    pub(super) sp: u64,
    pub(super) fp: u64,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The registers are those of the caller.
    Up,
    /// There is no caller.
    Root,
    /// The tables or the stack are not what they should be: the walk ends with what it has.
    Lost,
}

impl Rule {
    pub(super) const OUTERMOST: Self = Self(OUTERMOST);

    /// `None` for what does not fit: a frame of 64 KiB and more, an odd offset.
    pub(super) fn new(from_fp: bool, cfa: i64, saved_fp: Option<i64>) -> Option<Self> {
        let words = |bytes: i64, bits: u32| {
            (bytes > 0 && bytes & 7 == 0 && bytes >> 3 < 1 << bits).then_some((bytes >> 3) as u32)
        };
        let cfa = words(cfa, CFA_BITS)?;
        let saved = match saved_fp {
            Some(offset) => words(offset.checked_neg()?, SAVED_BITS)?,
            None => 0,
        };
        Some(Self(cfa | saved << CFA_BITS | if from_fp { FROM_FP } else { 0 }))
    }

    #[inline(always)]
    pub(super) fn pack(self) -> u64 {
        u64::from(self.0)
    }

    #[inline(always)]
    pub(super) fn unpack(bits: u64) -> Self {
        Self(bits as u32 & ((1 << RULE_BITS) - 1))
    }

    /// Goes one frame up. Reads nothing but words of `stack`, above the stack pointer that the walk began with; the stack
    /// pointer rises with every step, so a walk ends.
    #[inline(always)]
    pub(super) fn step(self, registers: &mut Registers, stack: &mut Stack) -> Step {
        let base = if self.0 & FROM_FP != 0 { registers.fp } else { registers.sp };
        let cfa = base.wrapping_add(u64::from(self.0 & ((1 << CFA_BITS) - 1)) << 3);
        let saved = u64::from(self.0 >> CFA_BITS & ((1 << SAVED_BITS) - 1)) << 3;
        if cfa & 7 != 0 || cfa <= registers.sp || saved > cfa - stack.low() || !stack.reaches(cfa) {
            // An outermost rule has no offset, so it ends up here: one branch less for all others.
            return if self.0 & OUTERMOST != 0 { Step::Root } else { Step::Lost };
        }
        let fp = if saved == 0 { registers.fp } else { stack.word(cfa - saved) };
        #[cfg(target_arch = "aarch64")]
        let pc = if saved < 16 { 0 } else { strip_signature(stack.word(cfa - saved + 8)) };
        #[cfg(not(target_arch = "aarch64"))]
        let pc = stack.word(cfa - 8);
        *registers = Registers { pc, sp: cfa, fp };
        if pc == 0 { Step::Root } else { Step::Up }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(rule: Rule, words: &[u64], fp_at: usize) -> (Step, Option<(u64, usize, u64)>) {
        let start = words.as_ptr() as u64;
        let mut registers = Registers { pc: 1, sp: start, fp: start + fp_at as u64 * 8 };
        let mut stack = Stack::of(words);
        let step = rule.step(&mut registers, &mut stack);
        (step, (step == Step::Up).then_some((registers.pc, (registers.sp - start) as usize / 8, registers.fp)))
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_rule_finds_return_address_and_frame_pointer() {
        let words = [10, 11, 12, 13, 14, 15];
        let start = words.as_ptr() as u64;
        // sp + 24, nothing saved.
        assert_eq!(step(Rule::new(false, 24, None).unwrap(), &words, 5), (Step::Up, Some((12, 3, start + 40))));
        // sp + 32, frame pointer at CFA − 24.
        assert_eq!(step(Rule::new(false, 32, Some(-24)).unwrap(), &words, 5), (Step::Up, Some((13, 4, 11))));
        // A frame with a frame pointer.
        assert_eq!(step(Rule::new(true, 16, Some(-16)).unwrap(), &words, 2), (Step::Up, Some((13, 4, 12))));
        // Up to the very end, and no further.
        assert_eq!(step(Rule::new(false, 48, None).unwrap(), &words, 0).0, Step::Up);
        assert_eq!(step(Rule::new(false, 56, None).unwrap(), &words, 0).0, Step::Lost);
    }

    #[test]
    fn what_leads_nowhere_is_not_followed() {
        let words = [10, 11, 12, 13, 0, 15];
        assert_eq!(step(Rule::OUTERMOST, &words, 0).0, Step::Root);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(step(Rule::new(false, 40, None).unwrap(), &words, 0).0, Step::Root, "no return address");
        // Saved below the stack pointer.
        assert_eq!(step(Rule::new(false, 16, Some(-24)).unwrap(), &words, 0).0, Step::Lost);
        let start = words.as_ptr() as u64;
        // The frame pointer leads down, nowhere, far away, around the end of the address space, between two words.
        for fp in [start - 16, 0, 1, 8, u64::MAX - 7, u64::MAX, start + (1 << 40), start + 3] {
            let mut registers = Registers { pc: 1, sp: start, fp };
            let before = registers;
            let rule = Rule::new(true, 16, Some(-16)).unwrap();
            assert_eq!(rule.step(&mut registers, &mut Stack::of(&words)), Step::Lost, "{fp:#x}");
            assert_eq!(registers, before);
        }
    }

    #[test]
    fn what_does_not_fit_is_no_rule() {
        for (cfa, saved) in [(0, None), (-8, None), (12, None), (8 << 13, None), (16, Some(0)), (16, Some(8))] {
            assert_eq!(Rule::new(false, cfa, saved), None, "{cfa} {saved:?}");
        }
        for (from_fp, cfa, saved) in
            [(true, (8 << 13) - 8, Some(8 - (8 << 12))), (false, 8, None), (true, 16, Some(-16))]
        {
            let rule = Rule::new(from_fp, cfa, saved).unwrap();
            assert_eq!(Rule::unpack(rule.pack()), rule);
            assert_ne!(rule.pack(), 0);
            assert!(rule.pack() >> RULE_BITS == 0);
        }
    }
}
