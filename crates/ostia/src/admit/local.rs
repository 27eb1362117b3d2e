use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::{
    Ask, Candidate, Clock, Cost, Denial, DenialReason, EndpointHold, Grant, Level, Limiter,
    Reserving, Standing, UserHold, UserLimits,
};
use parking_lot::Mutex;

use super::window::Window;

const SHARDS: usize = 64;
/// Requests a second: sub-buckets of 50 ms.
const RATE_TICKS: Ticks = Ticks {
    length: Duration::from_millis(50),
    span: 20,
};
/// Tokens a minute: sub-buckets of 1 s.
const TOKEN_TICKS: Ticks = Ticks {
    length: Duration::from_secs(1),
    span: 60,
};
/// How many users of a shard are looked at for removal each time one is asked for.
const SWEEP: usize = 2;

#[derive(Clone, Copy)]
struct Ticks {
    length: Duration,
    span: u64,
}

/// Exact limits within one process.
///
/// Lock order: a user's shard, then an endpoint. Nothing waits while holding either.
pub struct LocalLimiter {
    clock: Arc<dyn Clock>,
    start: Instant,
    hasher: RandomState,
    users: Vec<Mutex<Shard>>,
    endpoints: Mutex<HashMap<Arc<str>, Arc<Mutex<Endpoint>>>>,
}

#[derive(Default)]
struct Shard {
    users: HashMap<Arc<str>, User>,
    /// Names in the order they came, for the sweep.
    order: std::collections::VecDeque<Arc<str>>,
}

#[derive(Default)]
struct User {
    rate: Window,
    in_flight: u32,
    /// Tokens by endpoint.
    tokens: HashMap<Arc<str>, Window>,
}

#[derive(Default)]
struct Endpoint {
    tokens: Window,
    in_flight: u32,
}

