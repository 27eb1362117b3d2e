use std::task::{Context, Poll};
use std::time::Duration;

use super::stall::Stall;
use super::traffic::Traffic;

/// Times the client between its requests on HTTP/1: first the idle time, then each head from its first byte on. Nothing
/// is timed during a request, nor before the first one.
pub(super) struct Heads {
    idle: Stall,
    head: Stall,
    has_begun: bool,
    /// How many requests there were at the last look.
    requests: u64,
}

impl Heads {
    /// A duration of zero means no limit.
    pub fn new(idle: Duration, head: Duration) -> Self {
        Self {
            idle: Stall::new(idle),
            head: Stall::new(head),
            has_begun: false,
            requests: 0,
        }
    }

    /// Call this when bytes have arrived.
    pub fn received(&mut self, traffic: &Traffic) {
        self.look(traffic);
        self.has_begun = traffic.is_between_requests();
    }

    /// Call this when there is nothing to read. Ready when the client's time is up.
    pub fn poll_late(&mut self, traffic: &Traffic, cx: &mut Context<'_>) -> Poll<()> {
        self.look(traffic);
        if !traffic.is_between_requests() {
            return Poll::Pending;
        }
        let timed = match self.has_begun {
            true => &mut self.head,
            false => &mut self.idle,
        };
        timed.poll_elapsed(None, cx)
    }

    /// A whole request may have come and gone since the last look.
    fn look(&mut self, traffic: &Traffic) {
        if !traffic.is_between_requests() || self.requests != traffic.requests() {
            self.idle.progress();
            self.head.progress();
            self.has_begun = false;
            self.requests = traffic.requests();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const IDLE: Duration = Duration::from_millis(50);
    const HEAD: Duration = Duration::from_millis(20);

    async fn is_late(heads: &mut Heads, traffic: &Traffic) -> bool {
        poll_fn(|cx| Poll::Ready(heads.poll_late(traffic, cx).is_ready())).await
    }

    fn exchange(traffic: &Traffic) {
        traffic.request();
        traffic.end();
    }

    /// The time before each request starts anew, however fast requests are answered.
    #[tokio::test]
    async fn a_request_that_came_and_went_counts() {
        let (traffic, mut heads) = (Traffic::default(), Heads::new(IDLE, HEAD));
        assert!(!is_late(&mut heads, &traffic).await, "before the first");
        exchange(&traffic);
        for _ in 0..3 {
            assert!(!is_late(&mut heads, &traffic).await);
            tokio::time::sleep(IDLE).await;
            heads.received(&traffic);
            exchange(&traffic);
        }
        assert!(!is_late(&mut heads, &traffic).await);
        poll_fn(|cx| heads.poll_late(&traffic, cx)).await;
        traffic.request();
        assert!(
            !is_late(&mut heads, &traffic).await,
            "while one is answered"
        );
    }

    /// A head that trickles in byte by byte gets no more time.
    #[tokio::test]
    async fn a_head_is_timed_from_its_first_byte() {
        let (traffic, mut heads) = (Traffic::default(), Heads::new(Duration::ZERO, HEAD));
        exchange(&traffic);
        assert!(!is_late(&mut heads, &traffic).await);
        heads.received(&traffic);
        assert!(!is_late(&mut heads, &traffic).await);
        tokio::time::sleep(HEAD).await;
        heads.received(&traffic);
        poll_fn(|cx| heads.poll_late(&traffic, cx)).await;
    }
}
