use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Owner, Role};

/// An API key as the store knows it: it has only the hash, not the key itself.
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
    /// When the owner was last vouched for, according to the key itself. For sign-ins see [`Owner`].
    pub confirmed_at: i64,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
    /// How many days before its end the owner was last warned.
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

/// Restrictions of a key, or rights beyond inference. Kept as JSON. A key with a field that this binary does not know
/// cannot be used, because the field may be a restriction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRights {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Only these models; empty: all that the owner may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Networks (CIDR) that it may be used from; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// All its requests wait behind everybody else's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub batch: bool,
    /// The keys of `[limits.key."ID"]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, u64>,
    /// Domains of the users for whom a front end may act.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<String>,
    /// The key belongs to a project and not to a person; the project's managers vouch for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub service: bool,
}

impl KeyRights {
    pub fn is_admin(&self) -> bool {
        self.role == Some(Role::Admin)
    }
}

impl ApiKey {
    /// Gives a key all groups that its owner has at the time.
    pub const ALL_GROUPS: &'static str = "*";

    /// The key's groups that its owner still has. If no provider ever listed the owner's groups, all of the key's
    /// groups.
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

    /// When the owner was last vouched for, by a provider or by the key itself.
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

/// A part of the changes to keys, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChanges {
    pub changes: Vec<KeyChange>,
    /// Where to continue.
    pub last: i64,
}
