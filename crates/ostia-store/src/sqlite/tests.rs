use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ostia_core::{Column, Kind, LedgerRow, RequestId, Store, StoreError, Value};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};
use tempfile::TempDir;

use super::{Handle, create_file};
use crate::migrations::SQLITE;
use crate::story::{self, NOON, row};

fn path(folder: &TempDir) -> String {
    folder.path().join("ostia.db").to_str().unwrap().to_owned()
}

#[tokio::test]
async fn sqlite_lives_the_story() {
    let folder = TempDir::new().unwrap();
    let store = crate::open(&format!("sqlite://{}", path(&folder)))
        .await
        .unwrap();
    story::run(&*store).await;
}

#[tokio::test]
async fn sqlite_forgets_what_is_old() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    story::old_rows_are_pruned(&store).await;
}

#[tokio::test]
async fn sqlite_keeps_the_sums_of_a_cut_month() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    let note = async |day: i64| {
        let sql = sqlx::query("INSERT INTO usage_stale (day) VALUES ($1)").bind(day);
        let mut connection = store.keys.acquire().await.unwrap();
        sql.execute(&mut *connection).await.unwrap();
    };
    story::sums::a_cut_month_keeps_what_was_summed(&store, note).await;
}

#[tokio::test]
async fn sqlite_makes_stale_days_anew() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    let forget = async |days: &[i64]| {
        let mut connection = store.keys.acquire().await.unwrap();
        for sql in story::forget_blocks(days) {
            let sql = sqlx::query(sqlx::AssertSqlSafe(sql));
            sql.execute(&mut *connection).await.unwrap();
        }
    };
    story::sums::stale_days_are_reported_and_made_anew(&store, forget).await;
}

/// A table after all migrations: each column's name with its type and whether it must have a value.
async fn schema(store: &Handle, table: &str) -> BTreeMap<String, (String, bool)> {
    let columns: Vec<(String, String, bool)> =
        sqlx::query_as("SELECT name, type, \"notnull\" FROM pragma_table_info(?)")
            .bind(table)
            .fetch_all(&store.readers)
            .await
            .unwrap();
    let columns = columns.into_iter();
    columns
        .map(|(name, kind, needed)| (name, (kind, needed)))
        .collect()
}

/// The ledger has each column of the table in `ostia_core`, and no other.
#[tokio::test]
async fn the_schema_has_the_ledger_s_columns() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    let expected = Column::LEDGER.iter().map(|column| {
        let (kind, needed) = match column.kind {
            Kind::Id | Kind::Text | Kind::Word(_) => ("TEXT", true),
            Kind::Stamp | Kind::Flag | Kind::Number => ("INTEGER", true),
            Kind::MaybeNumber => ("INTEGER", false),
        };
        (column.name.to_owned(), (kind.to_owned(), needed))
    });
    assert_eq!(schema(&store, "ledger").await, expected.collect());
}

/// As an older ostia left it. What it wrote has the value of an empty row there.
#[tokio::test]
async fn columns_that_the_ledger_lacks_are_added() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    let whole = schema(&store, "ledger").await;
    assert_eq!(store.insert_rows(&[story::full_row()]).await.unwrap(), 1);
    let lost = [
        "class",
        "ttft_ms",
        "stream",
        "attempts",
        "client_request_id",
    ];
    let mut connection = store.keys.acquire().await.unwrap();
    for column in lost {
        let sql = format!("ALTER TABLE ledger DROP COLUMN {column}");
        let sql = sqlx::query(sqlx::AssertSqlSafe(sql));
        sql.execute(&mut *connection).await.unwrap();
    }
    drop((connection, store));
    let store = Handle::open(&path(&folder)).await.unwrap();
    assert_eq!(schema(&store, "ledger").await, whole);
    let row = LedgerRow {
        request_id: RequestId::at(NOON),
        ..LedgerRow::default()
    };
    assert_eq!(store.insert_rows(&[row]).await.unwrap(), 1);
    let said = "SELECT class, ttft_ms, stream, attempts, client_request_id FROM ledger";
    let rows = sqlx::query(said).fetch_all(&store.readers).await.unwrap();
    for row in &rows {
        assert_eq!(row.get::<String, _>("class"), "interactive");
        assert_eq!(row.get::<Option<i64>, _>("ttft_ms"), None);
        assert!(!row.get::<bool, _>("stream"));
        assert_eq!(row.get::<i64, _>("attempts"), 0);
        assert_eq!(row.get::<String, _>("client_request_id"), "");
    }
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn each_value_is_in_its_column() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    let full = story::full_row();
    let bare = LedgerRow {
        request_id: RequestId::at(NOON),
        ..LedgerRow::default()
    };
    let rows = [full, bare];
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 2);
    for row in &rows {
        let found = sqlx::query("SELECT * FROM ledger WHERE request_id = ?")
            .bind(row.request_id.to_string())
            .fetch_one(&store.readers)
            .await
            .unwrap();
        for (column, value) in Column::LEDGER.iter().zip(row.values()) {
            let name = column.name;
            let (text, number) = match value {
                Value::Id(id) => (Some(id.to_string()), None),
                Value::Text(text) | Value::Word { text, .. } => (Some(text.to_owned()), None),
                Value::Stamp(micros) => (None, Some(micros)),
                Value::Flag(flag) => (None, Some(flag.into())),
                Value::Number(number) => (None, Some(number.cast_signed())),
                Value::Absent => (None, None),
            };
            match text {
                Some(text) => assert_eq!(found.get::<String, _>(name), text, "{name}"),
                None => assert_eq!(found.get::<Option<i64>, _>(name), number, "{name}"),
            }
        }
    }
}

