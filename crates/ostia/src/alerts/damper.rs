use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Change, Trouble};

/// How long a problem must last before it is reported, and how long it must be gone before its end is: a flapping
/// problem is one alert.
const LASTS: Duration = Duration::from_secs(15);
const GONE: Duration = Duration::from_secs(60);

/// Turns the problems found at each check into alerts that fire and resolve.
#[derive(Default)]
pub(super) struct Damper {
    /// By fingerprint.
    known: HashMap<String, Known>,
}

struct Known {
    trouble: Trouble,
    since: Instant,
    began: i64,
    seen: Instant,
    fires: bool,
}

impl Damper {
    /// The changes since the last check. `wall`: Unix microseconds.
    pub(super) fn look(&mut self, troubles: Vec<Trouble>, now: Instant, wall: i64) -> Vec<Change> {
        for trouble in troubles {
            let known = self
                .known
                .entry(trouble.fingerprint())
                .or_insert_with(|| Known {
                    trouble: trouble.clone(),
                    since: now,
                    began: wall,
                    seen: now,
                    fires: false,
                });
            known.trouble = trouble;
            known.seen = now;
        }
        let mut changes = Vec::new();
        self.known.retain(|_, known| {
            let is_here = known.seen == now;
            if is_here && !known.fires && now.saturating_duration_since(known.since) >= LASTS {
                known.fires = true;
                changes.push(known.change(None));
            }
            let is_over = now.saturating_duration_since(known.seen) >= GONE;
            if known.fires && is_over {
                changes.push(known.change(Some(wall)));
            }
            // A problem that ended before it was reported is forgotten.
            is_here || (known.fires && !is_over)
        });
        changes
    }

    pub(super) fn firing(&self) -> Vec<Change> {
        let firing = self.known.values().filter(|known| known.fires);
        firing.map(|known| known.change(None)).collect()
    }
}

impl Known {
    fn change(&self, ended: Option<i64>) -> Change {
        Change {
            trouble: self.trouble.clone(),
            began: self.began,
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::{Clock as _, SystemClock};

    use super::super::Severity;
    use super::*;

    fn down() -> Vec<Trouble> {
        vec![Trouble {
            name: "endpoint_down",
            subject: "e".to_owned(),
            severity: Severity::Warning,
            summary: "text".to_owned(),
        }]
    }

    #[test]
    fn what_lasts_is_told_once_and_its_end_once() {
        let start = SystemClock.now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut damper = Damper::default();
        for second in [0, 5, 10] {
            assert_eq!(damper.look(down(), at(second), 0), []);
        }
        let changes = damper.look(down(), at(15), 9);
        assert_eq!((changes.len(), changes[0].status()), (1, "firing"));
        assert_eq!(changes[0].began, 0);
        for second in [20, 25] {
            assert_eq!(damper.look(down(), at(second), 0), []);
        }
        // It flaps: nothing is sent.
        for second in [30, 60, 80] {
            assert_eq!(damper.look(vec![], at(second), 0), []);
        }
        assert_eq!(damper.look(down(), at(84), 0), []);
        assert_eq!(damper.firing().len(), 1);
        assert_eq!(damper.look(vec![], at(143), 0), []);
        let changes = damper.look(vec![], at(144), 7);
        assert_eq!((changes.len(), changes[0].ended), (1, Some(7)));
        assert!(damper.firing().is_empty());
        assert_eq!(damper.look(vec![], at(300), 0), []);
    }

    #[test]
    fn what_ends_before_it_was_told_is_never_told() {
        let start = SystemClock.now();
        let mut damper = Damper::default();
        for step in 0..20 {
            let now = start + Duration::from_secs(step * 10);
            let troubles = if step % 2 == 0 { down() } else { vec![] };
            assert_eq!(damper.look(troubles, now, 0), []);
        }
    }
}
