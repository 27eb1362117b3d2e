use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ostia_core::Clock;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

use super::watch::with_deadline;

/// Concurrent scripts. A script that waits for HTTP keeps its thread.
const AT_ONCE: usize = 32;
/// A million operations can nest values so deep that dropping them overflows a thread's usual stack, which would end the
/// process. Only the used part of this is ever in memory.
const STACK: usize = 256 << 20;
/// A thread without work ends after this.
const IDLE: Duration = Duration::from_secs(30);

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);
static POOL: Pool = Pool {
    state: Mutex::new(State {
        waiting: VecDeque::new(),
        idle: 0,
    }),
    came: Condvar::new(),
};

type Work = Box<dyn FnOnce() + Send>;

/// Threads that start when there is work and end without it.
struct Pool {
    state: Mutex<State>,
    came: Condvar,
}

struct State {
    waiting: VecDeque<Work>,
    idle: usize,
}

/// Runs a script's function on a thread of its own, so that it cannot block anything else, and stops it after `limit`.
/// `None`: it panicked, or no thread was free in time. Once started it runs to its end, even if nobody waits.
pub async fn on_pool<T: Send + 'static>(
    clock: &Arc<dyn Clock>,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let place = tokio::time::timeout(limit, PLACES.acquire());
    let place = place.await.ok()?.ok()?;
    let (clock, deadline) = (Arc::clone(clock), clock.now() + limit);
    let (tell, told) = oneshot::channel();
    let run = move || {
        let work = AssertUnwindSafe(|| with_deadline(&clock, deadline, work));
        let done = catch_unwind(work).ok();
        drop(place);
        // The caller may be gone.
        let _ = tell.send(done);
    };
    POOL.run(Box::new(run)).then_some(())?;
    told.await.ok()?
}

impl Pool {
    /// `false`: no thread is available.
    fn run(&'static self, work: Work) -> bool {
        let mut state = self.state.lock();
        state.waiting.push_back(work);
        if state.waiting.len() <= state.idle {
            self.came.notify_one();
            return true;
        }
        let thread = thread::Builder::new()
            .name("ostia-script".to_owned())
            .stack_size(STACK);
        match thread.spawn(|| self.work()) {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "no thread for a script");
                state.waiting.pop_back();
                false
            }
        }
    }

    fn work(&self) {
        while let Some(work) = self.next() {
            work();
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                return Some(work);
            }
            state.idle += 1;
            let waited = self.came.wait_for(&mut state, IDLE);
            state.idle -= 1;
            if waited.timed_out() && state.waiting.is_empty() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::SystemClock;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_answer_and_takes_no_place() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let limit = Duration::from_secs(60);
        for _ in 0..3 * AT_ONCE {
            let panicked = on_pool(&clock, limit, || panic!("as asked"));
            assert_eq!(panicked.await, None::<()>);
        }
        assert_eq!(on_pool(&clock, limit, || 7).await, Some(7));
    }

    #[tokio::test]
    async fn many_run_and_each_gets_its_own_answer() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let limit = Duration::from_secs(60);
        let asked = (0..200).map(|number| on_pool(&clock, limit, move || number));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.into_iter().eq((0..200).map(Some)));
    }
}
