use std::collections::VecDeque;

/// Steps of [`Window::wait_for`] at most: a debt that takes longer than ten spans to pay is not forecast to the tick.
const MOST_STEPS: usize = 600;

/// Amounts counted over a sliding span of ticks. Sparse: an idle window holds nothing.
///
/// Ticks are coarse, and a tick that is partly out of the span counts in full, so that no real span of this length lets
/// through more than the limit.
///
/// A debt is usage beyond the limit. Amounts that leave the span pay the debt first, at the tick at which they leave,
/// so that over a long time no more is used than the limit allows.
#[derive(Debug, Default, Clone)]
pub(super) struct Window {
    /// (tick, amount), oldest first.
    counted: VecDeque<(u64, u64)>,
    total: u64,
    debt: u64,
}

impl Window {
    /// Forgets what is out of the span, and pays debts with it.
    pub(super) fn expire(&mut self, now: u64, span: u64) {
        while let Some(&(tick, amount)) = self.counted.front() {
            if tick + span >= now {
                break;
            }
            self.counted.pop_front();
            self.total -= amount;
            let paid = amount.min(self.debt);
            self.debt -= paid;
            self.add(tick + span + 1, paid);
        }
    }

    /// What is counted in the span; call [`Window::expire`] first.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// (tick, amount), oldest first: with the debt, all that there is to know.
    pub(super) fn ticks(&self) -> Vec<(u64, u64)> {
        self.counted.iter().copied().collect()
    }

    pub(super) fn restored(ticks: Vec<(u64, u64)>, debt: u64) -> Self {
        let mut window = Self {
            debt,
            ..Self::default()
        };
        for (tick, amount) in ticks {
            window.add(tick, amount);
        }
        window
    }

    /// What is still owed.
    pub(super) fn debt(&self) -> u64 {
        self.debt
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0 && self.debt == 0
    }

    pub(super) fn add(&mut self, now: u64, amount: u64) {
        if amount == 0 {
            return;
        }
        self.total = self.total.saturating_add(amount);
        // Others may have counted later ticks already, where this one was taken before a lock.
        match self.counted.binary_search_by_key(&now, |&(tick, _)| tick) {
            Ok(at) => self.counted[at].1 = self.counted[at].1.saturating_add(amount),
            Err(at) => self.counted.insert(at, (now, amount)),
        }
    }

    /// Counts unreserved usage: under the limit while there is room, the rest as a debt. A limit of 0 means none.
    pub(super) fn charge(&mut self, now: u64, amount: u64, limit: u64) {
        if limit == 0 {
            return;
        }
        let fits = amount.min(limit.saturating_sub(self.total));
        self.add(now, fits);
        self.debt = self.debt.saturating_add(amount - fits);
    }

    /// Takes back what was counted at `tick`, if it still counts. A debt is paid with it first.
    pub(super) fn take_back(&mut self, tick: u64, amount: u64) {
        let paid = amount.min(self.debt);
        self.debt -= paid;
        let amount = amount - paid;
        let Ok(at) = self.counted.binary_search_by_key(&tick, |(tick, _)| *tick) else {
            return;
        };
        let taken = amount.min(self.counted[at].1);
        self.counted[at].1 -= taken;
        self.total -= taken;
        if self.counted[at].1 == 0 {
            self.counted.remove(at);
        }
    }

    /// Ticks from `now` until `amount` more fits under `limit`, if nothing else is counted or taken back. At most what
    /// the first debts of a long row take.
    pub(super) fn wait_for(&self, amount: u64, limit: u64, now: u64, span: u64) -> u64 {
        let mut later = self.clone();
        let mut at = now;
        for _ in 0..MOST_STEPS {
            if later.debt == 0 && later.total.saturating_add(amount) <= limit {
                break;
            }
            let Some(&(tick, _)) = later.counted.front() else {
                break;
            };
            at = (tick + span + 1).max(now);
            later.expire(at, span);
        }
        at - now
    }

