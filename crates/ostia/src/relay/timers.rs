use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Which timer has fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The backend was silent too long.
    Idle,
    /// The whole exchange took too long.
    Total,
    /// The client has received nothing for a while.
    Keepalive,
    /// The backend sent its last event but still holds the stream open.
    Grace,
}

/// All timers of one response behind a single sleep, which is reset only when it fires or when something comes due
/// earlier: a stream restarts its timers with every chunk, and each reset would touch the timer wheel.
pub(super) struct Timers {
    pub(super) idle: Option<Duration>,
    pub(super) keepalive: Option<Duration>,
    pub(super) total: Option<Instant>,
    pub(super) grace: Option<Instant>,
    heard: Instant,
    sent: Instant,
    sleep: Pin<Box<Sleep>>,
    /// The time for which `sleep` is set; `None` if it is unset or has fired.
    armed_for: Option<Instant>,
}

impl Timers {
    pub(super) fn new(
        now: Instant,
        idle: Option<Duration>,
        keepalive: Option<Duration>,
        total: Option<Instant>,
    ) -> Self {
        Self {
            idle,
            keepalive,
            total,
            grace: None,
            heard: now,
            sent: now,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed_for: None,
        }
    }

    /// The backend sent something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The client was sent something.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Returns what is due, or makes the task wake when something will be.
    pub(super) fn poll(&mut self, task: &mut TaskContext<'_>, now: Instant) -> Option<Due> {
        loop {
            let (at, due) = self.next()?;
            if at <= now {
                return Some(due);
            }
            if self.armed_for.is_none_or(|armed| armed > at) {
                self.sleep
                    .as_mut()
                    .reset(tokio::time::Instant::now() + (at - now));
                self.armed_for = Some(at);
            }
            match self.sleep.as_mut().poll(task) {
                Poll::Pending => return None,
                // The deadline has since moved, or the two clocks differ a little.
                Poll::Ready(()) => {
                    if self.armed_for.take() == Some(at) {
                        return Some(due);
                    }
                }
            }
        }
    }

    fn next(&self) -> Option<(Instant, Due)> {
        [
            (self.grace, Due::Grace),
            (self.total, Due::Total),
            (self.idle.map(|idle| self.heard + idle), Due::Idle),
            (
                self.keepalive.map(|pause| self.sent + pause),
                Due::Keepalive,
            ),
        ]
        .into_iter()
        .filter_map(|(at, due)| at.map(|at| (at, due)))
        .min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn due(timers: &mut Timers, now: Instant) -> Option<Due> {
        timers.poll(&mut Context::from_waker(Waker::noop()), now)
    }

    #[tokio::test]
    async fn a_word_of_the_backend_puts_the_idle_timeout_off_and_not_the_total() {
        let start = tokio::time::Instant::now().into_std();
        let total = Some(start + 100 * SECOND);
        let mut timers = Timers::new(start, Some(5 * SECOND), None, total);
        for pause in 1..=20 {
            let now = start + pause * 49 * SECOND / 10;
            assert_eq!(due(&mut timers, now), None, "{pause}");
            timers.heard(now);
        }
        assert_eq!(due(&mut timers, start + 100 * SECOND), Some(Due::Total));
        let mut timers = Timers::new(start, Some(5 * SECOND), None, total);
        timers.heard(start + SECOND);
        assert_eq!(due(&mut timers, start + 5 * SECOND), None);
        assert_eq!(due(&mut timers, start + 6 * SECOND), Some(Due::Idle));
    }

    #[tokio::test]
    async fn comments_count_from_what_the_client_heard_last() {
        let start = tokio::time::Instant::now().into_std();
        let mut timers = Timers::new(start, Some(60 * SECOND), Some(15 * SECOND), None);
        assert_eq!(due(&mut timers, start + 14 * SECOND), None);
        timers.sent(start + 14 * SECOND);
        assert_eq!(due(&mut timers, start + 28 * SECOND), None);
        assert_eq!(due(&mut timers, start + 29 * SECOND), Some(Due::Keepalive));
        timers.grace = Some(start + 29 * SECOND);
        assert!(matches!(
            due(&mut timers, start + 29 * SECOND),
            Some(Due::Grace | Due::Keepalive)
        ));
    }
}
