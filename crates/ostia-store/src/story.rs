//! What every store must do, told once and run on each database.

use std::borrow::Cow;
use std::sync::Arc;

use ostia_core::{
    LedgerRow, NewApiKey, Notice, NoticeScope, Outcome, Phase, RequestId, Store, StoreError,
    UsageQuery, UsageRow, UsageSource,
};

/// 2026-11-23T12:00:00Z.
pub(crate) const NOON: i64 = 1_795_435_200_000_000;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// Expects an empty store.
pub(crate) async fn run(store: &dyn Store) {
    store.ping().await.unwrap();
    rows_count_once(store).await;
    reports_are_exact_at_any_moment(store).await;
    absurd_rows_are_kept(store).await;
    keys_live_and_end(store).await;
    key_ids_and_hashes_are_unique(store).await;
    notices_come_and_go(store).await;
}

pub(crate) fn row(user: &str, started_at: i64, tokens: u64) -> LedgerRow<'_> {
    LedgerRow {
        request_id: RequestId::at(started_at),
        started_at,
        finished_at: started_at.saturating_add(1_500_000),
        user_id: Cow::Borrowed(user),
        username: Cow::Owned(format!("{user}@lab.org")),
        name: Cow::Borrowed("Some One"),
        auth_service: Cow::Borrowed("api_key"),
        idp: Cow::Borrowed("lab.org"),
        domain: Cow::Borrowed("lab.org"),
        key_id: Cow::Borrowed("k1"),
        cluster: Cow::Borrowed("sophia"),
        framework: Cow::Borrowed("vllm"),
        model: Cow::Borrowed("m"),
        endpoint_slug: Cow::Borrowed("sophia-vllm-m"),
        api: Cow::Borrowed("chat/completions"),
        stream: true,
        http_status: 200,
        outcome: Outcome::Ok,
        phase: Phase::Done,
        prompt_tokens: tokens,
        completion_tokens: 2 * tokens,
        total_tokens: 3 * tokens,
        usage_source: UsageSource::Upstream,
        ttft_ms: Some(20),
        duration_ms: 1_500,
        request_bytes: 300,
        response_bytes: 4_000,
        upstream_status: 200,
        attempts: 1,
        origin_ip: Cow::Borrowed("192.0.2.7"),
        count: 1,
        ..LedgerRow::default()
    }
}

async fn usage(store: &dyn Store, since: i64, by: &[&str]) -> Vec<UsageRow> {
    usage_of(store, (since, None), None, by).await
}

async fn usage_of(
    store: &dyn Store,
    (since, until): (i64, Option<i64>),
    user: Option<&str>,
    by: &[&str],
) -> Vec<UsageRow> {
    let query = UsageQuery {
        since,
        until,
        user: user.map(str::to_owned),
        by: by.iter().map(|&name| name.to_owned()).collect(),
    };
    store.usage(&query).await.unwrap()
}

/// `counts`: requests, ok, refused; the rest failed or was given up.
fn line(keys: &[&str], counts: [u64; 3], prompt_tokens: u64) -> UsageRow {
    UsageRow {
        keys: keys.iter().map(|&key| key.to_owned()).collect(),
        requests: counts[0],
        ok: counts[1],
        refused: counts[2],
        failed: 0,
        prompt_tokens,
        completion_tokens: 2 * prompt_tokens,
        total_tokens: 3 * prompt_tokens,
    }
}

/// 200 rows are several statements; a repeated batch, and an id twice in one batch, change nothing.
async fn rows_count_once(store: &dyn Store) {
    assert_eq!(store.insert_rows(&[]).await.unwrap(), 0);
    assert_eq!(usage(store, 0, &[]).await, [line(&[], [0, 0, 0], 0)]);
    assert_eq!(usage(store, 0, &["user"]).await, []);

    let mut rows: Vec<_> = (0..200)
        .map(|n| row(if n % 2 == 0 { "ann" } else { "bob" }, NOON + n, 10))
        .collect();
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 200);
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 0);
    rows.push(row("bob", NOON + 200, 1));
    rows.push(rows[200].clone());
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 1);
    let expected = [
        line(&["ann@lab.org"], [100, 100, 0], 1_000),
        line(&["bob@lab.org"], [101, 101, 0], 1_001),
    ];
    assert_eq!(usage(store, 0, &["user"]).await, expected);
}

