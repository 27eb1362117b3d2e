//! Users that were written lately: writing each again with every batch would cost as much as their rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ostia_core::LedgerRow;

use crate::columns::stamp;
use crate::tally::Users;

/// How far `last_seen` may lag behind.
const LAG: i64 = 60_000_000;
/// Bounds the memory.
const MOST: usize = 50_000;

/// What the table of users has, as far as this process wrote it.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<Box<str>, User>>);

#[derive(Debug, PartialEq, Eq)]
struct User {
    username: Box<str>,
    name: Box<str>,
    idp: Box<str>,
    at: i64,
}

impl Seen {
    /// Whom to write: those that are new, have another name, or were written a while ago.
    pub(crate) fn due<'a>(&self, users: &Users<'a>) -> Vec<&'a LedgerRow<'a>> {
        let held = self.lock();
        let is_due = |(id, row): &(&Cow<'a, str>, &&LedgerRow<'a>)| {
            let at = stamp(row.started_at);
            held.get(&***id)
                .is_none_or(|user| at >= user.at && (at - user.at >= LAG || !user.is_named_as(row)))
        };
        users.iter().filter(is_due).map(|(_, row)| *row).collect()
    }

    /// They are in the table now.
    pub(crate) fn note(&self, written: &[&LedgerRow<'_>]) {
        let mut held = self.lock();
        if held.len() > MOST {
            held.clear();
        }
        for row in written {
            held.insert((*row.user_id).into(), User::of(row));
        }
    }

    /// Somebody else wrote to the table.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, User>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    fn of(row: &LedgerRow<'_>) -> Self {
        Self {
            username: (*row.username).into(),
            name: (*row.name).into(),
            idp: (*row.idp).into(),
            at: stamp(row.started_at),
        }
    }

    fn is_named_as(&self, row: &LedgerRow<'_>) -> bool {
        *self.username == *row.username && *self.name == *row.name && *self.idp == *row.idp
    }
}

#[cfg(test)]
mod tests {
    use super::{LAG, Seen};
    use crate::calendar::Calendar;
    use crate::story::{NOON, row};
    use crate::tally::Tally;

    #[test]
    fn users_are_due_when_they_changed_or_after_a_while() {
        let seen = Seen::default();
        let due = |user: &str, at: i64, name: &str| {
            let mut row = row(user, at, 1);
            row.name = name.to_owned().into();
            let mut tally = Tally::new(Calendar::of("UTC").unwrap());
            tally.add(&row);
            let due = seen.due(&tally.users);
            seen.note(&due);
            due.len()
        };
        assert_eq!(due("ann", NOON, "Ann"), 1);
        assert_eq!(due("bob", NOON, "Ann"), 1);
        assert_eq!(due("ann", NOON + LAG - 1, "Ann"), 0);
        assert_eq!(due("ann", NOON + 1, "Ann B"), 1);
        // Late, with a name of before.
        assert_eq!(due("ann", NOON, "Ann"), 0);
        assert_eq!(due("ann", NOON + LAG + 1, "Ann B"), 1);
        seen.forget();
        assert_eq!(due("ann", NOON + LAG + 2, "Ann B"), 1);
    }
}
