use std::collections::VecDeque;

/// Amounts counted over a sliding span of ticks. Sparse: an idle window holds nothing.
///
/// Ticks are coarse. A tick that is only partly inside the span counts in full, so that no real span of this length
/// exceeds the limit.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// (tick, amount), oldest first.
    counted: VecDeque<(u64, u64)>,
    total: u64,
}

impl Window {
    /// Forgets what is older than the span.
    pub(super) fn expire(&mut self, now: u64, span: u64) {
        while let Some(&(tick, amount)) = self.counted.front() {
            if tick + span >= now {
                break;
            }
            self.total -= amount;
            self.counted.pop_front();
        }
    }

    /// The amount within the span. Call [`Window::expire`] first.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn add(&mut self, now: u64, amount: u64) {
        if amount == 0 {
            return;
        }
        self.total = self.total.saturating_add(amount);
        // A caller may have read the time before it waited for a lock, so later ticks may already be counted.
        match self.counted.binary_search_by_key(&now, |&(tick, _)| tick) {
            Ok(at) => self.counted[at].1 = self.counted[at].1.saturating_add(amount),
            Err(at) => self.counted.insert(at, (now, amount)),
        }
    }

    /// Takes back what was counted at `tick`, if it is still in the span.
    pub(super) fn take_back(&mut self, tick: u64, amount: u64) -> u64 {
        let Ok(at) = self.counted.binary_search_by_key(&tick, |(tick, _)| *tick) else {
            return 0;
        };
        let taken = amount.min(self.counted[at].1);
        self.counted[at].1 -= taken;
        self.total -= taken;
        if self.counted[at].1 == 0 {
            self.counted.remove(at);
        }
        taken
    }

    /// Ticks from `now` until `amount` more fits under `limit`, if nothing else is counted.
    pub(super) fn wait_for(&self, amount: u64, limit: u64, now: u64, span: u64) -> u64 {
        let mut total = self.total;
        for &(tick, counted) in &self.counted {
            if total.saturating_add(amount) <= limit {
                break;
            }
            total -= counted;
            if total.saturating_add(amount) <= limit {
                return (tick + span + 1).saturating_sub(now);
            }
        }
        0
    }

    /// Ticks from `now` until nothing is left in the span.
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
        /// No span of `SPAN` ticks exceeds the limit, and the wait that is named is exact.
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

    #[test]
    fn what_was_counted_late_can_be_taken_back() {
        let mut window = Window::default();
        window.add(11, 5);
        window.add(10, 7);
        assert_eq!(window.take_back(10, 7), 7);
        assert_eq!(window.total(), 5);
        window.expire(11 + SPAN, SPAN);
        assert_eq!(window.take_back(11, 5), 5);
    }

    #[test]
    fn what_is_taken_back_is_free_again() {
        let mut window = Window::default();
        window.add(1, 7);
        window.add(2, 5);
        assert_eq!(window.take_back(1, 7), 7);
        assert_eq!(window.total(), 5);
        assert_eq!(window.take_back(1, 7), 0, "only once");
        window.expire(2 + SPAN + 1, SPAN);
        assert_eq!(window.total(), 0);
    }
}
