//! What the hooks run: the hot path of a walk.

use std::cell::Cell;
use std::ffi::{c_uint, c_void};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::comparison;
use super::entry::registers;
use super::frame_pointers::{self, Chain};
use super::libgcc;
use super::rule::Registers;
use super::rules::{End, Frames, Rules};
use super::stack::Stack;
use crate::collect::{handover, hooks};
use crate::error::Result;
use crate::system::loaded_code;

/// One walk by frame pointers in so many of a thread is done by rules as well, and compared: a part of the program may
/// have been built without frame pointers, which no self-test at start can know.
const DOUBTED: u32 = 64;

/// Most frames that are compared then.
const COMPARED: usize = 128;

thread_local! {
    /// Walks by frame pointers since the last that was doubted.
    static BELIEVED: Cell<u32> = const { Cell::new(0) };
}

/// The one that the hooks use. Set once, never freed: a thread may be inside of a hook at any time.
static ENGINE: AtomicPtr<Engine> = AtomicPtr::new(std::ptr::null_mut());

/// Both unwinders of our own.
pub(super) struct Engine {
    pub(super) rules: Rules,
    /// The program's own code, in which frame pointers are followed.
    program: Range<u64>,
    /// Whether frame pointers gave another stack than the rules, and are no longer followed.
    disproved: AtomicBool,
    /// Whether stacks are kept from jemalloc: see [`handover`].
    keeps_stacks: AtomicBool,
}

impl Engine {
    /// Of what is loaded now.
    pub(super) fn new() -> Result<Self> {
        let here = Self::new as *const () as u64;
        let program = loaded_code().into_iter().flat_map(|file| file.code).find(|code| code.contains(&here));
        Ok(Self {
            rules: Rules::new()?,
            program: program.unwrap_or_default(),
            disproved: AtomicBool::new(false),
            keeps_stacks: AtomicBool::new(false),
        })
    }

    /// Has the hooks use it.
    pub(super) fn install(&'static self) {
        ENGINE.store(std::ptr::from_ref(self).cast_mut(), Ordering::Release);
    }

    fn installed() -> Option<&'static Self> {
        // SAFETY: null, or the `&'static Engine` that `install` stored.
        unsafe { ENGINE.load(Ordering::Acquire).as_ref() }
    }

    /// Whether stacks are kept from jemalloc from now on. One that is on its way is taken as it was left.
    pub(super) fn set_keeps_stacks(&self, keeps: bool) {
        self.keeps_stacks.store(keeps, Ordering::Relaxed);
    }

    /// Whether frame pointers were found out to lie.
    pub(super) fn is_disproved(&self) -> bool {
        self.disproved.load(Ordering::Relaxed)
    }

    /// Puts the stack from `registers` on into `frames`, by rules.
    #[inline(always)]
    pub(super) fn walk_by_rules(&self, registers: Registers, frames: &mut Frames<'_>) {
        if frames.push(registers.pc) {
            let end = self.rules.walk(registers, &mut Stack::at(registers.sp), frames);
            self.finish(end, registers.pc, frames);
        }
    }

    /// The same by frame pointers, and by rules where the stack leaves the program.
    #[inline(always)]
    pub(super) fn walk_by_frame_pointers(&self, mut registers: Registers, frames: &mut Frames<'_>) {
        if frames.push(registers.pc) {
            let from = registers.pc;
            let mut stack = Stack::at(registers.sp);
            let end = match frame_pointers::walk(&mut registers, &self.program, &mut stack, frames) {
                Chain::Ended(end) => end,
                Chain::Left => self.rules.walk(registers, &mut stack, frames),
            };
            self.finish(end, from, frames);
        }
    }

    #[inline(always)]
    fn finish(&self, end: End, from: u64, frames: &mut Frames<'_>) {
        if end != End::Whole {
            self.finish_otherwise(end, from, frames);
        }
    }

    #[cold]
    fn finish_otherwise(&self, end: End, from: u64, frames: &mut Frames<'_>) {
        let figures = &self.rules.figures;
        if end == End::Truncated {
            figures.truncated.fetch_add(1, Ordering::Relaxed);
            return;
        }
        figures.borrowed.fetch_add(1, Ordering::Relaxed);
        frames.clear();
        libgcc::walk(from, frames);
        if frames.len() == 0 {
            frames.push(from);
        }
    }

    /// Walks by frame pointers, unless they were found out to lie, and doubts them now and then.
    #[inline(always)]
    fn walk_while_believed(&self, registers: Registers, frames: &mut Frames<'_>) {
        if self.is_disproved() {
            return self.walk_by_rules(registers, frames);
        }
        let believed = BELIEVED.get();
        if believed < DOUBTED {
            BELIEVED.set(believed + 1);
            return self.walk_by_frame_pointers(registers, frames);
        }
        BELIEVED.set(0);
        self.doubt(registers, frames);
    }

    #[cold]
    fn doubt(&self, registers: Registers, frames: &mut Frames<'_>) {
        if !frames.push(registers.pc) {
            return;
        }
        let end = self.rules.walk(registers, &mut Stack::at(registers.sp), frames);
        // Where the tables end before a root, frame pointers may know better.
        if end == End::Whole {
            let mut room = [0; COMPARED];
            let mut by_pointers = Frames::new(&mut room);
            self.walk_by_frame_pointers(registers, &mut by_pointers);
            let both = frames.len().min(COMPARED);
            if frames.as_slice().get(..both) != by_pointers.as_slice().get(..both) {
                self.disproved.store(true, Ordering::Relaxed);
            }
        }
        self.finish(end, registers.pc, frames);
    }
}

