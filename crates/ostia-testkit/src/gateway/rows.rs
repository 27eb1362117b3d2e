use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Connection, Row as _};

use crate::backend::Tokens;

/// A row of the table `ledger`, as an administrator would read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    pub request_id: String,
    pub username: String,
    pub key_id: String,
    pub project: String,
    pub model: String,
    pub endpoint_slug: String,
    pub served_model: String,
    pub api: String,
    pub stream: bool,
    pub http_status: u16,
    pub outcome: String,
    pub phase: String,
    pub error_code: String,
    pub tokens: Tokens,
    pub total_tokens: u64,
    pub usage_source: String,
    pub upstream_status: u16,
    pub attempts: u32,
    pub started_at: i64,
    pub finished_at: i64,
    pub ttft_ms: Option<i64>,
    pub duration_ms: i64,
    pub queue_ms: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// All rows of a SQLite ledger, in the order in which requests came.
pub async fn read_rows(database: &Path) -> Vec<Row> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .disable_statement_logging();
    let mut connection = options.connect().await.unwrap();
    let query = sqlx::query("SELECT * FROM ledger ORDER BY started_at, request_id");
    let rows = query.fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(read_row).collect()
}

fn read_row(row: &SqliteRow) -> Row {
    let text = |column: &str| row.get::<String, _>(column);
    let number = |column: &str| row.get::<i64, _>(column);
    let count = |column: &str| u64::try_from(number(column)).expect("counts are not negative");
    let code = |column: &str| u16::try_from(number(column)).expect("a status");
    Row {
        request_id: text("request_id"),
        username: text("username"),
        key_id: text("key_id"),
        project: text("project"),
        model: text("model"),
        endpoint_slug: text("endpoint_slug"),
        served_model: text("served_model"),
        api: text("api"),
        stream: number("stream") != 0,
        http_status: code("http_status"),
        outcome: text("outcome"),
        phase: text("phase"),
        error_code: text("error_code"),
        tokens: Tokens {
            prompt: count("prompt_tokens"),
            completion: count("completion_tokens"),
            cached: count("cached_tokens"),
            reasoning: count("reasoning_tokens"),
        },
        total_tokens: count("total_tokens"),
        usage_source: text("usage_source"),
        upstream_status: code("upstream_status"),
        attempts: u32::try_from(number("attempts")).expect("attempts"),
        started_at: number("started_at"),
        finished_at: number("finished_at"),
        ttft_ms: row.get("ttft_ms"),
        duration_ms: number("duration_ms"),
        queue_ms: count("queue_ms"),
        request_bytes: count("request_bytes"),
        response_bytes: count("response_bytes"),
    }
}
