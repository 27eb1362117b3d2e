//! What every store must do, written once and run on each database.

mod keys;
mod leases;
mod people;
mod search;

use std::borrow::Cow;
use std::sync::Arc;

use ostia_core::{
    Blocked, Change, Column, KeyRights, Kind, LedgerRow, MadeResponse, NewApiKey, Notice,
    NoticeScope, Outcome, Phase, Pruned, RequestId, Retention, Role, RowsQuery, Store, StoreError,
    UsageQuery, UsageRow, UsageSource, Value,
};

pub(crate) use keys::new_key;

/// 2026-11-23T12:00:00Z.
pub(crate) const NOON: i64 = 1_795_435_200_000_000;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// Needs an empty store.
pub(crate) async fn run(store: &dyn Store) {
    store.ping().await.unwrap();
    rows_count_once(store).await;
    reports_are_exact_at_any_moment(store).await;
    months_and_single_keys(store).await;
    exports_give_each_row_once(store).await;
    search::rows_are_found(store).await;
    what_was_interrupted_gives_way(store).await;
    absurd_rows_are_kept(store).await;
    responses_have_their_makers(store).await;
    keys::keys_live_and_end(store).await;
    keys::key_ids_and_hashes_are_unique(store).await;
    leases::run(store).await;
    notices_come_and_go(store).await;
    turns_are_held_by_one(store).await;
    people::run(store).await;
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

/// A row with a different value in each column.
pub(crate) fn full_row() -> LedgerRow<'static> {
    let mut full = LedgerRow::default();
    for column in Column::ALL {
        assert!(full.set(column.number, sample(column)));
    }
    full
}

/// A value that differs from those of all other columns.
fn sample(column: &Column) -> Value<'static> {
    let number = column.number;
    match column.kind {
        Kind::Id => Value::Id(RequestId::at(NOON)),
        Kind::Text => Value::Text(column.name),
        Kind::Stamp => Value::Stamp(NOON + i64::from(number)),
        Kind::Flag => Value::Flag(true),
        Kind::Number | Kind::MaybeNumber => Value::Number(number.into()),
        Kind::Word(words) => Value::word(words, 1),
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

/// 200 rows are several statements. A repeated batch, or an id twice in one batch, changes nothing.
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

/// With an end, for one user, and grouped by keys that only single rows have. Uses the rows around `midnight`.
async fn parts_of_a_report(store: &dyn Store, midnight: i64) {
    let cid = Some("cid@lab.org");
    let sums = |range, by| usage_of(store, range, cid, by);
    let (early, late) = (midnight - 2 * HOUR, midnight + DAY);
    // By days and row by row, with the same result, even if a day is only partly in the range.
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

/// A range of months, days and parts of days, by each key alone and by pairs: the sums are always equal.
async fn months_and_single_keys(store: &dyn Store) {
    let start = NOON + 100 * DAY;
    let rows: Vec<_> = (0..400)
        .map(|n| {
            let mut row = row("eve", start + n * 7 * HOUR, 2);
            row.project = Cow::Borrowed(["a", "b"][usize::from(n % 2 == 0)]);
            row.model = Cow::Borrowed(["m1", "m2", "m3"][usize::try_from(n % 3).unwrap()]);
            row
        })
        .collect();
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 400);
    let (since, until) = (start + 3 * DAY + HOUR, start + 80 * DAY + 2 * HOUR);
    let inside = rows
        .iter()
        .filter(|row| (since..until).contains(&row.started_at));
    let inside = inside.count() as u64;
    for by in UsageQuery::BY {
        for more in [None, Some("model"), Some("month"), Some("hour")] {
            let by: Vec<_> = std::iter::once(by).chain(more).collect();
            let lines = usage_of(store, (since, Some(until)), Some("eve@lab.org"), &by).await;
            let sum = lines.iter().map(|line| line.requests).sum::<u64>();
            assert_eq!(sum, inside, "{by:?}");
            let unique: std::collections::BTreeSet<_> =
                lines.iter().map(|line| &line.keys).collect();
            assert_eq!(unique.len(), lines.len(), "{by:?}");
        }
    }
    let months = usage_of(store, (since, Some(until)), None, &["month", "project"]).await;
    let keys: Vec<_> = months.iter().map(|line| line.keys.join(" ")).collect();
    let expected = [
        "2027-03 a",
        "2027-03 b",
        "2027-04 a",
        "2027-04 b",
        "2027-05 a",
        "2027-05 b",
    ];
    assert_eq!(keys, expected);
}

/// Page by page: each row appears once, in order, as it was written.
async fn exports_give_each_row_once(store: &dyn Store) {
    let start = NOON + 400 * DAY;
    // Two of three start in the same microsecond.
    let mut rows: Vec<_> = (0..25).map(|n| row("gil", start + n / 3, 1)).collect();
    rows.sort_by_key(|row| (row.started_at, *row.request_id.as_bytes()));
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 25);
    let mut query = RowsQuery {
        since: start,
        until: Some(start + DAY),
        after: None,
        limit: 10,
    };
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let mut take = |row: &LedgerRow<'_>| {
            ids.push((row.request_id, row.started_at, row.user_id.to_string()))
        };
        let last = store.rows(&query, &mut take).await.unwrap();
        pages += 1;
        query.after = last;
        if last.is_none() {
            break;
        }
    }
    let expected: Vec<_> = rows
        .iter()
        .map(|row| (row.request_id, row.started_at, "gil".to_owned()))
        .collect();
    assert_eq!((ids, pages), (expected, 3));
}