impl LocalLimiter {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            start: clock.now(),
            clock,
            hasher: RandomState::new(),
            users: (0..SHARDS).map(|_| Mutex::default()).collect(),
            endpoints: Mutex::default(),
        }
    }

    /// Requests in flight and tokens reserved right now, all users together; for metrics and invariants.
    pub fn in_flight(&self) -> u64 {
        let endpoints = self.endpoints.lock();
        endpoints
            .values()
            .map(|endpoint| u64::from(endpoint.lock().in_flight))
            .sum()
    }

    /// How many users have an entry.
    pub fn tracked_users(&self) -> usize {
        self.users
            .iter()
            .map(|shard| shard.lock().users.len())
            .sum()
    }

    fn tick(&self, ticks: Ticks) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.start);
        u64::try_from(since.as_nanos() / ticks.length.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits are counted from the start of the present tick, so the part of it that is gone is not waited for.
    fn wait(&self, ticks: Ticks, count: u64) -> Duration {
        let since = self.clock.now().saturating_duration_since(self.start);
        let into_tick = since.as_nanos() % ticks.length.as_nanos();
        let whole = ticks
            .length
            .saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        whole.saturating_sub(Duration::from_nanos(u64::try_from(into_tick).unwrap_or(0)))
    }

    fn shard(&self, user: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(user);
        &self.users[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }

    fn endpoint(&self, slug: &Arc<str>) -> Arc<Mutex<Endpoint>> {
        let mut endpoints = self.endpoints.lock();
        if let Some(endpoint) = endpoints.get(slug) {
            return Arc::clone(endpoint);
        }
        let endpoint = Arc::<Mutex<Endpoint>>::default();
        endpoints.insert(Arc::clone(slug), Arc::clone(&endpoint));
        endpoint
    }

    fn check_user(&self, user: &mut User, limits: UserLimits, now: u64) -> Result<(), Denial> {
        user.rate.expire(now, RATE_TICKS.span);
        let standing = Standing {
            requests: self.request_level(user, limits, now),
            ..Standing::default()
        };
        let rate = u64::from(limits.requests_per_second);
        if rate != 0 && !user.rate.has_room(1, rate) {
            let ticks = user.rate.wait_for(1, rate, now, RATE_TICKS.span);
            return Err(Denial {
                reason: DenialReason::Requests,
                retry_after: self.wait(RATE_TICKS, ticks),
                standing,
            });
        }
        if limits.max_in_flight != 0 && user.in_flight >= limits.max_in_flight {
            return Err(Denial {
                reason: DenialReason::Concurrency,
                retry_after: Duration::from_secs(1),
                standing,
            });
        }
        Ok(())
    }

    fn request_level(&self, user: &User, limits: UserLimits, now: u64) -> Option<Level> {
        let limit = u64::from(limits.requests_per_second);
        (limit != 0).then(|| Level {
            limit,
            remaining: limit.saturating_sub(user.rate.total()),
            reset: self.wait(RATE_TICKS, user.rate.wait_for_empty(now, RATE_TICKS.span)),
        })
    }

    /// Takes the endpoint's part if all of it is there. Gives the tokens that it took too.
    fn try_candidate(
        &self,
        user: &mut User,
        candidate: &Candidate<'_>,
        cost: Cost,
        now: u64,
    ) -> Result<(Standing, u64), Denial> {
        let endpoint = self.endpoint(candidate.endpoint);
        let mut endpoint = endpoint.lock();
        endpoint.tokens.expire(now, TOKEN_TICKS.span);
        let user_limited = candidate.tpm_user != 0;
        let mut unlimited = Window::default();
        let user_tokens = if user_limited {
            user.tokens
                .entry(Arc::clone(candidate.endpoint))
                .or_default()
        } else {
            &mut unlimited
        };
        user_tokens.expire(now, TOKEN_TICKS.span);
        let mut tokens = cost.named.saturating_add(cost.guessed);
        for (window, limit) in [
            (&*user_tokens, candidate.tpm_user),
            (&endpoint.tokens, candidate.tpm_model),
        ] {
            self.check_tokens(window, limit, cost.named, now)
                .map_err(|mut denial| {
                    denial.standing.model_tokens_used = endpoint.tokens.total();
                    denial.standing.user_tokens_used = user_tokens.total();
                    denial
                })?;
            if limit != 0 {
                tokens = tokens.min(limit.saturating_sub(window.total()));
            }
        }
        if candidate.max_in_flight != 0 && endpoint.in_flight >= candidate.max_in_flight {
            return Err(Denial {
                reason: DenialReason::EndpointsFull,
                retry_after: Duration::from_secs(1),
                standing: Standing::default(),
            });
        }
        endpoint.in_flight += 1;
        if candidate.tpm_model != 0 {
            endpoint.tokens.add(now, tokens);
        }
        if user_limited {
            user_tokens.add(now, tokens);
        }
        let levels = [
            self.token_level(user_tokens, candidate.tpm_user, now),
            self.token_level(&endpoint.tokens, candidate.tpm_model, now),
        ];
        let standing = Standing {
            requests: None,
            tokens: levels
                .into_iter()
                .flatten()
                .min_by_key(|level| level.remaining),
            model_tokens_used: endpoint.tokens.total(),
            user_tokens_used: user_tokens.total(),
        };
        Ok((standing, tokens))
    }

    fn check_tokens(
        &self,
        window: &Window,
        limit: u64,
        tokens: u64,
        now: u64,
    ) -> Result<(), Denial> {
        if limit == 0 || window.has_room(tokens, limit) {
            return Ok(());
        }
        let too_large = tokens > limit;
        let ticks = window.wait_for(tokens.min(limit), limit, now, TOKEN_TICKS.span);
        Err(Denial {
            reason: if too_large {
                DenialReason::TooLarge
            } else {
                DenialReason::Tokens
            },
            retry_after: self.wait(TOKEN_TICKS, ticks),
            standing: Standing {
                tokens: self.token_level(window, limit, now),
                ..Standing::default()
            },
        })
    }

    fn token_level(&self, window: &Window, limit: u64, now: u64) -> Option<Level> {
        (limit != 0).then(|| Level {
            limit,
            remaining: limit.saturating_sub(window.total()),
            reset: self.wait(TOKEN_TICKS, window.wait_for_empty(now, TOKEN_TICKS.span)),
        })
    }

    fn decide(&self, ask: &Ask<'_>) -> Result<Grant, Denial> {
        let rate_now = self.tick(RATE_TICKS);
        let token_now = self.tick(TOKEN_TICKS);
        let mut shard = self.shard(ask.user).lock();
        let user = shard.user(ask.user, rate_now, token_now);
        let limits = ask.user_limits.unwrap_or_default();
        if ask.user_limits.is_some() {
            self.check_user(user, limits, rate_now)?;
        }
        let mut denial: Option<Denial> = None;
        for (index, candidate) in ask.candidates.iter().enumerate() {
            let taken = self.try_candidate(user, candidate, ask.cost, token_now);
            let (standing, tokens) = match taken {
                Ok(taken) => taken,
                Err(mut this) => {
                    this.standing.requests = self.request_level(user, limits, rate_now);
                    denial = Some(milder(denial, this));
                    continue;
                }
            };
            let hold = ask.user_limits.map(|limits| {
                user.in_flight += 1;
                let counted = limits.requests_per_second != 0;
                if counted {
                    user.rate.add(rate_now, 1);
                }
                UserHold {
                    user: Arc::clone(ask.user),
                    tick: rate_now,
                    counted,
                }
            });
            return Ok(Grant {
                user: hold,
                endpoint: EndpointHold {
                    user: Arc::clone(ask.user),
                    endpoint: Arc::clone(candidate.endpoint),
                    tick: token_now,
                    tokens,
                    tpm_model: candidate.tpm_model,
                    tpm_user: candidate.tpm_user,
                },
                candidate: index,
                standing: Standing {
                    requests: self.request_level(user, limits, rate_now),
                    ..standing
                },
            });
        }
        Err(denial.unwrap_or(Denial {
            reason: DenialReason::EndpointsFull,
            retry_after: Duration::from_secs(1),
            standing: Standing::default(),
        }))
    }
}

/// What a caller is told when every candidate refuses: room at an endpoint beats waiting for tokens, and the earliest
/// wait counts.
fn milder(before: Option<Denial>, this: Denial) -> Denial {
    let Some(before) = before else { return this };
    let order = |reason| match reason {
        DenialReason::EndpointsFull => 0,
        DenialReason::Tokens => 1,
        _ => 2,
    };
    let key = |denial: &Denial| (order(denial.reason), denial.retry_after);
    if key(&this) < key(&before) {
        this
    } else {
        before
    }
}

impl Limiter for LocalLimiter {
    fn reserve(&self, ask: &Ask<'_>) -> Reserving {
        Reserving::Now(self.decide(ask))
    }

    fn release_user(&self, hold: UserHold, undo: bool) {
        let mut shard = self.shard(&hold.user).lock();
        let Some(user) = shard.users.get_mut(&hold.user) else {
            return;
        };
        user.in_flight = user.in_flight.saturating_sub(1);
        if undo && hold.counted {
            user.rate.take_back(hold.tick, 1);
        }
    }

    fn settle(&self, hold: EndpointHold, used_tokens: u64) {
        let now = self.tick(TOKEN_TICKS);
        let correct = |window: &mut Window| {
            window.expire(now, TOKEN_TICKS.span);
            if used_tokens < hold.tokens {
                window.take_back(hold.tick, hold.tokens - used_tokens);
            } else {
                window.add(now, used_tokens - hold.tokens);
            }
        };
        let mut shard = self.shard(&hold.user).lock();
        let endpoint = self.endpoint(&hold.endpoint);
        let mut endpoint = endpoint.lock();
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        if hold.tpm_model != 0 {
            correct(&mut endpoint.tokens);
        }
        if hold.tpm_user != 0
            && let Some(user) = shard.users.get_mut(&hold.user)
        {
            correct(user.tokens.entry(Arc::clone(&hold.endpoint)).or_default());
        }
    }
}

impl Shard {
    /// The user's entry; looks at a few others on the way and drops those that hold nothing any more.
    fn user(&mut self, name: &Arc<str>, rate_now: u64, token_now: u64) -> &mut User {
        for _ in 0..SWEEP {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            let idle = self
                .users
                .get_mut(&oldest)
                .is_none_or(|user| user.is_idle(rate_now, token_now));
            if idle && oldest != *name {
                self.users.remove(&oldest);
            } else {
                self.order.push_back(oldest);
            }
        }
        if !self.users.contains_key(name) {
            self.order.push_back(Arc::clone(name));
        }
        self.users.entry(Arc::clone(name)).or_default()
    }
}

impl User {
    fn is_idle(&mut self, rate_now: u64, token_now: u64) -> bool {
        self.rate.expire(rate_now, RATE_TICKS.span);
        self.tokens.retain(|_, window| {
            window.expire(token_now, TOKEN_TICKS.span);
            !window.is_empty()
        });
        self.in_flight == 0 && self.rate.is_empty() && self.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests;
