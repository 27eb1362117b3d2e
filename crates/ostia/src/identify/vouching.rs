use std::sync::Arc;

use ostia_core::Identity;
use serde_json::Value;

use super::SignInError;
use super::claims::{ClaimMap, find, is_email, one_text};
use crate::settings;

/// The claims in which providers report assurance: OpenID Connect's, and the REFEDS assurance framework's.
const ASSURANCE: [&str; 2] = ["acr", "eduperson_assurance"];

/// How far one provider is trusted: the domains and groups for which it may speak, and the claims that it must make
/// about everybody.
pub(super) struct Vouching {
    claims: ClaimMap,
    domains: Vec<String>,
    groups_prefix: String,
    foreign_prefixes: Vec<String>,
    required_groups: Vec<String>,
    required_acr: Vec<String>,
    link_claim: String,
}

impl Vouching {
    pub(super) fn new(settings: &settings::Vouching) -> Self {
        Self {
            claims: ClaimMap::new(&settings.claims),
            domains: settings.domains.clone(),
            groups_prefix: settings.groups_prefix.clone(),
            foreign_prefixes: settings.foreign_prefixes.clone(),
            required_groups: settings.required_groups.clone(),
            required_acr: settings.required_acr.clone(),
            link_claim: settings.link_claim.clone(),
        }
    }

    /// The identity, as far as this provider is trusted.
    pub(super) fn identity(
        &self,
        claims: &Value,
        issuer: &str,
        auth_service: &'static str,
    ) -> Result<Identity, SignInError> {
        let mut identity = self.claims.identity(claims, issuer, auth_service)?;
        self.check_domain(&identity)?;
        self.check_groups(&identity)?;
        self.check_assurance(claims)?;
        identity.groups = self.own(prefixed(&self.groups_prefix, identity.groups));
        identity.link = self.link(claims);
        Ok(identity)
    }

    /// The groups without those that belong to another provider by its prefix.
    fn own(&self, groups: Arc<[Arc<str>]>) -> Arc<[Arc<str>]> {
        let own = &self.groups_prefix;
        let foreign = self.foreign_prefixes.iter();
        let foreign: Vec<&String> = foreign
            .filter(|prefix| !own.starts_with(&***prefix))
            .collect();
        let is_foreign =
            |group: &Arc<str>| foreign.iter().any(|prefix| group.starts_with(&***prefix));
        match groups.iter().any(is_foreign) {
            true => groups
                .iter()
                .filter(|group| !is_foreign(group))
                .cloned()
                .collect(),
            false => groups,
        }
    }

    fn check_domain(&self, identity: &Identity) -> Result<(), SignInError> {
        let domain = identity.domain.as_deref();
        if self.domains.is_empty()
            || domain.is_some_and(|domain| self.domains.iter().any(|one| one == domain))
        {
            return Ok(());
        }
        let said = match domain {
            Some(domain) => format!("says that you are of {domain}"),
            None => {
                "does not say, in a way that can be believed, of which domain you are".to_owned()
            }
        };
        Err(SignInError::PolicyDenied(format!(
            "Your identity provider {said}, and this gateway admits from it only users of: {}.",
            self.domains.join(", ")
        )))
    }

    fn check_groups(&self, identity: &Identity) -> Result<(), SignInError> {
        let wanted = &self.required_groups;
        let mut held = identity.groups.iter();
        if wanted.is_empty() || held.any(|group| wanted.iter().any(|one| **one == **group)) {
            return Ok(());
        }
        let unlisted = match identity.groups_unlisted {
            true => " Your sign-in names no groups, because you are in too many of them.",
            false => "",
        };
        Err(SignInError::PolicyDenied(format!(
            "You need to be a member of one of these groups of your identity provider: {}.{unlisted}",
            wanted.join(", ")
        )))
    }

    fn check_assurance(&self, claims: &Value) -> Result<(), SignInError> {
        let wanted = &self.required_acr;
        let is_wanted = |value: &Value| wanted.iter().any(|one| value.as_str() == Some(one));
        let is_met = ASSURANCE.iter().any(|claim| match claims.get(*claim) {
            Some(Value::Array(values)) => values.iter().any(is_wanted),
            Some(value) => is_wanted(value),
            None => false,
        });
        if wanted.is_empty() || is_met {
            return Ok(());
        }
        Err(SignInError::Reauthenticate(format!(
            "Your sign-in is not sure enough for this gateway: sign in again in one of these ways: {}.",
            wanted.join(", ")
        )))
    }

    /// The value that links a person's identities. An address counts only if its domain would.
    fn link(&self, claims: &Value) -> Option<Arc<str>> {
        if self.link_claim.is_empty() {
            return None;
        }
        let value = find(claims, &self.link_claim).and_then(one_text)?;
        let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
        if is_email(&self.link_claim) && !is_verified {
            return None;
        }
        link_of(value, |domain| {
            self.domains.is_empty() || self.domains.iter().any(|one| one == domain)
        })
    }
}

/// A person's id from the value of a claim. A value that is not an address gets a unique prefix; otherwise a provider
/// could name the id of somebody else's sign-in.
pub(super) fn link_of(value: &str, believes: impl Fn(&str) -> bool) -> Option<Arc<str>> {
    let is_plain = !value.contains(['#', '/', ':']) && !value.contains(char::is_whitespace);
    match Identity::domain_of(value).filter(|_| is_plain) {
        Some(domain) => believes(&domain).then(|| value.to_lowercase().into()),
        None => Some(format!("person:{value}").into()),
    }
}

