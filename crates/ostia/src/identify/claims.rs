use std::collections::BTreeMap;
use std::sync::Arc;

use ostia_core::Identity;
use serde_json::Value;

use super::SignInError;

/// A longer subject or username is not a name but an attack on whatever displays it.
const LONGEST: usize = 255;
const MOST_GROUPS: usize = 10_000;

/// The requirements on a provider's claims, whether they come in a JWT or from introspection.
pub(super) struct ClaimMap {
    names: BTreeMap<String, String>,
}

/// Checks common to JWTs and introspection (RFC 7519 section 4.1, RFC 7662 section 2.2).
pub(super) struct Lifetime {
    /// Unix seconds.
    pub(super) expires_at: i64,
}

impl ClaimMap {
    /// Maps our names (`id`, `user`, `name`, `groups`, `domain`, `idp_name`) to the provider's claims.
    pub(super) fn new(names: &BTreeMap<String, String>) -> Self {
        Self {
            names: names.clone(),
        }
    }

    /// The user's id: issuer and subject together, never an address alone.
    pub(super) fn identity(
        &self,
        claims: &Value,
        issuer: &str,
        auth_service: &'static str,
    ) -> Result<Identity, SignInError> {
        let id = self.names.get("id").map_or("sub", String::as_str);
        let subject = find(claims, id)
            .and_then(text)
            .ok_or(SignInError::InvalidKey)?;
        let username = self.username(claims, subject)?;
        let idp_name = self
            .named(claims, "idp_name", "")
            .unwrap_or_else(|| host_of(issuer));
        let email = claims.get("email").and_then(text).unwrap_or_default();
        let domain = self.domain(claims, username);
        Ok(Identity {
            user_id: format!("{issuer}#{subject}").into(),
            name: self
                .named(claims, "name", "name")
                .unwrap_or(username)
                .into(),
            username: username.into(),
            idp_id: issuer.into(),
            idp_name: idp_name.into(),
            auth_service: auth_service.into(),
            own_name: self.own_name(claims, username, domain.as_deref()).into(),
            domain,
            groups: self.groups(claims),
            groups_unlisted: self.groups_are_unlisted(claims, issuer, subject),
            email: email.into(),
            ..Identity::default()
        })
    }

    fn username<'a>(&'a self, claims: &'a Value, subject: &'a str) -> Result<&'a str, SignInError> {
        let configured = self.names.get("user").map(String::as_str);
        let candidates: &[&str] = match &configured {
            Some(claim) => std::slice::from_ref(claim),
            None => &["preferred_username", "username", "email"],
        };
        let found = candidates
            .iter()
            .find_map(|claim| find(claims, claim).and_then(one_text));
        let username = match found {
            Some(found) => found,
            None if configured.is_some() => return Err(SignInError::InvalidKey),
            None => subject,
        };
        if username.matches('@').count() > 1 {
            return Err(SignInError::InvalidKey);
        }
        Ok(username)
    }

    /// A domain counts from a claim that the site names, or from an address that the provider has verified. At many
    /// providers people choose usernames themselves.
    fn domain(&self, claims: &Value, username: &str) -> Option<Arc<str>> {
        if let Some(claim) = self.names.get("domain") {
            return find(claims, claim).and_then(one_text).map(lower);
        }
        if self.names_the_username() {
            return Identity::domain_of(username);
        }
        verified_email(claims).and_then(Identity::domain_of)
    }

    /// The name that nobody types in for themselves: from a claim that the site names, or the address that the provider has
    /// verified. Whoever is of a domain may still choose any username there.
    fn own_name<'a>(&self, claims: &'a Value, username: &'a str, domain: Option<&str>) -> &'a str {
        let name = match self.names_the_username() {
            true => username,
            false => match verified_email(claims) {
                Some(email) if email.eq_ignore_ascii_case(username) => username,
                Some(email) => email,
                None => "",
            },
        };
        let is_of_domain = domain.is_some() && Identity::domain_of(name).as_deref() == domain;
        if is_of_domain { name } else { "" }
    }

    /// An email address counts only if the provider says that it verified it.
    fn names_the_username(&self) -> bool {
        let claim = self.names.get("user");
        claim.is_some_and(|claim| !is_email(claim))
    }

    fn groups(&self, claims: &Value) -> Arc<[Arc<str>]> {
        let names: Vec<&str> = match find(claims, self.groups_claim()) {
            Some(Value::Array(entries)) => entries.iter().filter_map(text).collect(),
            // Zitadel: each role with the organisations that granted it.
            Some(Value::Object(members)) => {
                let granted = members.iter().filter(|(_, by)| by.is_object());
                granted.filter_map(|(role, _)| printable(role)).collect()
            }
            Some(one) => text(one).into_iter().collect(),
            None => Vec::new(),
        };
        let names = names.into_iter().take(MOST_GROUPS);
        names.map(|group| Identity::group(group).into()).collect()
    }

    fn groups_claim(&self) -> &str {
        self.names.get("groups").map_or("groups", String::as_str)
    }

    /// Entra's overage: users in more than about 200 groups get a token that names none of them.
    fn groups_are_unlisted(&self, claims: &Value, issuer: &str, subject: &str) -> bool {
        let claim = self.groups_claim();
        let elsewhere = claims
            .get("_claim_names")
            .and_then(|names| names.get(claim));
        let says_so = claims
            .get("hasgroups")
            .is_some_and(|has| has == true || has == "true");
        let unlisted = find(claims, claim).is_none()
            && (elsewhere.is_some() || (says_so && claim == "groups"));
        if unlisted {
            tracing::warn!(
                issuer,
                subject,
                "the token names no groups because the user is in too many (groups overage), so rules on groups refuse \
                 this user: let the provider send only the groups that are assigned to the application, or app roles"
            );
        }
        unlisted
    }

    fn named<'a>(&self, claims: &'a Value, word: &str, default: &str) -> Option<&'a str> {
        let claim = self.names.get(word).map_or(default, String::as_str);
        find(claims, claim).and_then(text)
    }
}