async fn reports_are_exact_at_any_moment(store: &dyn Store) {
    let midnight = NOON + 10 * DAY + 12 * HOUR;
    let mut rows: Vec<_> = [-2 * HOUR, -HOUR, -1, 0, HOUR, DAY]
        .map(|offset| row("cid", midnight + offset, 1))
        .into();
    for row in &mut rows {
        row.cluster = Cow::Borrowed("polaris");
    }
    rows[1].outcome = Outcome::ClientClosed;
    rows[3].outcome = Outcome::Rejected;
    rows[3].count = 40;
    rows[3].prompt_tokens = 0;
    rows[3].completion_tokens = 0;
    rows[3].total_tokens = 0;
    rows[4].username = Cow::Borrowed("");
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 6);

    let by = ["day", "cluster", "user"];
    let first = |counts, tokens| line(&["2026-12-03", "polaris", "cid@lab.org"], counts, tokens);
    let rest = [
        line(&["2026-12-04", "polaris", "cid"], [1, 1, 0], 1),
        line(&["2026-12-04", "polaris", "cid@lab.org"], [40, 0, 40], 0),
        line(&["2026-12-05", "polaris", "cid@lab.org"], [1, 1, 0], 1),
    ];
    for (since, before) in [
        (midnight - 12 * HOUR, vec![first([3, 2, 0], 3)]),
        (midnight - HOUR, vec![first([2, 1, 0], 2)]),
        (midnight - HOUR + 1, vec![first([1, 1, 0], 1)]),
        (midnight - 1, vec![first([1, 1, 0], 1)]),
        (midnight, vec![]),
    ] {
        let expected: Vec<_> = before.into_iter().chain(rest.clone()).collect();
        let got = usage(store, since, &by).await;
        let got: Vec<_> = got
            .into_iter()
            .filter(|line| line.keys[1] == "polaris")
            .collect();
        assert_eq!(got, expected, "since {since}");
    }
    parts_of_a_report(store, midnight).await;
    let query = UsageQuery {
        by: vec!["user; DROP TABLE ledger".into()],
        ..UsageQuery::default()
    };
    assert!(matches!(
        store.usage(&query).await,
        Err(StoreError::Broken(_))
    ));
}

/// With an end, for one user, and by what only single rows know. Uses the rows around `midnight`.
async fn parts_of_a_report(store: &dyn Store, midnight: i64) {
    let cid = Some("cid@lab.org");
    let sums = |range, by| usage_of(store, range, cid, by);
    let (early, late) = (midnight - 2 * HOUR, midnight + DAY);
    // By days and row by row: the same, also where a day is only partly in it.
    for by in [&["user"][..], &["user", "api"]] {
        for (range, counts, tokens) in [
            ((early, None), [44, 3, 40], 4),
            ((early, Some(late)), [43, 2, 40], 3),
            ((early, Some(late + 1)), [44, 3, 40], 4),
            ((early, Some(midnight)), [3, 2, 0], 3),
            ((midnight, Some(midnight + 1)), [40, 0, 40], 0),
        ] {
            let got = sums(range, by).await;
            assert_eq!(got.len(), 1, "{range:?} {by:?}");
            let keys: Vec<&str> = got[0].keys.iter().map(String::as_str).collect();
            assert_eq!(got[0], line(&keys, counts, tokens), "{range:?} {by:?}");
        }
    }
    assert_eq!(sums((midnight + 2 * HOUR, Some(late)), &["user"]).await, []);
    let range = (early, Some(midnight + 1));
    let hours = sums(range, &["hour", "outcome", "key", "endpoint"]).await;
    let keys: Vec<_> = hours.iter().map(|line| line.keys.join(" ")).collect();
    let rest = "k1 sophia-vllm-m";
    let expected = [
        format!("2026-12-03T22:00Z ok {rest}"),
        format!("2026-12-03T23:00Z client_closed {rest}"),
        format!("2026-12-03T23:00Z ok {rest}"),
        format!("2026-12-04T00:00Z rejected {rest}"),
    ];
    assert_eq!(keys, expected);
    let months = sums((0, None), &["month", "group", "project"]).await;
    assert_eq!(months, [line(&["2026-12", "", ""], [44, 3, 40], 4)]);
}

/// Whatever a backend or a client says, a row goes in, and reports still answer.
async fn absurd_rows_are_kept(store: &dyn Store) {
    let before = usage(store, 0, &[]).await[0].requests;
    let mut rows = [
        row("d\0an", i64::MAX, u64::MAX / 4),
        row("", -5, 7),
        row("dan", i64::MAX, 0),
    ];
    for row in &mut rows {
        row.model = Cow::Borrowed("nul\0model");
        row.client_request_id = Cow::Borrowed("\0\u{1f600}'\"; --");
        row.duration_ms = u64::MAX;
        row.ttft_ms = Some(u64::MAX);
        row.attempts = u32::MAX;
        row.count = u32::MAX;
    }
    rows[2].total_tokens = u64::MAX;
    rows[2].completion_tokens = u64::MAX;
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 3);
    let total = usage(store, 0, &[]).await[0].clone();
    assert_eq!(total.requests, before + 3 * u64::from(u32::MAX));
    assert!(total.total_tokens >= i64::MAX as u64);
    let models = usage(store, 0, &["model", "day"]).await;
    assert!(
        models
            .iter()
            .any(|line| line.keys == ["nul\u{fffd}model", "1970-01-01"])
    );
    assert!(
        models
            .iter()
            .any(|line| line.keys == ["nul\u{fffd}model", "9999-12-31"])
    );
}

