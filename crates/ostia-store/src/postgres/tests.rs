use std::collections::BTreeMap;

use ostia_core::{Column, Kind, LedgerRow, RequestId, Store, StoreError};
use sqlx::{ConnectOptions as _, Connection as _};

use super::Handle;
use super::address::Address;
use super::schema::{found, latest};
use crate::release::RELEASE;
use crate::story::{self, NOON, row};
use crate::testing::{Bouncer, Server};

async fn store(url: &str) -> Handle {
    super::migrate(url).await.unwrap();
    Handle::open(url).unwrap()
}

async fn connect(url: &str) -> sqlx::PgConnection {
    let address = Address::parse(url).unwrap();
    address.options.connect().await.unwrap()
}

async fn run(url: &str, sql: &'static str) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn postgres_lives_the_story() {
    let url = Server::database().await;
    story::run(&store(&url).await).await;
}

#[tokio::test]
async fn postgres_forgets_what_is_old() {
    let url = Server::database().await;
    story::old_rows_are_pruned(&store(&url).await).await;
}

#[tokio::test]
async fn postgres_keeps_the_sums_of_a_cut_month() {
    let url = Server::database().await;
    let store = store(&url).await;
    let note = async |day: i64| {
        let sql = sqlx::query("INSERT INTO usage_stale (day) VALUES ($1)").bind(day);
        sql.execute(&mut connect(&url).await).await.unwrap();
    };
    story::sums::a_cut_month_keeps_what_was_summed(&store, note).await;
}

#[tokio::test]
async fn postgres_makes_stale_days_anew() {
    let url = Server::database().await;
    let store = store(&url).await;
    let forget = async |days: &[i64]| {
        let mut connection = connect(&url).await;
        for sql in story::forget_blocks(days) {
            let sql = sqlx::query(sqlx::AssertSqlSafe(sql));
            sql.execute(&mut connection).await.unwrap();
        }
    };
    story::sums::stale_days_are_reported_and_made_anew(&store, forget).await;
}

/// As behind pgbouncer in transaction mode: no statement outlives its transaction.
#[tokio::test]
async fn postgres_lives_the_story_without_kept_statements() {
    let url = Server::database().await + "?statement-cache-capacity=0";
    let store = store(&url).await;
    story::run(&store).await;
    let mut work = store.read().await.unwrap();
    let kept = work
        .all(sqlx::query("SELECT name FROM pg_prepared_statements"))
        .await
        .unwrap();
    assert_eq!(kept.len(), 0);
}

#[tokio::test]
async fn postgres_lives_the_story_over_its_socket() {
    let server = Server::shared();
    let url = Server::database().await;
    let (_, name) = url.rsplit_once('/').unwrap();
    story::run(&store(&server.socket_url(name)).await).await;
}

/// Many clients share two connections to the server, and each transaction may use the other one. Migrations use them
/// too.
#[tokio::test]
async fn postgres_lives_the_story_behind_pgbouncer() {
    let url = Server::database().await;
    let (_, name) = url.rsplit_once('/').unwrap();
    let bouncer = Bouncer::before(Server::shared()).await;
    let url = bouncer.url(name) + "?statement-cache-capacity=0";
    story::run(&store(&url).await).await;
    let stores = [store(&url).await, store(&url).await];
    let rows: Vec<_> = (0..600_i64)
        .map(|n| row("eve", NOON + 400 * 86_400_000_000 + n, 1))
        .collect();
    let (first, second) = tokio::join!(bring(&stores[0], &rows), bring(&stores[1], &rows));
    assert_eq!(first + second, 600);
}

/// If the server accepts only TLS, the connection is encrypted, and only to a server that its certificate names.
#[tokio::test]
async fn postgres_is_spoken_to_over_tls() {
    let server = Server::start();
    let (authority, stranger) = (server.demand_tls(), tempfile::tempdir().unwrap());
    let stranger = stranger.path().join("ca.pem");
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&stranger, other.cert.pem()).unwrap();
    let url = server.url("postgres");
    let with = |mode: &str, root: &std::path::Path| {
        format!("{url}?sslmode={mode}&sslrootcert={}", root.display())
    };
    let store = store(&with("verify-full", &authority)).await;
    story::run(&store).await;
    let mut work = store.read().await.unwrap();
    let ours = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let ours = work.one(sqlx::query(ours)).await.unwrap().unwrap();
    assert!(sqlx::Row::get::<bool, _>(&ours, 0));
    for refused in [
        with("disable", &authority),
        with("verify-full", &stranger),
        with("verify-full", &authority).replace("127.0.0.1", "localhost"),
    ] {
        let error = Handle::open(&refused).unwrap().ping().await.unwrap_err();
        assert!(!error.to_string().contains("ostia@"), "{error}");
    }
}

