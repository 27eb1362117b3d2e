use std::sync::Arc;

/// A project that requests are accounted to. Neither its id nor its name is ever reused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    pub id: Arc<str>,
    /// The name used in rows, keys and `X-Ostia-Project`.
    pub name: Arc<str>,
    pub title: String,
    pub field: String,
    pub institution: String,
    pub cost_centre: String,
    /// Its id in the allocation system; empty: none.
    pub external_id: String,
    /// Usernames or user ids of those who may add members.
    pub managers: Vec<String>,
    pub members: Vec<String>,
    /// All members of these groups are members of the project.
    pub groups: Vec<String>,
    /// Only these models; empty: all that the caller may use.
    pub models: Vec<String>,
    /// The project's share of a queue.
    pub fair_share: Option<u32>,
    /// Unix microseconds.
    pub created_at: i64,
    /// When it ended; from then on nobody can choose it.
    pub ended_at: Option<i64>,
}

impl Project {
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Whether the caller is a member, by name or by group.
    pub fn has(&self, user_id: &str, username: &str, groups: &[Arc<str>]) -> bool {
        self.is_manager(user_id, username)
            || lists(&self.members, user_id, username)
            || self
                .groups
                .iter()
                .any(|wanted| groups.iter().any(|held| **held == **wanted))
    }

    pub fn is_manager(&self, user_id: &str, username: &str) -> bool {
        lists(&self.managers, user_id, username)
    }
}

fn lists(names: &[String], user_id: &str, username: &str) -> bool {
    names
        .iter()
        .any(|name| **name == *user_id || (!username.is_empty() && **name == *username))
}
