use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use ostia_core::{BoxFuture, Clock};
use serde_json::Value;
use tokio::sync::Mutex;

use super::channel::Channel;
use super::claims::{Lifetime, is_for, is_of_party, seconds};
use super::jwt::{Jwt, Key, issuer_of};
use super::vouching::Vouching;
use super::web::below;
use super::{Authenticator, Health, SignInError, Verified, Web, WebRequest};
use crate::catalog::{HttpUrl, Scheme, UrlFault};
use crate::settings;

/// How long an answer is cached.
const FRESH: Duration = Duration::from_secs(60);
/// How long the issuer's keys are used before they are read again.
const KEYS_FRESH: Duration = Duration::from_secs(600);
/// How long the keys are used while the issuer does not answer.
const KEYS_USABLE: Duration = Duration::from_secs(3_600);
/// An unknown key makes us read the set again at once, but no more often than this, however many tokens name unknown
/// keys.
const REFETCH: Duration = Duration::from_secs(60);
/// When a reading fails, everybody who waited for it fails with it.
const RETRY: Duration = Duration::from_millis(500);

/// Provider `oidc`: JWTs of one issuer, checked against its published keys.
pub struct Oidc {
    channel: Channel,
    issuer: String,
    discovery: HttpUrl,
    audience: Vec<String>,
    authorized_parties: Vec<String>,
    vouching: Vouching,
    keys: ArcSwapOption<KeySet>,
    reading: Mutex<Reading>,
    clock: Arc<dyn Clock>,
}

struct KeySet {
    keys: Vec<Key>,
    read_at: Instant,
}

#[derive(Default)]
struct Reading {
    tried_at: Option<Instant>,
    /// When the set was last read only because a token named a key that it did not have.
    sought_at: Option<Instant>,
}

