use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ending::Ending;
use super::engine::Engine;
use super::lease::{Calls, Heard, Lease, LeaseTerms};
use crate::failure::Failure;
use crate::output::note;

/// How often an engine is asked until it answers.
const ASK: Duration = Duration::from_secs(1);
/// How often a lease is renewed within its lifetime.
const RENEWALS: u32 = 3;
/// After this many failed checks in a row, the engine gets no new requests.
const MOST_FAILURES: u32 = 3;
/// How often to ask whether requests still run, and when to repeat a call that failed.
const SOON: Duration = Duration::from_secs(1);
/// An end that is farther away is not told yet: gateways accept a year.
const FARTHEST: Duration = Duration::from_secs(365 * 86_400);
/// The time for the last call.
const LAST: Duration = Duration::from_secs(10);

/// Holds the lease from the engine's start until the job ends.
pub(super) struct Holder {
    calls: Calls,
    engine: Engine,
    terms: LeaseTerms,
    lease: Option<Lease>,
    /// When to start ending.
    ends_at: Option<Instant>,
    /// How long running requests may then continue.
    drain: Duration,
    ending: Ending,
    /// The gateway has said that it sends requests to the engine.
    is_serving: bool,
    /// The last fault of the gateway and of the engine, so that they are not repeated.
    told: String,
    told_of_engine: String,
    /// The last state that the gateway was told of.
    told_state: &'static str,
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
            told_of_engine: String::new(),
            told_state: "",
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

    /// Runs until it is time to end.
    async fn hold(&mut self) -> Result<(), Failure> {
        let (mut is_well, mut failures) = (false, 0);
        loop {
            let state = match self.engine.is_well().await {
                Ok(()) => {
                    if !is_well {
                        note("the engine answers");
                    }
                    (is_well, failures) = (true, 0);
                    self.told_of_engine.clear();
                    "running"
                }
                Err(why) => {
                    failures += 1;
                    tell(&why, &mut self.told_of_engine);
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

    /// Takes no new requests, and lets the running ones finish.
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
                // The lease is gone, so the gateway sends nothing here any more.
                Heard::Later(_) | Heard::Never(_) if self.lease.is_none() => return,
                Heard::Later(why) | Heard::Never(why) => tell(&why, &mut self.told),
            }
            tokio::select! {
                () = sleep(SOON) => {}
                () = self.ending.asked() => return note("asked again: what runs is left alone"),
            }
        }
        note("requests still run, and their time is over");
    }

    /// Tells the gateway the engine's state. `Ok(false)`: the call failed, or the gateway does not send requests yet.
    async fn call(&mut self, state: &'static str) -> Result<bool, Failure> {
        let until = self
            .ends_at
            .map(|at| at.saturating_duration_since(Instant::now()))
            .filter(|until| *until <= FARTHEST);
        let had = self.lease.is_some();
        match self
            .calls
            .hold(&mut self.lease, &self.terms, state, until)
            .await
        {
            Heard::Held { serving, .. } => {
                if !had || !self.told.is_empty() || self.told_state != state {
                    self.told.clear();
                    self.told_state = state;
                    note(&format!("a lease is held, and the engine is {state}"));
                }
                if serving && !self.is_serving {
                    note("the gateway sends requests to the engine");
                }
                self.is_serving = serving;
                Ok(serving)
            }
            Heard::Later(why) => {
                tell(&why, &mut self.told);
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
}

fn tell(why: &str, told: &mut String) {
    if told != why {
        note(why);
        why.clone_into(told);
    }
}