/// Keys made before keys had projects.
#[tokio::test]
async fn a_database_of_the_first_schema_is_carried_over() {
    let folder = TempDir::new().unwrap();
    create_file(&path(&folder)).unwrap();
    let options = SqliteConnectOptions::new().filename(path(&folder));
    let mut connection = options.connect().await.unwrap();
    let first = SQLITE.iter().next().unwrap();
    let mut only_first = Migrator::DEFAULT;
    only_first.migrations = vec![first.clone()].into();
    only_first
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    sqlx::query("INSERT INTO api_keys (id, hash, username, groups, label, admin, created_at) VALUES ('a', x'00', 'ann@lab.org', '[]', '', 0, 1)")
        .execute(&mut connection)
        .await
        .unwrap();
    insert_rejected(&mut connection, 3).await;
    connection.close().await.unwrap();

    let store = Handle::open(&path(&folder)).await.unwrap();
    let keys = store.list_keys().await.unwrap();
    assert_eq!((&*keys[0].id, &*keys[0].project), ("a", ""));
    // The migration fills every level of the roll-up from the ledger.
    for by in [
        &[][..],
        &["model"],
        &["user"],
        &["user", "model"],
        &["model", "hour"],
        &["user", "day"],
    ] {
        let query = ostia_core::UsageQuery {
            by: by.iter().map(|&name| name.to_owned()).collect(),
            ..Default::default()
        };
        let usage = store.usage(&query).await.unwrap();
        assert_eq!(usage.len(), 1, "{by:?}");
        assert_eq!((usage[0].requests, usage[0].refused), (3, 3), "{by:?}");
    }
    let more = [row("ann", NOON, 1)];
    assert_eq!(store.insert_rows(&more).await.unwrap(), 1);
    let query = ostia_core::UsageQuery {
        by: vec!["month".into()],
        ..Default::default()
    };
    let usage = store.usage(&query).await.unwrap();
    assert_eq!((usage.len(), usage[0].requests), (1, 4));
}

