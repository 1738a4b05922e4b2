//! Reading a rule out of the `.eh_frame` tables of a loaded file.

use std::ops::Range;

use gimli::{
    BaseAddresses, CfaRule, CommonInformationEntry, EhFrame, EhFrameHdr, EhFrameOffset, EndianSlice, Error,
    NativeEndian, Pointer, Reader as _, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection,
    UnwindTableRow,
};

use super::rule::Rule;
use crate::system::{Copier, LoadedCode, loaded_bytes, loaded_code};

#[cfg(target_arch = "aarch64")]
mod register {
    pub(super) const FP: gimli::Register = gimli::AArch64::X29;
    pub(super) const SP: gimli::Register = gimli::AArch64::SP;
    pub(super) const RETURN: gimli::Register = gimli::AArch64::X30;
}
#[cfg(not(target_arch = "aarch64"))]
mod register {
    pub(super) const FP: gimli::Register = gimli::X86_64::RBP;
    pub(super) const SP: gimli::Register = gimli::X86_64::RSP;
    pub(super) const RETURN: gimli::Register = gimli::X86_64::RA;
}

/// The sections are the program's own memory.
type Bytes = EndianSlice<'static, NativeEndian>;

/// Room for a row of the tables: on the stack of whoever allocates, of which there may be little.
#[derive(Debug)]
pub(super) struct SmallRows;

impl UnwindContextStorage<usize> for SmallRows {
    type Rules = [(Register, RegisterRule<usize>); 24];
    type Stack = [UnwindTableRow<usize, Self>; 3];
}

/// What is computed with, made once: it is too large to be made inside of `malloc`.
pub(super) type Scratch = UnwindContext<usize, SmallRows>;

/// What the tables say of a return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// This.
    Rule(Rule),
    /// Nothing: hand-written assembly without tables, or no code at all.
    Nothing,
    /// Something that no [`Rule`] can say: an expression, another register, a signal's frame.
    Other,
}

/// The tables of one executable segment.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) code: Range<u64>,
    /// Where the index begins; 0 for a file without.
    pub(super) index: u64,
    pub(super) stays: bool,
    index_bytes: Range<u64>,
    frames: Range<u64>,
}

/// The tables of all that is loaded, by the start of the code.
pub(super) fn all() -> Vec<Tables> {
    let copier = Copier::new();
    let mut all: Vec<Tables> = loaded_code().iter().flat_map(|file| of_file(file, &copier)).collect();
    all.sort_by_key(|tables| tables.code.start);
    all
}

fn of_file<'f>(file: &'f LoadedCode, copier: &Copier) -> impl Iterator<Item = Tables> + use<'f> {
    // `.eh_frame` goes to the end of its segment, for all that is known; it ends with an empty entry.
    let frames = frames_start(file, copier)
        .and_then(|start| Some(start..file.readable.iter().find(|segment| segment.contains(&start))?.end));
    let (index_bytes, frames) = match frames {
        Some(frames) => (file.index.clone(), frames),
        None => (0..0, 0..0),
    };
    file.code.iter().map(move |code| Tables {
        code: code.clone(),
        index: index_bytes.start,
        stays: file.stays,
        index_bytes: index_bytes.clone(),
        frames: frames.clone(),
    })
}

/// Where `.eh_frame` begins, as its index says.
fn frames_start(LoadedCode { index, stays, .. }: &LoadedCode, copier: &Copier) -> Option<u64> {
    // At most four bytes and two numbers.
    let mut head = [0; 4 + 2 * 8];
    let len = (index.end.saturating_sub(index.start)).min(head.len() as u64);
    let bytes = if *stays {
        // SAFETY: the start of a section of a file that stays loaded, and that nobody writes to.
        unsafe { loaded_bytes(&(index.start..index.start + len)) }
    } else {
        // Since the linker named the file, it may have been unloaded.
        copier.copy(index.start, head.get_mut(..len as usize)?)?
    };
    let header =
        EhFrameHdr::new(bytes, NativeEndian).parse(&BaseAddresses::default().set_eh_frame_hdr(index.start), 8).ok()?;
    match header.eh_frame_ptr() {
        Pointer::Direct(start) => Some(start),
        Pointer::Indirect(_) => None,
    }
}

