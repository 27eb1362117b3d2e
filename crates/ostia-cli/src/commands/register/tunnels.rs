use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ostia::catalog::{ApiUrl, HttpUrl, Target, Timeouts};
use ostia::runtime::spawn;
use ostia::upstream::{Client, Clients, Tunnel};
use ostia_core::{Secret, SystemClock};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ending::Ending;
use super::engine::Engine;
use super::seeker::{Held, Seeker};
use crate::commands::web::Page;
use crate::failure::Failure;
use crate::output::note;

/// How often the engine is checked until it answers, and then.
const ASK: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(5);
/// After this many failed checks in a row, requests are refused.
const MOST_FAILURES: u32 = 3;

/// The settings of tunnels.
pub(super) struct Terms {
    /// Where each gateway accepts tunnels.
    pub gateways: Vec<HttpUrl>,
    pub page: Page,
    pub engine_url: String,
    pub max_in_flight: u32,
    pub ends_in: Option<Duration>,
    pub drain: Duration,
}

/// A tunnel to each replica of each gateway, because a tunnel ends at one replica and the others cannot use it. They
/// are open before the engine answers: users then see that it starts, and a wrong key is found at once.
pub(super) struct Tunnels {
    terms: Terms,
    engine: Engine,
    client: Arc<Client>,
    clients: Clients,
    path_and_query: String,
    /// Whether requests may reach the engine.
    is_ready: Arc<AtomicBool>,
    ends_at: Option<Instant>,
    ending: Ending,
    held: Held,
    /// What looks for replicas, at each address of each gateway. `None`: wherever a proxy finds it.
    seekers: HashMap<(String, Option<IpAddr>), JoinHandle<String>>,
    /// The last fault of a name or an address, so that it is not repeated.
    told: String,
}

impl Tunnels {
    pub fn new(terms: Terms, engine: Engine) -> Result<Self, Failure> {
        let wrong = |fault| Failure::usage(format!("--url {fault}"));
        let url = ApiUrl::parse(&terms.engine_url).map_err(wrong)?;
        let clients = Clients::new(Arc::new(SystemClock));
        let target = Target::plain(url.origin.clone(), Timeouts::default());
        let client = clients.client(&target);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("path", &url.base_path)
            .append_pair("max_in_flight", &terms.max_in_flight.to_string())
            .finish();
        Ok(Self {
            client: client.map_err(|error| Failure::other(error.to_string()))?,
            clients,
            engine,
            path_and_query: query,
            is_ready: Arc::default(),
            ends_at: terms
                .ends_in
                .and_then(|time| Instant::now().checked_add(time)),
            ending: Ending::listen()?,
            held: Held::default(),
            seekers: HashMap::new(),
            told: String::new(),
            terms,
        })
    }

    pub async fn run(mut self) -> Result<(), Failure> {
        let held = self.hold().await;
        self.seekers.values().for_each(JoinHandle::abort);
        note("no new requests; those that run may end");
        self.end().await;
        held
    }

    /// Runs until it is time to end.
    async fn hold(&mut self) -> Result<(), Failure> {
        let mut failures = 0;
        loop {
            match self.engine.is_well().await {
                Ok(()) => {
                    failures = 0;
                    if !self.is_ready.swap(true, Ordering::Relaxed) {
                        note("the engine answers");
                    }
                }
                Err(why) => {
                    failures += 1;
                    self.tell(&why);
                    if failures >= MOST_FAILURES {
                        self.is_ready.store(false, Ordering::Relaxed);
                    }
                }
            }
            self.look().await?;
            let pause = match self.is_ready.load(Ordering::Relaxed) {
                true if failures == 0 => LOOK,
                _ => ASK,
            };
            let next = Instant::now() + pause;
            let wake = self.ends_at.map_or(next, |end| end.min(next));
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.ending.asked() => return Ok(()),
                why = refusal(&mut self.seekers) => return Err(Failure::other(why)),
            }
            if self.ends_at.is_some_and(|end| Instant::now() >= end) {
                return Ok(());
            }
        }
    }

    /// Has each address looked at, and no others.
    async fn look(&mut self) -> Result<(), Failure> {
        let mut found = Vec::new();
        for gateway in self.terms.gateways.clone() {
            let addresses = match self.terms.page.proxy {
                // The names of gateways may be known to the proxy only.
                Some(_) => vec![None],
                None => match self.clients.addresses(&gateway.origin.host).await {
                    Ok(addresses) => addresses.iter().copied().map(Some).collect(),
                    Err(why) => {
                        self.tell(&format!("{}: {why}", gateway.origin.host));
                        let known = self
                            .seekers
                            .keys()
                            .filter(|(base, _)| *base == gateway.base());
                        known.map(|(_, address)| *address).collect()
                    }
                },
            };
            found.extend(
                addresses
                    .into_iter()
                    .map(|address| (gateway.clone(), address)),
            );
        }
        let is_found = |(base, address): &(String, Option<IpAddr>)| {
            let mut found = found.iter();
            found.any(|(gateway, at)| at == address && gateway.base() == *base)
        };
        for (_, seeker) in self.seekers.extract_if(|at, _| !is_found(at)) {
            seeker.abort();
        }
        for (gateway, address) in found {
            let key = (gateway.base(), address);
            if !self.seekers.contains_key(&key) {
                let seeker = self.seeker(&gateway, address)?;
                self.seekers.insert(key, spawn(seeker.run()));
            }
        }
        Ok(())
    }

    fn seeker(&self, gateway: &HttpUrl, address: Option<IpAddr>) -> Result<Seeker, Failure> {
        let target = Target {
            addresses: address.map(|address| Arc::from([address])),
            ..self.terms.page.target(gateway)
        };
        let path = format!("{}?{}", gateway.path_and_query(), self.path_and_query);
        let none = Secret::new(String::new());
        let key = self.terms.page.bearer.as_ref().unwrap_or(&none);
        let engine = (Arc::clone(&self.client), Arc::clone(&self.is_ready));
        let tunnel = Tunnel::new(target, &path, key, engine, Arc::new(SystemClock));
        let host = &gateway.origin.host;
        let name = address.map_or_else(|| host.to_string(), |at| format!("{host} at {at}"));
        let tunnel = tunnel.map_err(|error| Failure::other(error.to_string()))?;
        Ok(Seeker::new(tunnel, name, self.held.clone()))
    }

    /// Takes no new requests, and lets the running ones finish.
    async fn end(&mut self) {
        let limit = Instant::now() + self.terms.drain;
        self.held.end();
        tokio::select! {
            all = timeout_at(limit, self.held.all_closed()) => match all {
                Ok(()) => note("no request runs any more"),
                Err(_) => note("requests still run, and their time is over"),
            },
            () = self.ending.asked() => note("asked again: what runs is cut off"),
        }
    }

    fn tell(&mut self, why: &str) {
        if self.told != why {
            note(why);
            why.clone_into(&mut self.told);
        }
    }
}

/// Why a gateway will never accept a tunnel, once one says so.
async fn refusal(seekers: &mut HashMap<(String, Option<IpAddr>), JoinHandle<String>>) -> String {
    if seekers.is_empty() {
        return std::future::pending().await;
    }
    let (said, ..) = futures_util::future::select_all(seekers.values_mut()).await;
    said.unwrap_or_else(|error| error.to_string())
}
