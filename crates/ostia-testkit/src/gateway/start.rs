use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ostia::account::Disk;
use ostia::admit::LocalLimiter;
use ostia::boot::{Builder, Parts, Running, Sockets};
use ostia::config::Sources;
use ostia::fleet::Fleet;
use ostia::gateway::{Gateway, ReloadRefused, Reloaded};
use ostia::identify::hash_key;
use ostia::live::Files;
use ostia_core::{BoxFuture, Clock, NewApiKey, Store, SystemClock};

use super::{Log, Site, Subject, TestGateway, USER};

/// The whole gateway within the test's process.
struct InProcess {
    running: Running,
    limiter: Arc<LocalLimiter>,
    log: Log,
}

impl TestGateway {
    /// Starts a gateway from what `site` says, and makes its client's key.
    pub async fn start(site: Site) -> Self {
        Self::start_at(site, Arc::new(SystemClock)).await
    }

    /// The same with adapters that are written in Rust.
    pub async fn start_with(site: Site, builder: Builder) -> Self {
        Self::start_all(site, Arc::new(SystemClock), builder, None).await
    }

    /// The same with a clock that the test moves.
    pub async fn start_at(site: Site, clock: Arc<dyn Clock>) -> Self {
        Self::start_all(site, clock, Gateway::builder(), None).await
    }

    /// The same with a disk for the journal that the test lets hang.
    pub async fn start_on(site: Site, clock: Arc<dyn Clock>, disk: Arc<dyn Disk>) -> Self {
        Self::start_all(site, clock, Gateway::builder(), Some(disk)).await
    }

    async fn start_all(
        site: Site,
        clock: Arc<dyn Clock>,
        builder: Builder,
        disk: Option<Arc<dyn Disk>>,
    ) -> Self {
        let log = Log::capture();
        let store = site.prepare(&*clock).await;
        let fleet = Arc::new(Fleet::new(Arc::clone(&clock)));
        let loaded = builder.load(&sources(&site), &fleet);
        assert!(!loaded.fatal(site.is_strict()), "{:#?}", loaded.problems);
        let files = {
            let (builder, sources) = (builder.clone(), sources(&site));
            let read = move |fleet: &Fleet| builder.load(&sources, fleet);
            Files::new(&loaded, site.is_strict(), Box::new(read))
        };
        let limiter = Arc::new(LocalLimiter::new(Arc::clone(&clock)));
        let parts = Parts {
            settings: loaded.settings.expect("sound settings"),
            catalog: loaded.catalog,
            fleet,
            store,
            clock,
            limiter: Some(Arc::clone(&limiter) as _),
            disk,
            files: Some(files),
            sockets: Sockets::Bind,
        };
        let running = Running::start_with(parts, builder.registry().clone())
            .await
            .unwrap();
        let subject = InProcess {
            running,
            limiter,
            log,
        };
        Self::around(site, subject)
    }
}

impl Subject for InProcess {
    fn address(&self) -> SocketAddr {
        self.running.address().expect("a TCP listener")
    }

    fn admin_address(&self) -> SocketAddr {
        self.running.admin_address().expect("a TCP listener")
    }

    fn held(&self) -> Vec<String> {
        let gateway = self.running.gateway();
        let states = gateway.fleet().all();
        let in_flight = states.iter().map(|state| u64::from(state.in_flight()));
        let counts = [
            (self.limiter.in_flight(), "of the limiter's slots"),
            (in_flight.sum(), "places on endpoints"),
            (gateway.admitter().waiting() as u64, "waiters"),
        ];
        let held = counts.iter().filter(|(count, _)| *count != 0);
        held.map(|(count, what)| format!("{count} {what}"))
            .collect()
    }

    fn gateway(&self) -> Option<&Arc<Gateway>> {
        Some(self.running.gateway())
    }

    fn reload(&self) -> Option<Result<Reloaded, ReloadRefused>> {
        Some(self.running.gateway().reload(false))
    }

    fn log(&self) -> Vec<u8> {
        self.log.bytes()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.running
                .shut_down(Duration::ZERO, std::future::pending())
                .await;
        })
    }
}

/// The site's variables only: those of the test's own process must have no effect.
fn sources(site: &Site) -> Sources {
    let variables = site.variables().clone();
    Sources {
        config: Some(site.config_path()),
        environment: variables.into_iter().collect(),
        ..Sources::default()
    }
}

impl Site {
    /// Writes the files, makes the database, and in it the client's key.
    pub async fn prepare(&self, clock: &dyn Clock) -> Arc<dyn Store> {
        self.write();
        ostia_store::migrate(&self.database_url(), "UTC")
            .await
            .unwrap();
        let store = self.store().await;
        if self.is_replica() {
            return store;
        }
        let key = NewApiKey {
            id: "key-of-tester".to_owned(),
            hash: hash_key(&self.secrets.client_bearer()),
            username: USER.to_owned(),
            label: "tests".to_owned(),
            created_at: clock.unix_micros(),
            ..NewApiKey::default()
        };
        // A site that is started again has it.
        if store.key_by_hash(&key.hash).await.unwrap().is_none() {
            store.create_key(&key).await.unwrap();
        }
        store
    }

    /// Its database, beside a running gateway too.
    pub async fn store(&self) -> Arc<dyn Store> {
        ostia_store::open(&self.database_url()).await.unwrap()
    }
}
