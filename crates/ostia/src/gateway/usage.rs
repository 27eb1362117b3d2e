//! Sums over the ledger, for `GET /v1/usage` and `/admin/usage`, and its rows for `/admin/usage/rows`.

use std::collections::BTreeMap;

use form_urlencoded::parse;
use http::StatusCode;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ostia_core::{
    Column, LedgerRow, Outcome, RequestId, RowFilter, RowPlace, RowsQuery, UsageQuery, UsageRow,
    Value as Held,
};
use serde_json::{Map, Value, json};

use super::Gateway;
use crate::config::duration;
use crate::refusal::Refusal;

/// The period of a report if the caller sets no beginning.
const DAYS: i64 = 30;
const DAY_MICROS: i64 = 86_400_000_000;
/// The most lines of one report. For more, use `ostia usage`, or a later `since`.
const MOST_LINES: usize = 10_000;
/// The columns that identify persons.
const PERSONAL: [&str; 2] = ["user", "key"];
/// A sum over fewer people would reveal facts about each of them.
const FEWEST: usize = 5;
/// Rows of one page.
const PAGE: u32 = 1_000;
/// How many requests are found at a time, and how far back by default.
const FOUND: u32 = 50;
const FOUND_DAYS: i64 = 7;

impl Gateway {
    /// The report for `query`. `only`: restricts it to this user's requests.
    pub(crate) async fn usage(&self, query: &str, only: Option<&str>) -> Result<Value, Refusal> {
        let known: &[&str] = match only {
            Some(_) => &["since", "until", "by"],
            None => &["since", "until", "by", "user"],
        };
        let asked = Asked::read(query, known)?;
        let default = if only.is_some() {
            "model"
        } else {
            "user,model"
        };
        let query = UsageQuery {
            since: self
                .moment(&asked, "since")?
                .unwrap_or_else(|| self.default_since()),
            until: self.moment(&asked, "until")?,
            user: only.or(asked.value("user")).map(str::to_owned),
            by: columns(asked.value("by").unwrap_or(default))?,
        };
        let rows = self.store().usage(&query).await?;
        let lines = rows.iter().take(MOST_LINES).map(|row| line(&query.by, row));
        Ok(json!({
            "object": "list",
            "data": lines.collect::<Vec<_>>(),
            "since": shown(query.since),
            "until": query.until.map(shown),
            "timezone": self.live().settings.reports.timezone,
            "has_more": rows.len() > MOST_LINES,
        }))
    }

    /// The same without persons: nobody is named, and sums over fewer than five people are left out.
    pub(crate) async fn usage_without_persons(&self, query: &str) -> Result<Value, Refusal> {
        let asked = Asked::read(query, &["since", "until", "by"])?;
        let by = columns(asked.value("by").unwrap_or("model"))?;
        if by.iter().any(|name| PERSONAL.contains(&&**name)) {
            let others = UsageQuery::BY
                .iter()
                .filter(|name| !PERSONAL.contains(name));
            let others: Vec<_> = others.copied().collect();
            return Err(refused("by", format!("some of {}", others.join(","))));
        }
        let query = UsageQuery {
            since: self
                .moment(&asked, "since")?
                .unwrap_or_else(|| self.default_since()),
            until: self.moment(&asked, "until")?,
            user: None,
            by: by.iter().cloned().chain(["user".to_owned()]).collect(),
        };
        let rows = self.store().usage(&query).await?;
        let lines = of_many(&rows);
        let shown = lines.iter().take(MOST_LINES).map(|row| line(&by, row));
        Ok(json!({
            "object": "list",
            "data": shown.collect::<Vec<_>>(),
            "since": self::shown(query.since),
            "until": query.until.map(self::shown),
            "timezone": self.live().settings.reports.timezone,
            "has_more": lines.len() > MOST_LINES,
        }))
    }

