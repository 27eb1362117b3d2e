use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Owner, Role};

/// An API key as the store knows it: the key itself is not there, only its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: Arc<str>,
    pub username: Arc<str>,
    pub groups: Arc<[Arc<str>]>,
    pub label: Arc<str>,
    pub project: Arc<str>,
    pub rights: Arc<KeyRights>,
    /// Unix microseconds.
    pub created_at: i64,
    /// When the owner was last vouched for as far as the key itself says; sign-ins are in [`Owner`].
    pub confirmed_at: i64,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
    /// The days before its end of which the owner was last told.
    pub noted_days: Option<i64>,
}

/// What `key create` writes.
#[derive(Debug, Clone, Default)]
pub struct NewApiKey {
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    pub username: String,
    pub groups: Vec<String>,
    pub label: String,
    /// Empty: none.
    pub project: String,
    pub rights: KeyRights,
    pub created_at: i64,
    pub expires_at: Option<i64>,
}

/// What narrows a key, or gives it more than inference. Kept as JSON; what a binary does not know makes the key unusable,
/// as it may be a restriction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRights {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Only these; empty: all that its owner may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Networks (CIDR) that it may come from; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// All its requests wait behind everybody.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub batch: bool,
    /// The keys of `[limits.key."ID"]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, u64>,
    /// Domains whose users a front end may name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<String>,
    /// Of a project and not of a person: its managers vouch for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub service: bool,
}

impl KeyRights {
    pub fn is_admin(&self) -> bool {
        self.role == Some(Role::Admin)
    }
}

impl ApiKey {
    /// A key that gets whatever groups its owner has.
    pub const ALL_GROUPS: &'static str = "*";

    /// The groups that it was given and that its owner has now. Of an owner whom nobody vouched for, nothing is known but
    /// the key.
    pub fn groups_now(&self, owner: &Owner) -> Arc<[Arc<str>]> {
        let takes_all = self.groups.iter().any(|group| **group == *Self::ALL_GROUPS);
        match &owner.groups {
            None if takes_all => Arc::default(),
            None => Arc::clone(&self.groups),
            Some(held) if takes_all => Arc::clone(held),
            Some(held) => {
                let kept = self.groups.iter().filter(|group| held.contains(group));
                kept.cloned().collect()
            }
        }
    }

    /// When the owner was last vouched for, by whomever.
    pub fn confirmed_at(&self, owner: &Owner) -> i64 {
        self.confirmed_at.max(owner.confirmed_at.unwrap_or(0))
    }

    pub fn is_usable(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

/// Something that happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// `key_created`, `key_revoked` or `key_expiry_changed`.
    pub kind: String,
    pub id: Arc<str>,
    pub username: Arc<str>,
    pub admin: bool,
}

/// Some of what happened to keys, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChanges {
    pub changes: Vec<KeyChange>,
    /// What to ask with for those behind them.
    pub last: i64,
}
