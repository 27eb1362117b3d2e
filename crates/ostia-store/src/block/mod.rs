//! In: rows' values and sums. Out: blocks, each the sums of many rows in one value of a table.
//! Not here: which blocks there are (`levels`), where they are kept (`shared/blocks`).
//!
//! A block is read at a hundred times the speed of as many rows of a table, and is a twentieth of their size. A batch of rows
//! adds one block to each level; later, blocks become one ([`Builder`]), so that a day is read as a few.

mod format;
mod names;

use ostia_core::Outcome;

use crate::levels::{DIMENSIONS, Grain, KEY, Level, OUTCOME, USER};
pub(crate) use format::{Damaged, View};
pub(crate) use names::Names;

const COUNT: usize = DIMENSIONS.len();
/// So many entries are brought in order at a time, so that repeated ones do not fill the memory.
const PILE: usize = 1 << 17;

/// Sums of rows; they stop at the ends of `i64` rather than wrap. Negative ones take back what other blocks have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) requests: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) total_tokens: i64,
}

/// What an entry is the sum of: places in the block's names, and the hour since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    values: [u32; COUNT],
    hour: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    key: Key,
    sums: Sums,
}

/// Each key once, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    names: [Vec<Box<str>>; COUNT],
    entries: Vec<Entry>,
}

/// Adds up to one block.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    names: [Names; COUNT],
    entries: Vec<Entry>,
    /// How many of them were in order when they were last looked at.
    ordered: usize,
}

impl Sums {
    pub(crate) fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.requests, more.requests),
            (&mut self.prompt_tokens, more.prompt_tokens),
            (&mut self.completion_tokens, more.completion_tokens),
            (&mut self.total_tokens, more.total_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    pub(crate) fn negated(&self) -> Self {
        Self {
            requests: self.requests.saturating_neg(),
            prompt_tokens: self.prompt_tokens.saturating_neg(),
            completion_tokens: self.completion_tokens.saturating_neg(),
            total_tokens: self.total_tokens.saturating_neg(),
        }
    }
}

impl Builder {
    pub(crate) fn add(&mut self, values: [&str; COUNT], hour: i64, sums: Sums) {
        let mut places = [0; COUNT];
        for ((place, names), value) in places.iter_mut().zip(&mut self.names).zip(values) {
            *place = names.place(value);
        }
        let key = Key {
            values: places,
            hour: u32::try_from(hour).unwrap_or(0),
        };
        self.push(Entry { key, sums });
    }

    /// Adds what a block has, as far as a level keeps it.
    pub(crate) fn add_block(&mut self, block: &Block, level: Level) {
        let names = self.names.iter_mut().zip(&block.names).enumerate();
        let places: Vec<Vec<u32>> = names
            .map(|(at, (own, theirs))| match level.has(at) {
                true => theirs.iter().map(|name| own.place(name)).collect(),
                false => Vec::new(),
            })
            .collect();
        let keeps_hours = level.grain == Grain::Hour;
        for entry in &block.entries {
            let mut key = Key {
                values: [0; COUNT],
                hour: if keeps_hours { entry.key.hour } else { 0 },
            };
            let values = key.values.iter_mut().zip(entry.key.values).zip(&places);
            for ((value, theirs), places) in values {
                *value = places.get(theirs as usize).copied().unwrap_or(0);
            }
            let sums = entry.sums;
            self.push(Entry { key, sums });
        }
    }

    pub(crate) fn build(mut self) -> Block {
        self.order();
        Block {
            names: self.names.map(Names::into_texts),
            entries: self.entries,
        }
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        if self.entries.len() > 2 * self.ordered + PILE {
            self.order();
        }
    }

    fn order(&mut self) {
        self.entries.sort_unstable_by_key(|entry| entry.key);
        self.entries.dedup_by(|later, kept| {
            let same = later.key == kept.key;
            if same {
                kept.sums.add(&later.sums);
            }
            same
        });
        // What gave way to another row leaves nothing.
        self.entries.retain(|entry| entry.sums != Sums::default());
        self.ordered = self.entries.len();
    }
}

impl Block {
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The same with less told apart, as a level keeps it.
    pub(crate) fn at(&self, level: Level) -> Self {
        let mut builder = Builder::default();
        builder.add_block(self, level);
        builder.build()
    }

    /// What takes back all that this one has.
    pub(crate) fn negated(mut self) -> Self {
        for entry in &mut self.entries {
            entry.sums = entry.sums.negated();
        }
        self
    }

    /// Names of persons that a block has requests of.
    pub(crate) fn persons(&self) -> &[Box<str>] {
        self.names.get(USER).map_or(&[], Vec::as_slice)
    }

    /// Gives persons other names. `None` leaves one alone; whoever is renamed leaves their keys, too, if `drops_keys`.
    pub(crate) fn rename(
        mut self,
        level: Level,
        drops_keys: bool,
        name: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let [persons, _, _, keys, ..] = &mut self.names;
        let mut renamed = vec![false; persons.len()];
        for (person, renamed) in persons.iter_mut().zip(&mut renamed) {
            if let Some(new) = name(person) {
                *person = new.into();
                *renamed = true;
            }
        }
        if drops_keys {
            let nothing = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            keys.push("".into());
            for entry in &mut self.entries {
                let [person, _, _, key, ..] = &mut entry.key.values;
                if renamed.get(*person as usize).copied().unwrap_or(false) {
                    *key = nothing;
                }
            }
        }
        self.at(level)
    }
}

/// What reports say of an outcome's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Ok,
    Refused,
    Failed,
    /// Given up by the client.
    Otherwise,
}

impl Counted {
    pub(crate) fn of(outcome: &str) -> Self {
        let is = |known: Outcome| outcome == known.as_str();
        if is(Outcome::Ok) {
            Self::Ok
        } else if is(Outcome::Rejected) {
            Self::Refused
        } else if is(Outcome::ClientClosed) {
            Self::Otherwise
        } else {
            Self::Failed
        }
    }
}

const _: () = assert!(USER == 0 && KEY == 3 && OUTCOME == COUNT - 1);

#[cfg(test)]
mod tests;
