//! In: a URL, ledger rows, keys, queries. Out: what the PostgreSQL database answers.
//! Here: connecting, migrations, a connection for the ledger and a few for the rest.
//! Not here: anything that is the same for other databases (`shared`, `columns`, `tally`).

mod address;
mod bulk;
mod engine;
mod failure;
mod schema;

#[path = "../shared/dump.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod dump;
#[path = "../shared/find.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod find;
#[path = "../shared/implement.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod implement;
#[path = "../shared/keys.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod keys;
#[path = "../shared/leases.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod leases;
#[path = "../shared/meta.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod meta;
#[path = "../shared/notices.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod notices;
#[path = "../shared/people/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod people;
#[path = "../shared/prune.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod prune;
#[path = "../shared/responses.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod responses;
#[path = "../shared/rows.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod rows;
#[path = "../shared/sessions.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod sessions;
#[path = "../shared/sums.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod sums;
#[path = "../shared/turns.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod turns;
#[path = "../shared/usage.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod usage;
#[path = "../shared/work.rs"]
#[expect(clippy::duplicate_mod, reason = "compiled once for each database")]
mod work;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ostia_core::StoreError;
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Mutex;

use crate::copy::Side;
use address::Address;
use dump::Dump;
pub(crate) use schema::{migrate, schema};
use work::Work;

/// How long an operation waits for a connection, even if it has to be opened.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of one process, besides the ledger's.
const CONNECTIONS: u32 = 6;
const REPORTS: u32 = 2;
/// The longest statement of a sign-in, or of something as small.
const STATEMENT: Duration = Duration::from_secs(30);
/// What the trigger on `api_keys` notifies.
const CHANNEL: &str = "ostia";
const RECONNECT: Duration = Duration::from_secs(1);
/// Closes idle connections before a load balancer or a firewall forgets them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// A store in a PostgreSQL database. It connects at the first query, so that a gateway starts without the database.
pub(crate) struct Handle {
    /// For ledger rows only, so that nothing else waits behind a batch of them.
    ledger: PgPool,
    others: PgPool,
    reports: PgPool,
    listening: PgPool,
    listener: Mutex<Option<PgListener>>,
    keeps_statements: bool,
    /// Whether the schema was checked and fits.
    fits: AtomicBool,
}

impl Handle {
    /// Does not connect yet.
    ///
    /// # Errors
    ///
    /// `Broken` for a URL that cannot be parsed. The message shows nothing of it.
    pub(crate) fn open(url: &str) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        let pool = |connections| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(IDLE_TIMEOUT)
                .connect_lazy_with(address.options.clone())
        };
        Ok(Self {
            ledger: pool(1),
            others: pool(CONNECTIONS),
            reports: pool(REPORTS),
            listening: pool(1),
            listener: Mutex::new(None),
            keeps_statements: address.keeps_statements,
            fits: AtomicBool::new(false),
        })
    }

    async fn read(&self) -> Result<Work, StoreError> {
        let begun = self.begin(&self.others, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        Ok(begun.await?.within(STATEMENT))
    }

    /// For reports and exports, which may take long and must not delay sign-in.
    async fn read_much(&self) -> Result<Work, StoreError> {
        self.begin(&self.reports, "BEGIN ISOLATION LEVEL REPEATABLE READ")
            .await
    }

    async fn write(&self) -> Result<Work, StoreError> {
        let begun = self.begin(&self.others, "BEGIN").await?;
        Ok(begun.within(STATEMENT))
    }

    async fn write_rows(&self) -> Result<Work, StoreError> {
        self.begin(&self.ledger, "BEGIN").await
    }

    /// The database as it is now, to copy from.
    pub(crate) async fn source(&self) -> Result<Box<dyn Side>, StoreError> {
        Ok(Box::new(Dump(self.read_much().await?)))
    }

    /// The database to copy to.
    pub(crate) async fn target(&self) -> Result<Box<dyn Side>, StoreError> {
        Ok(Box::new(Dump(self.write_rows().await?)))
    }

    /// Rebuilds the roll-up with the days and months of a time zone.
    pub(crate) async fn rebuild(&self, zone: &str) -> Result<(), StoreError> {
        sums::rebuild(self.write_rows().await?, zone).await
    }

    /// Closes the connections. What was committed is safe.
    pub(crate) async fn close(&self) {
        self.ledger.close().await;
        self.others.close().await;
        self.reports.close().await;
    }

    /// Waits for a notification from the trigger on `api_keys`. pgbouncer in transaction mode does not forward any.
    async fn listen(&self) {
        if !self.keeps_statements {
            return std::future::pending().await;
        }
        let mut listener = self.listener.lock().await;
        if listener.is_none() {
            let connected = async {
                let mut listener = PgListener::connect_with(&self.listening).await?;
                listener.listen(CHANNEL).await?;
                Ok::<_, sqlx::Error>(listener)
            };
            match connected.await {
                Ok(connected) => *listener = Some(connected),
                Err(_) => return tokio::time::sleep(RECONNECT).await,
            }
            // Something may have changed while nobody listened.
            return;
        }
        if let Some(listening) = &mut *listener
            && listening.recv().await.is_err()
        {
            *listener = None;
        }
    }

    /// There is no file to check.
    async fn look_at_the_file(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn begin(&self, pool: &PgPool, begin: &'static str) -> Result<Work, StoreError> {
        let mut work = Work::begin(pool, self.keeps_statements, begin).await?;
        if self.fits.load(Ordering::Relaxed) {
            return Ok(work);
        }
        match schema::found(work.connection()).await {
            Ok(found) => {
                found.require(schema::latest())?;
                self.fits.store(true, Ordering::Relaxed);
                Ok(work)
            }
            Err(error) => work.end(Err(error)).await,
        }
    }
}

#[cfg(test)]
mod tests;
