use std::sync::Arc;

/// One identity of a person: an account at a provider, or the username that keys were made for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// Made from issuer and subject, or for key owners the username.
    pub id: String,
    /// The person it belongs to, unless an administrator linked it to another.
    pub person: String,
    /// The kind of provider (`oidc`, `globus`, ...), or `admin` if an administrator listed the person.
    pub auth_service: String,
    pub idp: String,
    pub username: String,
    pub name: String,
    pub email: String,
    /// Whether the username's domain is trusted. If so, keys made for that username belong to this person.
    pub proven: bool,
    /// `None`: the provider did not say.
    pub groups: Option<Vec<String>>,
    /// When it was last vouched for, in Unix microseconds.
    pub confirmed_at: i64,
}

/// A person, with all their identities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// The ledger's `user_id`.
    pub id: Arc<str>,
    pub username: String,
    pub name: String,
    pub email: String,
    pub idp: String,
    pub state: PersonState,
    /// The time of the last request or sign-in, in Unix microseconds.
    pub last_seen: i64,
    pub logins: Vec<Login>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PersonState {
    #[default]
    Active,
    Disabled,
    /// The person was replaced by a pseudonym.
    Erased,
}

/// What is known about the owner of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    pub confirmed_at: Option<i64>,
    /// The groups of all their identities; `None`: no provider ever listed groups.
    pub groups: Option<Arc<[Arc<str>]>>,
}

impl PersonState {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Erased => "erased",
        }
    }

    /// An unknown word counts as disabled.
    pub fn of_word(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "erased" => Self::Erased,
            _ => Self::Disabled,
        }
    }
}

impl Person {
    /// When a provider last vouched for them.
    pub fn confirmed_at(&self) -> Option<i64> {
        self.logins.iter().map(|login| login.confirmed_at).max()
    }

    /// Whether a text names this person: by id, by the id of an identity, or by a username in any case.
    pub fn is_named(&self, text: &str) -> bool {
        let named = |id: &str, username: &str| id == text || username.eq_ignore_ascii_case(text);
        named(&self.id, &self.username)
            || self
                .logins
                .iter()
                .any(|login| named(&login.id, &login.username))
    }
}
