use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ostia_core::{
    ApiKey, BoxFuture, Clock, Identity, KeyFilter, Owner, Roles, Secret, Store, StoreError,
};
use parking_lot::Mutex;
use ring::digest;

use super::{Authenticator, SignInError, Verified};

/// A database takes a millisecond to answer.
const STORE_PATIENCE: Duration = Duration::from_millis(250);
/// The prefix of every key of ours: scanners for leaked secrets can find it, and no token has it.
pub const KEY_PREFIX: &str = "sk-ostia-";
/// A revoked key is refused after this long at the latest.
const FRESH: Duration = Duration::from_secs(1);

/// A new key: 256 random bits. `Err` only if the system has no randomness.
pub fn generate_key() -> Result<Secret<String>, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(format!(
        "{KEY_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(bytes)
    )))
}

/// SHA-256 of a whole credential, by which the store and caches identify it. A key has 256 random bits, so it needs no
/// salt.
pub fn hash_key(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// Provider `api_key`: keys made by `ostia key create`.
pub struct ApiKeys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    used: Arc<Mutex<HashMap<Arc<str>, i64>>>,
    owner_ttl: Option<Duration>,
}

impl ApiKeys {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            used: Arc::default(),
            owner_ttl: None,
        }
    }

    /// The same keys; somebody has to vouch for their owners within this time.
    #[must_use]
    pub fn vouched_within(&self, owner_ttl: Option<Duration>) -> Self {
        Self {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            used: Arc::clone(&self.used),
            owner_ttl,
        }
    }

    /// Stores when keys were last used. Called now and then from a background task. Whatever the store did not take, or
    /// whose write was not awaited, is sent with the next call.
    pub async fn flush_last_used(&self) -> Result<(), StoreError> {
        let told: Vec<_> = {
            let used = self.used.lock();
            used.iter().map(|(id, at)| (Arc::clone(id), *at)).collect()
        };
        if told.is_empty() {
            return Ok(());
        }
        self.store.touch_keys(&told).await?;
        let mut used = self.used.lock();
        for (id, at) in told {
            if used.get(&id) == Some(&at) {
                used.remove(&id);
            }
        }
        Ok(())
    }

    async fn check(&self, hash: [u8; 32]) -> Result<Verified, SignInError> {
        let key = self.store.key_by_hash(&hash).await.map_err(unanswered)?;
        self.judge(key).await
    }

    async fn check_id(&self, id: &str) -> Result<Verified, SignInError> {
        let found = self.store.find_keys(KeyFilter::Id(id)).await;
        let key = found.map_err(unanswered)?.pop();
        self.judge(key).await
    }

    async fn judge(&self, key: Option<ApiKey>) -> Result<Verified, SignInError> {
        let key = key.ok_or(SignInError::InvalidKey)?;
        let now = self.clock.unix_micros();
        // Regardless of the time: the clock of the machine that revoked it may be ahead of ours.
        if key.revoked_at.is_some() {
            return Err(SignInError::InvalidKey);
        }
        if key.expires_at.is_some_and(|at| at <= now) {
            return Err(SignInError::Expired);
        }
        let owner = self.owner(&key).await?;
        self.check_owner(&key, &owner, now)?;
        self.used.lock().insert(Arc::clone(&key.id), now);
        Ok(Verified {
            vouched_at: None,
            expires_at: key.expires_at,
            identity: Arc::new(identity_of(key, &owner)),
            fresh_for: FRESH,
        })
    }

    /// Data on those responsible for a key: its owner, or for a service account the managers of its project.
    async fn owner(&self, key: &ApiKey) -> Result<Owner, SignInError> {
        let people = self.store.people();
        if !key.rights.service {
            return people.owner(&key.username).await.map_err(unanswered);
        }
        let roster = people.roster().await.map_err(unanswered)?;
        let project = roster
            .projects
            .iter()
            .find(|project| project.name == key.project);
        let mut answering = Owner::default();
        for manager in project.into_iter().flat_map(|project| &project.managers) {
            let owner = people.owner(manager).await.map_err(unanswered)?;
            answering.confirmed_at = answering.confirmed_at.max(owner.confirmed_at);
        }
        Ok(answering)
    }

    fn check_owner(&self, key: &ApiKey, owner: &Owner, now: i64) -> Result<(), SignInError> {
        let Some(ttl) = self.owner_ttl else {
            return Ok(());
        };
        let ttl = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX);
        if now < key.confirmed_at(owner).saturating_add(ttl) {
            return Ok(());
        }
        let who = match key.rights.service {
            true => "No manager of this service account's project",
            false => "The owner of this key",
        };
        Err(SignInError::Reauthenticate(format!(
            "{who} has signed in for too long. Sign in to the gateway once, with the account that the key is for (`ostia login`, \
             then `ostia whoami`); the key then works again."
        )))
    }
}

impl Authenticator for ApiKeys {
    fn recognises(&self, token: &str) -> bool {
        token.starts_with(KEY_PREFIX)
    }

    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified, SignInError>> {
        Box::pin(self.check(hash_key(token)))
    }

    fn verify_hash<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> Option<BoxFuture<'a, Result<Verified, SignInError>>> {
        Some(Box::pin(self.check(*hash)))
    }

    fn verify_id<'a>(
        &'a self,
        id: &'a str,
    ) -> Option<BoxFuture<'a, Result<Verified, SignInError>>> {
        Some(Box::pin(self.check_id(id)))
    }

    fn outage(&self) -> SignInError {
        SignInError::StoreUnavailable
    }

    fn patience(&self) -> Duration {
        STORE_PATIENCE
    }
}

fn unanswered(error: StoreError) -> SignInError {
    tracing::warn!(%error, "the key store does not answer");
    SignInError::StoreUnavailable
}

fn identity_of(key: ApiKey, owner: &Owner) -> Identity {
    let models = key
        .rights
        .models
        .iter()
        .map(|model| Arc::from(model.as_str()));
    let models = (!key.rights.models.is_empty()).then(|| models.collect());
    let domain = Identity::domain_of(&key.username);
    let idp = domain.clone().unwrap_or_else(|| "".into());
    let groups = key.groups_now(owner);
    Identity {
        user_id: Arc::clone(&key.username),
        own_name: Arc::clone(&key.username),
        name: key.label,
        username: key.username,
        idp_id: Arc::clone(&idp),
        idp_name: idp,
        auth_service: "api_key".into(),
        domain,
        groups,
        models,
        key_id: Some(key.id),
        project: key.project,
        roles: key
            .rights
            .role
            .map_or(Roles::NONE, |role| Roles::NONE.with(role)),
        rights: Some(key.rights),
        ..Identity::default()
    }
}
