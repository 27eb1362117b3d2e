use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use ostia_core::{
    ApiKey, Change, Identity, KeyFilter, KeyRights, NewApiKey, Person, Role, Secret,
    names_somebody, owners,
};
use serde_json::{Value, json};

use super::{Desk, DeskError, new_id, rfc3339};
use crate::identify::{Directory, generate_key, hash_key};
use crate::settings::OwnLimit;

const DAY: Duration = Duration::from_secs(86_400);
/// The longest that an admin key lives.
pub const ADMIN_AGE: Duration = Duration::from_secs(30 * 86_400);
/// The ledger cuts longer names.
const LONGEST_NAME: usize = 128;

/// The properties of a new key.
#[derive(Debug, Clone, Default)]
pub struct KeyRequest {
    /// NAME@DOMAIN.
    pub user: String,
    /// `*` is every group that its owner has.
    pub groups: Vec<String>,
    pub label: String,
    /// Empty: none.
    pub project: String,
    /// `None`: as long as the site says.
    pub age: Option<Duration>,
    pub rights: KeyRights,
}

/// A key that was made. It is shown only once.
#[derive(Debug)]
pub struct MadeKey {
    pub key: Secret<String>,
    pub new: NewApiKey,
    /// The key that it replaces, and that key's expiry.
    pub replaces: Option<(Arc<str>, i64)>,
}

impl MadeKey {
    /// What scripts are shown.
    pub fn json(&self) -> Value {
        let new = &self.new;
        let mut shown = json!({
            "id": new.id,
            "key": self.key.expose(),
            "user": new.username,
            "groups": new.groups,
            "project": new.project,
            "expires_at": new.expires_at.map(rfc3339),
        });
        if new.rights != KeyRights::default() {
            shown["rights"] = json!(new.rights);
        }
        if let Some((replaces, end)) = &self.replaces {
            shown["replaces"] = json!(**replaces);
            shown["old_expires_at"] = rfc3339(*end).into();
        }
        shown
    }
}

impl Desk {
    pub async fn create_key(&self, asked: KeyRequest) -> Result<MadeKey, DeskError> {
        let now = self.now();
        let expires_at = self.end_of(&asked, now)?;
        let new = NewApiKey {
            expires_at: Some(expires_at),
            created_at: now,
            ..self.describe(asked).await?
        };
        self.check_number(&new.username, now).await?;
        let (key, new) = with_key(new)?;
        let event = self.event("key.create", &new.id, &Value::Null, &told(&new));
        self.commit(&[Change::CreateKey(new.clone())], &[event])
            .await?;
        Ok(MadeKey {
            key,
            new,
            replaces: None,
        })
    }

    /// Makes a successor of a usable key, which then ends after `overlap` at the latest. Both changes are one
    /// transaction, so that a failure locks nobody out.
    pub async fn rotate_key(
        &self,
        id: &str,
        overlap: Duration,
        age: Option<Duration>,
    ) -> Result<MadeKey, DeskError> {
        let now = self.now();
        let old = self.key(id).await?;
        if !old.is_usable(now) {
            let shown = id.escape_debug();
            return Err(DeskError::Conflict(format!(
                "key `{shown}` is revoked or has expired: make a new one with `ostia key create`"
            )));
        }
        let asked = KeyRequest {
            user: old.username.to_string(),
            groups: old.groups.iter().map(ToString::to_string).collect(),
            label: old.label.to_string(),
            project: old.project.to_string(),
            age: age.or_else(|| self.age_of(&old)),
            rights: KeyRights::clone(&old.rights),
        };
        let expires_at = self.end_of(&asked, now)?;
        let (key, new) = with_key(NewApiKey {
            username: asked.user,
            groups: asked.groups,
            label: asked.label,
            project: asked.project,
            rights: asked.rights,
            created_at: now,
            expires_at: Some(expires_at),
            ..NewApiKey::default()
        })?;
        let end = whole_second(now.saturating_add(micros(overlap)));
        let end = old.expires_at.map_or(end, |before| before.min(end));
        let old_end = Change::EndKey {
            id: old.id.to_string(),
            at: end,
        };
        let before = json!({"id": &*old.id, "expires_at": old.expires_at.map(rfc3339)});
        let mut after = told(&new);
        after["old_expires_at"] = rfc3339(end).into();
        let event = self.event("key.rotate", &new.id, &before, &after);
        let changes = [Change::CreateKey(new.clone()), old_end];
        self.commit(&changes, &[event]).await?;
        Ok(MadeKey {
            key,
            new,
            replaces: Some((old.id, end)),
        })
    }

