use std::collections::HashMap;

use crate::admit::queue::Spent;

/// The sums of the present minute and of the one before, as the server keeps them.
pub(super) type Sums = (i64, HashMap<String, f64>, HashMap<String, f64>);

/// The last known sums of service, from which the additions of others are computed.
#[derive(Default)]
pub(super) struct Exchange {
    /// By minute and whose it is.
    seen: HashMap<(i64, String), f64>,
    has_begun: bool,
}

impl Exchange {
    /// It attributes what it finds at its first reading too.
    pub(super) fn begun() -> Self {
        Self {
            has_begun: true,
            ..Self::default()
        }
    }

    /// What other replicas added since the last time. `own`: what this one has just added to the present minute.
    pub(super) fn elsewhere(&mut self, own: &[(String, Spent)], sums: Sums) -> Vec<(String, f64)> {
        let (minute, present, before) = sums;
        let own: HashMap<&str, f64> = own
            .iter()
            .map(|(whose, of)| (&**whose, of.service))
            .collect();
        let mut added: HashMap<String, f64> = HashMap::new();
        for (of, sums) in [(minute, present), (minute - 1, before)] {
            for (whose, sum) in sums {
                let seen = self.seen.insert((of, whose.clone()), sum);
                let ours = match of == minute {
                    true => own.get(&*whose).copied().unwrap_or_default(),
                    false => 0.0,
                };
                let theirs = sum - seen.unwrap_or_default() - ours;
                // Amounts from before this process's first reading, or lost with the server, are not attributed.
                if self.has_begun && theirs.abs() > f64::EPSILON * sum.abs() {
                    *added.entry(whose).or_default() += theirs;
                }
            }
        }
        self.seen.retain(|(of, _), _| *of >= minute - 1);
        self.has_begun = true;
        added.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(minute: i64, present: &[(&str, f64)], before: &[(&str, f64)]) -> Sums {
        let map = |of: &[(&str, f64)]| of.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        (minute, map(present), map(before))
    }

    #[test]
    fn what_others_added_is_told_apart_over_the_turn_of_a_minute() {
        let mut exchange = Exchange::default();
        let own = |service: f64| {
            let spent = Spent {
                service,
                ..Spent::default()
            };
            vec![("ada".to_owned(), spent)]
        };
        let others = |of: f64| vec![("ada".to_owned(), of)];
        let first = exchange.elsewhere(&own(5.0), sums(7, &[("ada", 105.0)], &[("ada", 900.0)]));
        assert!(first.is_empty(), "what was before the first look");
        let next = exchange.elsewhere(&own(10.0), sums(7, &[("ada", 120.0)], &[("ada", 900.0)]));
        assert_eq!(next, others(5.0));
        // The minute turned: others added 7 to the old one and 2 to the new one.
        let turned = exchange.elsewhere(&own(1.0), sums(8, &[("ada", 3.0)], &[("ada", 127.0)]));
        assert_eq!(turned, others(9.0));
        let quiet = exchange.elsewhere(&[], sums(8, &[("ada", 3.0)], &[("ada", 127.0)]));
        assert!(quiet.is_empty());
    }
}
