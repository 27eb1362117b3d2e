use std::sync::Arc;
use std::time::Duration;

use http::request;
use ostia_core::{BoxFuture, Clock, Identity};

use super::cache::Cache;
use super::{Credential, Open, Principal, hash_key};

/// Why a caller cannot sign in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    #[error("no credential was sent")]
    Missing,
    #[error("more than one credential was sent")]
    TwoCredentials,
    #[error("the credential is malformed")]
    Malformed,
    #[error("the authorization scheme is not Bearer")]
    UnsupportedScheme,
    #[error("the key or token is not valid")]
    InvalidKey,
    #[error("the key or token has expired")]
    Expired,
    /// A policy of the identity provider wants a fresh or stronger sign-in.
    #[error("a new sign-in is required: {0}")]
    Reauthenticate(String),
    /// Known, but not admitted; the text says what is needed.
    #[error("not admitted: {0}")]
    PolicyDenied(String),
    /// With `none`, a request that came through a proxy or for another host.
    #[error("{0}")]
    NotLocal(&'static str),
    /// The identity provider does not answer. Never taken for a denial.
    #[error("the identity provider is unavailable")]
    IdentityUnavailable,
    /// The key store does not answer. Never taken for a denial.
    #[error("the key store is unavailable")]
    StoreUnavailable,
}

impl SignInError {
    /// Whether asking again may give another answer at once: such answers are not remembered.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::IdentityUnavailable | Self::StoreUnavailable)
    }
}

/// What a provider vouches for, and for how long.
#[derive(Debug, Clone)]
pub struct Verified {
    pub identity: Arc<Identity>,
    /// Unix microseconds; never believed longer than this.
    pub expires_at: Option<i64>,
    /// Believed without asking again.
    pub fresh_for: Duration,
    /// Believed for so long while the provider does not answer.
    pub usable_for: Duration,
}

/// One way to prove who one is.
pub trait Authenticator: Send + Sync + 'static {
    /// Whether a credential has this provider's shape. Providers are chosen by this, never by trying all.
    fn recognises(&self, token: &str) -> bool;

    /// Asks the provider. Called only for credentials that are not cached, and once for many at a time.
    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified, SignInError>>;
}

/// The door: everything that is needed to turn a head into a principal.
pub struct Identify {
    providers: Vec<Arc<dyn Authenticator>>,
    open: Option<Open>,
    cache: Cache,
    clock: Arc<dyn Clock>,
}

impl Identify {
    /// With `open`, everybody local is let in and no credential is looked at; `providers` is empty then.
    pub fn new(
        providers: Vec<Arc<dyn Authenticator>>,
        open: Option<Open>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            providers,
            open,
            cache: Cache::new(Arc::clone(&clock)),
            clock,
        }
    }

    pub async fn identify(&self, head: &request::Parts) -> Result<Principal, SignInError> {
        if let Some(open) = &self.open {
            return open.admit(head).map(Principal::new);
        }
        let credential = Credential::from_headers(&head.headers)?;
        let token = credential.token();
        let provider = self
            .providers
            .iter()
            .find(|provider| provider.recognises(token))
            .ok_or(SignInError::InvalidKey)?;
        let verified = self
            .cache
            .lookup(hash_key(token), || provider.verify(token))
            .await?;
        if verified
            .expires_at
            .is_some_and(|at| at <= self.clock.unix_micros())
        {
            return Err(SignInError::Expired);
        }
        Ok(Principal::new(Arc::clone(&verified.identity)))
    }

    /// Forgets everything that providers said.
    pub fn purge(&self) {
        self.cache.purge();
    }
}