/// A refusal with this `count` in the ledger, in the first schema.
async fn insert_rejected(connection: &mut sqlx::SqliteConnection, count: i64) {
    let present: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info('ledger')")
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let columns = Column::LEDGER.iter().filter(|column| {
        let bound = ["count", "started_at", "username", "model", "outcome"];
        !bound.contains(&column.name) && present.iter().any(|name| name == column.name)
    });
    let (names, values): (Vec<_>, Vec<_>) = columns
        .map(|column| match column.kind {
            Kind::Id | Kind::Text | Kind::Word(_) => (column.name, "''"),
            Kind::Stamp | Kind::Flag | Kind::Number | Kind::MaybeNumber => (column.name, "0"),
        })
        .unzip();
    let sql = format!(
        "INSERT INTO ledger (count, started_at, username, model, outcome, {}) VALUES (?, ?, 'ann@lab.org', 'm', 'rejected', {})",
        names.join(", "),
        values.join(", ")
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(count)
        .bind(NOON)
        .execute(connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn users_are_as_they_were_seen_last() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    let mut renamed = row("ann", NOON + 5, 1);
    renamed.username = "ann@new.org".into();
    store
        .insert_rows(&[renamed, row("ann", NOON, 1)])
        .await
        .unwrap();
    // A journal that is replayed late must not restore the old name.
    store
        .insert_rows(&[row("ann", NOON - 5, 1), row("", NOON, 1)])
        .await
        .unwrap();

    let users: Vec<(String, String, String, String, i64)> =
        sqlx::query_as("SELECT id, username, name, idp, last_seen FROM users")
            .fetch_all(&store.readers)
            .await
            .unwrap();
    let expected = ("ann", "ann@new.org", "Some One", "lab.org", NOON + 5);
    let expected = (
        expected.0.to_owned(),
        expected.1.to_owned(),
        expected.2.to_owned(),
        expected.3.to_owned(),
        expected.4,
    );
    assert_eq!(users, [expected]);
}

#[tokio::test]
async fn only_the_owner_reads_the_file() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    store.insert_rows(&[row("ann", NOON, 1)]).await.unwrap();
    for end in ["", "-wal", "-shm"] {
        let file = path(&folder) + end;
        let mode = Path::new(&file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_missing_folder_and_a_foreign_file_are_named() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("nowhere/ostia.db");
    let error = Handle::open(missing.to_str().unwrap()).await.err().unwrap();
    assert!(
        matches!(&error, StoreError::Broken(text) if text.contains("nowhere does not exist")),
        "{error}"
    );

    std::fs::write(path(&folder), "x".repeat(8_192)).unwrap();
    let error = Handle::open(&path(&folder)).await.err().unwrap();
    assert!(
        matches!(&error, StoreError::Broken(text) if text.contains("not a database")),
        "{error}"
    );

    for odd in ["", ":memory:", "a.db?mode=ro"] {
        assert!(
            matches!(Handle::open(odd).await, Err(StoreError::Broken(_))),
            "{odd}"
        );
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    store.insert_rows(&[row("ann", NOON, 1)]).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9001, 'later', 1, x'00', 0)")
        .execute(&store.keys)
        .await
        .unwrap();
    let error = Handle::open(&path(&folder))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("schema 9001") && error.contains("newer ostia"),
        "{error}"
    );
    assert_eq!(store.insert_rows(&[row("ann", NOON, 1)]).await.unwrap(), 1);
}

#[tokio::test]
async fn several_may_open_a_new_file_at_once() {
    for _ in 0..20 {
        let folder = TempDir::new().unwrap();
        let path = path(&folder);
        let opened = tokio::join!(
            Handle::open(&path),
            Handle::open(&path),
            Handle::open(&path),
        );
        let stores = [opened.0.unwrap(), opened.1.unwrap(), opened.2.unwrap()];
        let rows = [row("ann", NOON, 1)];
        for (store, new) in stores.iter().zip([1, 0, 0]) {
            assert_eq!(store.insert_rows(&rows).await.unwrap(), new);
        }
    }
}

#[tokio::test]
async fn a_failed_transaction_leaves_nothing_and_the_store_usable() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    sqlx::query(
        "CREATE TRIGGER full BEFORE INSERT ON usage_blocks BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    .execute(&store.keys)
    .await
    .unwrap();
    let rows = [row("ann", NOON, 1)];
    assert!(store.insert_rows(&rows).await.is_err());
    sqlx::query("DROP TRIGGER full")
        .execute(&store.keys)
        .await
        .unwrap();
    assert_eq!(
        store.insert_rows(&rows).await.unwrap(),
        1,
        "the first attempt was undone"
    );
}

/// SQLite's errors when a file system becomes read-only. A connection opened meanwhile keeps failing to write.
#[tokio::test]
async fn a_connection_that_turned_read_only_is_replaced() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    store.insert_rows(&[row("ann", NOON, 1)]).await.unwrap();
    for writer in [&store.ledger, &store.keys] {
        let pragma = sqlx::query("PRAGMA query_only = ON");
        pragma.execute(writer).await.unwrap();
    }
    let rows = [row("bob", NOON, 1)];
    let error = store.insert_rows(&rows).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(text) if text.contains("readonly")),
        "{error}"
    );
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 1);
    let used = [("key".into(), NOON)];
    store.touch_keys(&used).await.unwrap_err();
    store.touch_keys(&used).await.unwrap();
}

/// If the file is removed or replaced while the process runs, no rows are lost.
#[tokio::test]
async fn a_file_that_was_removed_or_replaced_is_seen() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    store.insert_rows(&[row("ann", NOON, 1)]).await.unwrap();
    for end in ["", "-wal", "-shm"] {
        std::fs::rename(path(&folder) + end, path(&folder) + ".away" + end).unwrap();
    }
    let rows = [row("bob", NOON, 1)];
    for error in [
        store.insert_rows(&rows).await.unwrap_err(),
        store.ping().await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, StoreError::Unavailable(text) if text.contains("was removed")),
            "{error}"
        );
    }
    // An empty file in its place gets the tables, and all later rows.
    std::fs::write(path(&folder), "").unwrap();
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 1);
    assert_eq!(store.list_keys().await.unwrap(), []);
    let count = "SELECT count(*) FROM ledger";
    let count: i64 = sqlx::query_scalar(count)
        .fetch_one(&store.readers)
        .await
        .unwrap();
    assert_eq!(count, 1);
}

/// A process that waits for the write lock learns which process holds it.
#[tokio::test]
async fn the_holder_of_the_lock_is_named() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    assert_eq!(super::holder(&path(&folder)), None);
    let work = store.write().await.unwrap();
    let holder = super::holder(&path(&folder)).unwrap();
    assert!(
        holder.starts_with(&format!("held by process {} (", std::process::id())),
        "{holder}"
    );
    work.undo().await.unwrap();
    assert_eq!(super::holder(&path(&folder)), None);
}

/// A batch of rows that the disk is slow to write must delay neither sign-in nor changes of keys.
#[tokio::test]
async fn nothing_waits_for_the_connection_that_writes_rows() {
    let folder = TempDir::new().unwrap();
    let store = Handle::open(&path(&folder)).await.unwrap();
    let _busy = store.ledger.acquire().await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(store.key_by_hash(&[7; 32]).await.unwrap(), None);
    assert_eq!(store.people().version().await.unwrap(), 1);
}
