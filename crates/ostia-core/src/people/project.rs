use std::sync::Arc;

/// A project that requests are counted under. Its id is never used again, nor is its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    pub id: Arc<str>,
    /// What rows, keys and `X-Ostia-Project` say.
    pub name: Arc<str>,
    pub title: String,
    pub field: String,
    pub institution: String,
    pub cost_centre: String,
    /// What the allocation system calls it; empty: none.
    pub external_id: String,
    /// Usernames or user ids, who may add members.
    pub managers: Vec<String>,
    pub members: Vec<String>,
    /// All members of these groups are members.
    pub groups: Vec<String>,
    /// Only these; empty: all that the caller may use.
    pub models: Vec<String>,
    /// The project's share of a queue.
    pub fair_share: Option<u32>,
    /// Unix microseconds.
    pub created_at: i64,
    /// Nobody may choose it any more.
    pub ended_at: Option<i64>,
}

impl Project {
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Whether the caller belongs to it, by name or by group. `own_name`: see [`crate::Identity::own_name`].
    pub fn has(&self, user_id: &str, own_name: &str, groups: &[Arc<str>]) -> bool {
        self.is_manager(user_id, own_name)
            || lists(&self.members, user_id, own_name)
            || self
                .groups
                .iter()
                .any(|wanted| groups.iter().any(|held| **held == **wanted))
    }

    pub fn is_manager(&self, user_id: &str, own_name: &str) -> bool {
        lists(&self.managers, user_id, own_name)
    }
}

fn lists(names: &[String], user_id: &str, own_name: &str) -> bool {
    names
        .iter()
        .any(|name| **name == *user_id || (!own_name.is_empty() && **name == *own_name))
}
