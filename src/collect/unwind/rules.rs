//! The rules of all that is loaded: those that are known, and how an unknown one is looked up.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::rule::{Registers, Rule, Step};
use super::rule_table::RuleTable;
use super::stack::Stack;
use super::tables::{self, Finding, Scratch, Tables};
use crate::error::{Error, Result};
use crate::system::{Linker, modules_generation};

/// How many threads can look rules up at once; any more have that one walk done by libgcc.
const DESKS: usize = 4;

/// How often [`Rules::refresh`] looks again for a desk to be left, which takes a microsecond.
const PATIENCE: u32 = 10_000;

/// Where a rule is looked up: whoever sits at one may read the list of tables.
struct Desk {
    taken: AtomicBool,
    scratch: UnsafeCell<Scratch>,
}

/// A desk that is taken, until it is dropped.
struct Seat<'a>(&'a Desk);

impl Desk {
    fn new() -> Self {
        Self { taken: AtomicBool::new(false), scratch: UnsafeCell::new(Scratch::new_in()) }
    }

    /// Takes it if it is free. Never waits: a thread that is interrupted in its seat may be the one that asks.
    fn sit(&self) -> Option<Seat<'_>> {
        let taken = self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        // Not before it is known: a seat that is dropped leaves the desk.
        taken.ok().map(|_| Seat(self))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

/// The program's rules, for as long as the process lives.
pub(super) struct Rules {
    known: RuleTable,
    desks: [Desk; DESKS],
    /// Read at one desk, replaced at all of them.
    tables: UnsafeCell<Vec<Tables>>,
    /// Of the linker's list, when the tables were made.
    generation: AtomicU64,
    linker: Linker,
    refreshing: Mutex<()>,
    pub(super) figures: Figures,
}

// SAFETY: what is not atomic is read at a taken desk, or written with all desks taken.
unsafe impl Sync for Rules {}

/// What went otherwise than planned.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Walks that ended before a root.
    pub(super) truncated: AtomicU64,
    /// Walks that libgcc did.
    pub(super) borrowed: AtomicU64,
    /// Rules that were looked up.
    pub(super) lookups: AtomicU64,
    pub(super) refreshes: AtomicU64,
}

impl Figures {
    pub(super) fn forget(&self) {
        self.truncated.store(0, Ordering::Relaxed);
        self.borrowed.store(0, Ordering::Relaxed);
    }
}

enum Lookup {
    Found(Rule),
    Nothing,
    /// Let libgcc do this walk.
    Borrow,
}

impl Rules {
    /// Of all that is loaded now.
    pub(super) fn new() -> Result<Self> {
        let generation = modules_generation();
        Ok(Self {
            known: RuleTable::new().map_err(|error| Error::io("reserving address space for unwind rules", error))?,
            desks: std::array::from_fn(|_| Desk::new()),
            tables: UnsafeCell::new(tables::all()),
            generation: AtomicU64::new(generation),
            linker: Linker::open(),
            refreshing: Mutex::new(()),
            figures: Figures::default(),
        })
    }

    /// Estimate of the resident bytes of what is known: the first rules touch a page each.
    pub(super) fn resident_bytes_estimate(&self) -> u64 {
        RuleTable::BYTES.min(self.figures.lookups.load(Ordering::Relaxed).saturating_mul(4096))
    }

