use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName};
use ostia_core::{Identity, KeyRights};
use parking_lot::Mutex;
use ring::hmac;
use serde_json::Value;

use super::claims::{seconds, text};
use super::{SignInError, hash_key};

/// A user's name, signed with the front end's own key (HS256).
const SIGNED: HeaderName = HeaderName::from_static("x-ostia-user-jwt");
/// The same as Open WebUI makes it, without an audience and a `jti`.
const SIGNED_BY_OPEN_WEBUI: HeaderName = HeaderName::from_static("x-openwebui-user-jwt");
/// The unsigned headers of Open WebUI and LibreChat.
const PLAIN: [HeaderName; 2] = [
    HeaderName::from_static("x-openwebui-user-email"),
    HeaderName::from_static("x-librechat-user-email"),
];
/// The required audience of a signed name.
pub const AUDIENCE: &str = "ostia";
/// The longest validity of a signed name, in seconds.
const LONGEST: i64 = 300;
/// How far clocks may differ, in seconds.
const SKEW: i64 = 60;
/// How many ids are remembered; more within five minutes are refused.
const MOST_IDS: usize = 1_000_000;

/// The user behind a front end, as far as its key may say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// NAME@DOMAIN, in lower case.
    pub(super) username: String,
    pub(super) name: String,
}

/// The signed names that were already used. They are kept in this process: each of several replicas accepts a name
/// once.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<HashMap<[u8; 32], i64>>);

/// The user for whom a front end sends a request; `None`: the front end itself. With any other key such headers are
/// ignored.
pub(super) fn named(
    rights: &KeyRights,
    headers: &HeaderMap,
    key: &str,
    now: i64,
    used: &Used,
) -> Result<Option<Named>, SignInError> {
    if rights.on_behalf_of.is_empty() {
        return Ok(None);
    }
    let is_bound = !rights.addresses.is_empty();
    let named = if let Some(token) = one(headers, &SIGNED)? {
        Some(open(token, key, now).and_then(|claims| fresh(&claims, key, now, used))?)
    } else if let Some(token) = one(headers, &SIGNED_BY_OPEN_WEBUI)? {
        check_bound(is_bound)?;
        Some(open(token, key, now).and_then(|claims| who(&claims))?)
    } else {
        plain(headers, is_bound)?
    };
    let Some(named) = named else { return Ok(None) };
    let domain = Identity::domain_of(&named.username);
    let domain = domain.ok_or_else(|| refused("the user that it names has no domain"))?;
    if rights.on_behalf_of.iter().any(|one| **one == *domain) {
        return Ok(Some(named));
    }
    Err(SignInError::PolicyDenied(format!(
        "This front end may not name users of {domain}."
    )))
}

fn plain(headers: &HeaderMap, is_bound: bool) -> Result<Option<Named>, SignInError> {
    for header in &PLAIN {
        let Some(email) = one(headers, header)? else {
            continue;
        };
        check_bound(is_bound)?;
        return Ok(Some(Named {
            username: email.trim().to_lowercase(),
            name: String::new(),
        }));
    }
    Ok(None)
}

/// A name that is not signed for this gateway and for single use is accepted from known addresses only.
fn check_bound(is_bound: bool) -> Result<(), SignInError> {
    match is_bound {
        true => Ok(()),
        false => Err(refused(
            "such headers are taken only from a key that was made with --allow-ip; sign the name instead (X-Ostia-User-Jwt)",
        )),
    }
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, SignInError> {
    let mut lines = headers.get_all(name).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(refused("it names more than one user"));
    }
    let text = first.map(|line| line.to_str()).transpose();
    let text = text.map_err(|_| refused("the name of its user cannot be read"))?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// The claims of a signed name, if the front end's key signed it and it is valid now.
fn open(token: &str, key: &str, now: i64) -> Result<Value, SignInError> {
    let bad = || refused("the signed name of its user is not valid");
    let (message, signature) = token.rsplit_once('.').ok_or_else(bad)?;
    let (head, claims) = message.split_once('.').ok_or_else(bad)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| bad());
    let parse = |part: &str| {
        let bytes = decode(part)?;
        serde_json::from_slice::<Value>(&bytes).map_err(|_| bad())
    };
    let head = parse(head)?;
    if head["alg"] != "HS256" || head.get("crit").is_some() {
        return Err(bad());
    }
    let secret = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hmac::verify(&secret, message.as_bytes(), &decode(signature)?).map_err(|_| bad())?;
    let claims = parse(claims)?;
    let at = |claim: &str| claims.get(claim).and_then(seconds).ok_or_else(bad);
    let (made, end) = (at("iat")?, at("exp")?);
    let is_now = made <= now.saturating_add(SKEW) && end > now;
    if !is_now || end.saturating_sub(made) > LONGEST {
        return Err(refused(
            "the signed name of its user is not of now, or is good for more than five minutes",
        ));
    }
    Ok(claims)
}

