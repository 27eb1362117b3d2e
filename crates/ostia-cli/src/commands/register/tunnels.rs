use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ostia::catalog::{ApiUrl, HttpUrl, Target, Timeouts};
use ostia::runtime::spawn;
use ostia::upstream::{Client, Clients, Tunnel, TunnelFault};
use ostia_core::{Secret, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ending::Ending;
use super::engine::Engine;
use crate::commands::web::Page;
use crate::failure::Failure;
use crate::output::note;

/// How often the engine is checked, gateways' names are resolved, and lost tunnels are opened again.
const ASK: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(5);
/// After this many failed checks in a row, the tunnels are closed.
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

/// One tunnel to each address of each gateway, because a tunnel ends at one replica and the others cannot use it.
pub(super) struct Tunnels {
    terms: Terms,
    engine: Engine,
    client: Arc<Client>,
    clients: Clients,
    path_and_query: String,
    ends_at: Option<Instant>,
    ending: Ending,
    /// Tells all tunnels that it is time to end.
    end: watch::Sender<bool>,
    open: HashMap<(String, IpAddr), JoinHandle<Option<String>>>,
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
            ends_at: terms
                .ends_in
                .and_then(|time| Instant::now().checked_add(time)),
            ending: Ending::listen()?,
            end: watch::Sender::new(false),
            open: HashMap::new(),
            terms,
        })
    }

    pub async fn run(mut self) -> Result<(), Failure> {
        let mut failures = 0;
        let held = loop {
            match self.engine.is_well().await {
                Ok(()) => failures = 0,
                Err(why) => {
                    failures += 1;
                    if failures == 1 || failures == MOST_FAILURES {
                        note(&why);
                    }
                }
            }
            match failures {
                0 => self.look().await,
                MOST_FAILURES => self.close().await,
                _ => {}
            }
            if let Some(why) = self.refusal().await {
                break Err(Failure::other(why));
            }
            let pause = if failures == 0 && !self.open.is_empty() {
                LOOK
            } else {
                ASK
            };
            let wake = self.ends_at.map_or(Instant::now() + pause, |end| {
                end.min(Instant::now() + pause)
            });
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.ending.asked() => break Ok(()),
            }
            if self.ends_at.is_some_and(|end| Instant::now() >= end) {
                break Ok(());
            }
        };
        if held.is_ok() {
            note("no new requests; those that run may end");
        }
        self.close().await;
        held
    }

    /// Opens a tunnel to each address without one.
    async fn look(&mut self) {
        self.end.send_replace(false);
        for gateway in self.terms.gateways.clone() {
            let host = &gateway.origin.host;
            let addresses = match self.clients.addresses(host).await {
                Ok(addresses) => addresses,
                Err(why) => {
                    note(&format!("{host}: {why}"));
                    continue;
                }
            };
            for address in addresses.iter() {
                let key = (gateway.base(), *address);
                if self.open.contains_key(&key) {
                    continue;
                }
                match self.tunnel(&gateway, *address) {
                    Ok(tunnel) => {
                        let end = self.end.subscribe();
                        let name = format!("{} at {address}", gateway.origin.host);
                        self.open.insert(key, spawn(keep(tunnel, end, name)));
                    }
                    Err(why) => note(&why),
                }
            }
        }
    }

    fn tunnel(&self, gateway: &HttpUrl, address: IpAddr) -> Result<Tunnel, String> {
        let target = Target {
            addresses: Some(Arc::new([address])),
            ..self.terms.page.target(gateway)
        };
        let path = format!("{}?{}", gateway.path_and_query(), self.path_and_query);
        let none = Secret::new(String::new());
        let key = self.terms.page.bearer.as_ref().unwrap_or(&none);
        let engine = Arc::clone(&self.client);
        let tunnel = Tunnel::new(target, &path, key, engine, Arc::new(SystemClock));
        tunnel.map_err(|error| error.to_string())
    }

    /// Why a gateway will never accept a tunnel, if so.
    async fn refusal(&mut self) -> Option<String> {
        let over: Vec<_> = self
            .open
            .extract_if(|_, tunnel| tunnel.is_finished())
            .collect();
        for (_, tunnel) in over {
            if let Ok(Some(why)) = tunnel.await {
                return Some(why);
            }
        }
        None
    }

    /// Takes no new requests, and lets the running ones finish.
    async fn close(&mut self) {
        self.end.send_replace(true);
        let limit = Instant::now() + self.terms.drain;
        for (_, tunnel) in self.open.drain() {
            let left = limit.saturating_duration_since(Instant::now());
            if timeout(left, tunnel).await.is_err() {
                return note("requests still run, and their time is over");
            }
        }
    }
}

/// Keeps one tunnel, and opens it again if it is lost. Returns why the gateway will never accept it.
async fn keep(tunnel: Tunnel, mut end: watch::Receiver<bool>, name: String) -> Option<String> {
    loop {
        let mut ending = end.clone();
        let ends = async move {
            // The sender lives as long as the command.
            let _ = ending.wait_for(|ends| *ends).await;
        };
        let opened = || note(&format!("the tunnel to {name} is open"));
        match tunnel.serve(ends, opened).await {
            Err(TunnelFault::Refused(status @ (400 | 401 | 403 | 404), said)) => {
                return Some(format!("{name} answered {status}: {said}"));
            }
            Err(fault) => note(&format!("{name}: {fault}")),
            Ok(()) => {}
        }
        tokio::select! {
            () = sleep(ASK) => {}
            _ = end.wait_for(|ends| *ends) => {}
        }
        if *end.borrow() {
            return None;
        }
    }
}