/// A row made from a `started` record alone is replaced by the final one. Other rows are never replaced.
async fn what_was_interrupted_gives_way(store: &dyn Store) {
    let at = NOON + 300 * DAY;
    let real = row("fay", at, 9);
    let bare = LedgerRow {
        outcome: Outcome::Interrupted,
        phase: Phase::Connecting,
        http_status: 499,
        upstream_status: 0,
        response_bytes: 0,
        completion_tokens: 0,
        total_tokens: 9,
        ..real.clone()
    };
    let day = (at - 12 * HOUR, Some(at + 12 * HOUR));
    let by = ["user", "outcome"];
    assert_eq!(
        store
            .insert_rows(std::slice::from_ref(&bare))
            .await
            .unwrap(),
        1
    );
    let lines = usage_of(store, day, None, &by).await;
    assert_eq!(lines[0].keys, ["fay@lab.org", "interrupted"]);
    // Together with new rows, and twice in one batch.
    let other = row("fay", at, 1);
    let batch = [bare.clone(), real.clone(), other, real.clone()];
    assert_eq!(store.insert_rows(&batch).await.unwrap(), 1);
    let expected = [line(&["fay@lab.org", "ok"], [2, 2, 0], 10)];
    // From single rows, and from the roll-up, from which the replaced row was subtracted.
    for range in [(at, Some(at + 1)), day] {
        assert_eq!(usage_of(store, range, None, &by).await, expected);
    }
    let changed = LedgerRow {
        total_tokens: 77,
        ..real
    };
    for late in [bare, changed] {
        assert_eq!(store.insert_rows(&[late]).await.unwrap(), 0);
        assert_eq!(usage_of(store, day, None, &by).await, expected);
    }
}