pub(super) fn prefixed(prefix: &str, groups: Arc<[Arc<str>]>) -> Arc<[Arc<str>]> {
    if prefix.is_empty() {
        return groups;
    }
    let named = groups.iter().map(|group| format!("{prefix}{group}").into());
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ISSUER: &str = "https://idp.example";

    fn judge(settings: &settings::Vouching, claims: &Value) -> Result<Identity, SignInError> {
        Vouching::new(settings).identity(claims, ISSUER, "oidc")
    }

    fn verified(address: &str) -> Value {
        json!({"sub": "s", "email": address, "email_verified": true, "preferred_username": "root@lab.org"})
    }

    #[test]
    fn a_provider_speaks_for_its_domains_alone() {
        let rules = settings::Vouching {
            domains: vec!["uni.edu".to_owned()],
            ..Default::default()
        };
        let ann = judge(&rules, &verified("ann@UNI.edu")).unwrap();
        assert_eq!(ann.domain.as_deref(), Some("uni.edu"));
        for claims in [
            verified("ann@lab.org"),
            verified("ann@uni.edu.evil.org"),
            json!({"sub": "s", "preferred_username": "ann@uni.edu"}),
            json!({"sub": "s", "email": "ann@uni.edu", "email_verified": false}),
            json!({"sub": "s", "email": "ann@uni.edu", "email_verified": "true"}),
        ] {
            let refused = judge(&rules, &claims);
            assert!(
                matches!(refused, Err(SignInError::PolicyDenied(_))),
                "{claims}"
            );
        }
    }

    #[test]
    fn groups_are_required_as_the_provider_names_them_and_known_by_their_prefix() {
        let rules = settings::Vouching {
            groups_prefix: "kc:".to_owned(),
            required_groups: vec!["staff".to_owned()],
            ..Default::default()
        };
        let ann = judge(&rules, &json!({"sub": "s", "groups": ["staff", "x"]})).unwrap();
        assert_eq!(
            *ann.groups,
            [Arc::<str>::from("kc:staff"), Arc::from("kc:x")]
        );
        let overage = json!({"sub": "s", "_claim_names": {"groups": "src1"}});
        let Err(SignInError::PolicyDenied(text)) = judge(&rules, &overage) else {
            panic!("admitted");
        };
        assert!(text.contains("too many"), "{text}");
        assert!(judge(&rules, &json!({"sub": "s", "groups": ["kc:staff"]})).is_err());
    }

    #[test]
    fn no_provider_names_the_groups_of_another() {
        let rules = |own: &str, foreign: &[&str]| settings::Vouching {
            groups_prefix: own.to_owned(),
            foreign_prefixes: foreign.iter().map(|&prefix| prefix.to_owned()).collect(),
            ..Default::default()
        };
        let claims = json!({"sub": "s", "groups": ["staff", "b:staff", "x:staff"]});
        for (own, foreign, groups) in [
            ("", &["b:"][..], &["staff", "x:staff"][..]),
            ("b:", &["b:x:"], &["b:staff", "b:b:staff"]),
            (
                "b:x:",
                &["b:"],
                &["b:x:staff", "b:x:b:staff", "b:x:x:staff"],
            ),
            ("", &[], &["staff", "b:staff", "x:staff"]),
        ] {
            let ann = judge(&rules(own, foreign), &claims).unwrap();
            let held: Vec<&str> = ann.groups.iter().map(|group| &**group).collect();
            assert_eq!(held, groups, "{own} beside {foreign:?}");
        }
    }

    #[test]
    fn an_assurance_may_stand_in_either_claim() {
        let high = "https://refeds.org/assurance/IAP/high";
        let rules = settings::Vouching {
            required_acr: vec![high.to_owned(), "mfa".to_owned()],
            ..Default::default()
        };
        for claims in [
            json!({"sub": "s", "acr": "mfa"}),
            json!({"sub": "s", "acr": "1", "eduperson_assurance": ["x", high]}),
            json!({"sub": "s", "eduperson_assurance": high}),
        ] {
            assert!(judge(&rules, &claims).is_ok(), "{claims}");
        }
        for claims in [
            json!({"sub": "s"}),
            json!({"sub": "s", "acr": "mfa2"}),
            json!({"sub": "s", "acr": {"mfa": true}}),
        ] {
            let refused = judge(&rules, &claims);
            assert!(
                matches!(refused, Err(SignInError::Reauthenticate(_))),
                "{claims}"
            );
        }
    }

    #[test]
    fn a_link_is_believed_as_far_as_its_domain() {
        let rules = |claim: &str, domains: &[&str]| settings::Vouching {
            link_claim: claim.to_owned(),
            domains: domains.iter().map(|&one| one.to_owned()).collect(),
            ..Default::default()
        };
        let link = |rules: &settings::Vouching, claims: &Value| {
            Vouching::new(rules)
                .link(claims)
                .map(|link| link.to_string())
        };
        let own = rules("eppn", &["uni.edu"]);
        let ann = Some("ann@uni.edu".to_owned());
        assert_eq!(link(&own, &json!({"eppn": "Ann@uni.edu"})), ann);
        assert_eq!(link(&own, &json!({"eppn": "ann@lab.org"})), None);
        assert_eq!(link(&own, &json!({"sub": "s"})), None);
        assert_eq!(link(&rules("email", &[]), &verified("ann@uni.edu")), ann);
        let unverified = json!({"email": "ann@uni.edu"});
        assert_eq!(link(&rules("email", &[]), &unverified), None);
        // Nobody becomes somebody else's sign-in by naming its id.
        for id in [
            "https://other.example#s1",
            "https://other#ann@uni.edu",
            "0b2d",
        ] {
            let named = link(&own, &json!({"eppn": id}));
            assert_eq!(named, Some(format!("person:{id}")));
        }
    }
}
