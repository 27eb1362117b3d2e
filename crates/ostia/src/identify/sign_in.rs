use std::sync::Arc;
use std::time::Duration;

use http::request;
use ostia_core::{BoxFuture, Clock, Identity};

use super::audit::Audit;
use super::cache::{Answer, Cache, Hash, Known, Met};
use super::house::House;
use super::peers::{Peer, Peers};
use super::{Credential, Door, Open, Principal, Sender, hash_key};

/// How long a caller waits for a provider. The query goes on without them, so the next try finds its answer.
const PATIENCE: Duration = Duration::from_millis(1_800);

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
    /// An administrator disabled the account.
    #[error("the account is disabled")]
    Disabled,
    /// With `none`, a request that came through a proxy or for another host.
    #[error("{0}")]
    NotLocal(&'static str),
    /// Too many bad credentials came from the caller's address; an unknown one is looked at again after this long.
    #[error("too many bad credentials from this address")]
    TooManyFailures(Duration),
    /// The identity provider does not answer. Never taken for a denial.
    #[error("the identity provider is unavailable")]
    IdentityUnavailable,
    /// The key store does not answer. Never taken for a denial.
    #[error("the key store is unavailable")]
    StoreUnavailable,
}

impl SignInError {
    /// Whether asking again at once may give another answer: such answers are not cached.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::IdentityUnavailable | Self::StoreUnavailable)
    }

    /// Whether this answer counts as a guess. A credential that has merely expired was valid once, so it is not a
    /// guess.
    pub(super) const fn is_guess(&self) -> bool {
        matches!(self, Self::InvalidKey)
    }

    /// Whether sending the credential repeatedly counts against it.
    pub(super) const fn is_bad(&self) -> bool {
        matches!(self, Self::InvalidKey | Self::Expired)
    }
}

/// What a provider vouches for, and for how long.
#[derive(Debug, Clone)]
pub struct Verified {
    pub identity: Arc<Identity>,
    /// When the provider vouched for the caller, if not now: the time when it made the token. Unix microseconds.
    pub vouched_at: Option<i64>,
    /// Unix microseconds; never valid longer than this.
    pub expires_at: Option<i64>,
    /// How long it is used without asking again.
    pub fresh_for: Duration,
}

/// How an identity provider does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    pub provider: &'static str,
    /// Whether it is called at all at present.
    pub is_up: bool,
    /// Calls since the start that it did not answer properly.
    pub failures: u64,
}

/// One way to prove an identity.
pub trait Authenticator: Send + Sync + 'static {
    /// Whether a credential has this provider's shape. Providers are chosen by this, never by trying all.
    fn recognises(&self, token: &str) -> bool;

    /// Asks the provider. Called only for credentials that are not cached, and once for many at a time.
    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified, SignInError>>;

    /// The same for a credential of which only the SHA-256 is known, where the provider keeps that.
    fn verify_hash<'a>(
        &'a self,
        _hash: &'a [u8; 32],
    ) -> Option<BoxFuture<'a, Result<Verified, SignInError>>> {
        None
    }

    /// The same for a credential of which only the id is known, where the provider gives them ids.
    fn verify_id<'a>(
        &'a self,
        _id: &'a str,
    ) -> Option<BoxFuture<'a, Result<Verified, SignInError>>> {
        None
    }

    /// The error for a caller who has waited too long for an answer.
    fn outage(&self) -> SignInError {
        SignInError::IdentityUnavailable
    }

    /// How long a caller whom it knew before waits for its answer.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// How its provider does, where there is one to ask.
    fn health(&self) -> Option<Health> {
        None
    }

    /// Forgets cached data about users.
    fn purge(&self) {}
}

/// The door: everything needed to turn a request head into a principal.
pub struct Identify {
    /// The order in which they are asked whether a credential is theirs.
    pub(super) providers: Vec<Arc<dyn Authenticator>>,
    pub(super) doors: Vec<Arc<dyn Door>>,
    pub(super) open: Option<Open>,
    cache: Arc<Cache>,
    peers: Peers,
    audit: Audit,
    pub(super) house: House,
    pub(super) clock: Arc<dyn Clock>,
}