fn new_key(id: &str, hash: u8) -> NewApiKey {
    NewApiKey {
        id: id.into(),
        hash: [hash; 32],
        username: "ann@lab.org".into(),
        groups: vec![
            "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB".into(),
            "with, comma \"and quote\"".into(),
        ],
        label: "laptop".into(),
        project: "fusion".into(),
        admin: hash % 2 == 1,
        created_at: NOON + i64::from(hash),
        expires_at: Some(NOON + DAY),
    }
}

async fn keys_live_and_end(store: &dyn Store) {
    assert_eq!(store.list_keys().await.unwrap(), []);
    assert_eq!(store.key_by_hash(&[1; 32]).await.unwrap(), None);
    store.create_key(&new_key("b", 1)).await.unwrap();
    store.create_key(&new_key("a", 2)).await.unwrap();

    let key = store.key_by_hash(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(
        (&*key.id, &*key.username, &*key.label, &*key.project),
        ("b", "ann@lab.org", "laptop", "fusion")
    );
    assert_eq!(key.groups.len(), 2);
    assert_eq!(&*key.groups[0], "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb");
    assert_eq!(&*key.groups[1], "with, comma \"and quote\"");
    assert!(key.admin);
    assert_eq!(
        (key.created_at, key.expires_at),
        (NOON + 1, Some(NOON + DAY))
    );
    assert_eq!((key.revoked_at, key.last_used_at), (None, None));

    assert!(store.expire_key("b", NOON + HOUR).await.unwrap());
    assert!(
        store.expire_key("b", NOON + 9 * DAY).await.unwrap(),
        "there, but never prolonged"
    );
    let used: [(Arc<str>, i64); 3] = [
        ("b".into(), NOON + 9),
        ("b".into(), NOON + 5),
        ("gone".into(), 1),
    ];
    store.touch_keys(&used).await.unwrap();
    store.touch_keys(&[]).await.unwrap();
    assert!(store.revoke_key("b", NOON + 2 * HOUR).await.unwrap());
    assert!(
        !store.revoke_key("b", NOON + 3 * HOUR).await.unwrap(),
        "revoked before"
    );
    assert!(
        !store.expire_key("b", NOON).await.unwrap(),
        "revoked before"
    );
    assert!(!store.revoke_key("nobody", NOON).await.unwrap());
    assert!(!store.expire_key("nobody", NOON).await.unwrap());

    let key = store.key_by_hash(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(key.expires_at, Some(NOON + HOUR));
    assert_eq!(key.revoked_at, Some(NOON + 2 * HOUR));
    assert_eq!(key.last_used_at, Some(NOON + 9));
    let listed = store.list_keys().await.unwrap();
    let ids: Vec<_> = listed.iter().map(|key| &*key.id).collect();
    assert_eq!(ids, ["b", "a"], "oldest first");
    assert_eq!(listed[0], key);
}

async fn key_ids_and_hashes_are_unique(store: &dyn Store) {
    for twin in [new_key("a", 9), new_key("c", 2)] {
        assert!(matches!(
            store.create_key(&twin).await,
            Err(StoreError::Broken(_))
        ));
    }
    assert_eq!(store.list_keys().await.unwrap().len(), 2);
    let mut forever = new_key("d", 4);
    forever.expires_at = None;
    store.create_key(&forever).await.unwrap();
    let key = store.key_by_hash(&[4; 32]).await.unwrap().unwrap();
    assert_eq!(key.expires_at, None);
    assert!(store.expire_key("d", NOON).await.unwrap());
    let key = store.key_by_hash(&[4; 32]).await.unwrap().unwrap();
    assert_eq!(key.expires_at, Some(NOON));
}

async fn notices_come_and_go(store: &dyn Store) {
    let notice = |scope: NoticeScope, text: &str, ends_at| Notice {
        scope,
        text: text.to_owned(),
        begins_at: Some(-1),
        ends_at,
    };
    let model = NoticeScope::Model("org/m:free \u{1F600}".to_owned());
    let cluster = NoticeScope::Cluster("all".to_owned());
    assert_eq!(store.notices().await.unwrap(), []);
    for (scope, text) in [
        (&model, "a"),
        (&NoticeScope::All, "b"),
        (&cluster, "c"),
        (&model, "d\n"),
    ] {
        let ends_at = (text != "b").then_some(i64::MAX);
        store
            .set_notice(&notice(scope.clone(), text, ends_at))
            .await
            .unwrap();
    }
    let expected = [
        notice(NoticeScope::All, "b", None),
        notice(cluster.clone(), "c", Some(i64::MAX)),
        notice(model.clone(), "d\n", Some(i64::MAX)),
    ];
    assert_eq!(store.notices().await.unwrap(), expected);
    for scope in [model, cluster, NoticeScope::All] {
        assert!(store.clear_notice(&scope).await.unwrap());
        assert!(!store.clear_notice(&scope).await.unwrap());
    }
    assert_eq!(store.notices().await.unwrap(), []);
}
