//! A time from, and perhaps until, as pages ask for it.

use form_urlencoded::Serializer;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use maud::{Markup, html};

use super::answer::Fault;
use super::site::Case;

/// Days that are drawn at most.
const MOST_DAYS: usize = 400;
const SPANS: [(&str, &str); 5] = [
    ("1d", "last day"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
    ("90d", "last 90 days"),
    ("365d", "last year"),
];

pub(super) struct Range {
    /// Unix microseconds.
    pub since: i64,
    pub until: Option<i64>,
    now: i64,
    zone: TimeZone,
    /// As they were asked for.
    texts: [String; 2],
}

impl Range {
    /// What the query asks for: `since` and `until` as `GET /v1/usage` takes them.
    pub fn of(case: &Case<'_>, usual: &str) -> Result<Self, Fault> {
        let text = |name: &str| case.asked.query(name).unwrap_or_default();
        let (from, to) = (text("from"), text("to"));
        let (name, since) = match from.is_empty() {
            true => {
                let since = case.asked.query("since");
                ("since", since.unwrap_or_else(|| usual.to_owned()))
            }
            false => ("from", from),
        };
        let gateway = case.gateway();
        let zone = &case.live.settings.reports.timezone;
        let until = gateway.moment_of("to", &to)?;
        Ok(Self {
            since: gateway.moment_of(name, &since)?.unwrap_or(0),
            until,
            now: gateway.clock().unix_micros(),
            zone: TimeZone::get(zone).unwrap_or(TimeZone::UTC),
            texts: [since, to],
        })
    }

    /// The same as a query.
    pub fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("since", &self.texts[0]);
        if !self.texts[1].is_empty() {
            query.append_pair("to", &self.texts[1]);
        }
        query.finish()
    }

    /// Every day of it, as reports name days.
    pub fn days(&self) -> Vec<String> {
        let day = |micros: i64| {
            let at = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
            at.to_zoned(self.zone.clone()).date()
        };
        let last = day(self.until.map_or(self.now, |until| until.saturating_sub(1)));
        let mut next = day(self.since);
        let mut days = Vec::new();
        while next <= last && days.len() < MOST_DAYS {
            days.push(next.to_string());
            match next.checked_add(1.day()) {
                Ok(following) => next = following,
                Err(_) => break,
            }
        }
        days
    }

    /// Fields of a form that ask for it.
    pub fn fields(&self) -> Markup {
        let [since, to] = &self.texts;
        let is_date = since.parse::<Date>().is_ok() && since.len() == 10;
        html! {
            div {
                label for="since" { "Time" }
                select #since name="since" {
                    @for (value, words) in SPANS { option value=(value) selected[value == since] { (words) } }
                }
            }
            div {
                label for="from" { "Or from" }
                input #from type="date" name="from" value=[is_date.then_some(since)];
            }
            div {
                label for="to" { "To, not included" }
                input #to type="date" name="to" value=[(!to.is_empty()).then_some(to)];
            }
        }
    }
}