    /// A page of the ledger. Pass this page's `next` as `after` for the next one.
    pub(crate) async fn usage_rows(&self, query: &str) -> Result<Value, Refusal> {
        let asked = Asked::read(query, &["since", "until", "after", "limit"])?;
        let limit = asked.value("limit").map_or(Ok(PAGE), str::parse);
        let query = RowsQuery {
            since: self
                .moment(&asked, "since")?
                .unwrap_or_else(|| self.default_since()),
            until: self.moment(&asked, "until")?,
            after: asked.value("after").map(place).transpose()?,
            limit: limit
                .ok()
                .filter(|limit| (1..=PAGE).contains(limit))
                .ok_or_else(|| refused("limit", format!("a number from 1 to {PAGE}")))?,
        };
        let mut data = Vec::new();
        let mut take = |row: &LedgerRow<'_>| data.push(object(row));
        let last = self.store().rows(&query, &mut take).await?;
        Ok(json!({
            "object": "list",
            "data": data,
            "next": last.map(cursor),
            "has_more": last.is_some(),
        }))
    }

    /// Requests that match a search, the newest first. Pass this page's `next` as `before` for the next one.
    pub(crate) async fn find_requests(&self, query: &str) -> Result<Value, Refusal> {
        let known = [
            "request_id",
            "user",
            "model",
            "outcome",
            "code",
            "since",
            "until",
            "before",
            "limit",
        ];
        let asked = Asked::read(query, &known)?;
        let text = |name: &str| asked.value(name).filter(|text| !text.is_empty());
        let limit = text("limit").map_or(Ok(FOUND), str::parse);
        let id = text("request_id").map(str::parse::<RequestId>).transpose();
        let outcome = text("outcome").map(outcome).transpose()?;
        let filter = RowFilter {
            request_id: id.map_err(|_| refused("request_id", "the id of a request".to_owned()))?,
            users: text("user").map(str::to_owned).into_iter().collect(),
            model: text("model").map(str::to_owned),
            outcome,
            error_code: text("code").map(str::to_owned),
            failed: false,
            since: match (self.moment(&asked, "since")?, text("request_id")) {
                (Some(since), _) => since,
                (None, Some(_)) => 0,
                (None, None) => self.clock.unix_micros() - FOUND_DAYS * DAY_MICROS,
            },
            until: self.moment(&asked, "until")?,
            before: text("before").map(place).transpose()?,
            limit: limit
                .ok()
                .filter(|limit| (1..=PAGE).contains(limit))
                .ok_or_else(|| refused("limit", format!("a number from 1 to {PAGE}")))?,
        };
        let mut data = Vec::new();
        let mut take = |row: &LedgerRow<'_>| data.push(object(row));
        let last = self.store().find_rows(&filter, &mut take).await?;
        Ok(
            json!({"object": "list", "data": data, "next": last.map(cursor), "has_more": last.is_some()}),
        )
    }

    /// A moment in the notation of reports; "" means none.
    pub(crate) fn moment_of(&self, name: &str, text: &str) -> Result<Option<i64>, Refusal> {
        let values = (!text.is_empty()).then(|| (name.to_owned(), text.to_owned()));
        self.moment(&Asked(values.into_iter().collect()), name)
    }

    fn default_since(&self) -> i64 {
        self.clock.unix_micros() - DAYS * DAY_MICROS
    }

    /// A span before now (`7d`), a date in the zone of reports, or a timestamp.
    fn moment(&self, asked: &Asked, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = asked.value(name) else {
            return Ok(None);
        };
        let unit = text.ends_with(|last: char| last.is_ascii_lowercase());
        if let (true, Ok(span)) = (unit, duration(text)) {
            let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
            return Ok(Some(self.clock.unix_micros().saturating_sub(micros)));
        }
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(Some(moment.as_microsecond()));
        }
        // jiff would read the date at the start of a longer text and ignore the rest.
        let date = (text.len() == "2026-01-31".len())
            .then(|| text.parse::<Date>().ok())
            .flatten();
        let zone = TimeZone::get(&self.live().settings.reports.timezone).unwrap_or(TimeZone::UTC);
        let midnight = date.and_then(|date| date.to_zoned(zone).ok());
        match midnight {
            Some(midnight) => Ok(Some(midnight.timestamp().as_microsecond())),
            None => Err(refused(
                name,
                "7d, 12h, a date such as 2026-01-31, or a timestamp".to_owned(),
            )),
        }
    }
}

