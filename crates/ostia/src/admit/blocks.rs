use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ostia_core::{Blocked, Identity, Notice, NoticeScope};

/// Blocked callers and models, from `ostia block`.
#[derive(Debug, Default)]
pub struct Blocks(ArcSwap<BlockList>);

/// The blocks among the store's notices, by name, including expired ones.
#[derive(Debug, Default)]
pub struct BlockList {
    user: BTreeMap<String, Notice>,
    key: BTreeMap<String, Notice>,
    model: BTreeMap<String, Notice>,
}

impl Blocks {
    /// `notices`: what the store has now.
    pub fn take(&self, notices: &[Notice]) {
        let is_none = !notices.iter().any(|notice| notice.scope.is_block());
        if !(is_none && self.0.load().is_empty()) {
            self.0.store(Arc::new(BlockList::of_notices(notices)));
        }
    }

    /// `now`: Unix microseconds.
    pub(super) fn of(&self, who: &Identity, model: &str, now: i64) -> Option<Blocked> {
        self.0.load().of(who, model, now)
    }
}

impl BlockList {
    pub fn of_notices(notices: &[Notice]) -> Self {
        let mut list = Self::default();
        for notice in notices {
            if let NoticeScope::Blocked(what, name) = &notice.scope {
                let names = match what {
                    Blocked::User => &mut list.user,
                    Blocked::Key => &mut list.key,
                    Blocked::Model => &mut list.model,
                };
                let name = match what {
                    Blocked::User => Identity::user(name).into_owned(),
                    Blocked::Key | Blocked::Model => name.clone(),
                };
                names.insert(name, notice.clone());
            }
        }
        list
    }

    /// The block that holds for a caller and a model. `now`: Unix microseconds.
    pub fn of(&self, who: &Identity, model: &str, now: i64) -> Option<Blocked> {
        let holds = |blocks: &BTreeMap<String, Notice>, name: &str| {
            blocks.get(name).is_some_and(|block| block.holds_at(now))
        };
        let names = [&who.user_id, &who.own_name, &who.username];
        let user = names.map(|name| Identity::user(name));
        let user = user.iter().any(|name| holds(&self.user, name));
        let key = who.key_id.as_ref().is_some_and(|key| holds(&self.key, key));
        match (user, key, holds(&self.model, model)) {
            (true, _, _) => Some(Blocked::User),
            (_, true, _) => Some(Blocked::Key),
            (_, _, true) => Some(Blocked::Model),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.user.is_empty() && self.key.is_empty() && self.model.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_until_its_end_or_until_it_is_taken_back() {
        let block = |what, name: &str, ends_at| Notice {
            scope: NoticeScope::Blocked(what, name.to_owned()),
            text: String::new(),
            begins_at: None,
            ends_at,
        };
        let maintenance = Notice {
            scope: NoticeScope::Model("m".to_owned()),
            ..block(Blocked::Model, "", None)
        };
        let who = Identity {
            username: "ada@lab.org".into(),
            user_id: "key:ada".into(),
            own_name: "ada@mail.lab.org".into(),
            key_id: Some("k1".into()),
            ..Identity::default()
        };
        let blocks = Blocks::default();
        let holds = |now| blocks.of(&who, "m", now);
        blocks.take(std::slice::from_ref(&maintenance));
        assert_eq!(holds(0), None, "maintenance is another matter");
        blocks.take(&[block(Blocked::Key, "k1", Some(100)), maintenance]);
        assert_eq!((holds(99), holds(100)), (Some(Blocked::Key), None));
        for name in [
            "ada@lab.org",
            "key:ada",
            "ada@mail.lab.org",
            "ADA@Mail.Lab.org",
        ] {
            blocks.take(&[block(Blocked::User, name, None)]);
            assert_eq!(holds(i64::MAX), Some(Blocked::User), "{name}");
        }
        blocks.take(&[block(Blocked::Model, "m", None)]);
        assert_eq!(holds(100), Some(Blocked::Model));
        blocks.take(&[block(Blocked::Model, "n", None)]);
        assert_eq!(holds(100), None);
        blocks.take(&[]);
        assert_eq!(holds(100), None);
    }
}
