//! From the ids of a file, which may be any numbers, to indices.

use super::wire::malformed;
use crate::error::Result;
use crate::format::read::Budget;

/// The ids of one kind of message.
pub(super) struct Ids {
    /// `mapping`, `location` or `function`.
    kind: &'static str,
    /// Ids, where they stand and the index of what they name; sorted by id once all are there.
    list: Vec<Id>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    id: u64,
    index: u32,
    /// Fits: a stream has at most 2^30 bytes.
    at: u32,
}

impl Ids {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, list: Vec::new() }
    }

    /// Adds the id of the next message, which stands at byte `at`.
    pub(super) fn push(&mut self, id: u64, at: u64, budget: &mut Budget) -> Result<()> {
        let index = self.list.len() as u32;
        if id == 0 {
            return Err(malformed(at, &[(self.kind, u64::from(index) + 1)], "id is 0 or missing, ids begin with 1"));
        }
        budget.push(&mut self.list, Id { id, index, at: at as u32 })
    }

    /// Sorts what was added.
    pub(super) fn finish(&mut self) -> Result<()> {
        // Ids of most files come in order, then there is nothing to do.
        if !self.list.is_sorted() {
            self.list.sort_unstable();
        }
        match self.list.windows(2).find(|pair| pair[0].id == pair[1].id) {
            Some(pair) => {
                let what = format!("id {} is that of {} {} too", pair[1].id, self.kind, pair[0].index + 1);
                Err(malformed(pair[1].at.into(), &[(self.kind, u64::from(pair[1].index) + 1)], &what))
            }
            None => Ok(()),
        }
    }

    /// The index of the message with this id.
    pub(super) fn find(&self, id: u64) -> Option<usize> {
        // Where ids count up from 1, an id tells its place.
        let guess = usize::try_from(id).ok()?.checked_sub(1)?;
        let found = match self.list.get(guess) {
            Some(known) if known.id == id => known,
            _ => self.list.get(self.list.binary_search_by_key(&id, |known| known.id).ok()?)?,
        };
        Some(found.index as usize)
    }

    /// The index that `id` stands for, which a message at byte `at` names.
    pub(super) fn require(&self, id: u64, at: u64, path: &[(&str, u64)]) -> Result<usize> {
        self.find(id).ok_or_else(|| malformed(at, path, &format!("{} id {id} is not in the profile", self.kind)))
    }
}