/// The ledger has each column of the table in `ostia_core`, and no other.
#[tokio::test]
async fn the_schema_has_the_ledger_s_columns() {
    let url = Server::database().await;
    let store = store(&url).await;
    let mut work = store.read().await.unwrap();
    let select = "SELECT column_name::text, data_type::text, is_nullable = 'NO' FROM information_schema.columns
        WHERE table_name = 'ledger' AND table_schema = current_schema()";
    let columns: Vec<(String, String, bool)> = sqlx::query_as(select)
        .fetch_all(work.connection())
        .await
        .unwrap();
    let columns: BTreeMap<_, _> = columns
        .into_iter()
        .map(|(name, kind, needed)| (name, (kind, needed)))
        .collect();
    let expected = Column::LEDGER.iter().map(|column| {
        let kind = match column.kind {
            Kind::Id => "uuid",
            Kind::Text | Kind::Word(_) => "text",
            Kind::Stamp => "timestamp with time zone",
            Kind::Flag => "boolean",
            Kind::Number | Kind::MaybeNumber => "bigint",
        };
        let needed = !matches!(column.kind, Kind::MaybeNumber);
        (column.name.to_owned(), (kind.to_owned(), needed))
    });
    assert_eq!(columns, expected.collect());
}

#[tokio::test]
async fn each_value_is_in_its_column() {
    let url = Server::database().await;
    let store = store(&url).await;
    let full = story::full_row();
    let bare = LedgerRow {
        request_id: RequestId::at(NOON),
        ..LedgerRow::default()
    };
    let rows = [full, bare];
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 2);
    let mut work = store.read().await.unwrap();
    let found = work
        .all(sqlx::query("SELECT * FROM ledger ORDER BY model DESC"))
        .await
        .unwrap();
    for (row, found) in rows.iter().zip(&found) {
        let mut expected = row.clone();
        expected.name = "".into();
        assert_eq!(super::rows::ledger_row(found).unwrap(), expected);
    }
}

#[tokio::test]
async fn only_the_command_migrates() {
    let url = Server::database().await;
    let store = Handle::open(&url).unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Broken(text) if text.contains("ostia db migrate")),
        "{error}"
    );
    // Several at once, and once more afterwards.
    let (one, two) = tokio::join!(super::migrate(&url), super::migrate(&url));
    one.and(two).unwrap();
    super::migrate(&url).await.unwrap();
    store.ping().await.unwrap();
}

/// A ledger of an older ostia is refused until the command has added what it lacks.
#[tokio::test]
async fn columns_that_the_ledger_lacks_are_added() {
    let url = Server::database().await;
    let first = store(&url).await.insert_rows(&[row("ann", NOON, 1)]).await;
    assert_eq!(first.unwrap(), 1);
    let lose = "ALTER TABLE ledger DROP COLUMN class, DROP COLUMN ttft_ms, DROP COLUMN stream, DROP COLUMN attempts";
    run(&url, lose).await;
    let error = Handle::open(&url).unwrap().ping().await.unwrap_err();
    assert!(
        error.to_string().contains("lacks 4 of the columns"),
        "{error}"
    );
    super::migrate(&url).await.unwrap();
    let store = Handle::open(&url).unwrap();
    let rows = [row("bob", NOON + 1, 1)];
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 1);
    let mut work = store.read().await.unwrap();
    let select = "SELECT * FROM ledger ORDER BY started_at";
    let found = work.all(sqlx::query(select)).await.unwrap();
    let old = super::rows::ledger_row(&found[0]).unwrap();
    assert_eq!(
        (old.class, old.ttft_ms, old.stream, old.attempts),
        (ostia_core::Class::Interactive, None, false, 0)
    );
    assert_eq!(old.user_id, "ann");
}

