use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How an engine behaves under concurrent requests.
#[derive(Debug, Clone, Copy)]
pub struct Curve {
    /// How many requests run at once; the others wait inside the engine.
    pub places: u32,
    /// The factor by which everything takes longer with this many running requests.
    pub slowdown: fn(u32) -> f64,
}

impl Curve {
    /// Never slows down.
    pub const FLAT: Self = Self {
        places: u32::MAX,
        slowdown: |_| 1.0,
    };
}

/// The engine's present load, and its totals.
pub(crate) struct Load {
    curve: Curve,
    places: Arc<Semaphore>,
    running: AtomicU32,
    waiting: AtomicU32,
    prompt_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

/// A running request.
pub(crate) struct Work {
    load: Arc<Load>,
    _place: OwnedSemaphorePermit,
}

/// A waiting request.
struct Waiting<'a>(&'a Load);

impl Load {
    pub(crate) fn new(curve: Curve) -> Arc<Self> {
        let places = usize::try_from(curve.places).unwrap_or(usize::MAX);
        Arc::new(Self {
            curve,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            running: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            prompt_tokens: AtomicU64::new(0),
            output_tokens: AtomicU64::new(0),
        })
    }

    /// Waits in line for a place. Dropping the future leaves the line.
    pub(crate) async fn begin(self: &Arc<Self>) -> Option<Work> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        drop(waiting);
        self.running.fetch_add(1, Ordering::Relaxed);
        Some(Work {
            load: Arc::clone(self),
            _place: place,
        })
    }

    /// Uses vLLM's names.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        let (running, waiting) = (&self.running, &self.waiting);
        for (name, kind, value) in [
            (
                "num_requests_running",
                "gauge",
                u64::from(running.load(Ordering::Relaxed)),
            ),
            (
                "num_requests_waiting",
                "gauge",
                u64::from(waiting.load(Ordering::Relaxed)),
            ),
            (
                "prompt_tokens_total",
                "counter",
                self.prompt_tokens.load(Ordering::Relaxed),
            ),
            (
                "generation_tokens_total",
                "counter",
                self.output_tokens.load(Ordering::Relaxed),
            ),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "# TYPE vllm:{name} {kind}\nvllm:{name}{{engine=\"0\"}} {value}.0"
            );
        }
        text
    }
}

impl Work {
    /// The factor by which everything takes longer now.
    pub(crate) fn slowdown(&self) -> f64 {
        (self.load.curve.slowdown)(self.load.running.load(Ordering::Relaxed))
    }

    pub(crate) fn done(&self, prompt_tokens: u64, output_tokens: u64) {
        self.load
            .prompt_tokens
            .fetch_add(prompt_tokens, Ordering::Relaxed);
        self.load
            .output_tokens
            .fetch_add(output_tokens, Ordering::Relaxed);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.load.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_and_what_runs_is_told() {
        let load = Load::new(Curve {
            places: 1,
            slowdown: f64::from,
        });
        let first = load.begin().await.unwrap();
        assert!((first.slowdown() - 1.0).abs() < f64::EPSILON);
        let waiting = load.begin();
        tokio::pin!(waiting);
        let mut noop = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut noop).is_pending());
        let told = load.metrics();
        assert!(
            told.contains("num_requests_running{engine=\"0\"} 1.0"),
            "{told}"
        );
        assert!(
            told.contains("num_requests_waiting{engine=\"0\"} 1.0"),
            "{told}"
        );
        first.done(3, 4);
        drop(first);
        let second = waiting.await;
        let told = load.metrics();
        assert!(
            told.contains("num_requests_waiting{engine=\"0\"} 0.0"),
            "{told}"
        );
        assert!(
            told.contains("generation_tokens_total{engine=\"0\"} 4.0"),
            "{told}"
        );
        drop(second);
    }
}
