use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ostia_core::{ApiKey, BoxFuture, Clock, Identity, Secret, Store, StoreError};
use parking_lot::Mutex;
use ring::digest;

use super::{Authenticator, SignInError, Verified};

/// What every key of ours begins with: scanners for leaked secrets find it, and no token has it.
pub const KEY_PREFIX: &str = "sk-ostia-";
/// A revoked key is refused after this long at the latest.
const FRESH: Duration = Duration::from_secs(1);
/// While the store does not answer, a key that was good goes on for this long.
const USABLE: Duration = Duration::from_secs(60);

/// A new key: 256 random bits. `Err` only if the system has no randomness.
pub fn generate_key() -> Result<Secret<String>, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(format!(
        "{KEY_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(bytes)
    )))
}

/// SHA-256 of a whole credential: what the store keeps and caches go by. A key has 256 random bits, so no salt is due.
pub fn hash_key(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// Provider `api_key`: keys made by `ostia key create`.
pub struct ApiKeys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    used: Mutex<HashMap<Arc<str>, i64>>,
}

impl ApiKeys {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            used: Mutex::default(),
        }
    }

    /// Writes down when keys were last used. Called now and then from beside the path. What the store did not take, or what
    /// nobody waited for, is told with the next call.
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

    async fn check(&self, token: &str) -> Result<Verified, SignInError> {
        let hash = hash_key(token);
        let key = match self.store.key_by_hash(&hash).await {
            Ok(key) => key.ok_or(SignInError::InvalidKey)?,
            Err(error) => {
                tracing::warn!(%error, "the key store does not answer");
                return Err(SignInError::StoreUnavailable);
            }
        };
        let now = self.clock.unix_micros();
        // Whatever the moment: the clock of the machine that revoked it may be ahead of ours.
        if key.revoked_at.is_some() {
            return Err(SignInError::InvalidKey);
        }
        if key.expires_at.is_some_and(|at| at <= now) {
            return Err(SignInError::Expired);
        }
        self.used.lock().insert(Arc::clone(&key.id), now);
        Ok(Verified {
            expires_at: key.expires_at,
            identity: Arc::new(identity_of(key)),
            fresh_for: FRESH,
            usable_for: USABLE,
        })
    }
}

impl Authenticator for ApiKeys {
    fn recognises(&self, token: &str) -> bool {
        token.starts_with(KEY_PREFIX)
    }

    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified, SignInError>> {
        Box::pin(self.check(token))
    }

    fn outage(&self) -> SignInError {
        SignInError::StoreUnavailable
    }
}

fn identity_of(key: ApiKey) -> Identity {
    let domain = Identity::domain_of(&key.username);
    let idp = domain.clone().unwrap_or_else(|| "".into());
    Identity {
        user_id: Arc::clone(&key.username),
        name: key.label,
        username: key.username,
        idp_id: Arc::clone(&idp),
        idp_name: idp,
        auth_service: "api_key".into(),
        domain,
        groups: key.groups,
        groups_unlisted: false,
        key_id: Some(key.id),
        project: key.project,
        admin: key.admin,
    }
}
