//! Refusals beyond ten per second with the same user, outcome and error code become one row per second, with their
//! count.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use ostia_core::{LedgerRow, Outcome};
use parking_lot::Mutex;

use super::record::{self, Kind};

/// How many rows of their own the refusals of one user, outcome and error code get per second.
const WHOLE_ROWS: u32 = 10;
const SHARDS: usize = 16;

/// What happens to a refusal. In either case, with the folded row of an earlier second that is now due.
pub(super) enum Fate {
    Write(Option<Folded>),
    Folded(Option<Folded>),
}

#[derive(Default)]
pub(super) struct Folds {
    shards: [Mutex<HashMap<Box<str>, Vec<Window>>>; SHARDS],
    hasher: RandomState,
}

/// The current second of one user, outcome and error code. The outcome is needed because neither a caller who hung up
/// nor one who was cut off has a code.
struct Window {
    outcome: Outcome,
    error_code: Box<str>,
    second: u64,
    written: u32,
    folded: Option<Folded>,
}

/// The first of several refusals, and what the others add to it.
pub(super) struct Folded {
    record: Vec<u8>,
    count: u32,
    finished_at: i64,
}

impl Folds {
    /// `second`: of a monotonic clock.
    pub(super) fn weigh(&self, row: &LedgerRow<'_>, second: u64) -> Fate {
        let shard = self.hasher.hash_one(&*row.user_id) as usize % SHARDS;
        let mut users = self.shards[shard].lock();
        if !users.contains_key(&*row.user_id) {
            users.insert(Box::from(&*row.user_id), Vec::new());
        }
        let Some(windows) = users.get_mut(&*row.user_id) else {
            return Fate::Write(None);
        };
        let known = windows.iter().position(|window| {
            window.outcome == row.outcome && *window.error_code == *row.error_code
        });
        let index = known.unwrap_or_else(|| {
            windows.push(Window::new(row, second));
            windows.len() - 1
        });
        windows[index].weigh(row, second)
    }

    /// Folded rows of seconds before `current`; `None`: all.
    pub(super) fn due(&self, current: Option<u64>) -> Vec<Folded> {
        let mut due = Vec::new();
        for shard in &self.shards {
            shard.lock().retain(|_, windows| {
                windows.retain_mut(|window| {
                    let over = current.is_none_or(|current| window.second < current);
                    if over {
                        due.extend(window.folded.take());
                    }
                    // A window of this second goes on counting even if its row was asked for.
                    current.is_none() || !over
                });
                !windows.is_empty()
            });
        }
        due
    }
}

impl Window {
    fn new(row: &LedgerRow<'_>, second: u64) -> Self {
        Self {
            outcome: row.outcome,
            error_code: Box::from(&*row.error_code),
            second,
            written: 0,
            folded: None,
        }
    }

    fn weigh(&mut self, row: &LedgerRow<'_>, second: u64) -> Fate {
        let mut due = None;
        if second > self.second {
            due = self.folded.take();
            self.second = second;
            self.written = 0;
        }
        if self.written < WHOLE_ROWS {
            self.written += 1;
            return Fate::Write(due);
        }
        match &mut self.folded {
            Some(folded) => folded.add(row),
            None => self.folded = Some(Folded::new(row)),
        }
        Fate::Folded(due)
    }
}

impl Folded {
    fn new(row: &LedgerRow<'_>) -> Self {
        let mut record = Vec::new();
        record::encode(&mut record, Kind::Rejected, row);
        Self {
            record,
            count: row.count,
            finished_at: row.finished_at,
        }
    }

    fn add(&mut self, row: &LedgerRow<'_>) {
        self.count = self.count.saturating_add(row.count);
        self.finished_at = self.finished_at.max(row.finished_at);
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// The first refusal, standing for all.
    pub(super) fn row(&self) -> Option<LedgerRow<'_>> {
        let row = record::decode(&self.record)?;
        Some(LedgerRow {
            count: self.count,
            finished_at: self.finished_at,
            ..row
        })
    }
}
