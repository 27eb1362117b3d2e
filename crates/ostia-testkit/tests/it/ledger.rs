//! The tables' content: every column of the contract, rows of refusals and of early hang-ups, the users.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{HangUp, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, USER};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Column, ConnectOptions, Connection, Row, ValueRef};

use crate::rate::clock;

pub type Table = Vec<BTreeMap<String, Value>>;

/// A table with SQLite's own types: integers, texts and NULLs.
pub async fn table(database: &Path, name: &str) -> Table {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .disable_statement_logging();
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM {name}")));
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let value = |row: &sqlx::sqlite::SqliteRow, at: usize| {
        if row.try_get_raw(at).unwrap().is_null() {
            return Value::Null;
        }
        row.try_get::<i64, _>(at)
            .map_or_else(|_| json!(row.get::<String, _>(at)), |number| json!(number))
    };
    rows.iter()
        .map(|row| {
            row.columns()
                .iter()
                .enumerate()
                .map(|(at, column)| (column.name().to_owned(), value(row, at)))
                .collect()
        })
        .collect()
}

/// The contract's columns, in its order.
const COLUMNS: &str = "request_id, client_request_id, started_at, finished_at, user_id, username, auth_service, idp, domain, \
    group_id, key_id, project, cluster, framework, model, endpoint_slug, api, stream, http_status, outcome, phase, error_code, \
    prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, usage_source, ttft_ms, duration_ms, queue_ms, \
    request_bytes, response_bytes, upstream_status, attempts, origin_ip, class, location, served_model, reported_user, count";

const TEXTS: &str = "request_id, client_request_id, user_id, username, auth_service, idp, domain, group_id, key_id, project, \
    cluster, framework, model, endpoint_slug, api, outcome, phase, error_code, usage_source, origin_ip, class, location, served_model, reported_user";

fn assert_shape(row: &BTreeMap<String, Value>) {
    for column in COLUMNS.split(", ") {
        let value = row
            .get(column)
            .unwrap_or_else(|| panic!("no column {column}"));
        let right = match column {
            "ttft_ms" => value.is_null() || value.is_i64(),
            _ if TEXTS.split(", ").any(|text| text == column) => value.is_string(),
            _ => value.as_i64().is_some_and(|number| number >= 0),
        };
        assert!(right, "{column} is {value}");
    }
}

#[tokio::test]
async fn a_row_says_everything_that_the_contract_names() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("Org/m", &backend)).await;
    backend.otherwise(Script::completion().prompt_tokens(11, 4));
    let request = gateway
        .chat_stream("Org/m")
        .header("X-Request-Id", "mine-1")
        .header("X-Ostia-Class", "batch");
    let answer = gateway.call(&request).await;
    assert_eq!(answer.header("x-client-request-id"), Some("mine-1"));
    let id = answer.header("x-request-id").unwrap().to_owned();
    let seen = backend.records().remove(0).received;
    assert_eq!(seen.request_id(), Some(&*id));
    assert_eq!(seen.header("x-client-request-id"), None);
    let (_, site) = gateway.finish_keeping(&[&backend]).await;
    let database = site.database_path();
    let rows = table(&database, "ledger").await;
    let [row] = &rows[..] else {
        panic!("{rows:#?}")
    };
    assert_shape(row);
    let expected = json!({
        "request_id": id, "client_request_id": "mine-1", "user_id": USER, "username": USER, "auth_service": "api_key",
        "idp": "example.org", "domain": "example.org", "key_id": "key-of-tester", "group_id": "", "project": "", "cluster": "lab",
        "framework": "vllm", "model": "Org/m", "endpoint_slug": "lab-vllm-orgm", "api": "chat/completions", "stream": 1,
        "http_status": 200, "outcome": "ok", "phase": "done", "error_code": "", "prompt_tokens": 11, "completion_tokens": 3,
        "total_tokens": 14, "cached_tokens": 4, "reasoning_tokens": 0, "usage_source": "upstream", "upstream_status": 200,
        "attempts": 1, "origin_ip": "127.0.0.1", "count": 1, "class": "batch", "location": "on_site", "served_model": "Org/m", "reported_user": "",
        "response_bytes": answer.body.len(),
    });
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(&row[column], value, "{column}");
    }
    let (started, finished) = (
        row["started_at"].as_i64().unwrap(),
        row["finished_at"].as_i64().unwrap(),
    );
    // In microseconds: between 2020 and 2100.
    assert!(
        (1_577_836_800_000_000..4_102_444_800_000_000).contains(&started),
        "{started}"
    );
    assert_eq!(
        (finished - started) / 1000,
        row["duration_ms"].as_i64().unwrap()
    );
    assert!(row["ttft_ms"].as_i64().unwrap() <= row["duration_ms"].as_i64().unwrap());
    let users = table(&database, "users").await;
    let user = json!({"id": USER, "username": USER, "name": "tests", "email": "", "idp": "example.org", "state": "active", "last_seen": started});
    assert_eq!(users, [serde_json::from_value(user).unwrap()]);
    let url = format!("sqlite://{}", database.display());
    let store = ostia_store::open(&url).await.unwrap();
    for by in ["user", "model", "hour", "day", "month"] {
        let query = ostia_core::UsageQuery {
            by: vec![by.to_owned()],
            ..Default::default()
        };
        let lines = store.usage(&query).await.unwrap();
        let sums: Vec<_> = lines
            .iter()
            .map(|line| (line.total_tokens, line.ok, line.requests))
            .collect();
        assert_eq!(sums, [(14, 1, 1)], "{by}");
    }
}