/// Accepts a name that is for this gateway and was not used before.
fn fresh(claims: &Value, key: &str, now: i64, used: &Used) -> Result<Named, SignInError> {
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(many)) => many.iter().any(|one| one == AUDIENCE),
        Some(one) => one == AUDIENCE,
        None => false,
    };
    if !is_for_us {
        return Err(refused(
            "the signed name of its user is not for this gateway",
        ));
    }
    let named = who(claims)?;
    let id = claims.get("jti").and_then(text);
    let id = id.ok_or_else(|| refused("the signed name of its user has no id (jti)"))?;
    let end = claims.get("exp").and_then(seconds).unwrap_or(i64::MAX);
    match used.take(hash_key(&format!("{key} {id}")), end, now) {
        true => Ok(named),
        false => Err(refused("the signed name of its user was used before")),
    }
}

/// Claims about roles and groups are ignored: only the name is used.
fn who(claims: &Value) -> Result<Named, SignInError> {
    let address = |claim: &str| claims.get(claim).and_then(text);
    let email = address("email").or_else(|| address("sub"));
    let email = email.ok_or_else(|| refused("the signed name of its user names nobody"))?;
    Ok(Named {
        username: email.to_lowercase(),
        name: address("name").unwrap_or_default().to_owned(),
    })
}

fn refused(why: &str) -> SignInError {
    SignInError::PolicyDenied(format!("The front end may not act for a user: {why}."))
}

impl Used {
    /// `false`: it was used before, or too many are remembered.
    fn take(&self, id: [u8; 32], end: i64, now: i64) -> bool {
        let mut used = self.0.lock();
        if used.len() >= MOST_IDS {
            used.retain(|_, end| *end > now);
        }
        used.len() < MOST_IDS && used.insert(id, end).is_none()
    }
}

