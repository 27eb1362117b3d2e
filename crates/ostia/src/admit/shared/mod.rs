//! Limits that hold over all replicas, kept in Redis or Valkey (not in a Redis Cluster).
//!
//! One script decides about all claims of an admission, by the server's clock. Returned amounts are sent in batches, in
//! the background. Requests in flight are leases that a heartbeat renews, so those of a dead replica expire. While the
//! server does not answer in time, each replica enforces its part of every limit by itself ([`divided`]).
//!
//! The server also decides which replica's waiter gets a free place (`line.lua`), by counters of service that it keeps, and
//! calls that replica.

mod divided;
mod exchange;
mod link;
mod outbox;
mod question;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use ostia_core::{
    Ask, BoxFuture, Claim, Clock, Denial, Grant, Hold, Limiter, Measure, Reserving, Return,
    Standing,
};
use redis::Script;

use self::divided::Divided;
use self::exchange::Exchange;
use self::link::{Fault, Link};
use self::outbox::{Outbox, Parcel};
use super::queue::{Queues, Spent};
use crate::settings::SharedLimits;

/// After this long without a heartbeat, a replica's requests in flight no longer count.
const LEASE: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long returned amounts are collected after others were sent.
pub(super) const LINGER: Duration = Duration::from_millis(2);
/// How often service is exchanged, and while somebody waits.
const EXCHANGE: Duration = Duration::from_secs(1);
pub(super) const BUSY_EXCHANGE: Duration = Duration::from_millis(100);
/// How long background work waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the shutdown waits until everything is sent.
const LAST_FLUSH: Duration = Duration::from_secs(2);

const REPLICAS: &str = "ostia:replicas";
const SERVICE: &str = "ostia:service";
const GUESSES: &str = "ostia:guesses";

/// Why shared limits cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// The URL is a secret, so it is not repeated.
    #[error("limits.shared is not a URL that can be used: {0}")]
    Url(redis::RedisError),
    #[error("limits.shared_ca_cert_path: {0}")]
    Certificate(std::io::Error),
    #[error("no random name for this replica: {0}")]
    Random(getrandom::Error),
}

/// What is known of the guesses of others. Unlike service, those from before the first reading count too.
pub struct Heard(Exchange);

impl Default for Heard {
    fn default() -> Self {
        Self(Exchange::begun())
    }
}

pub struct SharedLimiter {
    link: Link,
    stand_in: Arc<Divided>,
    outbox: Outbox,
    /// This process among the replicas.
    name: String,
    asked: AtomicU64,
    patience: Duration,
    scripts: Scripts,
}

struct Scripts {
    reserve: Script,
    settle: Script,
    beat: Script,
    exchange: Script,
}

/// One question on its way. If dropped before its answer came, it is undone.
struct Asking {
    limiter: Arc<SharedLimiter>,
    ask: Ask,
    number: u64,
    begun: Instant,
    is_answered: bool,
}