/// The group that let the caller in, and the project of the key, both on answers and on refusals.
#[tokio::test]
async fn a_row_names_the_group_and_the_project() {
    const GROUPS: &str = "allowed_globus_groups";
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion());
    let endpoint = |model: &str, cluster: &str| Endpoint::of(model, &backend).on(cluster, "vllm");
    let site = Site::new()
        .endpoint(endpoint("open", "lab"))
        .endpoint(endpoint("own", "lab").field(GROUPS, json!(["g9", "g1", "g2"])))
        .endpoint(endpoint("cluster", "guarded"))
        .endpoint(endpoint("both", "guarded").field(GROUPS, json!(["g1"])))
        .endpoint(
            endpoint("limited", "lab")
                .field(GROUPS, json!(["g1"]))
                .field("tpm_user", json!(1)),
        )
        .cluster("guarded", GROUPS, json!(["g3", "g2"]));
    let gateway = TestGateway::start(site).await;
    let key = gateway.key_in("ann@lab.org", &["g2", "g1"], "fusion").await;
    for (model, status) in [
        ("open", 200),
        ("own", 200),
        ("cluster", 200),
        ("both", 200),
        ("limited", 200),
        ("limited", 429),
    ] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "x"}]});
        let request = Request::post("/v1/chat/completions").bearer(&key);
        let answer = gateway.call(&request.json(&body)).await;
        assert_eq!(answer.status(), status, "{model}");
        gateway.row_of(&answer).await;
    }
    let (_, site) = gateway.finish_keeping(&[&backend]).await;
    let rows = table(&site.database_path(), "ledger").await;
    let mut named: Vec<_> = rows
        .iter()
        .map(|row| ["model", "group_id", "project"].map(|column| row[column].as_str().unwrap()))
        .collect();
    named.sort_unstable();
    let expected = [
        ["both", "g1", "fusion"],
        ["cluster", "g2", "fusion"],
        ["limited", "g1", "fusion"],
        ["limited", "g1", "fusion"],
        ["open", "", "fusion"],
        ["own", "g1", "fusion"],
    ];
    assert_eq!(named, expected);
}

#[tokio::test]
async fn a_refusal_by_a_limit_names_what_it_was_for_as_far_as_that_is_known() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion());
    let two = |cluster: &str| {
        Endpoint::of("m", &backend)
            .on(cluster, "vllm")
            .field("tpm_user", json!(1))
    };
    let site = Site::new().endpoint(two("lab")).endpoint(two("annex"));
    let gateway = TestGateway::start(site).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    let bearer = gateway.site().secrets.client_bearer();
    // The first request on each endpoint uses up its limit, and more.
    for (path, status) in [
        ("/lab/vllm/v1/chat/completions", 200),
        ("/annex/vllm/v1/chat/completions", 200),
        ("/v1/chat/completions", 429),
        ("/annex/vllm/v1/chat/completions", 429),
    ] {
        let request = Request::post(path);
        let answer = gateway.call(&request.bearer(&bearer).json(&body)).await;
        assert_eq!(answer.status(), status);
        gateway.row_of(&answer).await;
    }
    let (_, site) = gateway.finish_keeping(&[&backend]).await;
    let rows = table(&site.database_path(), "ledger").await;
    let mut named: Vec<_> = rows
        .iter()
        .filter(|row| row["http_status"] == 429)
        .map(|row| {
            ["model", "cluster", "framework", "endpoint_slug"]
                .map(|column| row[column].as_str().unwrap())
        })
        .collect();
    named.sort_unstable();
    assert_eq!(
        named,
        [
            ["m", "", "vllm", ""],
            ["m", "annex", "vllm", "annex-vllm-m"]
        ]
    );
}