impl Lifetime {
    /// `exp` must be present and in the future; `nbf` and `iat` may be ahead by the clock skew at most.
    pub(super) fn of(claims: &Value, now_seconds: i64) -> Result<Self, SignInError> {
        const SKEW: i64 = 60;
        let expires_at = claims
            .get("exp")
            .and_then(seconds)
            .ok_or(SignInError::InvalidKey)?;
        if expires_at <= now_seconds {
            return Err(SignInError::Expired);
        }
        for claim in ["nbf", "iat"] {
            if let Some(value) = claims.get(claim).filter(|value| !value.is_null()) {
                let at = seconds(value).ok_or(SignInError::InvalidKey)?;
                if at > now_seconds.saturating_add(SKEW) {
                    return Err(SignInError::InvalidKey);
                }
            }
        }
        Ok(Self { expires_at })
    }

    pub(super) const fn micros(&self) -> i64 {
        self.expires_at.saturating_mul(1_000_000)
    }
}

/// Whether `aud`, a text or a list of texts, names one of the audiences (RFC 7519 section 4.1.3).
pub(super) fn is_for(claims: &Value, audiences: &[String]) -> bool {
    let is_ours = |one: &Value| audiences.iter().any(|own| one.as_str() == Some(own));
    match claims.get("aud") {
        Some(Value::Array(many)) => many.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    }
}

/// Whether the client that a token was given to is one of these: `azp` (OpenID Connect Core, section 2), `client_id` (RFC
/// 9068), `appid` (Entra's first version). Without a list any is.
pub(super) fn is_of_party(claims: &Value, parties: &[String]) -> bool {
    let said = ["azp", "client_id", "appid"];
    let party = said.iter().find_map(|claim| claims.get(*claim));
    let is_listed = |party: &Value| parties.iter().any(|one| party.as_str() == Some(one));
    parties.is_empty() || party.is_some_and(is_listed)
}

/// A text that can be shown: not blank, not long, without characters that move a cursor.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().and_then(printable)
}

/// A text, or a list of one: proxies send attributes of which there may be several as lists. Which of several would count is
/// a guess, so that none does.
pub(super) fn one_text(value: &Value) -> Option<&str> {
    match value.as_array().map(Vec::as_slice) {
        Some([only]) => text(only),
        Some(_) => None,
        None => text(value),
    }
}

fn printable(text: &str) -> Option<&str> {
    let fits = !text.trim().is_empty() && text.len() <= LONGEST;
    (fits && !text.chars().any(char::is_control)).then_some(text)
}

