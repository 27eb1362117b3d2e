//! `ostia register`: runs beside an engine and tells gateways where it is, for as long as it runs.

mod ending;
mod engine;
mod holder;
mod job;
mod lease;
mod seeker;
mod tunnels;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ostia::catalog::HttpUrl;
use ostia_core::Secret;

use self::engine::Engine;
use self::holder::Holder;
use self::lease::{Calls, LeaseTerms};
use self::tunnels::{Terms, Tunnels};
use super::web::{Page, parse_private};
use crate::failure::Failure;
use crate::output::note;
use crate::runtime;
use crate::span::{Moment, Span};

/// It waits until the engine answers, takes a lease on the endpoint and renews it. On SIGTERM, or before the job's time
/// is up, the engine gets no new requests; once the running ones have finished, the lease is given back and the command
/// ends. The key needs the role registrar.
#[derive(Debug, Args)]
pub struct Register {
    /// The endpoint's slug, as `ostia check` shows it
    #[arg(long)]
    slug: String,
    /// The engine's base URL, as the gateway reaches it: http://$(hostname -f):8000/v1
    #[arg(long)]
    url: String,
    /// The gateway; with --tunnel possibly several, one for each replica
    #[arg(
        long = "gateway",
        env = "OSTIA_URL",
        value_name = "URL",
        required = true,
        value_delimiter = ','
    )]
    gateways: Vec<String>,
    /// Open a connection to the gateway and answer its requests on it, so that only this command needs to reach the
    /// engine
    #[arg(long)]
    tunnel: bool,
    /// A file with the key [default: $OSTIA_API_KEY]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// How long the lease lasts without being renewed
    #[arg(long, default_value = "60s", value_name = "60s")]
    ttl: Span,
    /// When to start ending: a time, or a span from now [default: 5 minutes before the wall limit of the Slurm or PBS
    /// job]
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Concurrent requests that the engine takes [default: unlimited]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    max_in_flight: u32,
    /// The path on the engine's host to check its health with [default: /models under the base URL]
    #[arg(long, value_name = "PATH")]
    health: Option<String>,
    /// How long running requests may continue once it starts ending
    #[arg(long, default_value = "4m", value_name = "4m")]
    drain: Span,
    /// Certificate authorities to trust for the gateway [default: the machine's]
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// A proxy to the gateway: http://host:port
    #[arg(long, env = "OSTIA_PROXY", value_name = "URL")]
    proxy: Option<String>,
}

/// How long before the job's wall limit to start ending.
const BEFORE_THE_END: Duration = Duration::from_secs(5 * 60);
/// What a gateway accepts.
const TTLS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

impl Register {
    pub fn run(&self) -> Result<(), Failure> {
        runtime::run(self.hold())
    }

    async fn hold(&self) -> Result<(), Failure> {
        if !TTLS.contains(&self.ttl.duration()) {
            return Err(Failure::usage("--ttl is from 1s to 1h"));
        }
        let engine = Engine::new(&self.url, self.health.as_deref())?;
        let ends_in = self.ends_in().await;
        match ends_in {
            Some(time) => note(&format!("the end begins in {} s", time.as_secs())),
            None if job::is_one() => note(
                "the scheduler says no wall limit for this job: name the end with --until, or send SIGTERM before it",
            ),
            None => {}
        }
        if self.tunnel {
            return self.tunnels(engine, ends_in)?.run().await;
        }
        let terms = LeaseTerms {
            url: self.url.clone(),
            ttl: self.ttl.duration(),
            max_in_flight: self.max_in_flight,
        };
        let holder = Holder::new(self.calls()?, engine, terms, ends_in, self.drain.duration());
        holder?.run().await
    }

    /// The time until it starts ending; `None`: no end is known.
    async fn ends_in(&self) -> Option<Duration> {
        if let Some(until) = self.until {
            return Some(job::until(until));
        }
        let left = job::time_left().await?;
        // A short job gives up at most half of its time.
        Some(left.saturating_sub(BEFORE_THE_END.min(left / 2)))
    }

    fn calls(&self) -> Result<Calls, Failure> {
        match &self.gateways[..] {
            [one] => Ok(Calls::new(self.registration(one)?, self.page()?)),
            _ => Err(Failure::usage(
                "several --gateway are for --tunnel: a lease is known to all replicas of one gateway",
            )),
        }
    }

    fn tunnels(&self, engine: Engine, ends_in: Option<Duration>) -> Result<Tunnels, Failure> {
        let gateways = self.gateways.iter().map(|text| self.registration(text));
        let terms = Terms {
            gateways: gateways.collect::<Result<_, _>>()?,
            page: self.page()?,
            engine_url: self.url.clone(),
            max_in_flight: self.max_in_flight,
            ends_in,
            drain: self.drain.duration(),
        };
        Tunnels::new(terms, engine)
    }

    /// The URL where leases on the endpoint are taken.
    fn registration(&self, gateway: &str) -> Result<HttpUrl, Failure> {
        let gateway = parse_private(gateway.trim_end_matches('/'))?;
        let url = format!("{}/v1/register/{}", gateway.base(), self.slug);
        HttpUrl::parse_bare(&url)
            .map_err(|fault| Failure::usage(format!("--slug: the URL {fault}")))
    }

    fn page(&self) -> Result<Page, Failure> {
        Ok(Page {
            bearer: Some(self.key()?),
            ca_cert: self.ca_cert.clone(),
            proxy: self.proxy.clone().map(Secret::new),
            ..Page::default()
        })
    }

    fn key(&self) -> Result<Secret<String>, Failure> {
        let text = match &self.key_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?,
            None => std::env::var("OSTIA_API_KEY").map_err(|_| {
                Failure::usage("set OSTIA_API_KEY to the registrar's key, or name --key-file")
            })?,
        };
        Ok(Secret::new(text.trim().to_owned()))
    }
}
