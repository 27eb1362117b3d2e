//! Provider `globus`: Globus Auth and Globus Groups.

mod calls;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostia_core::{BoxFuture, Clock, Identity};
use quick_cache::sync::Cache as QuickCache;

use self::calls::Calls;
use self::rules::Rules;
use super::introspection::is_foreign_to_globus;
use super::vouching::prefixed;
use super::{Authenticator, Health, SignInError, Verified, Web, hash_key, is_token};
use crate::catalog::UrlFault;
use crate::settings;

/// Tokens whose groups are remembered.
const REMEMBERED: usize = 100_000;

pub(super) type Groups = Arc<[Arc<str>]>;

#[derive(Clone)]
struct Remembered {
    groups: Groups,
    until: Instant,
    generation: u64,
}

/// Asks Globus who holds a token and which groups they are in, and applies the site's rules.
///
/// A token made for another service fails at the dependent grant, which Globus gives only to the service for which the
/// token was made.
pub struct Globus {
    calls: Calls,
    rules: Rules,
    groups_prefix: String,
    cache_ttl: Duration,
    groups_ttl: Duration,
    /// By the token's hash: the groups, according to Globus, of all identities linked to the token's identity.
    groups: QuickCache<[u8; 32], Remembered>,
    /// Counts purges: groups that were requested before a purge are not used.
    generation: AtomicU64,
    /// Whether provider `introspection` handles tokens that are not Globus's.
    beside_introspection: bool,
    clock: Arc<dyn Clock>,
}

impl Globus {
    pub fn new(
        settings: &settings::Globus,
        beside_introspection: bool,
        web: &Arc<dyn Web>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, UrlFault> {
        Ok(Self {
            calls: Calls::new(settings, web, &clock)?,
            rules: Rules::new(settings),
            groups_prefix: settings.groups_prefix.clone(),
            cache_ttl: settings.cache_ttl,
            groups_ttl: settings.groups_ttl,
            groups: QuickCache::new(REMEMBERED),
            generation: AtomicU64::new(0),
            beside_introspection,
            clock,
        })
    }

    /// The order of the checks is the order in which callers learn of faults: the token, its policies, who signed in,
    /// their groups.
    async fn check(&self, token: &str) -> Result<Verified, SignInError> {
        let said = self.calls.introspect(token, self.rules.policies()).await?;
        let now = self.clock.unix_micros().div_euclid(1_000_000);
        let lifetime = self.rules.token(&said, now)?;
        let person = self.rules.person(&said)?;
        let groups = self.groups_of(token).await?;
        self.rules.admit(&person, &groups)?;
        let domain = Identity::domain_of(&person.username);
        let identity = Identity {
            user_id: person.id,
            name: person.name,
            own_name: domain
                .as_ref()
                .map_or_else(Arc::default, |_| Arc::clone(&person.username)),
            domain,
            username: person.username,
            idp_id: person.idp_id,
            idp_name: person.idp_name,
            auth_service: "globus".into(),
            groups: prefixed(&self.groups_prefix, groups),
            email: person.email,
            link: person.link,
            ..Identity::default()
        };
        Ok(Verified {
            vouched_at: None,
            identity: Arc::new(identity),
            expires_at: Some(lifetime.micros()),
            fresh_for: self.cache_ttl,
        })
    }

    async fn groups_of(&self, token: &str) -> Result<Groups, SignInError> {
        let hash = hash_key(token);
        let now = self.clock.now();
        let generation = self.generation.load(Ordering::SeqCst);
        if let Some(known) = self.groups.get(&hash)
            && known.generation == generation
            && now < known.until
        {
            return Ok(known.groups);
        }
        let groups = self.calls.groups(token).await?;
        let remembered = Remembered {
            groups: Arc::clone(&groups),
            until: now + self.groups_ttl,
            generation,
        };
        self.groups.insert(hash, remembered);
        Ok(groups)
    }
}

impl Authenticator for Globus {
    fn recognises(&self, token: &str) -> bool {
        is_token(token) && !(self.beside_introspection && is_foreign_to_globus(token))
    }

    fn health(&self) -> Option<Health> {
        Some(self.calls.health())
    }

    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified, SignInError>> {
        Box::pin(self.check(token))
    }

    fn purge(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.groups.clear();
    }
}