/// Whole seconds of a NumericDate; values that do not fit are saturated.
pub(super) fn seconds(value: &Value) -> Option<i64> {
    if let Some(whole) = value.as_i64() {
        return Some(whole);
    }
    let number = value.as_f64().filter(|number| number.is_finite())?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast from floating point saturates"
    )]
    Some(number as i64)
}

/// A claim by its name, or by a dotted path (`realm_access.roles`) if no claim has that name. A name that itself has
/// dots may be quoted (`resource_access."my.app.org".roles`); without them the longest name that exists counts.
pub(super) fn find<'a>(level: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(quote) = path
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))
    {
        let (name, rest) = path[1..].split_once(quote)?;
        let level = level.get(name)?;
        return match rest.strip_prefix('.') {
            Some(rest) => find(level, rest),
            None => rest.is_empty().then_some(level),
        };
    }
    level.get(path).or_else(|| {
        path.rmatch_indices('.')
            .find_map(|(at, _)| find(level.get(&path[..at])?, &path[at + 1..]))
    })
}

fn verified_email(claims: &Value) -> Option<&str> {
    let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
    claims.get("email").and_then(text).filter(|_| is_verified)
}

/// Whether a path names the claim `email`.
pub(super) fn is_email(path: &str) -> bool {
    path.trim_matches(['"', '\'']) == "email"
}

fn lower(text: &str) -> Arc<str> {
    text.to_lowercase().into()
}