/// Adds up the lines of persons, whose names come last, and leaves out sums over too few.
fn of_many(rows: &[UsageRow]) -> Vec<UsageRow> {
    let mut sums: BTreeMap<&[String], (usize, UsageRow)> = BTreeMap::new();
    for row in rows {
        let Some((_, keys)) = row.keys.split_last() else {
            continue;
        };
        let (people, sum) = sums.entry(keys).or_insert_with(|| {
            let keys = keys.to_vec();
            let sum = UsageRow {
                keys,
                ..UsageRow::default()
            };
            (0, sum)
        });
        *people += 1;
        sum.add(row);
    }
    let many = sums.into_values().filter(|(people, _)| *people >= FEWEST);
    many.map(|(_, sum)| sum).collect()
}

/// The parameters of a request, each at most once.
struct Asked(BTreeMap<String, String>);

impl Asked {
    fn read(query: &str, known: &[&str]) -> Result<Self, Refusal> {
        let mut values = BTreeMap::new();
        for (name, value) in parse(query.as_bytes()) {
            if !known.contains(&&*name) {
                return Err(refused("query", format!("only {}", known.join(", "))));
            }
            values.insert(name.into_owned(), value.into_owned());
        }
        Ok(Self(values))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn columns(text: &str) -> Result<Vec<String>, Refusal> {
    let mut by: Vec<String> = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        if !UsageQuery::BY.contains(&name) {
            return Err(refused(
                "by",
                format!("some of {}", UsageQuery::BY.join(",")),
            ));
        }
        if !by.iter().any(|held| held == name) {
            by.push(name.to_owned());
        }
    }
    Ok(by)
}

fn refused(name: &str, expected: String) -> Refusal {
    let text = format!("`{name}`: expected {expected}.");
    Refusal::client(StatusCode::BAD_REQUEST, "invalid_value", text).with_param(name.to_owned())
}

fn line(by: &[String], row: &UsageRow) -> Value {
    let keys = by
        .iter()
        .cloned()
        .zip(row.keys.iter().map(|key| Value::from(key.as_str())));
    let counts = [
        ("requests", row.requests),
        ("ok", row.ok),
        ("refused", row.refused),
        ("failed", row.failed),
        ("prompt_tokens", row.prompt_tokens),
        ("completion_tokens", row.completion_tokens),
        ("total_tokens", row.total_tokens),
    ];
    let counts = counts.map(|(name, count)| (name.to_owned(), Value::from(count)));
    Value::Object(keys.chain(counts).collect::<Map<_, _>>())
}

fn object(row: &LedgerRow<'_>) -> Value {
    let values = Column::LEDGER.iter().zip(row.values());
    let members = values.map(|(column, value)| {
        let value = match value {
            Held::Id(id) => Value::from(id.to_string()),
            Held::Text(text) => Value::from(text),
            Held::Word { text, .. } => Value::from(text),
            Held::Stamp(micros) => Value::from(micros),
            Held::Flag(flag) => Value::from(flag),
            Held::Number(number) => Value::from(number),
            Held::Absent => Value::Null,
        };
        (column.name.to_owned(), value)
    });
    Value::Object(members.collect())
}

fn cursor(place: RowPlace) -> String {
    format!("{}.{}", place.started_at, place.request_id)
}

fn outcome(text: &str) -> Result<Outcome, Refusal> {
    let mut all = Outcome::ALL.iter().copied();
    let found = all.find(|outcome| outcome.as_str() == text);
    found.ok_or_else(|| refused("outcome", format!("one of {}", Outcome::WORDS.join(", "))))
}

fn place(text: &str) -> Result<RowPlace, Refusal> {
    let found = text.split_once('.').and_then(|(started_at, id)| {
        Some(RowPlace {
            started_at: started_at.parse().ok()?,
            request_id: id.parse::<RequestId>().ok()?,
        })
    });
    found.ok_or_else(|| refused("after", "`next` of the page before".to_owned()))
}

fn shown(micros: i64) -> String {
    Timestamp::from_microsecond(micros)
        .map_or_else(|_| micros.to_string(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_few_people_are_not_told() {
        let row = |model: &str, user: usize| UsageRow {
            keys: vec![model.to_owned(), format!("u{user}")],
            requests: 2,
            ..UsageRow::default()
        };
        let mut rows: Vec<_> = (0..5).map(|user| row("many", user)).collect();
        rows.extend((0..4).map(|user| row("few", user)));
        let told = of_many(&rows);
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].keys.concat(), told[0].requests),
            ("many".to_owned(), 10)
        );
    }
}
