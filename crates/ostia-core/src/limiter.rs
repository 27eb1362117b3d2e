use std::sync::Arc;
use std::time::Duration;

use crate::{BoxFuture, Class};

/// For whom a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Scope {
    User,
    /// One user on all endpoints of one model.
    UserModel,
    /// One user on one endpoint.
    UserEndpoint,
    /// All users of an endpoint together.
    Endpoint,
    Group,
    Project,
    Key,
    /// One network address, on routes that are open to everybody.
    Address,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Measure {
    /// Requests in any second.
    Requests,
    /// Tokens in any minute. Tokens used beyond a reservation are a debt, paid by the following minutes before anybody
    /// else gets room.
    Tokens,
    /// Concurrent requests.
    InFlight,
    /// A total of tokens, which time does not refill.
    Balance,
}

/// Whose counter it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Subject {
    One(Arc<str>),
    Pair(Arc<str>, Arc<str>),
}

/// A limit that a request must fit under. A limit of 0 means none: leave the claim out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Claim {
    pub scope: Scope,
    pub measure: Measure,
    pub subject: Subject,
    pub most: u64,
}

/// The tokens that a request may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Reserved in full or not at all. If the limit is smaller than this, all of the limit is reserved, and the rest
    /// becomes a debt.
    pub named: u64,
    /// What is likely to be needed in addition. As much of it is reserved as there is room for; it never causes a
    /// refusal.
    pub guessed: u64,
}

/// One all-or-nothing question: does this request fit under all of these limits now?
#[derive(Debug, Clone)]
pub struct Ask {
    /// If several have no room, the caller is told about the first.
    pub claims: Vec<Claim>,
    pub cost: Cost,
    /// Set if a place on an endpoint is asked for whose requests wait in several processes.
    pub turn: Option<Turn>,
}

/// Who asks for a place, for a limiter that decides between processes whose turn it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Only those who wait for the same pool are compared.
    pub pool: Arc<str>,
    pub class: Class,
    pub project: Arc<str>,
    pub project_share: u32,
    pub user: Arc<str>,
    pub user_share: u32,
    /// What is counted for both if there is a place.
    pub service: f64,
    /// No other request of the project is here: it has saved nothing up.
    pub is_new_project: bool,
    /// No other request of the user is here.
    pub is_new_user: bool,
    /// It waits in line for its turn.
    pub waits: bool,
    /// Who waits behind it in this process, and is next there if there is a place: class, project and user.
    pub next: Option<(Class, Arc<str>, Arc<str>)>,
}

/// The amount taken from one limit.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Taken {
    pub claim: Claim,
    /// When it was counted, in the limiter's own ticks.
    pub tick: u64,
    /// Requests or tokens.
    pub amount: u64,
}

/// Amounts taken, until they are given back: by [`Hold::settle`], or by `Drop` wherever the hold is lost.
pub struct Hold {
    limiter: Arc<dyn Limiter>,
    taken: Vec<Taken>,
    sent: bool,
}

/// A hold that ended.
#[derive(Debug)]
pub struct Return {
    pub taken: Vec<Taken>,
    /// The tokens that were used.
    pub used_tokens: u64,
    /// False if the request reached no backend. It then counts in no rate.
    pub sent: bool,
}

/// The state of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub scope: Scope,
    pub measure: Measure,
    pub limit: u64,
    pub used: u64,
    /// Debt: tokens used beyond the room that the limit had, not paid back yet.
    pub owed: u64,
    /// The time until nothing is counted any more, if nothing is added.
    pub reset: Duration,
}

/// The state of the limits of a request, for `x-ratelimit-*` and error texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub levels: Vec<Level>,
}

/// There was room, and it was taken.
#[derive(Debug)]
pub struct Grant {
    pub hold: Hold,
    pub standing: Standing,
}

/// There was no room, and nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub scope: Scope,
    pub measure: Measure,
    /// The time until the same question succeeds, if nobody else asks and nothing is given back.
    pub retry_after: Duration,
    /// It may succeed earlier, because running requests may give enough back.
    pub may_return: bool,
    pub standing: Standing,
}

/// An answer, or the future of one that another machine gives.
pub enum Reserving {
    Now(Result<Grant, Denial>),
    /// May be dropped at any time: a grant that nobody receives gives itself back.
    Later(BoxFuture<'static, Result<Grant, Denial>>),
}

/// Counts usage against limits, in this process or elsewhere.
pub trait Limiter: Send + Sync + 'static {
    /// Takes what is asked of all limits, or of none.
    fn reserve(self: Arc<Self>, ask: &Ask) -> Reserving;

