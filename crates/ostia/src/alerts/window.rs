use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Outcome;

use super::{Severity, Trouble};
use crate::fleet::EndpointState;

/// The shortest period over which shares are computed.
const SPAN: Duration = Duration::from_secs(300);
/// With fewer requests nothing is concluded.
const LEAST: u64 = 20;
/// The percentage that is too high.
const FAILED: u64 = 10;
const ESTIMATED: u64 = 20;

/// The outcomes of recent requests, endpoint by endpoint.
#[derive(Default)]
pub(super) struct Window {
    began: Option<Instant>,
    /// Counts at the beginning.
    first: HashMap<Arc<str>, Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    ok: u64,
    errors: u64,
    timeouts: u64,
    estimated: u64,
}

impl Window {
    pub(super) fn look(&mut self, endpoints: &[Arc<EndpointState>], now: Instant) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for endpoint in endpoints {
            let first = self.first.get(endpoint.slug()).copied().unwrap_or_default();
            judge(
                endpoint.slug(),
                Counts::of(endpoint).since(first),
                &mut troubles,
            );
        }
        let is_over = |began: Instant| now.saturating_duration_since(began) >= SPAN;
        if self.began.is_none_or(is_over) {
            self.began = Some(now);
            let all = endpoints.iter();
            self.first = all
                .map(|one| (Arc::clone(one.slug()), Counts::of(one)))
                .collect();
        }
        troubles
    }
}

impl Counts {
    fn of(endpoint: &EndpointState) -> Self {
        let mut counts = Self {
            estimated: endpoint.estimated(),
            ..Self::default()
        };
        for (outcome, count) in endpoint.outcomes() {
            match outcome {
                Outcome::Ok => counts.ok = count,
                Outcome::UpstreamError => counts.errors = count,
                Outcome::UpstreamTimeout => counts.timeouts = count,
                Outcome::ClientClosed | Outcome::Rejected | Outcome::Interrupted => {}
            }
        }
        counts
    }

    const fn since(self, first: Self) -> Self {
        Self {
            ok: self.ok.saturating_sub(first.ok),
            errors: self.errors.saturating_sub(first.errors),
            timeouts: self.timeouts.saturating_sub(first.timeouts),
            estimated: self.estimated.saturating_sub(first.estimated),
        }
    }
}

fn judge(slug: &str, counts: Counts, troubles: &mut Vec<Trouble>) {
    let all = counts.ok + counts.errors + counts.timeouts;
    let failed = [
        (Outcome::UpstreamError, counts.errors),
        (Outcome::UpstreamTimeout, counts.timeouts),
    ];
    for (outcome, count) in failed {
        if all >= LEAST && count * 100 > all * FAILED {
            troubles.push(Trouble {
                name: "errors",
                subject: format!("{slug} {}", outcome.as_str()),
                severity: Severity::Warning,
                summary: format!(
                    "{count} of {all} requests to {slug} ended as {}.",
                    outcome.as_str()
                ),
            });
        }
    }
    if counts.ok >= LEAST && counts.estimated * 100 > counts.ok * ESTIMATED {
        troubles.push(Trouble {
            name: "estimated_usage",
            subject: slug.to_owned(),
            severity: Severity::Warning,
            summary: format!(
                "The usage of {} of {} answers of {slug} was estimated: it does not report it.",
                counts.estimated, counts.ok
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_judged_from_twenty_requests_on() {
        let names = |ok, errors, timeouts, estimated| {
            let mut troubles = Vec::new();
            let counts = Counts {
                ok,
                errors,
                timeouts,
                estimated,
            };
            judge("e", counts, &mut troubles);
            (troubles.len(), troubles.first().map(|one| one.name))
        };
        assert_eq!(names(5, 14, 0, 5), (0, None));
        assert_eq!(names(18, 2, 0, 0), (0, None));
        assert_eq!(names(17, 3, 0, 0), (1, Some("errors")));
        assert_eq!(names(10, 5, 5, 0), (2, Some("errors")));
        assert_eq!(names(20, 0, 0, 4), (0, None));
        assert_eq!(names(20, 0, 0, 5), (1, Some("estimated_usage")));
    }
}