    /// Ticks from `now` until nothing is counted any more.
    pub(super) fn wait_for_empty(&self, now: u64, span: u64) -> u64 {
        self.counted
            .back()
            .map_or(0, |&(tick, _)| (tick + span + 1).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use proptest::prelude::*;

    const SPAN: u64 = 10;

    proptest! {
        /// In no span of `SPAN` ticks more than the limit is let through, and the wait it names is exact.
        #[test]
        fn the_limit_holds_in_every_span(asks in prop::collection::vec((0u64..4, 1u64..30), 1..200)) {
            let limit = 50;
            let mut window = Window::default();
            let mut admitted: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (step, amount) in asks {
                now += step;
                window.expire(now, SPAN);
                if window.total() + amount <= limit {
                    window.add(now, amount);
                    admitted.push((now, amount));
                } else {
                    let wait = window.wait_for(amount, limit, now, SPAN);
                    prop_assert!(wait > 0);
                    let fits = |at: u64| {
                        let counted: u64 = admitted.iter().filter(|(tick, _)| tick + SPAN >= at).map(|(_, n)| n).sum();
                        counted + amount <= limit
                    };
                    prop_assert!(fits(now + wait));
                    prop_assert!(!fits(now + wait - 1));
                }
            }
            for start in 0..=now {
                let sum: u64 = admitted.iter().filter(|(tick, _)| (start..=start + SPAN).contains(tick)).map(|(_, n)| n).sum();
                prop_assert!(sum <= limit);
            }
        }
    }

    proptest! {
        /// Whatever requests use beyond what they reserved: over any time from the start no more is used than the limit
        /// allows, once the debts that are left are paid.
        #[test]
        fn debts_hold_the_long_run_rate(asks in prop::collection::vec((0u64..8, 1u64..30, 0u64..200), 1..200)) {
            let limit = 50;
            let mut window = Window::default();
            let mut used = 0;
            let mut now = 0;
            for (step, reserved, real) in asks {
                now += step;
                window.expire(now, SPAN);
                if window.debt() > 0 || window.total() + reserved > limit {
                    continue;
                }
                window.add(now, reserved);
                if real < reserved {
                    window.take_back(now, reserved - real);
                } else {
                    window.charge(now, real - reserved, limit);
                }
                used += real;
                prop_assert!(window.total() <= limit);
                let spans = now / (SPAN + 1) + 1;
                prop_assert!(used <= limit * spans + window.debt());
            }
        }
    }

    #[test]
    fn a_debt_is_paid_before_the_next_is_let_in_also_when_nobody_asks() {
        let mut window = Window::default();
        window.charge(0, 125, 50);
        assert_eq!((window.total(), window.debt()), (50, 75));
        assert_eq!(window.wait_for(1, 50, 0, SPAN), 22);
        window.expire(11, SPAN);
        assert_eq!((window.total(), window.debt()), (50, 25));
        window.expire(25, SPAN);
        assert_eq!((window.total(), window.debt()), (25, 0));
        window.expire(1_000_000, SPAN);
        assert!(window.is_empty());
    }

    #[test]
    fn what_comes_back_pays_a_debt_first() {
        let mut window = Window::default();
        window.add(1, 40);
        window.charge(2, 15, 50);
        assert_eq!((window.total(), window.debt()), (50, 5));
        window.take_back(1, 30);
        assert_eq!((window.total(), window.debt()), (25, 0));
    }

    #[test]
    fn what_was_counted_late_can_be_taken_back() {
        let mut window = Window::default();
        window.add(11, 5);
        window.add(10, 7);
        window.take_back(10, 7);
        assert_eq!(window.total(), 5);
        window.expire(11 + SPAN, SPAN);
        window.take_back(11, 5);
        assert!(window.is_empty());
    }

    #[test]
    fn what_is_taken_back_is_free_again_and_only_once() {
        let mut window = Window::default();
        window.add(1, 7);
        window.add(2, 5);
        window.take_back(1, 7);
        window.take_back(1, 7);
        assert_eq!(window.total(), 5);
        window.expire(2 + SPAN + 1, SPAN);
        assert!(window.is_empty());
    }
}
