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
        let claim = self.names.get("groups").map_or("groups", String::as_str);
        let entries = match find(claims, claim) {
            Some(Value::Array(entries)) => entries.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let groups = entries.iter().filter_map(text).take(MOST_GROUPS);
        groups.map(|group| Identity::group(group).into()).collect()
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
    value
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= LONGEST)
        .filter(|text| !text.chars().any(char::is_control))
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

/// A claim by its name, or by a path with dots (`realm_access.roles`) where no claim has that name.
fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        name.split('.')
            .try_fold(claims, |level, part| level.get(part))
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
