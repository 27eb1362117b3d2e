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
    /// Which of its names belongs to nobody else.
    pub own: OwnName,
    /// `None`: the provider did not say.
    pub groups: Option<Vec<String>>,
    /// When it was last vouched for, in Unix microseconds.
    pub confirmed_at: i64,
}

/// Which of the names of an identity its provider answers for: keys that were made for it belong to this person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnName {
    #[default]
    None,
    Username,
    /// The provider verified the address; the username may be anything.
    Email,
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

impl OwnName {
    /// As databases have it.
    pub const fn number(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Username => 1,
            Self::Email => 2,
        }
    }

    /// What is not understood is nobody's name.
    pub const fn of_number(number: i64) -> Self {
        match number {
            1 => Self::Username,
            2 => Self::Email,
            _ => Self::None,
        }
    }
}

impl Login {
    /// The name for which the provider answers; empty: none.
    pub fn own_name(&self) -> &str {
        match self.own {
            OwnName::None => "",
            OwnName::Username => &self.username,
            OwnName::Email => &self.email,
        }
    }
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

    /// The names that keys of this person may say.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let logins = self.logins.iter();
        let logins = logins.flat_map(|login| [&*login.id, login.own_name()]);
        std::iter::once(&*self.id)
            .chain(logins)
            .filter(|name| names_somebody(name))
    }

    /// Whether a text names this person, for somebody who looks for them: by id, by an identity, or by a username in any
    /// case, even one that they chose themselves.
    pub fn is_named(&self, text: &str) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(text);
        let of_login =
            |login: &Login| login.id == text || is(&login.username) || is(login.own_name());
        let of_person = || *self.id == *text || is(&self.username);
        names_somebody(text) && (of_person() || self.logins.iter().any(of_login))
    }

    /// Whether keys and projects that say this name mean this person: by id, by an identity, or by a name for which a
    /// provider answers.
    pub fn owns(&self, name: &str) -> bool {
        let of_login =
            |login: &Login| login.id == name || login.own_name().eq_ignore_ascii_case(name);
        names_somebody(name) && (*self.id == *name || self.logins.iter().any(of_login))
    }
}

/// Whether a text can name anybody. There are identities without a username, and nobody is called `` or `:`.
pub fn names_somebody(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

/// The persons to whom keys of this name belong. A link is the site's word, and goes before what providers say; without
/// one, several providers may answer for the same name.
pub fn owners<'a>(people: &'a [Person], name: &str) -> Vec<&'a Person> {
    let has = |person: &Person| person.logins.iter().any(|login| login.id == name);
    let linked = people
        .iter()
        .find(|person| *person.id != *name && has(person));
    match linked {
        Some(person) => vec![person],
        None => people.iter().filter(|person| person.owns(name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(id: &str, username: &str, own: OwnName, email: &str) -> Person {
        Person {
            id: id.into(),
            username: username.to_owned(),
            logins: vec![Login {
                id: id.to_owned(),
                person: id.to_owned(),
                username: username.to_owned(),
                email: email.to_owned(),
                own,
                ..Login::default()
            }],
            ..Person::default()
        }
    }

    #[test]
    fn a_text_without_a_letter_names_nobody() {
        let nameless = person("", "", OwnName::Username, "");
        for text in ["", " ", "  \t", ":", "@", "\u{a0}", "\u{200b}", "-"] {
            assert!(!nameless.is_named(text) && !nameless.owns(text), "{text:?}");
        }
        let odd = person(":", ":", OwnName::Username, ":");
        assert!(!odd.is_named(":") && !odd.owns(":"));
    }

    #[test]
    fn a_chosen_username_finds_somebody_and_owns_nothing() {
        let ann = person("a#1", "ann@lab.org", OwnName::Username, "");
        let mallory = person("b#2", "ann@lab.org", OwnName::Email, "mallory@lab.org");
        assert!(ann.owns("Ann@lab.org") && !mallory.owns("ann@lab.org"));
        assert!(mallory.owns("mallory@LAB.org") && mallory.owns("b#2"));
        assert!(mallory.is_named("ann@lab.org") && mallory.is_named("mallory@lab.org"));
        let people = [ann, mallory];
        let ids = |name: &str| -> Vec<String> {
            let owners = owners(&people, name).into_iter();
            owners.map(|one| one.id.to_string()).collect()
        };
        assert_eq!(ids("ann@lab.org"), ["a#1"]);
        assert!(ids("").is_empty() && ids("nobody@lab.org").is_empty());
    }

    #[test]
    fn a_link_goes_before_what_providers_say() {
        let mut ann = person("a#1", "ann", OwnName::None, "");
        ann.logins.push(Login {
            id: "ann@lab.org".to_owned(),
            person: "a#1".to_owned(),
            ..Login::default()
        });
        let other = person("b#2", "ann@lab.org", OwnName::Username, "");
        let people = [other, ann];
        let owners = owners(&people, "ann@lab.org");
        assert_eq!(owners.len(), 1);
        assert_eq!(&*owners[0].id, "a#1");
    }
}
