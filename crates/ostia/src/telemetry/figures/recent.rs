use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ostia_core::Outcome;
use parking_lot::Mutex;

use super::{FIRST_TOKENS, Figures, Histogram, Reading};
use crate::telemetry::ErrorCounts;

/// How many minutes are remembered.
const MINUTES: usize = 60;

/// What was counted in each of the last minutes. It is read from the counters that requests add to, so that no request
/// does anything for it.
#[derive(Default)]
pub struct Recent(Mutex<Minutes>);

#[derive(Default)]
struct Minutes {
    /// The counters when the present minute began.
    before: Counted,
    began: Option<Instant>,
    /// The oldest first.
    past: VecDeque<(Instant, Counted)>,
}

/// What was counted within some time. Models and codes without any count are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    pub models: BTreeMap<Box<str>, ModelCounts>,
    /// Answers with an error, by code.
    pub errors: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCounts {
    /// Requests in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Milliseconds to the first byte.
    pub first_token: Reading,
}

impl Recent {
    /// Ends a minute. To be called every minute.
    pub fn turn(&self, now: Instant, figures: &Figures, errors: &ErrorCounts) {
        let mut minutes = self.0.lock();
        let counters = Counted::of(figures, errors);
        let minute = counters.since(&minutes.before);
        if let Some(began) = minutes.began {
            minutes.past.push_back((began, minute));
        }
        if minutes.past.len() > MINUTES {
            minutes.past.pop_front();
        }
        minutes.before = counters;
        minutes.began = Some(now);
    }

    /// What was counted in the last `whole` minutes and in the present one, and since when. There may be fewer.
    pub fn last(
        &self,
        whole: usize,
        figures: &Figures,
        errors: &ErrorCounts,
    ) -> (Counted, Option<Instant>) {
        // Locked before it reads, so that no minute ends in between.
        let minutes = self.0.lock();
        let counters = Counted::of(figures, errors);
        let mut sum = counters.since(&minutes.before);
        let past = minutes.past.iter().rev().take(whole);
        let mut since = minutes.began;
        for (began, minute) in past {
            sum.add(minute);
            since = Some(*began);
        }
        (sum, since)
    }
}

impl Counted {
    /// Everything since the start.
    pub fn of(figures: &Figures, errors: &ErrorCounts) -> Self {
        let mut models = BTreeMap::<Box<str>, ModelCounts>::new();
        for series in figures.series() {
            let model = models.entry(series.model.clone()).or_default();
            let at = Outcome::ALL
                .iter()
                .position(|outcome| *outcome == series.outcome);
            if let Some(count) = at.and_then(|at| model.outcomes.get_mut(at)) {
                *count += series.duration.read().count();
            }
            model.prompt_tokens += series.prompt_tokens.read().sum;
            model.completion_tokens += series.completion_tokens.read().sum;
            model.first_token.add(&series.first_token.read());
        }
        Self {
            models,
            errors: errors.all().into_iter().collect(),
        }
    }

