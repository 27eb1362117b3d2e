use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ending::Ending;
use super::engine::Engine;
use super::lease::{Calls, Heard, Lease, LeaseTerms};
use crate::failure::Failure;
use crate::output::note;

/// How often an engine that does not answer yet is asked.
const ASK: Duration = Duration::from_secs(1);
/// Renewals before a lease would end.
const RENEWALS: u32 = 3;
/// So many unanswered questions in a row and the engine gets no new requests.
const MOST_FAILURES: u32 = 3;
/// How often it is asked whether requests still run, and how soon a call that failed is made again.
const SOON: Duration = Duration::from_secs(1);
/// For the last call.
const LAST: Duration = Duration::from_secs(10);

/// Holds the lease from the engine's start to the job's end.
pub(super) struct Holder {
    calls: Calls,
    engine: Engine,
    terms: LeaseTerms,
    lease: Option<Lease>,
    /// When the end begins.
    ends_at: Option<Instant>,
    /// How long requests may run on then.
    drain: Duration,
    ending: Ending,
    /// The gateway said that it sends requests to the engine.
    is_serving: bool,
    /// The last fault that was told: the same is told once.
    told: String,
}

impl Holder {
    pub fn new(
        calls: Calls,
        engine: Engine,
        terms: LeaseTerms,
        ends_in: Option<Duration>,
        drain: Duration,
    ) -> Result<Self, Failure> {
        Ok(Self {
            calls,
            engine,
            terms,
            lease: None,
            ends_at: ends_in.and_then(|time| Instant::now().checked_add(time)),
            drain,
            ending: Ending::listen()?,
            is_serving: false,
            told: String::new(),
        })
    }

    pub async fn run(mut self) -> Result<(), Failure> {
        let held = self.hold().await;
        if held.is_ok() {
            self.end().await;
        }
        if let Some(lease) = &self.lease {
            match timeout(LAST, self.calls.give_back(lease)).await {
                Ok(Ok(())) => note("the lease is given back"),
                Ok(Err(why)) => note(&format!("the lease ends by itself: {why}")),
                Err(_) => note("the lease ends by itself: the gateway does not answer"),
            }
        }
        held
    }

    /// Until the end begins.
    async fn hold(&mut self) -> Result<(), Failure> {
        let (mut is_well, mut failures) = (false, 0);
        loop {
            let state = match self.engine.is_well().await {
                Ok(()) => {
                    if !is_well {
                        note("the engine answers");
                    }
                    (is_well, failures) = (true, 0);
                    "running"
                }
                Err(why) => {
                    failures += 1;
                    self.tell(&why);
                    is_well &= failures < MOST_FAILURES;
                    if is_well { "running" } else { "starting" }
                }
            };
            let is_serving = self.call(state).await?;
            let usual = self.terms.ttl / RENEWALS;
            let pause = match is_well && failures == 0 && is_serving {
                true => usual,
                false => ASK.min(usual),
            };
            if self.has_to_end_within(pause).await {
                return Ok(());
            }
        }
    }

    /// No new requests; those that run may end.
    async fn end(&mut self) {
        if self.lease.is_none() {
            return;
        }
        note("no new requests; those that run may end");
        let limit = Instant::now() + self.drain;
        while Instant::now() < limit {
            let until = None;
            match self
                .calls
                .hold(&mut self.lease, &self.terms, "draining", until)
                .await
            {
                Heard::Held { in_use: false, .. } => return note("no request runs any more"),
                Heard::Held { in_use: true, .. } => {}
                // Gone: nothing is sent here any more.
                Heard::Later(_) | Heard::Never(_) if self.lease.is_none() => return,
                Heard::Later(why) | Heard::Never(why) => self.tell(&why),
            }
            tokio::select! {
                () = sleep(SOON) => {}
                () = self.ending.asked() => return note("asked again: what runs is left alone"),
            }
        }
        note("requests still run, and their time is over");
    }

    /// Tells the gateway how the engine is. `Ok(false)`: it was not heard, or sends no requests to the engine yet.
    async fn call(&mut self, state: &str) -> Result<bool, Failure> {
        let until = self
            .ends_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        let had = self.lease.is_some();
        match self
            .calls
            .hold(&mut self.lease, &self.terms, state, until)
            .await
        {
            Heard::Held { serving, .. } => {
                if !had || !self.told.is_empty() {
                    self.told.clear();
                    note(&format!("a lease is held, and the engine is {state}"));
                }
                if serving && !self.is_serving {
                    note("the gateway sends requests to the engine");
                }
                self.is_serving = serving;
                Ok(serving)
            }
            Heard::Later(why) => {
                self.tell(&why);
                Ok(false)
            }
            Heard::Never(why) => Err(Failure::other(why)),
        }
    }

    async fn has_to_end_within(&mut self, pause: Duration) -> bool {
        let next = Instant::now() + pause;
        let wake = self.ends_at.map_or(next, |end| end.min(next));
        tokio::select! {
            () = sleep_until(wake) => self.ends_at.is_some_and(|end| Instant::now() >= end),
            () = self.ending.asked() => true,
        }
    }

    fn tell(&mut self, why: &str) {
        if self.told != why {
            note(why);
            why.clone_into(&mut self.told);
        }
    }
}