impl Tables {
    /// What they say of the caller of the function that holds the call before `return_address`.
    ///
    /// # Safety
    ///
    /// The file is loaded, and stays so meanwhile.
    pub(super) unsafe fn find(&self, return_address: u64, scratch: &mut Scratch) -> Finding {
        if self.index == 0 {
            return Finding::Other;
        }
        // SAFETY: sections of a file that is loaded, by the caller's promise; nobody writes to them.
        let (index, frames) = unsafe { (loaded_bytes(&self.index_bytes), loaded_bytes(&self.frames)) };
        let (index, frames) = (EndianSlice::new(index, NativeEndian), EndianSlice::new(frames, NativeEndian));
        // The call is before the address that it returns to, which may be another function's.
        match self.row(index, frames, return_address.wrapping_sub(1), scratch) {
            Ok(finding) => finding,
            Err(Error::NoUnwindInfoForAddress) => Finding::Nothing,
            Err(_) => Finding::Other,
        }
    }

    fn row(&self, index: Bytes, frames: Bytes, address: u64, scratch: &mut Scratch) -> Result<Finding, Error> {
        let bases = BaseAddresses::default()
            .set_eh_frame_hdr(self.index)
            .set_eh_frame(self.frames.start)
            .set_text(self.code.start);
        let header = EhFrameHdr::from(index).parse(&bases, 8)?;
        // Without a table to search, libgcc reads all of `.eh_frame`: its to do.
        let Some(table) = header.table() else { return Ok(Finding::Other) };
        let at = table.pointer_to_offset(table.lookup(address, &bases)?)?;
        if at.0 >= frames.len() {
            return Ok(Finding::Other);
        }
        let mut frames = EhFrame::from(frames);
        frames.set_address_size(8);
        #[cfg(target_arch = "aarch64")]
        frames.set_vendor(gimli::Vendor::AArch64);
        let common =
            |frames: &EhFrame<Bytes>, bases: &BaseAddresses, at: EhFrameOffset| frames.cie_from_offset(bases, at);
        let entry = frames.fde_from_offset(&bases, at, common)?;
        if !entry.contains(address) {
            return Err(Error::NoUnwindInfoForAddress);
        }
        if entry.is_signal_trampoline() {
            return Ok(Finding::Other);
        }
        let row = entry.unwind_info_for_address(&frames, &bases, scratch, address)?;
        Ok(rule_of(row, entry.cie()).unwrap_or(Finding::Other))
    }
}

/// `None` where no rule can say it.
fn rule_of(row: &UnwindTableRow<usize, SmallRows>, common: &CommonInformationEntry<Bytes>) -> Option<Finding> {
    if common.return_address_register() != register::RETURN {
        return None;
    }
    let returns = row.register(register::RETURN);
    if returns == Some(RegisterRule::Undefined) {
        return Some(Finding::Rule(Rule::OUTERMOST));
    }
    let &CfaRule::RegisterAndOffset { register: base, offset } = row.cfa() else { return None };
    let from_fp = match base {
        register::FP => true,
        register::SP => false,
        _ => return None,
    };
    let saved = match row.register(register::FP) {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => None,
        Some(RegisterRule::Offset(saved)) => Some(saved),
        Some(_) => return None,
    };
    let expected = if cfg!(target_arch = "aarch64") { saved?.checked_add(8)? } else { -8 };
    if returns != Some(RegisterRule::Offset(expected)) {
        return None;
    }
    Rule::new(from_fp, offset, saved).map(Finding::Rule)
}

#[cfg(test)]
impl Tables {
    /// As those of a file that was unloaded, with another in its place: reading them would crash.
    pub(super) fn be_stale(&mut self) {
        self.stays = false;
        for range in [&mut self.index_bytes, &mut self.frames] {
            *range = 4096..8192;
        }
        self.index = 4096;
    }
}
