//! Lists, one page at a time: the next `limit` entries whose names sort after `after`.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::asked::Asked;
use crate::refusal::Refusal;

const USUAL: usize = 100;
const MOST: usize = 1_000;

/// One page of a list, sorted by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page<T> {
    pub object: String,
    pub data: Vec<T>,
    pub has_more: bool,
    /// The name of the last entry: pass it as `after` to get the next page.
    pub last: Option<String>,
    /// The number of entries on all pages.
    pub total: usize,
}

impl<T> Page<T> {
    /// Describes only the entries of this page.
    pub(super) fn of<E>(
        mut entries: Vec<E>,
        asked: &Asked,
        name: impl Fn(&E) -> &str,
        describe: impl Fn(&E) -> T,
    ) -> Result<Self, Refusal> {
        let limit = match asked.query("limit") {
            None => USUAL,
            Some(text) => limit(&text)?,
        };
        let after = asked.query("after").unwrap_or_default();
        entries.sort_by(|a, b| name(a).cmp(name(b)));
        let total = entries.len();
        let from =
            entries.partition_point(|entry| !after.is_empty() && name(entry) <= after.as_str());
        let rest = entries.get(from..).unwrap_or_default();
        let shown = &rest[..limit.min(rest.len())];
        Ok(Self {
            object: "list".to_owned(),
            has_more: shown.len() < rest.len(),
            last: shown.last().map(|entry| name(entry).to_owned()),
            data: shown.iter().map(describe).collect(),
            total,
        })
    }
}

fn limit(text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or_else(|| {
        let text = format!("`limit` must be a whole number from 1 to {MOST}.");
        Refusal::client(StatusCode::BAD_REQUEST, "invalid_value", text).with_param("limit")
    })
}
