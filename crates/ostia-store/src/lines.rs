//! The lines of a report, as its parts are read.

use std::collections::HashMap;

use ostia_core::UsageRow;

use crate::block::{Counted, Damaged, Names, Sums, View};
use crate::calendar::{Calendar, day_name, first_day, hour_name, month_name, month_of_day};
use crate::columns::{HOUR_MICROS, count};
use crate::levels::{DIMENSIONS, OUTCOME, USER};
use crate::report::{Part, Plan, Time};

/// The time and the dimensions, in the order of the query; 0 where it has fewer.
type Key = [u32; DIMENSIONS.len() + 1];

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    sums: Sums,
    ok: i64,
    refused: i64,
    failed: i64,
}

pub(crate) struct Lines {
    plan: Plan,
    calendar: Calendar,
    /// Of each of the plan's dimensions.
    names: Vec<Names>,
    lines: Vec<(Key, Counts)>,
    /// Where in `lines` a key is, by the dimension that blocks are sorted by: what is looked up together is close together.
    places: Vec<HashMap<Key, u32, foldhash::fast::RandomState>>,
    /// Which value of a key that is.
    outer: usize,
}

impl Lines {
    pub(crate) fn new(plan: Plan, calendar: Calendar) -> Self {
        Self {
            names: plan.dimensions.iter().map(|_| Names::default()).collect(),
            outer: plan.first_dimension().map_or(0, |at| at + 1),
            plan,
            calendar,
            lines: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Adds what a block has of a part. `period`: the number of the block's day or month.
    pub(crate) fn add_block(
        &mut self,
        part: &Part,
        period: i64,
        bytes: &[u8],
    ) -> Result<(), Damaged> {
        let view = View::of(bytes)?;
        let [users, .., outcomes] = &view.names;
        let user = match &self.plan.user {
            None => None,
            Some(user) => match users.iter().position(|name| name == user) {
                None => return Ok(()),
                Some(place) => Some(place),
            },
        };
        let counted: Vec<Counted> = outcomes.iter().map(|name| Counted::of(name)).collect();
        let places = self.places(&view);
        let columns: Vec<_> = self
            .plan
            .dimensions
            .iter()
            .map(|at| view.column(*at))
            .collect();
        let (users, outcomes, hours) = (view.column(USER), view.column(OUTCOME), part.hours());
        let mut key = Key::default();
        let [time, ..] = &mut key;
        *time = self.plan.time_of(part, period);
        let mut run = (key, Counts::default());
        for at in 0..view.len {
            if user.is_some_and(|user| users.small(at) as usize != user) {
                continue;
            }
            let hour = view.hour(at);
            if hours.is_some_and(|(from, to)| !(from..to).contains(&i64::from(hour))) {
                continue;
            }
            let [time, values @ ..] = &mut key;
            if self.plan.time == Time::Hour {
                *time = hour;
            }
            for ((value, column), places) in values.iter_mut().zip(&columns).zip(&places) {
                let place = places.get(column.small(at) as usize);
                *value = place.copied().ok_or(Damaged)?;
            }
            if key != run.0 {
                self.close(&run);
                run = (key, Counts::default());
            }
            let counted = counted.get(outcomes.small(at) as usize);
            run.1.take(view.sums(at), *counted.ok_or(Damaged)?);
        }
        self.close(&run);
        Ok(())
    }

    /// Adds a line that was summed up from rows. `time`: as `plan.time` says.
    pub(crate) fn add_line(&mut self, time: i64, names: &[String], line: &UsageRow) {
        let mut key = Key::default();
        let [first, values @ ..] = &mut key;
        *first = u32::try_from(time).unwrap_or(0);
        for ((value, known), name) in values.iter_mut().zip(&mut self.names).zip(names) {
            *value = known.place(name);
        }
        let counts = Counts {
            sums: Sums {
                requests: count(line.requests),
                prompt_tokens: count(line.prompt_tokens),
                completion_tokens: count(line.completion_tokens),
                total_tokens: count(line.total_tokens),
            },
            ok: count(line.ok),
            refused: count(line.refused),
            failed: count(line.failed),
        };
        self.close(&(key, counts));
    }

    /// In the order of their keys.
    pub(crate) fn finish(mut self) -> Vec<UsageRow> {
        if self.plan.by.is_empty() {
            self.put(&Key::default(), &Counts::default());
        }
        let ranks: Vec<Vec<u32>> = self.names.iter().map(Names::ranks).collect();
        let order = self.plan.order();
        let rank = |key: &Key| {
            let mut ranked = Key::default();
            for (ranked, place) in ranked.iter_mut().zip(&order) {
                let value = key.get(*place).copied().unwrap_or(0);
                *ranked = match place.checked_sub(1).and_then(|at| ranks.get(at)) {
                    None => value,
                    Some(ranks) => ranks.get(value as usize).copied().unwrap_or(0),
                };
            }
            ranked
        };
        let all = self.plan.by.is_empty();
        let mut lines: Vec<(Key, Key, Counts)> = self
            .lines
            .iter()
            // What gave way to other rows leaves a line without requests.
            .filter(|(_, counts)| all || counts.sums.requests > 0)
            .map(|(key, counts)| (rank(key), *key, *counts))
            .collect();
        lines.sort_unstable_by_key(|(rank, ..)| *rank);
        let calendar = &mut self.calendar;
        let row = |(_, key, counts): (Key, Key, Counts)| {
            let keys = self.plan.by.iter().zip(&order);
            let keys = keys.map(|(by, place)| match place.checked_sub(1) {
                Some(at) => {
                    let value = key.get(*place).copied().unwrap_or(0);
                    let names = self.names.get(at);
                    names
                        .and_then(|names| names.text(value))
                        .unwrap_or("")
                        .to_owned()
                }
                None => time_name(
                    by,
                    self.plan.time,
                    key.first().copied().unwrap_or(0),
                    calendar,
                ),
            });
            counts.row(keys.collect())
        };
        lines.into_iter().map(row).collect()
    }

    /// For each of the plan's dimensions, the places that a block's names have here.
    fn places(&mut self, view: &View<'_>) -> Vec<Vec<u32>> {
        let dimensions = self.plan.dimensions.iter().zip(&mut self.names);
        let places = dimensions.map(|(at, names)| {
            let theirs = view.names.get(*at).map_or(&[][..], Vec::as_slice);
            theirs.iter().map(|name| names.place(name)).collect()
        });
        places.collect()
    }

    fn close(&mut self, (key, counts): &(Key, Counts)) {
        if counts.sums != Sums::default() {
            self.put(key, counts);
        }
    }

    fn put(&mut self, key: &Key, counts: &Counts) {
        let outer = match self.outer {
            0 => 0,
            at => key.get(at).copied().unwrap_or(0) as usize,
        };
        if self.places.len() <= outer {
            self.places.resize_with(outer + 1, HashMap::default);
        }
        let next = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let places = self.places.get_mut(outer);
        let place = places.map_or(next, |places| *places.entry(*key).or_insert(next));
        match self.lines.get_mut(place as usize) {
            Some((_, held)) => held.add(counts),
            None => self.lines.push((*key, *counts)),
        }
    }
}

impl Counts {
    fn take(&mut self, sums: Sums, counted: Counted) {
        let counter = match counted {
            Counted::Ok => Some(&mut self.ok),
            Counted::Refused => Some(&mut self.refused),
            Counted::Failed => Some(&mut self.failed),
            Counted::Otherwise => None,
        };
        if let Some(counter) = counter {
            *counter = counter.saturating_add(sums.requests);
        }
        self.sums.add(&sums);
    }

    fn add(&mut self, more: &Self) {
        self.sums.add(&more.sums);
        self.ok = self.ok.saturating_add(more.ok);
        self.refused = self.refused.saturating_add(more.refused);
        self.failed = self.failed.saturating_add(more.failed);
    }

    fn row(&self, keys: Vec<String>) -> UsageRow {
        let number = |sum: i64| u64::try_from(sum).unwrap_or(0);
        UsageRow {
            keys,
            requests: number(self.sums.requests),
            ok: number(self.ok),
            refused: number(self.refused),
            failed: number(self.failed),
            prompt_tokens: number(self.sums.prompt_tokens),
            completion_tokens: number(self.sums.completion_tokens),
            total_tokens: number(self.sums.total_tokens),
        }
    }
}

fn time_name(by: &str, time: Time, number: u32, calendar: &mut Calendar) -> String {
    let number = i64::from(number);
    let day = match time {
        Time::Hour => calendar.day(number.saturating_mul(HOUR_MICROS)),
        Time::Month => first_day(number),
        Time::Day | Time::None => number,
    };
    match by {
        "hour" => hour_name(number),
        "day" => day_name(day),
        _ => month_name(month_of_day(day)),
    }
}