    /// The difference to `before`.
    fn since(&self, before: &Self) -> Self {
        let none = ModelCounts::default();
        let models = self.models.iter().filter_map(|(name, now)| {
            let grown = now.since(before.models.get(name).unwrap_or(&none));
            (grown != none).then(|| (name.clone(), grown))
        });
        let errors = self.errors.iter().filter_map(|(code, now)| {
            let grown = now - before.errors.get(code).copied().unwrap_or(0);
            (grown > 0).then_some((*code, grown))
        });
        Self {
            models: models.collect(),
            errors: errors.collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        for (name, counts) in &other.models {
            self.models.entry(name.clone()).or_default().add(counts);
        }
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
    }

    /// All models together.
    pub fn total(&self) -> ModelCounts {
        let mut total = ModelCounts::default();
        self.models.values().for_each(|counts| total.add(counts));
        total
    }
}

impl ModelCounts {
    pub fn requests(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    pub fn answered(&self) -> u64 {
        let outcomes = Outcome::ALL.iter().zip(&self.outcomes);
        let ok = outcomes.filter(|(outcome, _)| **outcome == Outcome::Ok);
        ok.map(|(_, count)| count).sum()
    }

    /// `before` is an earlier count of the same model.
    fn since(&self, before: &Self) -> Self {
        let mut outcomes = self.outcomes;
        for (now, then) in outcomes.iter_mut().zip(before.outcomes) {
            *now -= then;
        }
        Self {
            outcomes,
            prompt_tokens: self.prompt_tokens - before.prompt_tokens,
            completion_tokens: self.completion_tokens - before.completion_tokens,
            first_token: self.first_token.since(&before.first_token),
        }
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.outcomes.iter_mut().zip(other.outcomes) {
            *mine += theirs;
        }
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.first_token.add(&other.first_token);
    }
}

impl Default for ModelCounts {
    fn default() -> Self {
        Self {
            outcomes: [0; Outcome::ALL.len()],
            prompt_tokens: 0,
            completion_tokens: 0,
            first_token: Histogram::new(FIRST_TOKENS).read(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ostia_core::{Clock as _, LedgerRow, Observer as _, SystemClock};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    struct Rig {
        figures: Figures,
        errors: ErrorCounts,
        recent: Recent,
        start: Instant,
        turns: u32,
    }

    impl Rig {
        fn new() -> Self {
            let rig = Self {
                figures: Figures::default(),
                errors: ErrorCounts::default(),
                recent: Recent::default(),
                start: SystemClock.now(),
                turns: 0,
            };
            rig.recent.turn(rig.start, &rig.figures, &rig.errors);
            rig
        }

        fn answer(&self, model: &str, first: u64) {
            self.figures.closed(&LedgerRow {
                model: model.into(),
                outcome: Outcome::Ok,
                attempts: 1,
                ttft_ms: Some(first),
                prompt_tokens: 5,
                completion_tokens: 2,
                ..LedgerRow::default()
            });
        }

        fn turn(&mut self) {
            self.turns += 1;
            let now = self.start + MINUTE * self.turns;
            self.recent.turn(now, &self.figures, &self.errors);
        }

        fn last(&self, whole: usize) -> (Counted, Option<Duration>) {
            let (counted, since) = self.recent.last(whole, &self.figures, &self.errors);
            (counted, since.map(|since| since - self.start))
        }
    }

    #[test]
    fn only_the_last_minutes_count() {
        let mut rig = Rig::new();
        rig.answer("slow", 20_000);
        rig.errors.count(Some("rate_limited"));
        assert_eq!(rig.last(5).0.total().requests(), 1, "at once");
        for _ in 0..5 {
            rig.turn();
        }
        rig.answer("fast", 30);
        rig.answer("fast", 30);
        let (all, since) = rig.last(5);
        assert_eq!((all.total().requests(), since), (3, Some(Duration::ZERO)));
        assert_eq!(all.errors, BTreeMap::from([("rate_limited", 1)]));
        rig.turn();
        let (recent, since) = rig.last(5);
        assert_eq!(since, Some(MINUTE));
        assert_eq!(recent.errors, BTreeMap::new());
        let [(name, fast)] = &recent.models.into_iter().collect::<Vec<_>>()[..] else {
            panic!("one model was called")
        };
        assert_eq!((&**name, fast.requests(), fast.answered()), ("fast", 2, 2));
        assert_eq!((fast.prompt_tokens, fast.completion_tokens), (10, 4));
        assert!(fast.first_token.quantile(0.99).unwrap() <= 40.0);
        assert_eq!(rig.last(60).0.total().requests(), 3);
    }

    #[test]
    fn an_hour_is_remembered_and_no_more() {
        let mut rig = Rig::new();
        for _ in 0..100 {
            rig.answer("m", 1);
            rig.turn();
        }
        let (hour, since) = rig.last(60);
        assert_eq!(hour.total().requests(), 60);
        assert_eq!(since, Some(MINUTE * 40));
        assert_eq!(rig.last(1_000).0.total().requests(), 60);
        let all = Counted::of(&rig.figures, &rig.errors);
        assert_eq!(all.total().requests(), 100);
    }
}
