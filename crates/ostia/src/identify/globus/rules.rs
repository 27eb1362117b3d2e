use std::collections::BTreeMap;
use std::sync::Arc;

use ostia_core::Identity;
use serde_json::Value;

use crate::identify::SignInError;
use crate::identify::claims::{Lifetime, text};
use crate::identify::vouching::link_of;
use crate::settings;

/// The site's rules on who is admitted. Pure functions of Globus's answers.
pub(super) struct Rules {
    policies: Vec<String>,
    domains: Vec<String>,
    required_groups: Vec<String>,
    groups_per_domain: BTreeMap<String, Vec<String>>,
    service_usernames: Vec<String>,
    link_claim: String,
}

/// Who signed in, as far as Globus Auth says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) username: Arc<str>,
    pub(super) idp_id: Arc<str>,
    pub(super) idp_name: Arc<str>,
    pub(super) email: Arc<str>,
    pub(super) link: Option<Arc<str>>,
}

impl Rules {
    pub(super) fn new(settings: &settings::Globus) -> Self {
        Self {
            policies: settings.policies.clone(),
            domains: settings.idp_domains.clone(),
            required_groups: settings.required_groups.clone(),
            groups_per_domain: settings.groups_per_domain.clone(),
            service_usernames: settings.service_usernames.clone(),
            link_claim: settings.link_claim.clone(),
        }
    }

    pub(super) fn policies(&self) -> &[String] {
        &self.policies
    }

    pub(super) fn token(&self, said: &Value, now_seconds: i64) -> Result<Lifetime, SignInError> {
        if said.get("active") != Some(&Value::Bool(true)) {
            return Err(SignInError::InvalidKey);
        }
        Lifetime::of(said, now_seconds)
    }

    pub(super) fn person(&self, said: &Value) -> Result<Person, SignInError> {
        if let Some(service) = self.service(said) {
            return Ok(service);
        }
        self.check_policies(said)?;
        self.session_person(said)
    }

    pub(super) fn admit(&self, person: &Person, groups: &[Arc<str>]) -> Result<(), SignInError> {
        if !self.required_groups.is_empty() && !any(&self.required_groups, groups) {
            return Err(SignInError::PolicyDenied(format!(
                "Your account is not a member of a group that this gateway requires. Ask to join one of these Globus groups, then sign in again: {}.",
                self.required_groups.join(", ")
            )));
        }
        let domain = Identity::domain_of(&person.username);
        let wanted = domain
            .as_deref()
            .and_then(|domain| self.groups_per_domain.get(domain));
        match wanted {
            Some(wanted) if !any(wanted, groups) => Err(SignInError::PolicyDenied(format!(
                "Users of {} need to be a member of one of these Globus groups; ask to join, then sign in again: {}.",
                domain.as_deref().unwrap_or_default(),
                wanted.join(", ")
            ))),
            _ => Ok(()),
        }
    }

    /// A service account: it has no session and no policies to check.
    fn service(&self, said: &Value) -> Option<Person> {
        let username = said.get("username").and_then(text)?;
        let listed = self
            .service_usernames
            .iter()
            .any(|one| one.eq_ignore_ascii_case(username));
        let id = said.get("client_id").and_then(text).filter(|_| listed)?;
        let domain = Identity::domain_of(username).unwrap_or_default();
        Some(Person {
            id: id.into(),
            name: said.get("name").and_then(text).unwrap_or(username).into(),
            username: username.into(),
            idp_name: said.get("iss").and_then(text).unwrap_or(&domain).into(),
            idp_id: domain,
            email: Arc::default(),
            link: None,
        })
    }

    /// Each policy must have been evaluated and met; other policies that Globus evaluated must be met too.
    fn check_policies(&self, said: &Value) -> Result<(), SignInError> {
        let evaluations = said["policy_evaluations"].as_object();
        let met = |evaluation: &Value| evaluation["evaluation"] == true;
        let all_met = |all: &serde_json::Map<String, Value>| {
            let asked = |policy: &String| all.contains_key(policy);
            self.policies.iter().all(asked) && all.values().all(met)
        };
        if self.policies.is_empty() || evaluations.is_some_and(all_met) {
            return Ok(());
        }
        Err(SignInError::Reauthenticate(format!(
            "Your sign-in does not meet this gateway's policy; most likely it is too old. Log out at https://app.globus.org/logout and sign in again with `ostia login`{}.",
            self.with_whom()
        )))
    }

    /// The first sign-in of the session, in the order of Globus, that belongs to an identity of an authorised domain.
    fn session_person(&self, said: &Value) -> Result<Person, SignInError> {
        let empty = Vec::new();
        let identities = said["identity_set_detail"].as_array().unwrap_or(&empty);
        let signed_in = said["session_info"]["authentications"].as_object();
        let mut others = Vec::new();
        for id in signed_in.into_iter().flat_map(|map| map.keys()) {
            let Some(detail) = identities.iter().find(|detail| names(detail, id)) else {
                continue;
            };
            let Some(person) = self.person_of(id, detail) else {
                continue;
            };
            if self.is_authorised(&person.username) {
                return Ok(person);
            }
            others.push(person.username);
        }
        if others.is_empty() && self.domains.is_empty() {
            return Err(SignInError::Reauthenticate(
                "Your token's session holds no sign-in any more: sign in again with `ostia login`."
                    .to_owned(),
            ));
        }
        let current = if others.is_empty() {
            "no identity".to_owned()
        } else {
            others.join(", ")
        };
        Err(SignInError::PolicyDenied(format!(
            "You are signed in as {current}, which this gateway does not admit. Log out at https://app.globus.org/logout and sign in again with `ostia login`{}.",
            self.with_whom()
        )))
    }

    fn person_of(&self, id: &str, detail: &Value) -> Option<Person> {
        let field = |name: &str| detail.get(name).and_then(text).unwrap_or_default();
        let username = field("username");
        let sound = !username.is_empty() && username.matches('@').count() <= 1;
        sound.then(|| Person {
            id: id.into(),
            name: field("name").into(),
            username: username.into(),
            idp_id: field("identity_provider").into(),
            idp_name: field("identity_provider_display_name").into(),
            email: field("email").into(),
            link: self.link(detail, username),
        })
    }

    /// Globus vouches for the domain of usernames only.
    fn link(&self, detail: &Value, username: &str) -> Option<Arc<str>> {
        let value = detail.get(&self.link_claim).and_then(text)?;
        let own = Identity::domain_of(username);
        link_of(value, |domain| own.as_deref() == Some(domain))
    }

    fn is_authorised(&self, username: &str) -> bool {
        let domain = Identity::domain_of(username);
        match domain {
            _ if self.domains.is_empty() => true,
            Some(domain) => self.domains.iter().any(|one| **one == *domain),
            None => false,
        }
    }

    fn with_whom(&self) -> String {
        if self.domains.is_empty() {
            return String::new();
        }
        format!(
            ", with an identity provider of: {}",
            self.domains.join(", ")
        )
    }
}

/// Globus's documents say `id`, its answers `sub`.
fn names(detail: &Value, id: &str) -> bool {
    ["sub", "id"]
        .iter()
        .any(|field| detail[*field].as_str() == Some(id))
}

fn any(wanted: &[String], held: &[Arc<str>]) -> bool {
    wanted
        .iter()
        .any(|one| held.iter().any(|group| **group == **one))
}
