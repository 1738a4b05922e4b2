//! Walking stacks: which unwinder is in use, and why not a better one.
//!
//! ```text
//! jemalloc ─► entry (no frame of its own) ─► engine ─┬─► frame_pointers ─┐ where the stack leaves the program
//!                                                    └─► rules ◄─────────┘
//!                        rule_table: a word a frame ◄────┤
//!        tables: .eh_frame, at the first sight of an address ◄┤
//!                   libgcc: what no rule can say, whole walk ◄┘          all reads of the stack ─► stack
//! ```

mod choice;
mod comparison;
mod engine;
mod entry;
mod frame_pointers;
mod libgcc;
mod rule;
mod rule_table;
mod rules;
mod self_test;
mod stack;
mod tables;

#[cfg(feature = "cpu")]
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, Ordering};

use self::engine::Engine;
use self::self_test::Verdict;
use crate::error::Result;
#[cfg(feature = "cpu")]
use crate::system::BacktraceHook;
use crate::system::Profiling;

pub use choice::Unwinder;
pub(crate) use comparison::Comparison;

/// The unwinder that is in use.
pub(crate) struct Unwinding {
    asked: Unwinder,
    chosen: Unwinder,
    rejected: Vec<Rejected>,
    engine: Option<&'static Engine>,
    /// Whether it was said that frame pointers are no longer followed.
    disproved_is_told: AtomicBool,
}

/// One that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) unwinder: Unwinder,
    pub(crate) reason: String,
}

/// What there is to know about it.
#[derive(Clone, Debug)]
pub(crate) struct UnwindReport {
    pub(crate) asked: Unwinder,
    pub(crate) in_use: Unwinder,
    /// All that are better than the one in use.
    pub(crate) rejected: Vec<Rejected>,
    /// `None` for jemalloc's, which does not tell.
    pub(crate) figures: Option<UnwindFigures>,
}

/// Of the unwinders of our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnwindFigures {
    /// Walks that ended before a root.
    pub(crate) truncated: u64,
    /// Walks that were left to libgcc.
    pub(crate) borrowed: u64,
    /// Return addresses that were looked up in the unwind tables.
    pub(crate) lookups: u64,
    /// How often the list of loaded files was read again.
    pub(crate) refreshes: u64,
}

impl Unwinding {
    /// Tries them out, and has jemalloc use the best that works from `asked` on.
    pub(super) fn start(asked: Unwinder) -> Self {
        let mut unwinding = Self {
            asked,
            chosen: Unwinder::Jemalloc,
            rejected: Vec::new(),
            engine: None,
            disproved_is_told: AtomicBool::new(false),
        };
        let not_asked = || Err(format!("not tried: {asked} was asked for (HEAPWARD_UNWINDER)"));
        let verdict = match asked {
            Unwinder::Jemalloc => Verdict { rules: not_asked(), frame_pointers: not_asked() },
            _ => unwinding.judge(),
        };
        let frame_pointers = if asked == Unwinder::EhFrame { not_asked() } else { verdict.frame_pointers };
        let tried = [(Unwinder::FramePointers, frame_pointers), (Unwinder::EhFrame, verdict.rules)];
        for (unwinder, verdict) in tried {
            match verdict.and_then(|()| unwinding.install(unwinder).map_err(|error| error.to_string())) {
                Ok(()) => break,
                Err(reason) => unwinding.rejected.push(Rejected { unwinder, reason }),
            }
        }
        unwinding
    }

    fn judge(&mut self) -> Verdict {
        let refuse = |reason: String| Verdict { rules: Err(reason.clone()), frame_pointers: Err(reason) };
        if !entry::SUPPORTED {
            return refuse(format!("there is none for this processor ({})", std::env::consts::ARCH));
        }
        if !Profiling::has_backtrace_hook() {
            return refuse("this jemalloc lets no other unwinder in (experimental.hooks.prof_backtrace)".to_owned());
        }
        match Engine::new() {
            Ok(engine) => {
                let engine: &'static Engine = Box::leak(Box::new(engine));
                self.engine = Some(engine);
                let verdict = self_test::judge(engine);
                // What did not work there says nothing about the service's stacks.
                engine.rules.figures.forget();
                verdict
            }
            Err(error) => refuse(error.to_string()),
        }
    }