fn host_of(issuer: &str) -> &str {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(names: &[(&str, &str)], claims: Value) -> Result<Identity, SignInError> {
        let names = names
            .iter()
            .map(|(word, claim)| ((*word).to_owned(), (*claim).to_owned()))
            .collect();
        ClaimMap::new(&names).identity(&claims, "https://idp.example/realm", "oidc")
    }

    #[test]
    fn a_user_is_issuer_and_subject() {
        let claims = json!({"sub": "s1", "preferred_username": "Ann@Lab.ORG", "email": "ann@Lab.ORG", "email_verified": true, "name": "Ann", "groups": ["A", 7, "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB"]});
        let ann = identity(&[], claims).unwrap();
        assert_eq!(&*ann.user_id, "https://idp.example/realm#s1");
        assert_eq!((&*ann.username, &*ann.name), ("Ann@Lab.ORG", "Ann"));
        assert_eq!(ann.domain.as_deref(), Some("lab.org"));
        assert_eq!(
            ann.groups.iter().map(|g| &**g).collect::<Vec<_>>(),
            ["A", "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb"]
        );
        assert_eq!(&*ann.idp_name, "idp.example");
    }

    #[test]
    fn claims_are_mapped_by_name_and_by_path() {
        let names = [
            ("user", "upn"),
            ("groups", "realm_access.roles"),
            ("domain", "org"),
        ];
        let claims =
            json!({"sub": "s", "upn": "ann", "realm_access": {"roles": ["r"]}, "org": "LAB.org"});
        let ann = identity(&names, claims).unwrap();
        assert_eq!(
            (&*ann.username, ann.domain.as_deref()),
            ("ann", Some("lab.org"))
        );
        assert_eq!(&*ann.groups[0], "r");
        let without = json!({"sub": "s", "preferred_username": "ann"});
        assert_eq!(identity(&names, without), Err(SignInError::InvalidKey));
    }

    #[test]
    fn a_list_of_one_is_a_text_and_a_list_of_two_is_nothing() {
        let names = [("user", "eppn"), ("domain", "home")];
        let ann = identity(
            &names,
            json!({"sub": "s", "eppn": ["ann@lab.org"], "home": ["Lab.org"]}),
        );
        let ann = ann.unwrap();
        assert_eq!(
            (&*ann.username, ann.domain.as_deref()),
            ("ann@lab.org", Some("lab.org"))
        );
        assert_eq!(&*ann.own_name, "ann@lab.org");
        for two in [
            json!(["ann@lab.org", "root@lab.org"]),
            json!([]),
            json!([["ann@lab.org"]]),
        ] {
            let claims = json!({"sub": "s", "eppn": two});
            assert_eq!(identity(&names, claims), Err(SignInError::InvalidKey));
        }
    }

    #[test]
    fn a_name_with_dots_is_found_in_a_path() {
        let claims = json!({
            "sub": "s",
            "resource_access": {"my.app.org": {"roles": ["r"]}, "my": {"app": {"x": 1}}, "other": {"roles": ["o"]}},
            "https://lab.org/claims": {"roles": ["u"]},
            "a.b": {"c.d": ["e"]},
        });
        for (path, group) in [
            (r#"resource_access."my.app.org".roles"#, Some("r")),
            ("resource_access.'my.app.org'.roles", Some("r")),
            (r#""resource_access"."my.app.org"."roles""#, Some("r")),
            ("resource_access.my.app.org.roles", Some("r")),
            ("resource_access.other.roles", Some("o")),
            ("https://lab.org/claims.roles", Some("u")),
            ("a.b.c.d", Some("e")),
            (r#""a.b"."c.d""#, Some("e")),
            (r#"resource_access."my.app.org"roles"#, None),
            (r#"resource_access."my.app.org.roles"#, None),
            (r#"resource_access."other.roles""#, None),
            ("resource_access.my.app.roles", None),
            ("", None),
        ] {
            let ann = identity(&[("groups", path)], claims.clone()).unwrap();
            assert_eq!(ann.groups.first().map(|group| &**group), group, "{path}");
        }
    }

    #[test]
    fn an_object_whose_keys_are_roles_gives_its_keys() {
        let role = "urn:zitadel:iam:org:project:roles";
        let claims = json!({
            "sub": "s",
            role: {"admin": {"1": "lab.org"}, "user": {"1": "lab.org", "2": "x"}, "a\nb": {}, "off": false, "list": []},
        });
        let ann = identity(&[("groups", role)], claims).unwrap();
        let mut groups: Vec<&str> = ann.groups.iter().map(|group| &**group).collect();
        groups.sort_unstable();
        assert_eq!(groups, ["admin", "user"]);
        let nested = json!({"sub": "s", "realm_access": {"roles": ["r"]}});
        let ann = identity(&[("groups", "realm_access")], nested).unwrap();
        assert!(ann.groups.is_empty());
    }

    #[test]
    fn groups_that_did_not_fit_into_the_token_are_noticed() {
        let elsewhere = json!({"groups": "src1"});
        for (claims, unlisted) in [
            (
                json!({"sub": "s", "_claim_names": elsewhere, "_claim_sources": {"src1": {}}}),
                true,
            ),
            (json!({"sub": "s", "hasgroups": true}), true),
            (json!({"sub": "s", "hasgroups": "true"}), true),
            (json!({"sub": "s", "hasgroups": false}), false),
            (
                json!({"sub": "s", "groups": [], "_claim_names": elsewhere}),
                false,
            ),
            (
                json!({"sub": "s", "_claim_names": {"other": "src1"}}),
                false,
            ),
            (json!({"sub": "s"}), false),
        ] {
            let ann = identity(&[], claims.clone()).unwrap();
            assert_eq!(ann.groups_unlisted, unlisted, "{claims}");
        }
        // Roles are read instead.
        let roles = json!({"sub": "s", "roles": ["r"], "_claim_names": elsewhere});
        assert!(
            !identity(&[("groups", "roles")], roles)
                .unwrap()
                .groups_unlisted
        );
    }

    #[test]
    fn the_client_of_a_token_may_stand_in_three_claims() {
        let ours = ["app".to_owned()];
        for claim in ["azp", "client_id", "appid"] {
            assert!(is_of_party(&json!({claim: "app"}), &ours));
            assert!(!is_of_party(&json!({claim: "other"}), &ours));
            assert!(is_of_party(&json!({claim: "other"}), &[]));
        }
        assert!(!is_of_party(
            &json!({"azp": "other", "client_id": "app"}),
            &ours
        ));
        assert!(!is_of_party(&json!({}), &ours));
    }

    #[test]
    fn a_username_that_anybody_may_choose_gives_no_domain() {
        let chosen =
            json!({"sub": "s", "preferred_username": "ann@lab.org", "username": "ann@lab.org"});
        assert_eq!(identity(&[], chosen.clone()).unwrap().domain, None);
        let named = identity(&[("user", "preferred_username")], chosen).unwrap();
        assert_eq!(named.domain.as_deref(), Some("lab.org"));
        let entra = json!({"sub": "pairwise", "oid": "o1", "preferred_username": "ann@lab.org"});
        let ann = identity(&[("id", "oid")], entra).unwrap();
        assert_eq!(&*ann.user_id, "https://idp.example/realm#o1");
    }

    #[test]
    fn only_a_verified_address_or_a_claim_that_the_site_names_is_ones_own_name() {
        let mallory = json!({"sub": "s", "preferred_username": "root@lab.org", "upn": "m@lab.org",
            "email": "mallory@lab.org", "email_verified": true, "org": "lab.org"});
        let unverified =
            json!({"sub": "s", "preferred_username": "root@lab.org", "email": "root@lab.org"});
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a Value, &'a str);
        let cases: [Case<'_>; 11] = [
            (&[], &mallory, "mallory@lab.org"),
            (&[("user", "upn")], &mallory, "m@lab.org"),
            (&[("user", "email")], &mallory, "mallory@lab.org"),
            (&[("user", "\"email\"")], &mallory, "mallory@lab.org"),
            (&[("domain", "org")], &mallory, "mallory@lab.org"),
            (&[("domain", "sub")], &mallory, ""),
            (&[("user", "sub")], &mallory, ""),
            (&[], &unverified, ""),
            (&[("user", "email")], &unverified, ""),
            (&[("user", "'email'")], &unverified, ""),
            (
                &[("user", "preferred_username")],
                &unverified,
                "root@lab.org",
            ),
        ];
        for (names, claims, own) in cases {
            let one = identity(names, claims.clone()).unwrap();
            assert_eq!(&*one.own_name, own, "{names:?} {claims}");
        }
        let spelled = json!({"sub": "s", "preferred_username": "Ann@Lab.org", "email": "ann@lab.org", "email_verified": true});
        assert_eq!(&*identity(&[], spelled).unwrap().own_name, "Ann@Lab.org");
    }

    #[test]
    fn an_unverified_address_gives_no_domain() {
        for (verified, domain) in [
            (json!(true), Some("lab.org")),
            (json!(false), None),
            (json!(null), None),
            (json!("true"), None),
        ] {
            let claims = json!({"sub": "s", "email": "ann@lab.org", "email_verified": verified});
            assert_eq!(identity(&[], claims).unwrap().domain.as_deref(), domain);
        }
    }

    #[test]
    fn names_that_are_no_names_are_refused() {
        for claims in [
            json!({"preferred_username": "ann"}),
            json!({"sub": ""}),
            json!({"sub": "  "}),
            json!({"sub": 7}),
            json!({"sub": "a\nb"}),
            json!({"sub": "x".repeat(300)}),
            json!({"sub": "s", "preferred_username": "a@b@c"}),
        ] {
            assert_eq!(
                identity(&[], claims.clone()),
                Err(SignInError::InvalidKey),
                "{claims}"
            );
        }
        let plain = identity(&[], json!({"sub": "s", "preferred_username": "ann"})).unwrap();
        assert_eq!(plain.domain, None);
    }

    #[test]
    fn lifetimes() {
        let now = 1_000;
        let of = |claims: Value| Lifetime::of(&claims, now).map(|life| life.micros());
        assert_eq!(of(json!({"exp": 1_001})), Ok(1_001_000_000));
        assert_eq!(
            of(json!({"exp": 1_001.9, "nbf": 1_060, "iat": null})),
            Ok(1_001_000_000)
        );
        assert_eq!(of(json!({"exp": 1_000})), Err(SignInError::Expired));
        assert_eq!(of(json!({"exp": -1})), Err(SignInError::Expired));
        assert_eq!(
            of(json!({"exp": 9_223_372_036_854_775_808_u64})),
            Ok(i64::MAX)
        );
        for bad in [
            json!({}),
            json!({"exp": "1001"}),
            json!({"exp": null}),
            json!({"exp": 1_001, "nbf": 1_061}),
            json!({"exp": 1_001, "iat": "x"}),
        ] {
            assert_eq!(of(bad.clone()), Err(SignInError::InvalidKey), "{bad}");
        }
    }

    #[test]
    fn audiences() {
        let us = ["we".to_owned(), "us".to_owned()];
        assert!(is_for(&json!({"aud": "us"}), &us));
        assert!(is_for(&json!({"aud": ["them", "we"]}), &us));
        assert!(!is_for(&json!({"aud": "us"}), &[]));
        for aud in [
            json!(null),
            json!("them"),
            json!([]),
            json!(["use"]),
            json!({"us": 1}),
        ] {
            assert!(!is_for(&json!({"aud": aud}), &us));
        }
    }
}
