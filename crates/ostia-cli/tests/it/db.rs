use std::borrow::Cow;

use ostia_core::{Clock as _, LedgerRow, Outcome, RequestId, SystemClock};
use ostia_store::testing::Server;
use serde_json::Value;

use super::site::Site;

/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000_000;

/// A site whose SQLite ledger has this many rows.
async fn site(rows: i64, from: i64) -> Site {
    let site = Site::new();
    let url = format!("sqlite://{}", site.path("ostia.db").display());
    let store = ostia_store::open(&url).await.unwrap();
    let rows: Vec<LedgerRow<'_>> = (0..rows)
        .map(|n| LedgerRow {
            request_id: RequestId::at(from + n),
            started_at: from + n,
            username: Cow::Borrowed("ann@lab.org"),
            model: Cow::Borrowed("m"),
            outcome: Outcome::Ok,
            origin_ip: Cow::Borrowed("192.0.2.7"),
            total_tokens: 3,
            count: 1,
            ..LedgerRow::default()
        })
        .collect();
    store.insert_rows(&rows).await.unwrap();
    site
}

fn usage(site: &Site) -> Value {
    site.json(&[
        "usage",
        "--since",
        "2026-11-01",
        "--by",
        "user,day",
        "--json",
    ])
}

#[tokio::test]
async fn a_backup_is_restored_into_an_empty_database() {
    let site = site(1_200, NOON).await;
    let before = usage(&site);
    assert_eq!(before[0]["requests"], 1_200);
    let status = site.run(&["db", "status"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stdout.contains("up to date"), "{status:?}");
    let backup = site.run(&["db", "backup", "b.db"]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    assert!(backup.stderr.contains("ledger: 1200 rows"), "{backup:?}");
    assert_eq!(site.run(&["db", "backup", "b.db"]).code, Some(64));
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(site.path(&format!("ostia.db{end}")));
    }
    let restored = site.run(&["db", "restore", "b.db"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(usage(&site), before);
    let again = site.run(&["db", "restore", "b.db"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("must be empty"), "{again:?}");
    assert_eq!(site.run(&["db", "restore", "nowhere.db"]).code, Some(64));
}

#[tokio::test]
async fn a_site_moves_to_postgres() {
    let site = site(700, NOON).await;
    let before = usage(&site);
    let url = Server::database().await.replace("ostia@", "ostia:hunter2@");
    site.write(
        "ostia.toml",
        &format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nstate_dir = \"state\"\n\
             [fixtures]\nclusters = \"clusters.json\"\nendpoints = \"endpoints.json\"\n[store]\nurl = \"{url}\"\n"
        ),
    );
    let status = site.run(&["db", "status"]);
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.stdout.contains("ostia db migrate"), "{status:?}");
    for words in [
        &["serve"][..],
        &["key", "create", "--user", "ann@lab.org"],
        &["usage"],
    ] {
        let refused = site.run(words);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("ostia db migrate"), "{refused:?}");
        assert!(!refused.stderr.contains("hunter2"), "{refused:?}");
    }
    assert_eq!(site.run(&["db", "migrate"]).code, Some(0));
    let file = format!("sqlite://{}", site.path("ostia.db").display());
    let copied = site.run(&["db", "copy", &file, &url]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert!(!copied.stderr.contains("hunter2"), "{copied:?}");
    assert_eq!(usage(&site), before);
    assert_eq!(site.run(&["db", "status"]).code, Some(0));
    let created = site.run(&["key", "create", "--user", "ann@lab.org"]);
    assert_eq!(created.code, Some(0), "{created:?}");
}

#[tokio::test]
async fn what_is_old_is_pruned() {
    let days = |days: i64| SystemClock.unix_micros() - days * 86_400_000_000;
    let site = site(30, days(500)).await;
    let pruned = site.run(&["prune"]);
    assert!(
        pruned.stderr.contains("30 got a pseudonym, 0 were deleted"),
        "{pruned:?}"
    );
    let after = site.json(&["usage", "--since", "1000d", "--by", "user", "--json"]);
    assert_eq!(after[0]["requests"], 30);
    assert!(
        after[0]["user"].as_str().unwrap().starts_with("person-"),
        "{after}"
    );
    site.write("ostia.toml", "[retention]\nrollups = \"400d\"\n");
    let pruned = site.run(&["prune"]);
    assert!(pruned.stderr.contains("30 were deleted"), "{pruned:?}");
    let after = site.json(&["usage", "--since", "1000d", "--json"]);
    assert_eq!(after, serde_json::json!([]));
}
