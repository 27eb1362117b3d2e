use std::collections::BTreeMap;
use std::sync::Arc;

use ostia_core::Identity;
use serde_json::Value;

use super::SignInError;

/// A longer subject or username is no name but an attack on whoever shows it.
const LONGEST: usize = 255;
const MOST_GROUPS: usize = 10_000;

/// What is asked of a provider's claims, whether they come in a JWT or from introspection.
pub(super) struct ClaimMap {
    names: BTreeMap<String, String>,
}

/// Checks common to JWTs and introspection (RFC 7519 section 4.1, RFC 7662 section 2.2).
pub(super) struct Lifetime {
    /// Unix seconds.
    pub(super) expires_at: i64,
}

impl ClaimMap {
    /// Our word (`username`, `name`, `groups`, `domain`, `idp_name`) to the provider's claim.
    pub(super) fn new(names: &BTreeMap<String, String>) -> Self {
        Self {
            names: names.clone(),
        }
    }

    /// Who it is: issuer and subject together, never an address alone.
    pub(super) fn identity(
        &self,
        claims: &Value,
        issuer: &str,
        auth_service: &'static str,
    ) -> Result<Identity, SignInError> {
        let subject = claims
            .get("sub")
            .and_then(text)
            .ok_or(SignInError::InvalidKey)?;
        let (username, proven) = self.username(claims, subject)?;
        let domain = match self.names.get("domain") {
            Some(claim) => find(claims, claim).and_then(text).map(lower),
            None if proven => Identity::domain_of(username),
            None => None,
        };
        let idp_name = self
            .named(claims, "idp_name", "")
            .unwrap_or_else(|| host_of(issuer));
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
            domain,
            groups: self.groups(claims),
            groups_unlisted: self.groups_are_unlisted(claims, issuer, subject),
            key_id: None,
            project: Arc::default(),
            admin: false,
        })
    }

    /// The username, and whether its domain may be believed: an address that the provider has not verified is only a text
    /// that the user typed.
    fn username<'a>(
        &self,
        claims: &'a Value,
        subject: &'a str,
    ) -> Result<(&'a str, bool), SignInError> {
        let configured = self.names.get("username").map(String::as_str);
        let candidates: &[&str] = match &configured {
            Some(claim) => std::slice::from_ref(claim),
            None => &["preferred_username", "username", "email"],
        };
        let found = candidates
            .iter()
            .find_map(|claim| Some((*claim, find(claims, claim).and_then(text)?)));
        let (claim, username) = match found {
            Some(found) => found,
            None if configured.is_some() => return Err(SignInError::InvalidKey),
            None => ("sub", subject),
        };
        if username.matches('@').count() > 1 {
            return Err(SignInError::InvalidKey);
        }
        let verified = claims.get("email_verified").and_then(Value::as_bool);
        Ok((username, claim != "email" || verified == Some(true)))
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

    /// Entra's overage: who is in more than some 200 groups gets a token that names none of them.
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
    /// `exp` must be there and ahead, `nbf` and `iat` not ahead by more than clocks differ.
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

/// Whether `aud`, a text or a list of texts, names the audience (RFC 7519 section 4.1.3).
pub(super) fn is_for(claims: &Value, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

/// A text that can be shown: not empty, not long, nothing that moves a cursor.
pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().and_then(printable)
}

fn printable(text: &str) -> Option<&str> {
    let fits = !text.is_empty() && text.len() <= LONGEST;
    (fits && !text.chars().any(char::is_control)).then_some(text)
}

/// Whole seconds of a NumericDate; beyond what fits, the end of time.
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

/// A claim by its name, or by a path with dots (`realm_access.roles`) where no claim has that name. A name that has dots
/// itself may stand in quotes (`resource_access."my.app.org".roles`); without them the longest name that exists counts.
fn find<'a>(level: &'a Value, path: &str) -> Option<&'a Value> {
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
        let claims = json!({"sub": "s1", "preferred_username": "Ann@Lab.ORG", "name": "Ann", "groups": ["A", 7, "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB"]});
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
            ("username", "upn"),
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
        assert!(is_for(&json!({"aud": "us"}), "us"));
        assert!(is_for(&json!({"aud": ["them", "us"]}), "us"));
        for aud in [
            json!(null),
            json!("them"),
            json!([]),
            json!(["use"]),
            json!({"us": 1}),
        ] {
            assert!(!is_for(&json!({"aud": aud}), "us"));
        }
    }
}
