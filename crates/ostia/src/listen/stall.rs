use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that fires when nothing has progressed for a while.
///
/// A socket makes progress thousands of times a second and rarely stalls, so progress must cost almost nothing: it only
/// clears the deadline. The first stall creates the timer, which stays armed for that stall's deadline. It is reset
/// only when it fires too early, or when `end` comes first.
pub(super) struct Stall {
    limit: Duration,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// A limit of zero never fires.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            deadline: None,
            timer: None,
        }
    }

    pub fn progress(&mut self) {
        self.deadline = None;
    }

    /// Ready when `limit` has passed since the first call after the last [`Stall::progress`], or at `end`. A trickle of
    /// progress cannot postpone `end`.
    pub fn poll_elapsed(&mut self, end: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.limit.is_zero() && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + self.limit);
        }
        let Some(deadline) = self.deadline.into_iter().chain(end).min() else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        // The timer may fire for a deadline that progress has since postponed: reset it to the present one.
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Stall;

    #[tokio::test]
    async fn every_stall_has_its_own_deadline() {
        let limit = Duration::from_millis(20);
        let mut stall = Stall::new(limit);
        for _ in 0..3 {
            let start = Instant::now();
            stall.progress();
            poll_fn(|cx| stall.poll_elapsed(None, cx)).await;
            assert!(start.elapsed() >= limit);
        }
    }

    #[tokio::test]
    async fn zero_is_no_limit() {
        let mut stall = Stall::new(Duration::ZERO);
        let polled = poll_fn(|cx| Poll::Ready(stall.poll_elapsed(None, cx))).await;
        assert!(polled.is_pending());
        assert!(stall.timer.is_none());
    }

    #[tokio::test]
    async fn progress_does_not_put_the_end_off() {
        let end = Instant::now() + Duration::from_millis(20);
        for limit in [Duration::ZERO, Duration::from_secs(60)] {
            let mut stall = Stall::new(limit);
            let polled = poll_fn(|cx| Poll::Ready(stall.poll_elapsed(None, cx))).await;
            assert!(polled.is_pending());
            stall.progress();
            poll_fn(|cx| stall.poll_elapsed(Some(end), cx)).await;
            assert!(Instant::now() >= end);
        }
    }
}
