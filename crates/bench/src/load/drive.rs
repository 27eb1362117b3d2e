//! When requests are sent: each after the last answer (closed loop), or at fixed times (open loop).

use super::exchange::{Connection, exchange};
use super::report::Tally;
use super::request::Template;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

/// How long after the last request answers may still arrive. Later ones count as missing.
const GRACE: Duration = Duration::from_secs(10);
/// The pause after a failure, so that a proxy that refuses everything is not flooded.
const PAUSE: Duration = Duration::from_millis(10);

pub struct Pace {
    pub connections: usize,
    pub time: Duration,
    pub count: u64,
}

/// Each connection sends its next request as soon as it has its answer. Returns the elapsed time.
pub async fn closed(template: &Rc<Template>, tally: &Rc<RefCell<Tally>>, pace: &Pace) -> Duration {
    let left = Rc::new(Cell::new(pace.count));
    let start = Instant::now();
    let end = start + pace.time;
    let workers = (0..pace.connections).map(|_| {
        let (template, tally, left) = (Rc::clone(template), Rc::clone(tally), Rc::clone(&left));
        spawn_local(async move {
            let mut connection = Connection::new(template.addr);
            while left.get() > 0 && Instant::now() < end {
                left.set(left.get() - 1);
                work(&mut connection, &template, &tally, None).await;
            }
            tally.borrow_mut().opened += connection.opened;
        })
    });
    finish(workers.collect(), tally, end).await;
    start.elapsed()
}

async fn work(
    connection: &mut Connection,
    template: &Template,
    tally: &RefCell<Tally>,
    due: Option<Instant>,
) {
    let before = tally.borrow().failures();
    exchange(connection, template, tally, due).await;
    if tally.borrow().failures() > before {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Requests that wait for a connection.
#[derive(Default)]
struct Queue {
    /// `None` if a connection was free when the request was due. Its clock then starts when it is sent, because timers
    /// are only accurate to a millisecond, which is not the proxy's fault. `Some(due)` if all connections were busy:
    /// the wait is the proxy's fault, and leaving it out would hide every stall.
    jobs: RefCell<VecDeque<Option<Instant>>>,
    idle: Cell<usize>,
    over: Cell<bool>,
    notify: Notify,
}

impl Queue {
    fn push(&self, due: Instant) -> bool {
        let mut jobs = self.jobs.borrow_mut();
        let free = self.idle.get() > jobs.len();
        jobs.push_back((!free).then_some(due));
        self.notify.notify_one();
        free
    }

    async fn pop(&self) -> Option<Option<Instant>> {
        loop {
            if let Some(job) = self.jobs.borrow_mut().pop_front() {
                return Some(job);
            }
            if self.over.get() {
                return None;
            }
            self.idle.set(self.idle.get() + 1);
            self.notify.notified().await;
            self.idle.set(self.idle.get() - 1);
        }
    }
}

/// Requests are due at regular intervals, whatever happened to the earlier ones.
pub async fn open(
    template: &Rc<Template>,
    tally: &Rc<RefCell<Tally>>,
    pace: &Pace,
    rate: f64,
) -> Duration {
    let queue = Rc::new(Queue::default());
    let workers: Vec<_> = (0..pace.connections)
        .map(|_| {
            let (template, tally, queue) =
                (Rc::clone(template), Rc::clone(tally), Rc::clone(&queue));
            spawn_local(async move {
                let mut connection = Connection::new(template.addr);
                while let Some(due) = queue.pop().await {
                    work(&mut connection, &template, &tally, due).await;
                }
                tally.borrow_mut().opened += connection.opened;
            })
        })
        .collect();
    // Lets the workers start first, or the first requests would count as late.
    tokio::task::yield_now().await;
    let start = Instant::now();
    let end = start + pace.time;
    let total = pace.count.min((pace.time.as_secs_f64() * rate) as u64);
    for number in 0..total {
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        if !queue.push(due) {
            tally.borrow_mut().late += 1;
        }
    }
    queue.over.set(true);
    queue.notify.notify_waiters();
    finish(workers, tally, end).await;
    start.elapsed()
}

/// Waits for outstanding answers. Those that never arrive count as errors and do not hang the run.
async fn finish(workers: Vec<JoinHandle<()>>, tally: &RefCell<Tally>, end: Instant) {
    for worker in workers {
        let abort = worker.abort_handle();
        if tokio::time::timeout_at((end + GRACE).into(), worker)
            .await
            .is_err()
        {
            abort.abort();
            tally.borrow_mut().ended(
                Duration::ZERO,
                Err(format!("no answer within {} s", GRACE.as_secs())),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_starts_when_due_only_if_no_connection_was_free() {
        let queue = Queue::default();
        let due = Instant::now();
        queue.idle.set(1);
        assert!(queue.push(due));
        assert!(!queue.push(due));
        assert_eq!(queue.jobs.take(), [None, Some(due)]);
    }
}
