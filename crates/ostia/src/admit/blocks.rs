use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ostia_core::Identity;
use serde::{Deserialize, Serialize};

use crate::kept::{Kept, change, read};

const FILE: &str = "blocks.json";

/// Blocked callers and models, from `ostia block`.
#[derive(Debug)]
pub struct Blocks(Kept<BlockList>);

/// Name to the Unix second at which the block ends; `None`: never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockList {
    pub user: BTreeMap<String, Option<i64>>,
    pub key: BTreeMap<String, Option<i64>>,
    pub model: BTreeMap<String, Option<i64>>,
}

/// What a block names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    User,
    Key,
    Model,
}

impl Default for Blocks {
    fn default() -> Self {
        Self(Kept::new(FILE))
    }
}

impl Blocks {
    /// Reads the file that `ostia block` writes, if it changed. Blocks the thread while the disk does.
    pub fn refresh(&self, state_dir: &Path) {
        self.0.refresh(state_dir);
    }

    /// `now`: Unix microseconds.
    pub(super) fn of(&self, who: &Identity, model: &str, now: i64) -> Option<Blocked> {
        self.0.load().of(who, model, now)
    }
}

impl BlockList {
    /// What `ostia block` wrote.
    pub fn read(state_dir: &Path) -> io::Result<Self> {
        read(state_dir, FILE)
    }

    /// The block that holds for a caller and a model. `now`: Unix microseconds.
    pub fn of(&self, who: &Identity, model: &str, now: i64) -> Option<Blocked> {
        let holds = |blocks: &BTreeMap<String, Option<i64>>, name: &str| {
            let until = blocks.get(name);
            until.is_some_and(|until| until.is_none_or(|until| now / 1_000_000 < until))
        };
        let user = holds(&self.user, &who.user_id) || holds(&self.user, &who.username);
        let key = who.key_id.as_ref().is_some_and(|key| holds(&self.key, key));
        match (user, key, holds(&self.model, model)) {
            (true, _, _) => Some(Blocked::User),
            (_, true, _) => Some(Blocked::Key),
            (_, _, true) => Some(Blocked::Model),
            _ => None,
        }
    }

    fn names(&mut self, what: Blocked) -> &mut BTreeMap<String, Option<i64>> {
        match what {
            Blocked::User => &mut self.user,
            Blocked::Key => &mut self.key,
            Blocked::Model => &mut self.model,
        }
    }
}

/// `ostia block`: a running gateway sees it within a second, a new one at its start.
pub fn block(state_dir: &Path, what: Blocked, name: &str, until: Option<i64>) -> io::Result<()> {
    let edit = |list: &mut BlockList| {
        list.names(what).insert(name.to_owned(), until);
        true
    };
    change(state_dir, FILE, edit).map(drop)
}

/// `ostia unblock`. `false`: there was no such block.
pub fn unblock(state_dir: &Path, what: Blocked, name: &str) -> io::Result<bool> {
    let edit = |list: &mut BlockList| list.names(what).remove(name).is_some();
    change(state_dir, FILE, edit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_until_its_end_or_until_it_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = Blocks::default();
        let who = Identity {
            username: "ada@lab.org".into(),
            user_id: "key:ada".into(),
            key_id: Some("k1".into()),
            ..Identity::default()
        };
        let holds = |now: i64| {
            blocks.refresh(folder.path());
            blocks.of(&who, "m", now * 1_000_000)
        };
        assert_eq!(holds(0), None);
        block(folder.path(), Blocked::Key, "k1", Some(100)).unwrap();
        assert_eq!((holds(99), holds(100)), (Some(Blocked::Key), None));
        block(folder.path(), Blocked::User, "ada@lab.org", None).unwrap();
        assert_eq!(holds(i64::MAX / 1_000_000), Some(Blocked::User));
        assert!(unblock(folder.path(), Blocked::User, "ada@lab.org").unwrap());
        assert!(!unblock(folder.path(), Blocked::User, "ada@lab.org").unwrap());
        assert_eq!(holds(100), None);
        block(folder.path(), Blocked::Model, "m", None).unwrap();
        assert_eq!(holds(100), Some(Blocked::Model));
        std::fs::write(folder.path().join(FILE), "no JSON").unwrap();
        assert_eq!(
            holds(100),
            Some(Blocked::Model),
            "a file that cannot be read changes nothing"
        );
    }
}