/// A backtrace hook's way: fills jemalloc's place for a stack by `$walk`, and hands it over as the engine says. In a forked
/// child, where nobody reads it, with one address.
macro_rules! hook {
    ($name:ident, $walk:expr) => {
        pub(super) extern "C" fn $name(
            frames: *mut *mut c_void,
            depth: *mut c_uint,
            room: c_uint,
            sp: u64,
            fp: u64,
            return_address: u64,
        ) {
            let from = registers(sp, fp, return_address);
            fill(frames, depth, room, from, $walk);
        }
    };
}

hook!(walk_by_rules, |engine, from, frames| engine.walk_by_rules(from, frames));
hook!(walk_by_frame_pointers, |engine, from, frames| engine.walk_while_believed(from, frames));
hook!(walk_and_compare, |engine, from, frames| {
    if comparison::is_by_frame_pointers() {
        engine.walk_while_believed(from, frames);
    } else {
        engine.walk_by_rules(from, frames);
    }
    comparison::compare(frames, from.pc);
});

#[inline(always)]
fn fill(
    frames: *mut *mut c_void,
    depth: *mut c_uint,
    room: c_uint,
    from: Registers,
    walk: impl FnOnce(&'static Engine, Registers, &mut Frames<'_>),
) {
    if frames.is_null() || depth.is_null() {
        return;
    }
    // SAFETY: jemalloc hands room for `room` addresses, written or not, which nobody else uses meanwhile; a pointer and a u64
    // have the same size and alignment on the targets that have this code.
    let place = unsafe { std::slice::from_raw_parts_mut(frames.cast::<MaybeUninit<u64>>(), room as usize) };
    let mut found = Frames::in_place(place);
    let mut keep = false;
    match Engine::installed() {
        Some(engine) if !hooks::is_quiet() => {
            walk(engine, from, &mut found);
            keep = engine.keeps_stacks.load(Ordering::Relaxed);
        }
        _ => {
            found.push(from.pc);
        }
    }
    let mut len = found.len();
    if keep && len > 0 {
        // SAFETY: jemalloc's place, a thread's own for as long as the thread is sampled, of which the walk wrote `len` addresses.
        len = unsafe { handover::keep(frames.cast(), len) };
    }
    // SAFETY: jemalloc's place for the number of addresses.
    unsafe { *depth = len as c_uint };
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::entry::doubting;
    use super::super::self_test;
    use super::*;

    pub(in super::super) extern "C" fn doubt_here(
        engine: *mut c_void,
        _unused: usize,
        _unused_too: usize,
        sp: u64,
        fp: u64,
        return_address: u64,
    ) {
        // SAFETY: the test below hands its engine, which is never freed.
        let engine = unsafe { &*engine.cast::<Engine>() };
        let mut room = [0; COMPARED];
        let mut frames = Frames::new(&mut room);
        engine.doubt(registers(sp, fp, return_address), &mut frames);
        assert!(frames.len() > 5, "the stack is that of the rules");
    }

    #[test]
    fn frame_pointers_that_lie_are_found_out() {
        let engine: &'static Engine = Box::leak(Box::new(Engine::new().unwrap()));
        // As most builds are; one with frame pointers throughout has nothing to find out.
        let lie = self_test::judge(engine).frame_pointers.is_err();
        assert!(!engine.is_disproved());
        // SAFETY: `doubt_here` gets the engine, and only during this call.
        unsafe { doubting(std::ptr::from_ref(engine).cast_mut().cast(), 0, 0) };
        assert_eq!(engine.is_disproved(), lie);
    }
}