/// The user whom a front end names, with their known groups and no role. They may do no more than their front end
/// (`front`).
pub(super) fn acting(front: &Arc<Identity>, named: &Named, groups: Arc<[Arc<str>]>) -> Identity {
    let domain = Identity::domain_of(&named.username);
    Identity {
        user_id: named.username.as_str().into(),
        name: named.name.as_str().into(),
        username: named.username.as_str().into(),
        own_name: named.username.as_str().into(),
        idp_id: Arc::clone(&front.idp_id),
        idp_name: Arc::clone(&front.idp_name),
        auth_service: Arc::clone(&front.auth_service),
        email: named.username.as_str().into(),
        domain,
        groups,
        key_id: front.key_id.clone(),
        models: front.models.clone(),
        front: Some(Arc::clone(front)),
        ..Identity::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "sk-ostia-front";
    const NOW: i64 = 1_800_000_000;

    fn sign(claims: &Value, key: &str, head: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(head), part(claims));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let seal = hmac::sign(&secret, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(seal))
    }

    fn claims(more: &Value) -> Value {
        let mut claims = json!({"aud": "ostia", "jti": "1", "iat": NOW, "exp": NOW + 300, "email": "Ann@Lab.org",
            "role": "admin", "groups": ["admins"]});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn rights(domains: &[&str], addresses: &[&str]) -> KeyRights {
        let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        KeyRights {
            on_behalf_of: owned(domains),
            addresses: owned(addresses),
            ..KeyRights::default()
        }
    }

    fn ask(
        rights: &KeyRights,
        lines: &[(&HeaderName, &str)],
        used: &Used,
    ) -> Result<Option<String>, SignInError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let named = named(rights, &headers, KEY, NOW, used)?;
        Ok(named.map(|named| named.username))
    }

    #[test]
    fn a_signed_name_is_taken_once() {
        let (used, rights) = (Used::default(), rights(&["lab.org"], &[]));
        let head = json!({"alg": "HS256", "typ": "JWT"});
        let ann = Ok(Some("ann@lab.org".to_owned()));
        let token = sign(&claims(&json!({})), KEY, &head);
        assert_eq!(ask(&rights, &[(&SIGNED, &token)], &used), ann);
        assert!(ask(&rights, &[(&SIGNED, &token)], &used).is_err());
        let next = sign(
            &claims(&json!({"jti": "2", "aud": ["x", "ostia"]})),
            KEY,
            &head,
        );
        assert_eq!(ask(&rights, &[(&SIGNED, &next)], &used), ann);
        assert_eq!(ask(&rights, &[], &used), Ok(None));
        for (n, (more, key, head)) in [
            (json!({}), "sk-ostia-other", head.clone()),
            (json!({}), KEY, json!({"alg": "none"})),
            (json!({}), KEY, json!({"alg": "HS512"})),
            (json!({"aud": "other"}), KEY, head.clone()),
            (json!({"aud": null}), KEY, head.clone()),
            (json!({"jti": null}), KEY, head.clone()),
            (json!({"exp": NOW}), KEY, head.clone()),
            (json!({"exp": NOW + 301}), KEY, head.clone()),
            (
                json!({"iat": NOW + 100, "exp": NOW + 200}),
                KEY,
                head.clone(),
            ),
            (json!({"iat": null}), KEY, head.clone()),
            (json!({"email": "ann@evil.org"}), KEY, head.clone()),
            (json!({"email": "ann"}), KEY, head.clone()),
            (json!({"email": "ann@lab.org@lab.org"}), KEY, head.clone()),
        ]
        .into_iter()
        .enumerate()
        {
            let mut claims = claims(&more);
            if more.get("jti").is_none() {
                claims["jti"] = json!(format!("case {n}"));
            }
            let token = sign(&claims, key, &head);
            assert!(
                ask(&rights, &[(&SIGNED, &token)], &used).is_err(),
                "{claims}"
            );
        }
        for junk in ["a", "a.b", "a.b.c", "..", "e30.e30."] {
            assert!(ask(&rights, &[(&SIGNED, junk)], &used).is_err(), "{junk}");
        }
        assert!(ask(&rights, &[(&SIGNED, "a.b.c"), (&SIGNED, &token)], &used).is_err());
    }

    #[test]
    fn plain_names_come_from_known_addresses_alone() {
        let used = Used::default();
        let webui = json!({"sub": "7", "iss": "open-webui", "aud": null, "jti": null});
        let token = sign(&claims(&webui), KEY, &json!({"alg": "HS256"}));
        let lines: [(&HeaderName, &str); 3] = [
            (&PLAIN[0], "ann@lab.org"),
            (&PLAIN[1], "Ann@lab.org"),
            (&SIGNED_BY_OPEN_WEBUI, &token),
        ];
        for line in lines {
            let bound = rights(&["lab.org"], &["10.0.0.1/32"]);
            assert_eq!(
                ask(&bound, &[line], &used),
                Ok(Some("ann@lab.org".to_owned()))
            );
            assert!(ask(&rights(&["lab.org"], &[]), &[line], &used).is_err());
            assert!(ask(&rights(&["uni.edu"], &["10.0.0.1/32"]), &[line], &used).is_err());
            // With any other key they are ignored.
            assert_eq!(
                ask(&rights(&[], &["10.0.0.1/32"]), &[line], &used),
                Ok(None)
            );
        }
    }
}