    /// `false`: it was revoked before.
    pub async fn revoke_key(&self, id: &str) -> Result<bool, DeskError> {
        let key = self.key(id).await?;
        if key.revoked_at.is_some() {
            return Ok(false);
        }
        self.revoke(&[&key]).await?;
        Ok(true)
    }

    /// Revokes every key of the person that the text names. Returns the keys' ids.
    pub async fn revoke_keys_of(&self, user: &str) -> Result<Vec<Arc<str>>, DeskError> {
        let keys = self.keys_of(user).await?;
        let open: Vec<&ApiKey> = keys.iter().filter(|key| key.revoked_at.is_none()).collect();
        self.revoke(&open).await?;
        Ok(open.iter().map(|key| Arc::clone(&key.id)).collect())
    }

    async fn revoke(&self, keys: &[&ApiKey]) -> Result<(), DeskError> {
        let at = self.now();
        let changes: Vec<_> = keys
            .iter()
            .map(|key| Change::RevokeKey {
                id: key.id.to_string(),
                at,
            })
            .collect();
        let events: Vec<_> = keys
            .iter()
            .map(|key| {
                let before = json!({"user": &*key.username});
                self.event("key.revoke", &key.id, &before, &Value::Null)
            })
            .collect();
        self.commit(&changes, &events).await.map(drop)
    }

    pub async fn key(&self, id: &str) -> Result<ApiKey, DeskError> {
        let mut keys = self.store.find_keys(KeyFilter::Id(id)).await?;
        keys.pop().ok_or_else(|| {
            let shown = id.escape_debug();
            DeskError::NotFound(format!(
                "there is no key `{shown}`: `ostia key list` shows the ids"
            ))
        })
    }

    /// The owner of a key, found by the key itself.
    pub async fn find_key(&self, key: &Secret<String>) -> Result<ApiKey, DeskError> {
        let found = self.store.key_by_hash(&hash_key(key.expose())).await?;
        found.ok_or_else(|| {
            DeskError::NotFound(
                "this key is not in the database: it was made elsewhere, or is not complete"
                    .to_owned(),
            )
        })
    }

    pub async fn all_keys(&self) -> Result<Vec<ApiKey>, DeskError> {
        Ok(self.store.list_keys().await?)
    }

    /// The keys of the persons that the text names: made for one of their ids, or for a name for which a provider answers.
    pub async fn keys_of(&self, user: &str) -> Result<Vec<ApiKey>, DeskError> {
        check_named(user)?;
        let people = self.store.people().all().await?;
        let named = people.iter().filter(|person| person.is_named(user));
        let names = named.flat_map(Person::names).chain([user]);
        let names: Vec<_> = names.map(str::to_owned).collect();
        let mut keys = self.store.find_keys(KeyFilter::Owners(&names)).await?;
        keys.retain(|key| {
            let of_owner = |person: &&Person| person.is_named(user);
            key.username.eq_ignore_ascii_case(user)
                || owners(&people, &key.username).iter().any(of_owner)
        });
        Ok(keys)
    }

    /// The keys that are a caller's own, as far as they may see and change them.
    pub async fn own_keys(
        &self,
        identity: &Identity,
        directory: &Directory,
    ) -> Result<Vec<ApiKey>, DeskError> {
        let names = directory.names_of(identity);
        let mut keys = self.store.find_keys(KeyFilter::Owners(&names)).await?;
        keys.retain(|key| directory.owns(identity, &key.username));
        let is_certain = |key: &ApiKey| is_certain(identity, directory, &key.username);
        if !keys.iter().all(is_certain) {
            let people = self.store.people().all().await?;
            keys.retain(|key| is_certain(key) || !is_contested(&people, identity, &key.username));
        }
        Ok(keys)
    }

