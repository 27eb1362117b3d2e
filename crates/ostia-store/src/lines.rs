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

/// So many entries of a block are decoded at a time: they fit into the processor's cache.
const CHUNK: usize = 1_024;

/// Some entries of a block, column by column.
#[derive(Default)]
struct Chunk {
    len: usize,
    hours: Vec<u32>,
    users: Vec<u64>,
    outcomes: Vec<u64>,
    /// Of each of the plan's dimensions.
    values: Vec<Vec<u64>>,
    sums: [Vec<u64>; 4],
}

pub(crate) struct Lines {
    plan: Plan,
    calendar: Calendar,
    /// Of each of the plan's dimensions.
    names: Vec<Names>,
    keys: Vec<Key>,
    /// Of each key.
    counts: Vec<Counts>,
    index: Index,
}

impl Lines {
    pub(crate) fn new(plan: Plan, calendar: Calendar) -> Self {
        Self {
            names: plan.dimensions.iter().map(|_| Names::default()).collect(),
            index: Index::of(&plan),
            plan,
            calendar,
            keys: Vec::new(),
            counts: Vec::new(),
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
        let mut key = Key::default();
        key[0] = self.plan.time_of(part, period);
        let hours = part.hours().unwrap_or((0, i64::MAX));
        let by_hour = self.plan.time == Time::Hour;
        let (mut run, mut chunk) = ((key, Counts::default()), Chunk::default());
        for from in (0..view.len).step_by(CHUNK) {
            chunk.fill(&view, &self.plan.dimensions, from);
            for at in 0..chunk.len {
                let hour = chunk.hours[at];
                if user.is_some_and(|user| chunk.users[at] != user as u64)
                    || !(hours.0..hours.1).contains(&i64::from(hour))
                {
                    continue;
                }
                if by_hour {
                    key[0] = hour;
                }
                for (which, places) in places.iter().enumerate() {
                    let place = chunk.values[which][at];
                    key[which + 1] = *places.get(place as usize).ok_or(Damaged)?;
                }
                if key != run.0 {
                    self.close(&run);
                    run = (key, Counts::default());
                }
                let counted = counted.get(chunk.outcomes[at] as usize);
                run.1.take(chunk.sums(at), *counted.ok_or(Damaged)?);
            }
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
        let (by, time) = (&self.plan.by, self.plan.time);
        let calendar = &mut self.calendar;
        let mut rank = |key: &Key| {
            let mut ranked = Key::default();
            for ((ranked, place), by) in ranked.iter_mut().zip(&order).zip(by) {
                let value = key.get(*place).copied().unwrap_or(0);
                *ranked = match place.checked_sub(1) {
                    None => u32::try_from(time_number(by, time, value, calendar)).unwrap_or(0),
                    Some(at) => {
                        let ranks = ranks.get(at);
                        ranks
                            .and_then(|ranks| ranks.get(value as usize))
                            .copied()
                            .unwrap_or(0)
                    }
                };
            }
            ranked
        };
        let all = self.plan.by.is_empty();
        let mut lines: Vec<(Key, Key, Counts)> = self
            .keys
            .iter()
            .zip(&self.counts)
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
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let place = self.index.place(key, next);
        if let Some(held) = self.counts.get_mut(place as usize) {
            return held.add(counts);
        }
        self.keys.push(*key);
        self.counts.push(*counts);
    }
}

/// Where each key's counts are. Blocks are sorted by dimensions, and so is this: what is looked up together is close together.
struct Index {
    /// The place in a key of the dimension that comes first in blocks; 0 where there is none.
    outer: usize,
    /// The place of the only other value, if it is a dimension with few names.
    inner: Option<usize>,
    few: Vec<Vec<u32>>,
    many: Vec<HashMap<Key, u32, foldhash::fast::RandomState>>,
}

/// Names of a dimension that are looked up without a hash.
const FEW: usize = 1_024;

impl Index {
    fn of(plan: &Plan) -> Self {
        let outer = plan.first_dimension().map_or(0, |at| at + 1);
        let is_small = plan.time == Time::None && plan.dimensions.len() <= 2;
        // Of places 1 and 2 the other one; without a second dimension, a place that is always 0.
        let inner = is_small.then_some(if outer == 2 { 1 } else { outer + 1 });
        Self {
            outer,
            inner,
            few: Vec::new(),
            many: Vec::new(),
        }
    }

    /// The place of a key, which becomes `next` if it has none.
    fn place(&mut self, key: &Key, next: u32) -> u32 {
        let outer = if self.outer == 0 {
            0
        } else {
            key[self.outer] as usize
        };
        let inner = self.inner.map(|at| key[at] as usize);
        if let Some(inner) = inner.filter(|inner| *inner < FEW) {
            let places = grown(&mut self.few, outer);
            if places.len() <= inner {
                places.resize(inner + 1, u32::MAX);
            }
            let place = &mut places[inner];
            if *place == u32::MAX {
                *place = next;
            }
            return *place;
        }
        *grown(&mut self.many, outer).entry(*key).or_insert(next)
    }
}

fn grown<T: Default>(all: &mut Vec<T>, at: usize) -> &mut T {
    if all.len() <= at {
        all.resize_with(at + 1, T::default);
    }
    &mut all[at]
}

impl Chunk {
    fn fill(&mut self, view: &View<'_>, dimensions: &[usize], from: usize) {
        self.len = CHUNK.min(view.len - from);
        self.values.resize_with(dimensions.len(), Vec::new);
        let hours = &mut self.users;
        view.hours().fill(from, self.len, hours);
        self.hours.clear();
        self.hours
            .extend(hours.iter().map(|hour| view.hour_of(*hour)));
        view.column(USER).fill(from, self.len, &mut self.users);
        view.column(OUTCOME)
            .fill(from, self.len, &mut self.outcomes);
        for (values, at) in self.values.iter_mut().zip(dimensions) {
            view.column(*at).fill(from, self.len, values);
        }
        for (values, column) in self.sums.iter_mut().zip(view.sum_columns()) {
            column.fill(from, self.len, values);
        }
    }

    fn sums(&self, at: usize) -> Sums {
        let [requests, prompt_tokens, completion_tokens, more] = &self.sums;
        View::sums_of([
            requests[at],
            prompt_tokens[at],
            completion_tokens[at],
            more[at],
        ])
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
    let number = time_number(by, time, number, calendar);
    match by {
        "hour" => hour_name(number),
        "day" => day_name(number),
        _ => month_name(number),
    }
}

/// The number of the hour, day or month that `by` asks for, which may be coarser than what the lines are told apart by.
fn time_number(by: &str, time: Time, number: u32, calendar: &mut Calendar) -> i64 {
    let number = i64::from(number);
    let day = match time {
        Time::Hour => calendar.day(number.saturating_mul(HOUR_MICROS)),
        Time::Month => first_day(number),
        Time::Day | Time::None => number,
    };
    match by {
        "hour" => number,
        "day" => day,
        _ => month_of_day(day),
    }
}