    fn install(&mut self, unwinder: Unwinder) -> Result<()> {
        if let Some(engine) = self.engine {
            engine.install();
        }
        Profiling::set_backtrace_hook(match unwinder {
            Unwinder::FramePointers => entry::by_frame_pointers,
            _ => entry::by_rules,
        })?;
        self.chosen = unwinder;
        Ok(())
    }

    /// Has stacks kept from jemalloc, which is told one frame for all, or given to it again. jemalloc's own unwinder always
    /// gives them.
    pub(super) fn keep_stacks(&self, keep: bool) {
        if let Some(engine) = self.engine() {
            engine.set_keeps_stacks(keep);
        }
    }

    /// The engine, where it is in use.
    fn engine(&self) -> Option<&'static Engine> {
        self.engine.filter(|_| self.chosen != Unwinder::Jemalloc)
    }

    /// Follows what was loaded and unloaded, and says once when frame pointers were found out to lie. For heapward's own,
    /// unsampled threads.
    pub(super) fn refresh(&self) {
        let Some(engine) = self.engine() else { return };
        engine.rules.refresh();
        if self.is_disproved() && !self.disproved_is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!("heapward: stacks are walked by {} from now on: {DISPROVED}", Unwinder::EhFrame);
        }
    }

    fn is_disproved(&self) -> bool {
        self.chosen == Unwinder::FramePointers && self.engine.is_some_and(Engine::is_disproved)
    }

    /// Estimate of the resident bytes of its table.
    pub(super) fn table_bytes(&self) -> u64 {
        self.engine().map_or(0, |engine| engine.rules.resident_bytes_estimate())
    }

    /// What is in use, and why not a better one.
    pub(super) fn report(&self) -> UnwindReport {
        let mut report = UnwindReport {
            asked: self.asked,
            in_use: self.chosen,
            rejected: self.rejected.clone(),
            figures: self.engine().map(|engine| {
                let figures = &engine.rules.figures;
                UnwindFigures {
                    truncated: figures.truncated.load(Ordering::Relaxed),
                    borrowed: figures.borrowed.load(Ordering::Relaxed),
                    lookups: figures.lookups.load(Ordering::Relaxed),
                    refreshes: figures.refreshes.load(Ordering::Relaxed),
                }
            }),
        };
        if self.is_disproved() {
            report.in_use = Unwinder::EhFrame;
            report.rejected.push(Rejected { unwinder: Unwinder::FramePointers, reason: DISPROVED.to_owned() });
        }
        report
    }

    /// Has every stack walked by libgcc as well and compared, from now on.
    pub(super) fn compare(&self) -> Result<()> {
        comparison::start(self.chosen == Unwinder::FramePointers);
        match self.engine() {
            Some(_) => Profiling::set_backtrace_hook(entry::comparing),
            None => Ok(()),
        }
    }

    /// What came of that so far.
    pub(super) fn compared(&self) -> Comparison {
        comparison::figures()
    }

    /// Until what is returned is dropped, libgcc walks with SIGPROF held back. Our own unwinders need no such thing: they
    /// wait for nothing, and what a signal's handler reads of theirs is whole at every moment.
    #[cfg(feature = "cpu")]
    pub(super) fn shield(&self) -> Result<UndisturbedUnwinding> {
        Ok(match self.engine() {
            Some(_) => {
                libgcc::SHIELDED.store(true, Relaxed);
                UndisturbedUnwinding { before: None }
            }
            None => UndisturbedUnwinding { before: Some(super::hooks::shield_unwinding()?) },
        })
    }
}

const DISPROVED: &str =
    "frame pointers gave another stack than the unwind tables: a part of the program is built without them";

/// While it lives, libgcc walks stacks with SIGPROF held back.
#[cfg(feature = "cpu")]
pub(crate) struct UndisturbedUnwinding {
    /// Of jemalloc, to be put back.
    before: Option<BacktraceHook>,
}

#[cfg(feature = "cpu")]
impl Drop for UndisturbedUnwinding {
    fn drop(&mut self) {
        libgcc::SHIELDED.store(false, Relaxed);
        if let Some(before) = self.before
            && let Err(error) = Profiling::set_backtrace_hook(before)
        {
            // Harmless: stacks are walked all the same.
            tracing::warn!("heapward: SIGPROF is still held back while stacks are walked: {error}");
        }
    }
}