    /// The keys that were made for a project.
    pub async fn keys_of_project(&self, name: &str) -> Result<Vec<ApiKey>, DeskError> {
        Ok(self.store.find_keys(KeyFilter::Project(name)).await?)
    }

    /// The name to make keys for, and whether it has to be made the caller's own first.
    pub async fn key_name(
        &self,
        identity: &Identity,
        directory: &Directory,
    ) -> Result<(Arc<str>, bool), DeskError> {
        let (name, id) = (&identity.own_name, &identity.user_id);
        if name.is_empty() || name == id || !directory.owns(identity, name) {
            return Ok((Arc::clone(id), false));
        }
        if is_certain(identity, directory, name) {
            return Ok((Arc::clone(name), false));
        }
        let people = self.store.people().all().await?;
        Ok(match is_contested(&people, identity, name) {
            true => (Arc::clone(id), false),
            false => (Arc::clone(name), true),
        })
    }

    async fn describe(&self, asked: KeyRequest) -> Result<NewApiKey, DeskError> {
        let rights = checked(asked.rights)?;
        self.check_owner(&asked.user).await?;
        let mut groups: Vec<String> = Vec::new();
        for group in asked.groups {
            check_text(&group).map_err(|fault| invalid("group", &fault))?;
            let group = Identity::group(&group);
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        if !asked.project.is_empty() {
            check_name(&asked.project).map_err(|fault| invalid("project", &fault))?;
        }
        if rights.service {
            self.check_service(&asked.project).await?;
        }
        Ok(NewApiKey {
            username: asked.user,
            groups,
            label: asked.label,
            project: asked.project,
            rights,
            ..NewApiKey::default()
        })
    }

    /// NAME@DOMAIN, or the id of somebody who signed in: not every provider vouches for an address.
    async fn check_owner(&self, user: &str) -> Result<(), DeskError> {
        let Err(fault) = check_user(user) else {
            return Ok(());
        };
        let people = self.store.people().all().await?;
        match people.iter().any(|person| *person.id == *user) {
            true => Ok(()),
            false => Err(invalid("user", &fault)),
        }
    }

    /// A service account answers to the managers of its project.
    async fn check_service(&self, project: &str) -> Result<(), DeskError> {
        let project = self.project(project).await?;
        if project.is_open() && !project.managers.is_empty() {
            return Ok(());
        }
        Err(DeskError::Conflict(format!(
            "project `{}` has no managers, or has ended: a service account needs somebody who answers for it",
            project.name
        )))
    }

    /// The expiry of a key that is made now.
    fn end_of(&self, asked: &KeyRequest, now: i64) -> Result<i64, DeskError> {
        let most = match asked.rights.is_admin() {
            true => ADMIN_AGE.min(self.keys.max_age),
            false => self.keys.max_age,
        };
        let age = asked.age.unwrap_or(self.keys.default_age.min(most));
        if age > most {
            let kind = if asked.rights.is_admin() {
                "an admin key"
            } else {
                "a key"
            };
            return Err(DeskError::Invalid(format!(
                "{kind} may be valid for {} at most",
                days(most)
            )));
        }
        Ok(whole_second(now.saturating_add(micros(age))))
    }

    /// The lifetime of the old key, within the present maximum.
    fn age_of(&self, old: &ApiKey) -> Option<Duration> {
        let age = old.expires_at?.saturating_sub(old.created_at);
        let age = Duration::from_micros(u64::try_from(age).ok()?);
        let most = match old.rights.is_admin() {
            true => ADMIN_AGE.min(self.keys.max_age),
            false => self.keys.max_age,
        };
        Some(age.min(most))
    }

    async fn check_number(&self, user: &str, now: i64) -> Result<(), DeskError> {
        let names = [user.to_owned()];
        let keys = self.store.find_keys(KeyFilter::Owners(&names)).await?;
        let theirs = keys
            .iter()
            .filter(|key| *key.username == *user && key.is_usable(now));
        let (count, most) = (theirs.count(), self.keys.per_user);
        if most == 0 || count < most as usize {
            return Ok(());
        }
        Err(DeskError::Conflict(format!(
            "{user} has {count} usable keys, and `keys.per_user` allows {most}: revoke one first"
        )))
    }
}

/// Whether nobody else can own the keys of a name that is the caller's.
fn is_certain(identity: &Identity, directory: &Directory, name: &str) -> bool {
    *identity.user_id == *name || directory.is_linked(name)
}

/// Whether another provider answers for the same name of somebody else, and the site has not said whose it is.
fn is_contested(people: &[Person], identity: &Identity, name: &str) -> bool {
    let is_other = |person: &&Person| *person.id != *identity.user_id && *person.id != *name;
    owners(people, name).iter().any(is_other)
}

/// Gives a description its id and its key.
fn with_key(mut new: NewApiKey) -> Result<(Secret<String>, NewApiKey), DeskError> {
    let key = generate_key().map_err(|_| DeskError::NoRandomness)?;
    new.id = new_id("key")?;
    new.hash = hash_key(key.expose());
    Ok((key, new))
}

/// What the audit says of a new key.
fn told(new: &NewApiKey) -> Value {
    json!({
        "user": new.username,
        "groups": new.groups,
        "project": new.project,
        "label": new.label,
        "rights": new.rights,
        "expires_at": new.expires_at.map(rfc3339),
    })
}

fn checked(mut rights: KeyRights) -> Result<KeyRights, DeskError> {
    for model in &rights.models {
        check_text(model).map_err(|fault| invalid("model", &fault))?;
    }
    for address in &mut rights.addresses {
        let read = network(address).map_err(|fault| invalid("allow-ip", &fault))?;
        *address = read.to_string();
    }
    for domain in &mut rights.on_behalf_of {
        *domain = domain.trim().to_lowercase();
        let sound = Identity::domain_of(&format!("x@{domain}")).is_some();
        if !sound || domain.contains(char::is_whitespace) {
            return Err(invalid("on-behalf-of", "it is not a domain"));
        }
    }
    let limits = OwnLimit::ALL.map(|limit| limit.key().name);
    if let Some(name) = rights
        .limits
        .keys()
        .find(|name| !limits.contains(&&***name))
    {
        let fault = format!(
            "`{}` is not a limit; known: {}",
            name.escape_debug(),
            limits.join(", ")
        );
        return Err(invalid("limit", &fault));
    }
    if rights.role == Some(Role::Admin) && !rights.on_behalf_of.is_empty() {
        let fault = "an admin key cannot act on behalf of others";
        return Err(invalid("on-behalf-of", fault));
    }
    Ok(rights)
}

fn invalid(what: &str, fault: &str) -> DeskError {
    DeskError::Invalid(format!("{what}: {fault}"))
}

/// `10.0.0.0/8`, or one address.
pub fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let alone = text.parse::<IpAddr>().map(IpNet::from);
    alone
        .or_else(|_| text.parse::<IpNet>())
        .map(|network| network.trunc())
        .map_err(|_| "write an address or a network, such as 192.0.2.7 or 10.0.0.0/8".to_owned())
}

/// NAME@DOMAIN.
pub fn check_user(text: &str) -> Result<(), String> {
    if Identity::domain_of(text).is_none() {
        return Err("write NAME@DOMAIN, with one @ and text on both sides of it".to_owned());
    }
    if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err("it contains a space or a control character".to_owned());
    }
    Ok(())
}

/// A text by which somebody is looked up.
pub fn check_named(text: &str) -> Result<(), DeskError> {
    match names_somebody(text) {
        true => Ok(()),
        false => Err(invalid(
            "user",
            "it names nobody: write a username, NAME@DOMAIN or an id",
        )),
    }
}

pub fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("it contains a control character".to_owned());
    }
    Ok(())
}

/// A text that fits into a row.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.len() > LONGEST_NAME {
        return Err(format!("it is longer than {LONGEST_NAME} bytes"));
    }
    check_text(name)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Rounded up, so that the displayed time is the effective one.
fn whole_second(micros: i64) -> i64 {
    micros.saturating_add(999_999) / 1_000_000 * 1_000_000
}

fn days(span: Duration) -> String {
    match span.as_secs() / DAY.as_secs() {
        0 => format!("{} hours", span.as_secs() / 3_600),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
