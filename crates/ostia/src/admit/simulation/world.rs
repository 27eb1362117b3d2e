//! Time and tasks of a simulation: nothing waits for real time, so every run is the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use ostia_core::{BoxFuture, Clock, ManualClock};
use parking_lot::Mutex;
use tokio::sync::oneshot;

type Task = BoxFuture<'static, ()>;

/// Shared by all tasks of one simulation.
pub(super) struct World {
    clock: Arc<ManualClock>,
    /// By time and order of arrival.
    sleepers: Mutex<BTreeMap<(Instant, u64), oneshot::Sender<()>>>,
    begun: Mutex<(u64, Vec<Task>)>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::new(ManualClock::at(0)),
            sleepers: Mutex::default(),
            begun: Mutex::default(),
        })
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as _
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.begun.lock().1.push(Box::pin(task));
    }

    pub(super) async fn sleep(&self, time: Duration) {
        let (sender, woken) = oneshot::channel();
        let number = {
            let mut begun = self.begun.lock();
            begun.0 += 1;
            begun.0
        };
        let at = (self.now() + time, number);
        self.sleepers.lock().insert(at, sender);
        let _ = woken.await;
    }

    /// Runs all tasks for so long, and drops them.
    ///
    /// Timers of the runtime never fire: whoever waits for one of them, waits for ever.
    pub(super) fn run(&self, time: Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _timers = runtime.enter();
        let end = self.now() + time;
        let mut tasks = FuturesUnordered::new();
        loop {
            self.let_run(&mut tasks);
            let Some(((at, _), sleeper)) = self.sleepers.lock().pop_first() else {
                panic!("everybody waits for something that never happens");
            };
            if at > end {
                break;
            }
            self.clock.advance(at.saturating_duration_since(self.now()));
            // It may be gone.
            let _ = sleeper.send(());
        }
        drop(tasks);
        self.sleepers.lock().clear();
    }

    /// Until everybody waits.
    fn let_run(&self, tasks: &mut FuturesUnordered<Task>) {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        loop {
            tasks.extend(std::mem::take(&mut self.begun.lock().1));
            flag.0.store(false, Ordering::Relaxed);
            let polled = tasks.poll_next_unpin(&mut Context::from_waker(&waker));
            let is_quiet = !matches!(polled, Poll::Ready(Some(())));
            if is_quiet && !flag.0.load(Ordering::Relaxed) && self.begun.lock().1.is_empty() {
                return;
            }
        }
    }
}