    /// Walks up from `registers`, whose address is in `frames` already; returns how many addresses are in there.
    #[inline(always)]
    pub(super) fn walk(&self, mut registers: Registers, stack: &mut Stack, frames: &mut Frames<'_>) -> End {
        loop {
            let rule = match self.known.find(registers.pc) {
                Some(rule) => rule,
                None => match self.look_up(registers.pc) {
                    Lookup::Found(rule) => rule,
                    Lookup::Nothing => return End::Truncated,
                    Lookup::Borrow => return End::Borrow,
                },
            };
            match rule.step(&mut registers, stack) {
                Step::Up if frames.push(registers.pc) => {}
                Step::Up | Step::Root => return End::Whole,
                Step::Lost => return End::Truncated,
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn look_up(&self, return_address: u64) -> Lookup {
        let Some(seat) = self.desks.iter().find_map(Desk::sit) else { return Lookup::Borrow };
        self.figures.lookups.fetch_add(1, Ordering::Relaxed);
        // SAFETY: replaced only with all desks taken, and one is ours.
        let tables = unsafe { &*self.tables.get() };
        let call = return_address.wrapping_sub(1);
        let before = tables.partition_point(|tables| tables.code.start <= call);
        let holding = before.checked_sub(1).and_then(|at| tables.get(at)).filter(|tables| tables.code.contains(&call));
        let Some(tables) = holding else {
            // Code of nobody's, such as a compiler's that runs inside of the program: libgcc would end there too, after it
            // has read the code itself, which need not be there. Or a library that was loaded since.
            return if self.is_loaded_since(call) { Lookup::Borrow } else { Lookup::Nothing };
        };
        if !tables.stays && !self.is_loaded_still(tables, call) {
            return Lookup::Borrow;
        }
        // SAFETY: the desk is ours, so its scratch is. The file stays, or is on this thread's stack and is loaded.
        let finding = unsafe { tables.find(return_address, &mut *seat.0.scratch.get()) };
        match finding {
            Finding::Rule(rule) => {
                // What can be unloaded can be replaced by another file at the same place: looked up at every walk.
                if tables.stays {
                    self.known.insert(return_address, rule);
                }
                Lookup::Found(rule)
            }
            Finding::Nothing => Lookup::Nothing,
            Finding::Other => Lookup::Borrow,
        }
    }

    /// Whether a file was loaded there after the tables were made.
    fn is_loaded_since(&self, address: u64) -> bool {
        match self.linker.find(address) {
            Some(found) => found.is_some(),
            None => self.generation.load(Ordering::Relaxed) != modules_generation(),
        }
    }

    /// Whether `tables` are those of the file that is at `address` now.
    fn is_loaded_still(&self, tables: &Tables, address: u64) -> bool {
        match self.linker.find(address) {
            Some(found) => found == Some(tables.index),
            None => self.generation.load(Ordering::Relaxed) == modules_generation(),
        }
    }

    /// Follows what was loaded and unloaded since. For a thread that is not sampled: it allocates.
    pub(super) fn refresh(&self) {
        let _one_at_a_time = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = modules_generation();
        if generation == self.generation.load(Ordering::Relaxed) {
            return;
        }
        let tables = tables::all();
        let mut patience = PATIENCE;
        let mut seats = Vec::with_capacity(DESKS);
        for desk in &self.desks {
            loop {
                match desk.sit() {
                    Some(seat) => break seats.push(seat),
                    None if patience == 0 => return,
                    None => {
                        patience -= 1;
                        std::thread::yield_now();
                    }
                }
            }
        }
        // SAFETY: all desks are ours, so nobody reads the list.
        let before = unsafe { std::mem::replace(&mut *self.tables.get(), tables) };
        // Where a file of those that stay is, there is no other: no rule has become untrue.
        self.generation.store(generation, Ordering::Relaxed);
        self.figures.refreshes.fetch_add(1, Ordering::Relaxed);
        drop(seats);
        drop(before);
    }
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At a root, or with no more room.
    Whole,
    Truncated,
    /// With something that libgcc must do.
    Borrow,
}

/// Where the addresses go, leaf first.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    room: &'a mut [MaybeUninit<u64>],
    /// So many of them were written.
    len: usize,
}

impl<'a> Frames<'a> {
    pub(super) fn new(room: &'a mut [u64]) -> Self {
        // SAFETY: the same place, in which only numbers are ever written.
        Self::in_place(unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast(), room.len()) })
    }

    /// In a place of which nothing need have been written.
    pub(super) fn in_place(room: &'a mut [MaybeUninit<u64>]) -> Self {
        Self { room, len: 0 }
    }

    /// Adds one; false when there is no room for another.
    #[inline(always)]
    pub(super) fn push(&mut self, address: u64) -> bool {
        if let Some(place) = self.room.get_mut(self.len) {
            place.write(address);
            self.len += 1;
        }
        self.len < self.room.len()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many there can be.
    pub(super) fn room(&self) -> usize {
        self.room.len()
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn as_slice(&self) -> &[u64] {
        let written = self.room.get(..self.len).unwrap_or_default();
        // SAFETY: `push` wrote them.
        unsafe { std::slice::from_raw_parts(written.as_ptr().cast(), written.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> u64 {
        here as *const () as u64 + 1
    }

    #[test]
    fn a_rule_is_looked_up_once() {
        let rules = Rules::new().unwrap();
        for _ in 0..2 {
            assert!(rules.known.find(here()).is_some() || matches!(rules.look_up(here()), Lookup::Found(_)));
        }
        assert_eq!(rules.figures.lookups.load(Ordering::Relaxed), 1);
        assert!(matches!(rules.look_up(8), Lookup::Nothing), "no code");
    }

    #[test]
    fn tables_of_a_file_that_is_gone_are_not_read() {
        let mut rules = Rules::new().unwrap();
        rules.tables.get_mut().iter_mut().for_each(Tables::be_stale);
        assert!(matches!(rules.look_up(here()), Lookup::Borrow));
        // And where no list has it yet.
        rules.tables.get_mut().clear();
        assert!(matches!(rules.look_up(here()), Lookup::Borrow));
        assert!(matches!(rules.look_up(8), Lookup::Nothing));
    }

    #[test]
    fn with_no_desk_free_the_walk_is_libgccs() {
        let rules = Rules::new().unwrap();
        let seats: Vec<Seat<'_>> = rules.desks.iter().map(|desk| desk.sit().unwrap()).collect();
        assert!(rules.desks.iter().all(|desk| desk.sit().is_none()));
        assert!(matches!(rules.look_up(here()), Lookup::Borrow));
        // Nor can the list be replaced: somebody may be reading it.
        rules.generation.store(0, Ordering::Relaxed);
        rules.refresh();
        assert_eq!(rules.figures.refreshes.load(Ordering::Relaxed), 0);
        drop(seats);
        rules.refresh();
        assert_eq!(rules.figures.refreshes.load(Ordering::Relaxed), 1);
        assert!(matches!(rules.look_up(here()), Lookup::Found(_)));
    }
}