    /// What the answer would be now, without taking anything. `None`: there is room, or this process does not know.
    fn foresee(&self, _: &Ask) -> Option<Denial> {
        None
    }

    /// Every hold calls this once. It neither waits nor fails.
    fn give_back(&self, back: Return);

    /// The state of limits, without taking anything, as far as this process knows it.
    fn standing(&self, claims: &[Claim]) -> Standing;

    /// The process is about to end: sends what others still have to be told. Nothing is asked afterwards.
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Scope {
    /// The word for it in lists and in keys of counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::UserModel => "user_model",
            Self::UserEndpoint => "user_endpoint",
            Self::Endpoint => "endpoint",
            Self::Group => "group",
            Self::Project => "project",
            Self::Key => "key",
            Self::Address => "address",
        }
    }

    /// Whether all models share one counter.
    pub const fn is_of_all_models(self) -> bool {
        !matches!(self, Self::UserModel | Self::UserEndpoint | Self::Endpoint)
    }

    /// Whether each endpoint has a counter of its own.
    pub const fn is_of_endpoint(self) -> bool {
        matches!(self, Self::UserEndpoint | Self::Endpoint)
    }

    /// Whether all users share one counter.
    pub const fn is_of_all(self) -> bool {
        matches!(self, Self::Endpoint)
    }
}

impl Subject {
    /// The part of the name that counters asked for together have in common, so that they are stored together.
    pub fn first(&self) -> &str {
        match self {
            Self::One(name) | Self::Pair(name, _) => name,
        }
    }
}

impl Cost {
    pub const fn total(self) -> u64 {
        self.named.saturating_add(self.guessed)
    }
}

impl Hold {
    pub fn new(limiter: Arc<dyn Limiter>, taken: Vec<Taken>) -> Self {
        Self {
            limiter,
            taken,
            sent: false,
        }
    }

    pub fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// The parts for which `is_wanted` is true, and the others.
    pub fn split(mut self, is_wanted: impl Fn(Scope) -> bool) -> (Self, Self) {
        let taken = std::mem::take(&mut self.taken);
        let (wanted, others) = taken
            .into_iter()
            .partition(|taken| is_wanted(taken.claim.scope));
        let part = |taken| Self {
            limiter: Arc::clone(&self.limiter),
            taken,
            sent: self.sent,
        };
        (part(wanted), part(others))
    }

    /// From here on the request counts in every rate, however it ends.
    pub fn sent(&mut self) {
        self.sent = true;
    }

    /// Replaces the reservation by the tokens that were used. A second call does nothing.
    pub fn settle(&mut self, used_tokens: u64) {
        let taken = std::mem::take(&mut self.taken);
        if !taken.is_empty() {
            self.limiter.give_back(Return {
                taken,
                used_tokens,
                sent: self.sent,
            });
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold")
            .field("taken", &self.taken)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.settle(0);
    }
}

impl Level {
    pub const fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

impl Standing {
    /// The tightest limit of requests a second.
    pub fn requests(&self) -> Option<&Level> {
        self.tightest(|measure| measure == Measure::Requests)
    }

    /// The tightest limit of tokens.
    pub fn tokens(&self) -> Option<&Level> {
        self.tightest(|measure| matches!(measure, Measure::Tokens | Measure::Balance))
    }

    pub fn level(&self, scope: Scope, measure: Measure) -> Option<&Level> {
        let mut levels = self.levels.iter();
        levels.find(|level| level.scope == scope && level.measure == measure)
    }

    /// The amount counted for one limit; 0 if there is no such limit.
    pub fn used(&self, scope: Scope, measure: Measure) -> u64 {
        self.level(scope, measure).map_or(0, |level| level.used)
    }

    /// The request moved to another endpoint: takes over the endpoint's limits from `other`.
    pub fn moved_to(&mut self, other: Self) {
        self.levels.retain(|level| !level.scope.is_of_endpoint());
        let theirs = other.levels.into_iter();
        self.levels
            .extend(theirs.filter(|level| level.scope.is_of_endpoint()));
    }

    fn tightest(&self, is_wanted: impl Fn(Measure) -> bool) -> Option<&Level> {
        let levels = self.levels.iter().filter(|level| is_wanted(level.measure));
        levels.min_by_key(|level| level.remaining())
    }
}
