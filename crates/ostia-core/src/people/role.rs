use std::fmt;

use serde::{Deserialize, Serialize};

/// What somebody may do besides inference. Managers of a project have no role: the project lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Drain, maintenance, reload.
    Operator,
    /// Look up and disable a user, revoke a key.
    Support,
    /// See usage sums without persons.
    Reporter,
    /// Hold leases on endpoints of the catalog.
    Registrar,
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u8);

impl Role {
    pub const ALL: [Self; 5] = [
        Self::Admin,
        Self::Operator,
        Self::Support,
        Self::Reporter,
        Self::Registrar,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Support => "support",
            Self::Reporter => "reporter",
            Self::Registrar => "registrar",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Roles {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<T: IntoIterator<Item = Role>>(roles: T) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Role, Roles};

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        assert!(Roles::NONE.is_empty());
        for role in Role::ALL {
            let one = Roles::NONE.with(role);
            assert_eq!(one.iter().collect::<Vec<_>>(), [role]);
            assert_eq!(Role::of_word(role.as_str()), Some(role));
        }
        let all: Roles = Role::ALL.into_iter().collect();
        assert_eq!(all.iter().count(), Role::ALL.len());
        assert_eq!(Role::of_word("Admin"), None);
    }
}