/// Replicas of release N see schema N + 1 while they are upgraded one by one.
#[tokio::test]
async fn the_next_release_s_schema_is_served_and_later_ones_are_refused() {
    const LATER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9001, 'later', true, '', 0); UPDATE meta SET value = value::bigint + 1 WHERE name = 'release'";
    let url = Server::database().await;
    drop(store(&url).await);
    run(&url, LATER).await;
    let next = Handle::open(&url).unwrap();
    assert_eq!(next.insert_rows(&[row("ann", NOON, 1)]).await.unwrap(), 1);
    super::migrate(&url).await.unwrap();
    run(
        &url,
        "UPDATE meta SET value = value::bigint + 1 WHERE name = 'release'",
    )
    .await;
    let mut connection = connect(&url).await;
    let schema = found(&mut connection).await.unwrap();
    assert_eq!((schema.version, schema.release), (9001, RELEASE + 2));
    for error in [
        Handle::open(&url).unwrap().ping().await.unwrap_err(),
        super::migrate(&url).await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("schema 9001") && text.contains("newer ostia"),
            "{text}"
        );
        assert!(text.contains(&format!("knows {}", latest())), "{text}");
    }
}

/// A migration that is interrupted leaves the old schema.
#[tokio::test]
async fn a_migration_that_fails_changes_nothing() {
    let url = Server::database().await;
    run(&url, "CREATE TABLE usage_sums (x bigint)").await;
    let error = super::migrate(&url).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    let mut connection = connect(&url).await;
    assert_eq!(found(&mut connection).await.unwrap().version, 0);
    run(&url, "DROP TABLE usage_sums").await;
    super::migrate(&url).await.unwrap();
}

#[tokio::test]
async fn changes_of_keys_are_told_to_all() {
    let url = Server::database().await;
    let (here, there) = (store(&url).await, store(&url).await);
    // Starts to listen; returns at once, because something may have changed before.
    there.keys_changed().await;
    let waiting = there.keys_changed();
    here.create_key(&story::new_key("k", 1)).await.unwrap();
    waiting.await;
    let revoke = ostia_core::Change::RevokeKey {
        id: "k".to_owned(),
        at: NOON,
    };
    here.people().change(&[revoke], &[]).await.unwrap();
    there.keys_changed().await;
    assert_eq!(there.key_changes(Some(0)).await.unwrap().changes.len(), 2);
}

/// Writes rows in batches as the carrier does, repeating those that failed. Returns how many were new.
async fn bring(store: &Handle, rows: &[LedgerRow<'_>]) -> u64 {
    let mut written = 0;
    for chunk in rows.chunks(50) {
        written += loop {
            match store.insert_rows(chunk).await {
                Ok(new) => break new,
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
    }
    written
}

/// Two replicas that write rows of the same users and days at once neither lose nor double any.
#[tokio::test]
async fn replicas_write_side_by_side() {
    let url = Server::database().await;
    let stores = [store(&url).await, store(&url).await];
    let rows: Vec<_> = (0..600)
        .map(|n| {
            row(
                ["ann", "bob", "cid"][n % 3],
                NOON + i64::try_from(n).unwrap(),
                1,
            )
        })
        .collect();
    let mut reversed = rows.clone();
    reversed.reverse();
    let (first, second) = tokio::join!(bring(&stores[0], &rows), bring(&stores[1], &reversed));
    assert_eq!(first + second, 600);
    for by in ["user", "model", "key"] {
        let query = ostia_core::UsageQuery {
            by: vec![by.into()],
            ..Default::default()
        };
        let sum: u64 = stores[0]
            .usage(&query)
            .await
            .unwrap()
            .iter()
            .map(|line| line.requests)
            .sum();
        assert_eq!(sum, 600, "{by}");
    }
}

/// A connection that the server closed is replaced, and the next attempt succeeds.
#[tokio::test]
async fn closed_connections_are_replaced() {
    let url = Server::database().await;
    let store = store(&url).await;
    assert_eq!(store.insert_rows(&[row("ann", NOON, 1)]).await.unwrap(), 1);
    run(
        &url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND datname = current_database()",
    )
    .await;
    let rows = [row("bob", NOON, 1)];
    let mut failed = 0;
    while let Err(error) = store.insert_rows(&rows).await {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        failed += 1;
        assert!(failed < 5);
    }
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_can_be_tried_again() {
    let store = Handle::open("postgres://ostia:hunter2@127.0.0.1:1/ostia").unwrap();
    for _ in 0..2 {
        let error = store.ping().await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