impl Oidc {
    pub fn new(
        settings: &settings::Oidc,
        web: Arc<dyn Web>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, UrlFault> {
        let base = HttpUrl::parse(&settings.issuer)?;
        Ok(Self {
            channel: Channel::new("oidc", web, Arc::clone(&clock)),
            issuer: settings.issuer.clone(),
            // OpenID Connect Discovery section 4.
            discovery: below(&base, "/.well-known/openid-configuration"),
            audience: settings.audience.clone(),
            authorized_parties: settings.authorized_parties.clone(),
            vouching: Vouching::new(&settings.vouching),
            keys: ArcSwapOption::empty(),
            reading: Mutex::default(),
            clock,
        })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The claims of an ID token that this client asked for with `nonce` (OpenID Connect Core section 3.1.3.7).
    pub(super) async fn signed_in(
        &self,
        token: &str,
        client_id: &str,
        nonce: &str,
    ) -> Result<Value, SignInError> {
        let jwt = Jwt::parse(token).ok_or(SignInError::InvalidKey)?;
        let set = self.keys_for(&jwt).await?;
        let key = Key::choose(&set.keys, &jwt);
        let claims = key
            .and_then(|key| key.claims(&jwt))
            .ok_or(SignInError::InvalidKey)?;
        let says =
            |claim: &str, value: &str| claims.get(claim).and_then(Value::as_str) == Some(value);
        let is_ours = says("iss", &self.issuer) && says("nonce", nonce);
        let is_for_us = is_for(&claims, &[client_id.to_owned()]);
        // Of several audiences, the one that asked is named (rules 4 and 5).
        let is_party = claims.get("azp").is_none_or(|azp| *azp == *client_id);
        if !(is_ours && is_for_us && is_party) {
            return Err(SignInError::InvalidKey);
        }
        let now = self.clock.unix_micros().div_euclid(1_000_000);
        Lifetime::of(&claims, now)?;
        Ok(claims)
    }

    /// Whom the claims are of, as far as this provider is believed.
    pub(super) fn vouch(&self, claims: &Value) -> Result<Verified, SignInError> {
        let identity = self.vouching.identity(claims, &self.issuer, "oidc")?;
        Ok(Verified {
            identity: Arc::new(identity),
            vouched_at: None,
            expires_at: None,
            fresh_for: FRESH,
        })
    }

    /// The discovery document.
    pub(super) async fn about(&self) -> Result<Value, SignInError> {
        let about = self.fetch(self.discovery.clone()).await?;
        // Discovery section 4.3: it must be the issuer that was asked for.
        if about.get("issuer").and_then(Value::as_str) != Some(&*self.issuer) {
            tracing::error!(
                issuer = self.issuer,
                "the discovery document is another issuer's"
            );
            return Err(SignInError::IdentityUnavailable);
        }
        Ok(about)
    }

    /// An address that the discovery document names.
    pub(super) fn endpoint(&self, about: &Value, name: &str) -> Result<HttpUrl, SignInError> {
        let address = about.get(name).and_then(Value::as_str);
        let address = address.and_then(|text| HttpUrl::parse(text).ok());
        address
            .filter(|url| !url.userinfo && self.may_fetch(url))
            .ok_or(SignInError::IdentityUnavailable)
    }

    async fn check(&self, token: &str) -> Result<Verified, SignInError> {
        let jwt = Jwt::parse(token).ok_or(SignInError::InvalidKey)?;
        let set = self.keys_for(&jwt).await?;
        let key = Key::choose(&set.keys, &jwt);
        let claims = key
            .and_then(|key| key.open(&jwt))
            .ok_or(SignInError::InvalidKey)?;
        self.judge(&claims)
    }

    fn judge(&self, claims: &Value) -> Result<Verified, SignInError> {
        let ours = claims.get("iss").and_then(Value::as_str) == Some(&*self.issuer);
        let bound = claims.get("cnf").is_some_and(|cnf| !cnf.is_null());
        let for_us =
            is_for(claims, &self.audience) && is_of_party(claims, &self.authorized_parties);
        if !ours || bound || !for_us {
            return Err(SignInError::InvalidKey);
        }
        let now = self.clock.unix_micros().div_euclid(1_000_000);
        let lifetime = Lifetime::of(claims, now)?;
        let identity = self.vouching.identity(claims, &self.issuer, "oidc")?;
        Ok(Verified {
            vouched_at: claims
                .get("iat")
                .and_then(seconds)
                .map(|at| at.min(now).saturating_mul(1_000_000)),
            identity: Arc::new(identity),
            expires_at: Some(lifetime.micros()),
            fresh_for: FRESH,
        })
    }

    /// The issuer's keys, read again if they are old or lack the key that the token names.
    async fn keys_for(&self, jwt: &Jwt<'_>) -> Result<Arc<KeySet>, SignInError> {
        if let Some(set) = self.serving(jwt, KEYS_FRESH) {
            return Ok(set);
        }
        let mut reading = self.reading.lock().await;
        if let Some(set) = self.serving(jwt, KEYS_FRESH) {
            return Ok(set);
        }
        let now = self.clock.now();
        let held = self.keys.load_full();
        let since = |at: Option<Instant>| at.map(|at| now.duration_since(at));
        let is_due = held
            .as_ref()
            .is_none_or(|set| now.duration_since(set.read_at) >= KEYS_FRESH);
        let early = match (&held, is_due) {
            (None, _) => since(reading.tried_at).is_some_and(|age| age < RETRY),
            (Some(_), true) => since(reading.tried_at).is_some_and(|age| age < REFETCH),
            // A new key is fetched at once, however recently the set was read as scheduled.
            (Some(_), false) => since(reading.sought_at).is_some_and(|age| age < REFETCH),
        };
        if !early {
            reading.tried_at = Some(now);
            if !is_due {
                reading.sought_at = Some(now);
            }
            match self.read_keys().await {
                Ok(keys) => {
                    let read_at = self.clock.now();
                    let set = Arc::new(KeySet { keys, read_at });
                    self.keys.store(Some(Arc::clone(&set)));
                    return Ok(set);
                }
                Err(error) => tracing::debug!(%error, "the issuer's keys cannot be read"),
            }
        }
        if let Some(set) = self.serving(jwt, KEYS_USABLE) {
            return Ok(set);
        }
        // With recent keys the token is bad; without them its validity is unknown.
        match held {
            Some(set) if early && now.duration_since(set.read_at) < REFETCH => {
                Err(SignInError::InvalidKey)
            }
            _ => Err(SignInError::IdentityUnavailable),
        }
    }

    /// The cached keys, if they are recent enough and include the token's.
    fn serving(&self, jwt: &Jwt<'_>, age: Duration) -> Option<Arc<KeySet>> {
        let set = self.keys.load_full()?;
        let young = self.clock.now().duration_since(set.read_at) < age;
        (young && Key::choose(&set.keys, jwt).is_some()).then_some(set)
    }

    async fn read_keys(&self) -> Result<Vec<Key>, SignInError> {
        let about = self.about().await?;
        let Ok(address) = self.endpoint(&about, "jwks_uri") else {
            tracing::error!(issuer = self.issuer, "jwks_uri is missing or not https");
            return Err(SignInError::IdentityUnavailable);
        };
        let set = self.fetch(address).await?;
        Key::read_set(&set).ok_or(SignInError::IdentityUnavailable)
    }

    /// Keys must come over TLS, or from the issuer's own origin.
    fn may_fetch(&self, url: &HttpUrl) -> bool {
        url.origin.scheme == Scheme::Https || url.origin == self.discovery.origin
    }

    async fn fetch(&self, url: HttpUrl) -> Result<Value, SignInError> {
        let said = self.channel.ask(WebRequest::get(url)).await?;
        if said.status.is_success() {
            return Ok(said.json);
        }
        Err(SignInError::IdentityUnavailable)
    }
}

impl Authenticator for Oidc {
    fn recognises(&self, token: &str) -> bool {
        issuer_of(token).is_some_and(|issuer| issuer == self.issuer)
    }

    fn health(&self) -> Option<Health> {
        Some(self.channel.health())
    }

    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified, SignInError>> {
        Box::pin(self.check(token))
    }
}
