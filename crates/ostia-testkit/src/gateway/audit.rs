//! The invariants between the backends' records and the ledger after every test.

use std::collections::{BTreeMap, BTreeSet};

use super::Row;
use crate::backend::{Ending, Record};

/// The outcomes that a final row may have.
const OUTCOMES: [&str; 6] = [
    "ok",
    "client_closed",
    "upstream_error",
    "upstream_timeout",
    "rejected",
    "interrupted",
];

/// Every breach, described; empty if the books are right.
pub fn audit(records: &[Record], rows: &[Row]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut seen: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records.iter().filter(|record| {
        let received = &record.received;
        received.method == "POST" || received.request_id().is_some()
    }) {
        for breach in &record.received.breaches {
            breaches.push(format!("the backend was sent bad HTTP: {breach}"));
        }
        match record.received.request_id() {
            Some(id) => seen.entry(id).or_default().push(record),
            None => breaches.push(format!(
                "request {} came without x-request-id",
                record.number
            )),
        }
    }
    let mut ids = BTreeSet::new();
    for row in rows {
        if !ids.insert(&*row.request_id) {
            breaches.push(format!("{} has two rows", row.request_id));
        }
        let attempts = seen.get(&*row.request_id).map_or(&[][..], Vec::as_slice);
        audit_row(row, attempts, &mut breaches);
    }
    for (id, attempts) in &seen {
        if !ids.contains(id) {
            breaches.push(format!(
                "{id} reached a backend {} times and has no row",
                attempts.len()
            ));
        }
    }
    breaches
}

fn audit_row(row: &Row, attempts: &[&Record], breaches: &mut Vec<String>) {
    let mut breach =
        |text: String| breaches.push(format!("{} ({}): {text}", row.request_id, row.outcome));
    if !OUTCOMES.contains(&&*row.outcome) {
        breach("no such outcome".to_owned());
    }
    if row.finished_at < row.started_at || row.duration_ms < 0 {
        breach("ended before it began".to_owned());
    }
    if (row.attempts as usize) < attempts.len() {
        breach(format!(
            "{} attempts in the row, {} seen by backends",
            row.attempts,
            attempts.len()
        ));
    }
    if row.upstream_status != 0 && attempts.is_empty() {
        breach(format!(
            "upstream status {} and no backend saw it",
            row.upstream_status
        ));
    }
    if row.outcome != "ok" {
        return;
    }
    if !(200..300).contains(&row.http_status) {
        breach(format!("status {}", row.http_status));
    }
    match attempts.last() {
        None => breach("no backend saw it".to_owned()),
        Some(last) if last.ending != Some(Ending::Answered) => {
            breach(format!("the backend's answer ended as {:?}", last.ending));
        }
        Some(last) => match last.reported {
            Some(reported) if (row.tokens, &*row.usage_source) != (reported, "upstream") => {
                breach(format!(
                    "the backend reported {reported:?}, the row says {:?} ({})",
                    row.tokens, row.usage_source
                ))
            }
            _ => {}
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::backend::{FakeBackend, Script, Tokens};
    use crate::client::{RawClient, Request};

    fn good_row() -> Row {
        Row {
            request_id: "id-1".to_owned(),
            http_status: 200,
            outcome: "ok".to_owned(),
            tokens: Tokens::new(11, 3),
            usage_source: "upstream".to_owned(),
            upstream_status: 200,
            attempts: 1,
            ..Row::default()
        }
    }

    async fn record(script: Script) -> Vec<Record> {
        let backend = FakeBackend::start().await;
        backend.otherwise(script);
        let request = Request::post("/v1/chat/completions").header("x-request-id", "id-1");
        let mut client = RawClient::connect(backend.address()).await;
        client
            .send(request.json(&json!({"model": "m"})).bytes())
            .await;
        client.begin().await.ok();
        backend.ended(1).await
    }

    #[tokio::test]
    async fn sound_books_pass_and_each_kind_of_lie_is_told() {
        let records = record(Script::completion()).await;
        assert_eq!(audit(&records, &[good_row()]), Vec::<String>::new());

        let lies: [(Vec<Row>, &str); 7] = [
            (vec![], "has no row"),
            (vec![good_row(), good_row()], "has two rows"),
            (
                vec![Row {
                    tokens: Tokens::new(11, 2),
                    ..good_row()
                }],
                "the backend reported",
            ),
            (
                vec![Row {
                    usage_source: "estimated".to_owned(),
                    ..good_row()
                }],
                "the backend reported",
            ),
            (
                vec![Row {
                    attempts: 0,
                    ..good_row()
                }],
                "seen by backends",
            ),
            (
                vec![Row {
                    http_status: 502,
                    ..good_row()
                }],
                "status 502",
            ),
            (
                vec![
                    good_row(),
                    Row {
                        request_id: "id-2".to_owned(),
                        ..good_row()
                    },
                ],
                "no backend saw it",
            ),
        ];
        for (rows, lie) in lies {
            let breaches = audit(&records, &rows);
            assert!(
                breaches.iter().any(|breach| breach.contains(lie)),
                "{lie}: {breaches:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_broken_answer_is_not_ok() {
        let records = record(Script::reset()).await;
        assert_eq!(audit(&records, &[good_row()]).len(), 1);
        let row = Row {
            outcome: "upstream_error".to_owned(),
            http_status: 502,
            ..good_row()
        };
        assert_eq!(audit(&records, &[row]), Vec::<String>::new());
    }
}
