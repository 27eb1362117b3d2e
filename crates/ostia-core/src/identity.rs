use std::sync::Arc;

use crate::{KeyRights, Roles};

/// Who is calling, as an identity provider or a key says it. Only `identify` turns it into a principal.
///
/// Any text may be empty, but none is missing: `/whoami` shows them as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The ledger's `user_id`: unique within the gateway. Issuer and subject together, never an e-mail address alone.
    pub user_id: Arc<str>,
    pub name: Arc<str>,
    /// `name@domain`; rules on domains look at what follows the one `@`.
    pub username: Arc<str>,
    pub idp_id: Arc<str>,
    pub idp_name: Arc<str>,
    /// Which kind of provider vouched: `api_key`, `globus`, `introspection`, `oidc`, `none`.
    pub auth_service: Arc<str>,
    /// Lower case; `None` fails every domain rule.
    pub domain: Option<Arc<str>>,
    pub groups: Arc<[Arc<str>]>,
    /// The provider did not say which groups the user is in, because they are too many.
    pub groups_unlisted: bool,
    pub key_id: Option<Arc<str>>,
    /// The project that the key belongs to, for sites that count by project.
    pub project: Arc<str>,
    /// The share of a queue that the project was given.
    pub project_share: Option<u32>,
    /// What the caller may do beside inference.
    pub roles: Roles,
    /// The only models that exist for the caller, by name; `None`: those that rules allow. Of a key or a project.
    pub models: Option<Arc<[Arc<str>]>>,
    /// What a key was given, if it is a key.
    pub rights: Option<Arc<KeyRights>>,
    /// The front end that named this user. What it may not do, the user may not do through it.
    pub front: Option<Arc<Identity>>,
    /// Of the provider; it proves nothing by itself.
    pub email: Arc<str>,
    /// The value of the claim by which the site says that two sign-ins are one person; believed.
    pub link: Option<Arc<str>>,
    /// NAME@DOMAIN for which a provider or the site answers: a verified address, or a claim that the site names. Rules and
    /// keys that name a user mean this one. Empty: none, since people may choose usernames themselves.
    pub own_name: Arc<str>,
}

impl Identity {
    /// As usage reports name the caller.
    pub fn reported_name(&self) -> &str {
        if self.username.is_empty() {
            &self.user_id
        } else {
            &self.username
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

    /// What follows the one `@` of a username, in lower case. With no `@`, two of them, or nothing behind it there is no
    /// domain.
    pub fn domain_of(username: &str) -> Option<Arc<str>> {
        let (name, domain) = username.split_once('@')?;
        let sound = !name.is_empty() && !domain.is_empty() && !domain.contains('@');
        sound.then(|| domain.to_lowercase().into())
    }

    /// The form in which groups are compared: UUIDs in lower case (RFC 9562 section 4), names as they are.
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
