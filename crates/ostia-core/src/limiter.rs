use std::sync::Arc;
use std::time::Duration;

use crate::BoxFuture;

/// One all-or-nothing question: may this user spend these tokens on one of these endpoints, now?
/// A limit of 0 is no limit.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub user: &'a Arc<str>,
    /// The user's own limits; `None` on a retry, where the user's part is held already.
    pub user_limits: Option<UserLimits>,
    pub cost: Cost,
    /// In order of preference; the first with room is taken.
    pub candidates: &'a [Candidate<'a>],
}

/// Tokens that a request may use up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// The prompt's estimate and the cap that the caller named: reserved whole or not at all.
    pub named: u64,
    /// What is likely to come on top where the caller named no cap: as much of it is reserved as there is room for. A
    /// guess refuses nobody.
    pub guessed: u64,
}

/// Limits that hold for a user over all endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserLimits {
    pub requests_per_second: u32,
    pub max_in_flight: u32,
}

/// One endpoint that may be taken, with its limits.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub endpoint: &'a Arc<str>,
    /// Tokens a minute, for all users of the endpoint together.
    pub tpm_model: u64,
    /// Tokens a minute, for this user on this endpoint.
    pub tpm_user: u64,
    pub max_in_flight: u32,
}

/// The user's part of a grant: one request counted in the rate, one in flight.
#[derive(Debug)]
pub struct UserHold {
    pub user: Arc<str>,
    /// When the request was counted, in the limiter's own ticks.
    pub tick: u64,
    pub counted: bool,
}

/// The endpoint's part of a grant: reserved tokens, one in flight.
#[derive(Debug)]
pub struct EndpointHold {
    pub user: Arc<str>,
    pub endpoint: Arc<str>,
    pub tick: u64,
    pub tokens: u64,
    pub tpm_model: u64,
    pub tpm_user: u64,
}

/// What the `x-ratelimit-*` headers say. `None`: no such limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    pub requests: Option<Level>,
    pub tokens: Option<Level>,
    /// Tokens counted in the present minute: of all users of the endpoint, and of this user on it.
    pub model_tokens_used: u64,
    pub user_tokens_used: u64,
}

/// One limit: its size, what is left of it, and how long until it is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub limit: u64,
    pub remaining: u64,
    pub reset: Duration,
}

/// Room was found and taken.
#[derive(Debug)]
pub struct Grant {
    /// `None` where the question did not ask for it.
    pub user: Option<UserHold>,
    pub endpoint: EndpointHold,
    /// Index into `Ask::candidates`.
    pub candidate: usize,
    pub standing: Standing,
}

/// Which limit stood in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialReason {
    /// Requests a second of the user.
    Requests,
    /// Requests in flight of the user.
    Concurrency,
    /// Tokens a minute, of the user or the model.
    Tokens,
    /// More tokens in one request than the limit will ever allow.
    TooLarge,
    /// Every candidate that had tokens left was at its number of requests in flight.
    EndpointsFull,
    /// The shared state cannot be reached and the declared mode is to refuse.
    Unavailable,
}

/// Nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    pub reason: DenialReason,
    /// The earliest time at which the same question can succeed, if nobody else asks.
    pub retry_after: Duration,
    pub standing: Standing,
}

/// An answer that is there, or one that another machine has to give.
pub enum Reserving {
    Now(Result<Grant, Denial>),
    Later(BoxFuture<'static, Result<Grant, Denial>>),
}

/// Keeps count of requests, tokens and requests in flight.
///
/// `reserve` is all or nothing. Every hold that it gave comes back exactly once, through one of the other calls;
/// these neither wait nor fail.
pub trait Limiter: Send + Sync + 'static {
    fn reserve(&self, ask: &Ask<'_>) -> Reserving;

    /// The request ended: one fewer in flight. `undo`: it never reached a backend, so it is not counted in the rate either.
    fn release_user(&self, hold: UserHold, undo: bool);

    /// The endpoint is done with it: the reservation becomes what was really used (0 gives all of it back).
    fn settle(&self, hold: EndpointHold, used_tokens: u64);
}
