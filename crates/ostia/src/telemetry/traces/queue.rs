use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Arrived, Trace, TracedRequest};

/// How many traced requests wait for the collector. Beyond it they are dropped and counted.
const MOST: usize = 2_048;
/// How many are sent together.
const BATCH: usize = 512;

/// Traced requests on their way to the collector. Whoever puts one in never waits.
#[derive(Default)]
pub struct Traces {
    over: Mutex<VecDeque<TracedRequest>>,
    batch: Notify,
    sent: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
}

impl Traces {
    /// `None`: the request is not traced. `ratio`: the share of requests that are, if their callers leave it open.
    pub fn begin(self: &Arc<Self>, ratio: f64, arrived: Arrived<'_>) -> Option<Arc<Trace>> {
        Trace::begin(self, ratio, arrived)
    }

    pub(super) fn put(&self, request: TracedRequest) {
        let mut over = self.over.lock();
        if over.len() >= MOST {
            drop(over);
            self.drop_all(1);
            return;
        }
        over.push_back(request);
        if over.len() == BATCH {
            self.batch.notify_one();
        }
    }

    /// The oldest, as many as are sent together.
    pub fn take(&self) -> Vec<TracedRequest> {
        let mut over = self.over.lock();
        let count = over.len().min(BATCH);
        over.drain(..count).collect()
    }

    /// Ready when there is enough for a full batch.
    pub async fn filled(&self) {
        self.batch.notified().await;
    }

    pub fn waiting(&self) -> usize {
        self.over.lock().len()
    }

    /// The collector took so many.
    pub fn count_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// So many will never reach a collector.
    pub fn drop_all(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// A message was not taken.
    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Since the start.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Messages that were not taken, of figures too, since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use ostia_core::{Clock as _, LedgerRow, Observer as _, RequestId, SystemClock};

    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded_and_the_rest_is_counted() {
        let traces = Arc::<Traces>::default();
        for _ in 0..MOST + 7 {
            let arrived = Arrived {
                id: RequestId::at(0),
                head: &mut Request::new(()).into_parts().0,
                route: "/v1/{api}",
                received: SystemClock.now(),
            };
            let trace = traces.begin(1.0, arrived).unwrap();
            trace.closed(&LedgerRow::default());
        }
        assert_eq!((traces.waiting(), traces.dropped()), (MOST, 7));
        traces.filled().await;
        assert_eq!(traces.take().len(), BATCH);
        assert_eq!(traces.waiting(), MOST - BATCH);
    }
}