impl Identify {
    /// With `open`, all local callers are let in and credentials are ignored; `providers` is empty then.
    /// `trusted_proxies`: whether any proxy is trusted to report addresses.
    pub fn new(
        providers: Vec<Arc<dyn Authenticator>>,
        open: Option<Open>,
        trusted_proxies: bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            providers,
            doors: Vec::new(),
            open,
            cache: Arc::new(Cache::new(Duration::ZERO, Arc::clone(&clock))),
            peers: Peers::new(trusted_proxies, Arc::clone(&clock)),
            audit: Audit::new(Arc::clone(&clock)),
            house: House::default(),
            clock,
        }
    }

    /// Uses what a provider said for so long while it does not answer.
    #[must_use]
    pub fn with_max_stale(mut self, max_stale: Duration) -> Self {
        self.cache = Arc::new(Cache::new(max_stale, Arc::clone(&self.clock)));
        self
    }

    /// With the site's own rules: who is admitted, who has which role, who is one person.
    #[must_use]
    pub fn with_house(mut self, house: House) -> Self {
        self.house = house;
        self
    }

    /// With ways to sign in on pages.
    #[must_use]
    pub fn with_doors(mut self, doors: Vec<Arc<dyn Door>>) -> Self {
        self.doors = doors;
        self
    }

    pub const fn house(&self) -> &House {
        &self.house
    }

    pub async fn identify(
        &self,
        head: &request::Parts,
        sender: Sender,
    ) -> Result<Principal, SignInError> {
        let mut hash = None;
        let found = self.find(head, sender, &mut hash).await;
        if let Err(error) = &found {
            self.audit.failed(error, sender.origin_ip, hash.as_ref());
        }
        found.map(Principal::new)
    }

    /// Forgets everything that providers said.
    pub fn purge(&self) {
        self.cache.purge();
        for provider in &self.providers {
            provider.purge();
        }
    }

    /// Failed sign-ins since the start, by reason: few reasons, all known beforehand.
    /// Bad credentials since the last call, by network, for other replicas.
    pub fn take_guesses(&self) -> Vec<(u128, u32)> {
        self.peers.take_guesses()
    }

    /// Bad credentials that other replicas saw.
    pub fn guessed_elsewhere(&self, guesses: Vec<(u128, u32)>) {
        for (network, times) in guesses {
            self.peers.guessed_elsewhere(network, times);
        }
    }

    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.audit.counts()
    }

    /// How identity providers do, those of one kind together.
    pub fn health(&self) -> Vec<Health> {
        let mut all: Vec<Health> = Vec::new();
        for one in self.providers.iter().filter_map(|one| one.health()) {
            match all.iter_mut().find(|known| known.provider == one.provider) {
                Some(known) => {
                    known.is_up &= one.is_up;
                    known.failures += one.failures;
                }
                None => all.push(one),
            }
        }
        all
    }

    async fn find(
        &self,
        head: &request::Parts,
        sender: Sender,
        shown: &mut Option<Hash>,
    ) -> Result<Arc<Identity>, SignInError> {
        if let Some(open) = &self.open {
            return open.admit(head);
        }
        self.peers.notice_proxy(&head.headers, sender);
        let token = Credential::from_headers(&head.headers)?.token();
        let hash = *shown.insert(hash_key(token));
        let verified = match self.cache.known(&hash) {
            Known::Good(verified) => verified,
            Known::Ageing(verified) => {
                if let Some(provider) = self.provider_of(token) {
                    self.cache.renew(hash, provider, token);
                }
                verified
            }
            Known::Bad(error) => {
                let peer = self.peers.peer(&head.headers, sender);
                return Err(self.refuse_again(peer, error));
            }
            Known::Nothing => {
                let peer = self.peers.peer(&head.headers, sender);
                self.ask(peer, hash, token).await?
            }
        };
        let now = self.clock.unix_micros();
        if verified.expires_at.is_some_and(|at| at <= now) {
            return Err(SignInError::Expired);
        }
        let seated = self.house.seat(&verified, &head.headers, sender)?;
        let seconds = now.div_euclid(1_000_000);
        self.house
            .acting(seated, &head.headers, token, seconds)
            .await
    }

    /// Guesses beyond the limit are refused without asking a provider. A credential that was seen before is not a new
    /// guess: others at the same address do not delay it.
    async fn ask(&self, peer: Peer, hash: Hash, token: &str) -> Answer {
        let met = self.cache.met(&hash);
        let wait = match met {
            Met::Never => self.peers.barred(peer),
            Met::Bad => self.peers.barred_repeat(peer),
            Met::Real => None,
        };
        if let Some(wait) = wait {
            return Err(SignInError::TooManyFailures(wait));
        }
        if met == Met::Bad {
            self.peers.repeated(peer);
        }
        let guesser = (met == Met::Never).then_some(peer);
        let Some(provider) = self.provider_of(token) else {
            if let Some(peer) = guesser {
                self.peers.guessed(peer);
            }
            self.cache.refuse(hash, &SignInError::InvalidKey);
            return Err(SignInError::InvalidKey);
        };
        let asking = self.ask_provider(guesser, hash, provider, token);
        let patience = match self.cache.is_usable(&hash) {
            true => provider.patience(),
            false => PATIENCE,
        };
        match tokio::time::timeout(patience, asking).await {
            Ok(answer) => answer,
            Err(_) => self.cache.outlast(hash).ok_or_else(|| provider.outage()),
        }
    }

    /// The first request with a credential makes the query; others with the same credential wait for it. A bad one is
    /// one guess, however many requests send it at once.
    async fn ask_provider(
        &self,
        guesser: Option<Peer>,
        hash: Hash,
        provider: &Arc<dyn Authenticator>,
        token: &str,
    ) -> Answer {
        if let Some(flight) = self.cache.flight(&hash) {
            return flight.answer.await;
        }
        let ticket = match guesser {
            Some(peer) => {
                let entered = self.peers.enter(peer).await;
                Some(entered.map_err(SignInError::TooManyFailures)?)
            }
            None => None,
        };
        match self.cache.known(&hash) {
            Known::Good(verified) | Known::Ageing(verified) => return Ok(verified),
            Known::Bad(error) => return Err(error),
            Known::Nothing => {}
        }
        match self.cache.fly(hash, provider, token, ticket) {
            Some(flight) => flight.answer.await,
            None => Err(provider.outage()),
        }
    }

    fn refuse_again(&self, peer: Peer, error: SignInError) -> SignInError {
        if !error.is_bad() {
            return error;
        }
        if let Some(wait) = self.peers.barred_repeat(peer) {
            return SignInError::TooManyFailures(wait);
        }
        self.peers.repeated(peer);
        error
    }

    fn provider_of(&self, token: &str) -> Option<&Arc<dyn Authenticator>> {
        self.providers
            .iter()
            .find(|provider| provider.recognises(token))
    }
}
