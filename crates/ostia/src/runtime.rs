//! In: background work. Out: its handle, and which of it fails.
//! Here: the only caller of `tokio::spawn`; work that lasts as long as the process; what a machine runs out of. Not here: anything between a
//! client's socket and a backend's.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How long work rests after a panic. The rest doubles with each further panic, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Starts work that is not part of a request and ends by itself. For work that lasts as long as the process use
/// [`Duties`]. Nothing between a client's socket and a backend's may be spawned, because such work must end with its
/// request.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(work)
}

/// Starts work that outlives what started it, from a place that may also be dropped after the runtime has ended: then
/// the work is dropped too.
pub fn spawn_beside(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work);
    }
}

/// Runs blocking work on a thread of its own. Once begun it runs to the end, even if nobody waits for it.
pub fn spawn_blocking<T>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T>
where
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work)
}

/// Whether the process or the system is out of descriptors or memory for another socket.
pub fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// Named work that never ends. A piece that panics rests, starts again, and counts as failing in the meantime.
#[derive(Debug, Default)]
pub struct Duties(Mutex<Vec<Duty>>);

#[derive(Debug)]
struct Duty {
    name: &'static str,
    health: Arc<Health>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Health {
    panics: AtomicU64,
    failing: AtomicBool,
}

/// The health of one piece of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DutyReport {
    pub name: &'static str,
    /// Since the process started.
    pub panics: u64,
    /// It panicked, and has not yet run for as long as its last rest.
    pub failing: bool,
}

impl Duties {
    /// Starts `work` now. After a panic, `work` is called again to start anew.
    pub fn begin<F, W>(&self, name: &'static str, work: F)
    where
        F: FnMut() -> W + Send + 'static,
        W: Future<Output = Infallible> + Send + 'static,
    {
        let health = Arc::new(Health::default());
        let task = spawn(keep_running(name, work, Arc::clone(&health)));
        self.0.lock().push(Duty { name, health, task });
    }

    pub fn report(&self) -> Vec<DutyReport> {
        let report = |duty: &Duty| DutyReport {
            name: duty.name,
            panics: duty.health.panics.load(Ordering::Relaxed),
            failing: duty.health.failing.load(Ordering::Relaxed),
        };
        self.0.lock().iter().map(report).collect()
    }

    /// Ends all work at its next await.
    pub fn stop(&self) {
        for duty in self.0.lock().drain(..) {
            duty.task.abort();
        }
    }
}

async fn keep_running<F, W>(name: &'static str, mut work: F, health: Arc<Health>)
where
    F: FnMut() -> W,
    W: Future<Output = Infallible>,
{
    let mut rest = FIRST_REST;
    loop {
        let running = Box::pin(AssertUnwindSafe(async { work().await }).catch_unwind());
        let proved = Box::pin(sleep(rest));
        let panicked = match select(running, proved).await {
            Either::Left((panicked, _)) => panicked,
            Either::Right(((), running)) => {
                health.failing.store(false, Ordering::Relaxed);
                rest = FIRST_REST;
                running.await
            }
        };
        // The panic hook has logged where it happened.
        let Err(_) = panicked;
        health.panics.fetch_add(1, Ordering::Relaxed);
        health.failing.store(true, Ordering::Relaxed);
        tracing::error!(
            task = name,
            rest_seconds = rest.as_secs(),
            "background work panicked and starts again after a rest"
        );
        sleep(rest).await;
        rest = (rest * 2).min(LONGEST_REST);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn work_that_panics_begins_anew_and_shows_meanwhile() {
        let duties = Duties::default();
        let (begun, mut begins) = unbounded_channel();
        let mut runs = 0;
        duties.begin("counting", move || {
            runs += 1;
            let (run, begun) = (runs, begun.clone());
            async move {
                begun.send(run).unwrap();
                assert!(run > 1, "the first run fails");
                pending().await
            }
        });
        assert_eq!(begins.recv().await, Some(1));
        assert_eq!(begins.recv().await, Some(2));
        let failing = DutyReport {
            name: "counting",
            panics: 1,
            failing: true,
        };
        assert_eq!(duties.report(), [failing]);
        while duties.report()[0].failing {
            tokio::task::yield_now().await;
        }
        duties.stop();
        assert_eq!(duties.report(), []);
        assert_eq!(begins.recv().await, None, "the work was dropped");
    }

    #[tokio::test]
    async fn work_that_panics_while_it_is_made_anew_ends_nothing() {
        let duties = Duties::default();
        let (begun, mut begins) = unbounded_channel();
        let mut runs = 0;
        duties.begin("counting", move || {
            runs += 1;
            begun.send(runs).unwrap();
            assert!(runs > 1, "the first run fails");
            pending()
        });
        assert_eq!(begins.recv().await, Some(1));
        assert_eq!(begins.recv().await, Some(2));
        assert_eq!(duties.report()[0].panics, 1);
    }
}
