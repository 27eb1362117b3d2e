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
    /// Tokens in any minute. What a request used beyond its reservation is owed: it is paid out of the next minutes before
    /// anybody else gets room.
    Tokens,
    /// Requests that run at the same time.
    InFlight,
    /// Tokens altogether; nothing comes back with time.
    Balance,
}

/// Whose counter it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Subject {
    One(Arc<str>),
    Pair(Arc<str>, Arc<str>),
}

/// One limit that a request has to fit under. A limit of 0 is none: leave it out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Claim {
    pub scope: Scope,
    pub measure: Measure,
    pub subject: Subject,
    pub most: u64,
}

/// Tokens that a request may use up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Reserved whole or not at all. Of a limit that is smaller than this, all of it is reserved, and the rest is owed.
    pub named: u64,
    /// What is likely to come on top: as much of it is reserved as there is room for. A guess refuses nobody.
    pub guessed: u64,
}

/// One all-or-nothing question: does this request fit under all of these limits now?
#[derive(Debug, Clone)]
pub struct Ask {
    /// The first one that has no room is the one that the caller is told of.
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
}

/// What was taken of one limit.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Taken {
    pub claim: Claim,
    /// When it was counted, in the limiter's own ticks.
    pub tick: u64,
    /// Requests or tokens.
    pub amount: u64,
}

/// What was taken, until it is given back: by [`Hold::settle`], or by `Drop` wherever the hold is lost.
pub struct Hold {
    limiter: Arc<dyn Limiter>,
    taken: Vec<Taken>,
    sent: bool,
}

/// A hold that ended.
#[derive(Debug)]
pub struct Return {
    pub taken: Vec<Taken>,
    /// What was really used.
    pub used_tokens: u64,
    /// A request that reached no backend is not counted in any rate.
    pub sent: bool,
}

/// How one limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub scope: Scope,
    pub measure: Measure,
    pub limit: u64,
    pub used: u64,
    /// Used beyond what the limit had room for, and not paid yet.
    pub owed: u64,
    /// Until nothing is counted any more, if nothing is added.
    pub reset: Duration,
}

/// How the limits of a request stand, for `x-ratelimit-*` and error texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub levels: Vec<Level>,
}

/// Room was found and taken.
#[derive(Debug)]
pub struct Grant {
    pub hold: Hold,
    pub standing: Standing,
}

/// Nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub scope: Scope,
    pub measure: Measure,
    /// Until the same question succeeds, if nobody else asks and nothing is given back.
    pub retry_after: Duration,
    /// It may succeed earlier: requests that run now may give enough back.
    pub may_return: bool,
    pub standing: Standing,
}

/// An answer that is there, or one that another machine has to give.
pub enum Reserving {
    Now(Result<Grant, Denial>),
    /// Dropped before it is done, it leaves nothing behind: a grant that nobody takes gives itself back.
    Later(BoxFuture<'static, Result<Grant, Denial>>),
}

/// Keeps count under limits, in this process or elsewhere.
pub trait Limiter: Send + Sync + 'static {
    /// Takes what is asked of every limit, or of none.
    fn reserve(self: Arc<Self>, ask: &Ask) -> Reserving;

    /// What the answer would be now, as far as this process knows, without taking anything; `None`: room, or not known here.
    fn foresee(&self, _: &Ask) -> Option<Denial> {
        None
    }

    /// Called once for every hold, by the hold itself. Neither waits nor fails.
    fn give_back(&self, back: Return);

    /// How limits stand, without taking anything; as far as this process knows.
    fn standing(&self, claims: &[Claim]) -> Standing;

    /// The process ends: what is still to be told to others is told. Nothing is asked afterwards.
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Scope {
    /// Whether another endpoint has another counter.
    pub const fn is_of_endpoint(self) -> bool {
        matches!(self, Self::UserEndpoint | Self::Endpoint)
    }

    /// Whether all users share one counter.
    pub const fn is_of_all(self) -> bool {
        matches!(self, Self::Endpoint)
    }
}

impl Subject {
    /// The name by which counters that are asked for together are kept together.
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

    /// Those of its parts that `is_wanted`, and the others.
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

    /// The reservation becomes what was really used. A second call does nothing.
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

    /// What is counted of one limit; 0 where there is none.
    pub fn used(&self, scope: Scope, measure: Measure) -> u64 {
        self.level(scope, measure).map_or(0, |level| level.used)
    }

    /// The request moved on: limits of its endpoint are now `other`'s.
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
