use std::borrow::Cow;
use std::sync::Arc;

use crate::{KeyRights, Roles};

/// Who is calling, according to an identity provider or a key. Only `identify` turns it into a principal.
///
/// A text may be empty but is never missing: `/whoami` shows the texts as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The ledger's `user_id`, unique within the gateway: made from issuer and subject, never from an e-mail address
    /// alone.
    pub user_id: Arc<str>,
    pub name: Arc<str>,
    /// `name@domain`. Domain rules apply to the part after the `@`, of which there must be exactly one.
    pub username: Arc<str>,
    pub idp_id: Arc<str>,
    pub idp_name: Arc<str>,
    /// The kind of provider that vouched: `api_key`, `globus`, `introspection`, `oidc`, `none`.
    pub auth_service: Arc<str>,
    /// In lower case. `None` fails every domain rule.
    pub domain: Option<Arc<str>>,
    pub groups: Arc<[Arc<str>]>,
    /// The provider left out the user's groups, because there are too many.
    pub groups_unlisted: bool,
    pub key_id: Option<Arc<str>>,
    /// The project of the key, for sites that account by project.
    pub project: Arc<str>,
    /// The project's share of a queue.
    pub project_share: Option<u32>,
    /// What the caller may do besides inference.
    pub roles: Roles,
    /// The only models that exist for the caller, set by a key or a project. `None`: all that the rules allow.
    pub models: Option<Arc<[Arc<str>]>>,
    /// The rights of the key, if the credential is a key.
    pub rights: Option<Arc<KeyRights>>,
    /// The front end that acts for this user. The user may not do through it what it may not do itself.
    pub front: Option<Arc<Identity>>,
    /// From the provider; it proves nothing by itself.
    pub email: Arc<str>,
    /// The value of the claim that identifies one person across several sign-ins. The site has configured it as
    /// trustworthy.
    pub link: Option<Arc<str>>,
    /// NAME@DOMAIN for which a provider or the site answers: a verified address, or a claim that the site names. Rules and
    /// keys that name a user mean this one. Empty: none, since people may choose usernames themselves.
    pub own_name: Arc<str>,
}

impl Identity {
    /// The caller's name in usage reports: never one that they chose themselves, as it may be another's.
    pub fn reported_name(&self) -> &str {
        match self.own_name.eq_ignore_ascii_case(&self.username) && !self.username.is_empty() {
            true => &self.username,
            false => self.accountable_name(),
        }
    }

    /// Whether a rule that names a user means this caller: by id, or by a name for which somebody answers.
    pub fn goes_by(&self, name: &str) -> bool {
        !name.is_empty() && (*self.user_id == *name || *self.own_name == *name)
    }

    /// As the audit names the caller: never by a name that they chose themselves.
    pub fn accountable_name(&self) -> &str {
        match self.own_name.is_empty() {
            true => &self.user_id,
            false => &self.own_name,
        }
    }

    /// The part of a username after the `@`, in lower case. `None` if there is not exactly one `@`, or nothing follows
    /// it.
    pub fn domain_of(username: &str) -> Option<Arc<str>> {
        let (name, domain) = username.split_once('@')?;
        let sound = !name.is_empty() && !domain.is_empty() && !domain.contains('@');
        sound.then(|| domain.to_lowercase().into())
    }

    /// The form in which the names of users are compared where they must not be missed: NAME@DOMAIN in lower case, ids
    /// unchanged.
    pub fn user(text: &str) -> Cow<'_, str> {
        let text = text.trim();
        match text.contains('@') && text.contains(char::is_uppercase) {
            true => Cow::Owned(text.to_lowercase()),
            false => Cow::Borrowed(text),
        }
    }

    /// The form in which groups are compared: UUIDs in lower case (RFC 9562 section 4), names unchanged.
    pub fn group(text: &str) -> String {
        match uuid::Uuid::try_parse(text) {
            Ok(_) => text.to_ascii_lowercase(),
            Err(_) => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;

    #[test]
    fn names_of_users_are_compared_in_lower_case() {
        for (text, form) in [
            ("Ann@Lab.ORG", "ann@lab.org"),
            (" ann@lab.org ", "ann@lab.org"),
            ("Portal", "Portal"),
            ("\u{c9}va@lab.org", "\u{e9}va@lab.org"),
        ] {
            assert_eq!(Identity::user(text), form);
        }
    }

    #[test]
    fn a_domain_follows_the_one_at_sign() {
        assert_eq!(Identity::domain_of("a@Lab.ORG").as_deref(), Some("lab.org"));
        for none in ["a", "a@", "@lab.org", "a@b@c", ""] {
            assert_eq!(Identity::domain_of(none), None, "{none}");
        }
    }

    #[test]
    fn nobody_goes_by_a_name_that_they_chose() {
        let mallory = Identity {
            user_id: "https://idp#7".into(),
            username: "root@lab.org".into(),
            own_name: "mallory@lab.org".into(),
            ..Identity::default()
        };
        assert!(mallory.goes_by("mallory@lab.org") && mallory.goes_by("https://idp#7"));
        assert!(!mallory.goes_by("root@lab.org"));
        assert_eq!(mallory.accountable_name(), "mallory@lab.org");
        assert_eq!(mallory.reported_name(), "mallory@lab.org");
        let unproven = Identity {
            own_name: "".into(),
            ..mallory
        };
        assert_eq!(unproven.reported_name(), "https://idp#7");
        let ann = Identity {
            username: "Ann@lab.org".into(),
            own_name: "ann@lab.org".into(),
            ..Identity::default()
        };
        assert_eq!(ann.reported_name(), "Ann@lab.org");
        let nameless = Identity::default();
        assert!(!nameless.goes_by(""));
    }

    #[test]
    fn groups_are_uuids_in_any_case_or_names() {
        let group = Identity::group("05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB");
        assert_eq!(group, "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb");
        assert_eq!(Identity::group("Physics"), "Physics");
    }
}