impl SharedLimiter {
    pub fn new(settings: &SharedLimits, clock: Arc<dyn Clock>) -> Result<Self, SharedError> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(SharedError::Random)?;
        let read = |path: &std::path::PathBuf| std::fs::read(Path::new(path));
        let ca = settings.ca_cert_path.as_ref().map(read).transpose();
        let ca = ca.map_err(SharedError::Certificate)?;
        Ok(Self {
            link: Link::new(settings.url.expose(), ca, settings.timeout)
                .map_err(SharedError::Url)?,
            stand_in: Arc::new(Divided::new(clock)),
            outbox: Outbox::default(),
            name: hex::encode(name),
            asked: AtomicU64::new(0),
            patience: settings.timeout,
            scripts: Scripts::new(),
        })
    }

    /// The limiter that is used while the server does not answer.
    pub(super) fn stand_in(&self) -> Arc<dyn Limiter> {
        Arc::clone(&self.stand_in) as _
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// This process enforces the limits, as the server does not answer.
    pub(super) fn is_degraded(&self) -> bool {
        !self.link.is_up()
    }

    pub(super) fn replicas(&self) -> u64 {
        self.stand_in.replicas()
    }

    /// The state of the limits over all replicas; `None`: the server does not answer.
    pub(super) async fn look(&self, claims: &[Claim]) -> Option<Standing> {
        let look = question::look(&self.scripts.reserve, claims);
        let answer = self.link.call::<Vec<i64>>(&look);
        let reply = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()?;
        question::standing(claims, reply.get(4..)?)
    }

    /// All background work, for as long as the process lives.
    pub(super) async fn work(&self, queues: &Queues) -> Infallible {
        let keeping = self.link.keep();
        let (never, ..) = tokio::join!(
            keeping,
            self.tell(queues),
            self.listen(queues),
            self.beat_on(),
            self.exchange_on(queues)
        );
        never
    }

    /// Sends returned amounts. Local waiters are woken afterwards.
    async fn tell(&self, queues: &Queues) -> Infallible {
        loop {
            self.outbox.filled().await;
            match self.flush().await {
                Ok(()) => queues.came_back(),
                Err(_) => self.link.up().await,
            }
            tokio::time::sleep(LINGER).await;
        }
    }

    /// Hears when a place is free and it is the turn of somebody who waits here. Without it, waiters look by themselves.
    async fn listen(&self, queues: &Queues) -> Infallible {
        let channel = question::channel(&self.name);
        loop {
            self.link.up().await;
            if let Ok(mut calls) = self.link.subscribe(&channel).await {
                let hearing = async {
                    while let Some(call) = calls.next().await {
                        self.called(queues, call.get_payload().unwrap_or_default());
                    }
                };
                tokio::select! {
                    () = hearing => {}
                    () = self.link.down() => {}
                }
            }
            tokio::time::sleep(PATIENCE).await;
        }
    }

    fn called(&self, queues: &Queues, counter: String) {
        let endpoint = question::endpoint_of(&counter);
        if endpoint.is_some_and(|endpoint| !queues.called(endpoint)) {
            self.outbox.push(Parcel::Away { counter });
        }
    }

    async fn flush(&self) -> Result<(), Fault> {
        while let Some(mut batch) = self.outbox.next().await {
            let call = question::settle(&self.scripts.settle, &self.name, &batch);
            self.in_time(self.link.call::<i64>(&call)).await?;
            batch.sent();
        }
        Ok(())
    }

    async fn beat_on(&self) -> Infallible {
        loop {
            self.link.up().await;
            // A beat that failed was counted by the link; the next one is soon.
            let _ = self.beat(true).await;
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    async fn beat(&self, stays: bool) -> Result<(), Fault> {
        let leases = self.outbox.leases();
        let call = question::beat(&self.scripts.beat, &self.name, LEASE, stays, &leases);
        let replicas = self.in_time(self.link.call::<u64>(&call)).await?;
        self.stand_in.seen(replicas);
        Ok(())
    }

    async fn exchange_on(&self, queues: &Queues) -> Infallible {
        let mut exchange = Exchange::default();
        let mut rested = Duration::ZERO;
        loop {
            tokio::time::sleep(BUSY_EXCHANGE).await;
            rested += BUSY_EXCHANGE;
            if queues.waiting() == 0 && rested < EXCHANGE {
                continue;
            }
            rested = Duration::ZERO;
            if !self.link.is_up() {
                self.link.up().await;
                // The server did not count what was let in without it, so there is nothing to correct.
                queues.spent();
                exchange = Exchange::default();
            }
            let spent = queues.spent();
            let call = question::exchange(&self.scripts.exchange, SERVICE, &spent);
            match self.in_time(self.link.call(&call)).await {
                Ok(sums) => queues.spent_elsewhere(exchange.elsewhere(&spent, sums)),
                Err(_) => exchange = Exchange::default(),
            }
        }
    }

    /// Tells other replicas of bad credentials, and returns theirs.
    pub(super) async fn tell_guesses(
        &self,
        heard: &mut Heard,
        own: Vec<(u128, u32)>,
    ) -> Vec<(u128, u32)> {
        if !self.link.is_up() {
            *heard = Heard::default();
            return Vec::new();
        }
        let counts = own.into_iter().map(|(network, times)| {
            let service = f64::from(times);
            let spent = Spent {
                service,
                ..Spent::default()
            };
            (format!("{network:x}"), spent)
        });
        let counts: Vec<_> = counts.collect();
        let call = question::exchange(&self.scripts.exchange, GUESSES, &counts);
        let Ok(sums) = self.in_time(self.link.call(&call)).await else {
            *heard = Heard::default();
            return Vec::new();
        };
        let others = heard.0.elsewhere(&counts, sums).into_iter();
        others
            .filter_map(|(network, times)| {
                let network = u128::from_str_radix(&network, 16).ok()?;
                Some((network, whole(times)?))
            })
            .collect()
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                self.link.timed_out();
                Err(Fault::Late)
            }
        }
    }
}