/// On a store of its own: addresses are removed, persons become pseudonyms while sums and counts stay, and finally rows
/// are deleted.
pub(crate) async fn old_rows_are_pruned(store: &dyn Store) {
    let old: Vec<_> = (0..2_500)
        .map(|n| row(["ann", "bob"][n % 2], NOON + i64::try_from(n).unwrap(), 2))
        .collect();
    let new = [row("ann", NOON + 100 * DAY, 5)];
    store.insert_rows(&old).await.unwrap();
    store.insert_rows(&new).await.unwrap();
    let prune = async |due: Retention| {
        let mut all = Pruned::default();
        loop {
            let step = store.prune(&due).await.unwrap();
            all.addresses += step.addresses;
            all.persons += step.persons;
            all.rows += step.rows;
            all.events += step.events;
            if !step.goes_on {
                return all;
            }
        }
    };
    let totals = usage(store, 0, &["month"]).await;
    let due = Retention {
        addresses: NOON + 1_000,
        persons: 0,
        sums: 0,
        audit: 0,
    };
    assert_eq!(prune(due).await.addresses, 1_000);
    let due = Retention {
        addresses: NOON + 50 * DAY,
        persons: NOON + 50 * DAY,
        sums: 0,
        audit: 0,
    };
    let pruned = prune(due).await;
    assert_eq!(
        (pruned.addresses, pruned.persons, pruned.rows),
        (1_500, 2_500, 0)
    );
    assert_eq!(prune(due).await, Pruned::default());
    assert_eq!(usage(store, 0, &["month"]).await, totals);
    for by in [
        &["user"][..],
        &["user", "model"],
        &["user", "day"],
        &["user", "hour"],
    ] {
        let lines = usage(store, 0, by).await;
        let users: Vec<_> = lines
            .iter()
            .map(|line| (line.keys[0].as_str(), line.requests))
            .collect();
        assert_eq!(users[0], ("ann@lab.org", 1), "{by:?}");
        assert!(
            users[1..]
                .iter()
                .all(|(name, count)| name.starts_with("person-") && *count == 1_250),
            "{users:?}"
        );
        assert_eq!(users.len(), 3, "{by:?}");
    }
    let mut seen = Vec::new();
    let query = RowsQuery {
        limit: 1_000,
        ..RowsQuery::default()
    };
    let mut take = |row: &LedgerRow<'_>| {
        seen.push((row.key_id.len(), row.origin_ip.len(), row.username.len()))
    };
    store.rows(&query, &mut take).await.unwrap();
    assert_eq!(seen, vec![(0, 0, 0); 1_000]);
    let due = Retention {
        sums: NOON + 50 * DAY,
        ..due
    };
    assert_eq!(prune(due).await.rows, 2_500);
    let left = usage(store, 0, &["user"]).await;
    assert_eq!((left.len(), left[0].requests), (1, 1));
    people::old_events_are_pruned(store, &prune).await;
}

/// A row is stored whatever a backend or a client claims, and reports still work.
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

async fn responses_have_their_makers(store: &dyn Store) {
    let made = |id: u8, until| MadeResponse {
        id: [id; 32],
        endpoint: "sophia-vllm-m".into(),
        until,
    };
    let both = [made(1, NOON + HOUR), made(2, NOON + DAY)];
    store.note_responses(&both, NOON).await.unwrap();
    store.note_responses(&both[1..], NOON).await.unwrap();
    assert_eq!(
        store.response(&[2; 32]).await.unwrap(),
        Some(both[1].clone())
    );
    assert_eq!(store.response(&[3; 32]).await.unwrap(), None);
    store.note_responses(&[], NOON + 2 * HOUR).await.unwrap();
    assert_eq!(store.response(&[1; 32]).await.unwrap(), None);
    assert_eq!(
        store.response(&[2; 32]).await.unwrap(),
        Some(both[1].clone())
    );
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
    let block = NoticeScope::Blocked(Blocked::Key, "block-user:x".to_owned());
    assert_eq!(store.notices().await.unwrap(), []);
    for (scope, text) in [
        (&model, "a"),
        (&NoticeScope::All, "b"),
        (&cluster, "c"),
        (&model, "d\n"),
        (&block, ""),
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
        notice(block.clone(), "", Some(i64::MAX)),
    ];
    assert_eq!(store.notices().await.unwrap(), expected);
    for scope in [model, cluster, NoticeScope::All, block] {
        assert!(store.clear_notice(&scope).await.unwrap());
        assert!(!store.clear_notice(&scope).await.unwrap());
    }
    assert_eq!(store.notices().await.unwrap(), []);
}

async fn turns_are_held_by_one(store: &dyn Store) {
    let names = ["b", "a"].map(str::to_owned);
    let hold = async |names: &[String], holder: &str, now: i64, until: i64| {
        let held = store.hold_turns(names, holder, now, until).await;
        held.unwrap()
    };
    assert_eq!(hold(&names[..1], "one", 0, 30).await, [true]);
    assert_eq!(hold(&names, "other", 10, 40).await, [false, true]);
    assert_eq!(hold(&names, "one", 20, 50).await, [true, false]);
    // Names that were given up or not renewed are free for anybody.
    assert_eq!(hold(&names, "one", 40, 40).await, [true, true]);
    assert_eq!(hold(&names, "other", 40, 60).await, [true, true]);
    assert_eq!(hold(&names, "one", 60, 60).await, [true, true]);
    assert!(hold(&[], "one", 61, 61).await.is_empty());
}
