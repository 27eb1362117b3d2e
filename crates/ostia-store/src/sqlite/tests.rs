use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ostia_core::{Store, StoreError};
use sqlx::Row;
use tempfile::TempDir;

use super::SqliteStore;
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
async fn the_ledger_has_the_contract_s_columns() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(&path(&folder)).await.unwrap();
    let mut first = row("ann", NOON, 10);
    first.ttft_ms = None;
    store.insert_rows(&[first.clone()]).await.unwrap();

    let found = sqlx::query("SELECT * FROM ledger")
        .fetch_one(&store.readers)
        .await
        .unwrap();
    let names: Vec<_> = sqlx::Row::columns(&found)
        .iter()
        .map(sqlx::Column::name)
        .collect();
    assert_eq!(
        names.join(", "),
        "request_id, client_request_id, started_at, finished_at, user_id, username, auth_service, idp, domain, \
         group_id, key_id, project, cluster, framework, model, endpoint_slug, api, stream, http_status, outcome, phase, \
         error_code, prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, usage_source, \
         ttft_ms, duration_ms, queue_ms, request_bytes, response_bytes, upstream_status, attempts, origin_ip, count"
    );
    let text = |name: &str| found.get::<String, _>(name);
    let number = |name: &str| found.get::<Option<i64>, _>(name);
    assert_eq!(text("request_id"), first.request_id.to_string());
    assert_eq!(number("started_at"), Some(NOON));
    assert_eq!(number("finished_at"), Some(NOON + 1_500_000));
    assert_eq!(
        (text("outcome"), text("phase")),
        ("ok".into(), "done".into())
    );
    assert_eq!(
        (text("api"), text("model")),
        ("chat/completions".into(), "m".into())
    );
    assert_eq!(
        (text("usage_source"), text("origin_ip")),
        ("upstream".into(), "192.0.2.7".into())
    );
    assert_eq!(number("stream"), Some(1));
    assert_eq!(number("ttft_ms"), None);
    assert_eq!(
        (number("http_status"), number("upstream_status")),
        (Some(200), Some(200))
    );
    assert_eq!(
        (number("prompt_tokens"), number("total_tokens")),
        (Some(10), Some(30))
    );
    assert_eq!(
        (number("request_bytes"), number("response_bytes")),
        (Some(300), Some(4_000))
    );
    assert_eq!((number("attempts"), number("count")), (Some(1), Some(1)));
}

#[tokio::test]
async fn users_are_as_they_were_seen_last() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(&path(&folder)).await.unwrap();
    let mut renamed = row("ann", NOON + 5, 1);
    renamed.username = "ann@new.org".into();
    store
        .insert_rows(&[renamed, row("ann", NOON, 1)])
        .await
        .unwrap();
    // A journal that is replayed late must not bring the old name back.
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
    let store = SqliteStore::open(&path(&folder)).await.unwrap();
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
    let error = SqliteStore::open(missing.to_str().unwrap())
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&error, StoreError::Broken(text) if text.contains("nowhere does not exist")),
        "{error}"
    );

    std::fs::write(path(&folder), "x".repeat(8_192)).unwrap();
    let error = SqliteStore::open(&path(&folder)).await.err().unwrap();
    assert!(
        matches!(&error, StoreError::Broken(text) if text.contains("not a database")),
        "{error}"
    );

    for odd in ["", ":memory:", "a.db?mode=ro"] {
        assert!(
            matches!(SqliteStore::open(odd).await, Err(StoreError::Broken(_))),
            "{odd}"
        );
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(&path(&folder)).await.unwrap();
    store.insert_rows(&[row("ann", NOON, 1)]).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9001, 'later', 1, x'00', 0)")
        .execute(&mut *store.keys.lend().await.unwrap())
        .await
        .unwrap();
    let error = SqliteStore::open(&path(&folder))
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
            SqliteStore::open(&path),
            SqliteStore::open(&path),
            SqliteStore::open(&path),
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
    let store = SqliteStore::open(&path(&folder)).await.unwrap();
    sqlx::query("CREATE TRIGGER full BEFORE INSERT ON usage_by_day BEGIN SELECT RAISE(ABORT, 'no room'); END")
        .execute(&mut *store.keys.lend().await.unwrap())
        .await
        .unwrap();
    let rows = [row("ann", NOON, 1)];
    assert!(store.insert_rows(&rows).await.is_err());
    sqlx::query("DROP TRIGGER full")
        .execute(&mut *store.keys.lend().await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        store.insert_rows(&rows).await.unwrap(),
        1,
        "the first attempt was undone"
    );
}

/// What SQLite answers where a file system became read-only, and to every later write of a connection from then.
#[tokio::test]
async fn a_connection_that_turned_read_only_is_replaced() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(&path(&folder)).await.unwrap();
    store.insert_rows(&[row("ann", NOON, 1)]).await.unwrap();
    for writer in [&store.ledger, &store.keys] {
        let mut connection = writer.lend().await.unwrap();
        let pragma = sqlx::query("PRAGMA query_only = ON");
        pragma.execute(&mut *connection).await.unwrap();
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

/// A batch of rows that the disk takes its time over must hold up neither sign-in nor changes of keys.
#[tokio::test]
async fn nothing_waits_for_the_connection_that_writes_rows() {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(&path(&folder)).await.unwrap();
    let _busy = store.ledger.lend().await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(store.key_by_hash(&[7; 32]).await.unwrap(), None);
    assert!(!store.revoke_key("nobody", NOON).await.unwrap());
}