/// A sum of whole numbers.
fn whole(sum: f64) -> Option<u32> {
    let counted = format!("{sum:.0}").parse().ok()?;
    (counted > 0).then_some(counted)
}

impl Limiter for SharedLimiter {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a server far away took, which no test moves"
    )]
    fn reserve(self: Arc<Self>, ask: &Ask) -> Reserving {
        let is_kept_here = |claim: &Claim| claim.measure == Measure::Balance;
        if ask.claims.iter().all(is_kept_here) || !self.link.is_up() {
            return Arc::clone(&self.stand_in).reserve(ask);
        }
        let asking = Asking {
            number: self.asked.fetch_add(1, Ordering::Relaxed),
            limiter: self,
            ask: ask.clone(),
            begun: Instant::now(),
            is_answered: false,
        };
        Reserving::Later(Box::pin(asking.answer()))
    }

    fn give_back(&self, back: Return) {
        self.outbox.over(back);
    }

    /// What this process holds by itself; [`SharedLimiter::look`] asks the server.
    fn standing(&self, claims: &[Claim]) -> Standing {
        self.stand_in.standing(claims)
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let last = async {
                let _ = self.flush().await;
                let _ = self.beat(false).await;
            };
            if self.link.is_up() {
                let _ = tokio::time::timeout(LAST_FLUSH, last).await;
            }
        })
    }
}

impl Asking {
    async fn answer(mut self) -> Result<Grant, Denial> {
        let limiter = Arc::clone(&self.limiter);
        let call = question::reserve(
            &limiter.scripts.reserve,
            (&limiter.name, self.number),
            LEASE,
            &self.ask,
        );
        let mut reply = limiter.link.call::<Vec<i64>>(&call).await;
        if matches!(reply, Err(Fault::Lost)) {
            // The same number: a grant whose answer was lost is not counted twice.
            limiter.link.up().await;
            reply = limiter.link.call(&call).await;
        }
        let answer = reply
            .ok()
            .and_then(|reply| question::answer(&self.ask.claims, self.number, &reply));
        match answer {
            Some(Ok((taken, standing))) => {
                self.is_answered = true;
                limiter.outbox.lease(&taken);
                let hold = Hold::new(Arc::clone(&limiter) as _, taken);
                Ok(Grant { hold, standing })
            }
            Some(Err(denial)) => {
                self.is_answered = true;
                Err(denial)
            }
            None => limiter.stand_in.decide(&self.ask),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        if self.begun.elapsed() >= self.limiter.patience {
            self.limiter.link.timed_out();
        }
        let claims = std::mem::take(&mut self.ask.claims);
        self.limiter.outbox.push(Parcel::Undo {
            number: self.number,
            claims,
        });
    }
}

impl Scripts {
    fn new() -> Self {
        const WINDOW: &str = include_str!("window.lua");
        const LINE: &str = include_str!("line.lua");
        let script = |of: &str| Script::new(&format!("{WINDOW}\n{LINE}\n{of}"));
        Self {
            reserve: script(include_str!("reserve.lua")),
            settle: script(include_str!("settle.lua")),
            beat: script(include_str!("beat.lua")),
            exchange: script(include_str!("exchange.lua")),
        }
    }
}
