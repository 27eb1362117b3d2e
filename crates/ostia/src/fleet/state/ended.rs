//! What requests that ended say of their endpoint.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ostia_core::{LedgerRow, Observer, Outcome, Phase, UsageSource};

use super::super::best_point::Counts;
use super::EndpointState;

impl EndpointState {
    /// Answers whose usage it did not report.
    pub fn estimated(&self) -> u64 {
        self.estimated.load(Ordering::Relaxed)
    }

    /// Closed requests by outcome.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL
            .iter()
            .zip(&self.counts)
            .map(|(&outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }

    /// Prompt and completion tokens of closed requests.
    pub fn tokens(&self) -> (u64, u64) {
        (
            self.prompt_tokens.load(Ordering::Relaxed),
            self.completion_tokens.load(Ordering::Relaxed),
        )
    }

    /// The counts until `now`, for the search of its best point.
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
    pub fn counts(&self, now: Instant) -> Counts {
        let (prompt, completion) = self.tokens();
        let answers = self.counts[Outcome::Ok as usize].load(Ordering::Relaxed);
        Counts {
            at: now,
            in_flight: self.in_flight(),
            answers,
            service: prompt as f64 + 2.0 * completion as f64,
            first_tokens: Duration::from_millis(self.first_byte_ms.load(Ordering::Relaxed)),
        }
    }

    /// The summed duration of all closed requests, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.duration_ms.load(Ordering::Relaxed)
    }
}

impl Observer for EndpointState {
    fn closed(&self, row: &LedgerRow<'_>) {
        if let Some(count) = self.counts.get(row.outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.prompt_tokens
            .fetch_add(row.prompt_tokens, Ordering::Relaxed);
        self.completion_tokens
            .fetch_add(row.completion_tokens, Ordering::Relaxed);
        self.duration_ms
            .fetch_add(row.duration_ms, Ordering::Relaxed);
        if row.outcome == Outcome::Ok {
            let waited = row.ttft_ms.unwrap_or_default().saturating_sub(row.queue_ms);
            self.first_byte_ms.fetch_add(waited, Ordering::Relaxed);
        }
        if is_silence(row) {
            self.unreached.fetch_add(1, Ordering::Relaxed);
        }
        match row.outcome {
            Outcome::Ok => {
                let is_guess = row.usage_source == UsageSource::Estimated;
                self.estimated
                    .fetch_add(u64::from(is_guess), Ordering::Relaxed);
                if self.breaker.succeeded() {
                    self.warmth.begin();
                }
            }
            Outcome::UpstreamError | Outcome::UpstreamTimeout if is_own_fault(row) => {
                self.failed();
            }
            _ => {}
        }
    }
}

/// It took the request and answered nothing at all. What could not be connected is counted by
/// [`EndpointState::unreached`].
fn is_silence(row: &LedgerRow<'_>) -> bool {
    let is_failure = matches!(
        row.outcome,
        Outcome::UpstreamError | Outcome::UpstreamTimeout
    );
    is_failure && row.phase == Phase::WaitingHeaders && row.upstream_status == 0
}

/// A refusal that the request itself caused says nothing about the backend: a caller with too long a prompt must not
/// keep others away from it. 401, 403 and 407 concern the gateway's own key. 429, 503 and 529 say that it is busy;
/// [`EndpointState::turned_away`] handles those.
fn is_own_fault(row: &LedgerRow<'_>) -> bool {
    match row.upstream_status {
        401 | 403 | 407 => true,
        400..=499 | 503 | 529 => false,
        // A stream may end in such a refusal.
        _ => row.error_code != "upstream_refused",
    }
}
