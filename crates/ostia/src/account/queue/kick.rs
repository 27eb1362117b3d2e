use std::future::poll_fn;
use std::mem::replace;
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::Handle;

use super::Queue;
use crate::runtime::spawn;

/// Wakes the writer when it is dropped.
struct Kick(Arc<Queue>);

/// Wakes the writer after this worker has run the tasks that are ready now, so that their records join the batch.
/// Waking a thread costs several times as much as a record.
pub(super) fn kick_soon(queue: &Arc<Queue>) {
    let kick = Kick(Arc::clone(queue));
    if Handle::try_current().is_ok() {
        let mut waited = false;
        // A runtime that shuts down drops the task, which wakes the writer too.
        spawn(async move {
            // Waits only to the end of the worker's queue. tokio's `yield_now` would also poll for events, which costs
            // more than larger batches save.
            poll_fn(|task| match replace(&mut waited, true) {
                true => Poll::Ready(()),
                false => {
                    task.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            drop(kick);
        });
    }
}

impl Drop for Kick {
    fn drop(&mut self) {
        self.0.wake_writer();
    }
}