#[tokio::test]
async fn a_slow_client_is_no_queue() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion());
    let clock = clock();
    let site = Site::new().model("m", &backend);
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    let request = gateway.chat("m").header("Expect", "100-continue");
    let mut client = gateway.client().await;
    client.send(request.head()).await;
    assert_eq!(client.take(25).await, "HTTP/1.1 100 Continue\r\n\r\n");
    clock.advance(Duration::from_secs(7));
    client
        .send(request.bytes().slice(request.head().len()..))
        .await;
    let answer = client.answer().await;
    gateway.note(&answer);
    assert_eq!(answer.status(), 200);
    let (_, site) = gateway.finish_keeping(&[&backend]).await;
    let rows = table(&site.database_path(), "ledger").await;
    assert_eq!(
        (&rows[0]["duration_ms"], &rows[0]["queue_ms"]),
        (&json!(7_000), &json!(0))
    );
}

#[tokio::test]
async fn refusals_leave_rows_that_name_nothing_they_should_not() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let bearer = gateway.site().secrets.client_bearer();
    let typed = json!({"model": "a-name-that-somebody-typed", "messages": [{"role": "user", "content": "x"}]});
    let cases = [
        (
            gateway.chat("a-name-that-somebody-typed"),
            404,
            "model_not_found",
        ),
        (
            Request::post("/nowhere/vllm/v1/chat/completions")
                .bearer(&bearer)
                .json(&typed),
            404,
            "cluster_not_found",
        ),
        (
            Request::post("/lab/typed/v1/chat/completions")
                .bearer(&bearer)
                .json(&typed),
            400,
            "unsupported_framework",
        ),
        (gateway.chat("m").body("{"), 400, "invalid_json"),
        (
            gateway.chat("m").header("Content-Encoding", "compress"),
            415,
            "unsupported_media_type",
        ),
    ];
    for (request, status, code) in &cases {
        let answer = gateway.call(request).await;
        assert_eq!(
            (answer.status(), answer.error_code().as_deref()),
            (*status, Some(*code))
        );
        gateway.row_of(&answer).await;
    }
    let (_, site) = gateway.finish_keeping(&[&backend]).await;
    let database = site.database_path();
    let rows = table(&database, "ledger").await;
    assert_eq!(rows.len(), cases.len());
    for row in &rows {
        assert_shape(row);
        let text = format!("{row:?}");
        assert!(!text.contains("typed"), "{text}");
        let none = json!({"outcome": "rejected", "model": "", "cluster": "", "framework": "", "endpoint_slug": "", "attempts": 0,
            "upstream_status": 0, "total_tokens": 0, "usage_source": "none", "ttft_ms": null, "username": USER});
        for (column, value) in none.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {text}");
        }
    }
    let mut codes: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["http_status"].as_i64().unwrap(),
                row["error_code"].as_str().unwrap(),
            )
        })
        .collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [
            (400, "invalid_json"),
            (400, "unsupported_framework"),
            (404, "cluster_not_found"),
            (404, "model_not_found"),
            (415, "unsupported_media_type")
        ]
    );
}

/// The gateway asks for the body, but the client hangs up instead.
#[tokio::test]
async fn hang_ups_before_the_body_and_before_the_head_leave_rows() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    for how in [HangUp::Fin, HangUp::Reset] {
        let mut client = gateway.client().await;
        client
            .send(gateway.chat("m").header("Expect", "100-continue").head())
            .await;
        assert_eq!(client.take(25).await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.hang_up(how).await;

        let gate = Gate::closed();
        backend.next(Script::completion().gate_head(&gate));
        let seen = backend.records().len();
        let mut client = gateway.client().await;
        client.send(gateway.chat("m").bytes()).await;
        backend.requests(seen + 1).await;
        client.hang_up(how).await;
        backend.idle().await;
    }
    let (_, site) = gateway.finish_keeping(&[&backend]).await;
    let database = site.database_path();
    let rows = table(&database, "ledger").await;
    let mut phases: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["phase"].as_str().unwrap(),
                row["model"].as_str().unwrap(),
                row["attempts"].as_i64().unwrap(),
            )
        })
        .collect();
    phases.sort_unstable();
    assert_eq!(
        phases,
        [
            ("reading_body", "", 0),
            ("reading_body", "", 0),
            ("waiting_headers", "m", 1),
            ("waiting_headers", "m", 1)
        ]
    );
    for row in &rows {
        assert_shape(row);
        assert_eq!(
            (&row["outcome"], &row["http_status"], &row["ttft_ms"]),
            (&json!("client_closed"), &json!(499), &Value::Null)
        );
    }
}
