use std::future::poll_fn;
use std::mem::replace;
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::Handle;

use super::Queue;
use crate::runtime::spawn;

/// Wakes the writer when it is dropped.
struct Kick(Arc<Queue>);

/// Wakes the writer after this worker has run the tasks that are ready now: what they hand in until then joins the batch.
/// Waking a thread costs several times what a record does.
pub(super) fn kick_soon(queue: &Arc<Queue>) {
    let kick = Kick(Arc::clone(queue));
    if Handle::try_current().is_ok() {
        let mut waited = false;
        // A runtime that shuts down drops the task, which wakes the writer too.
        spawn(async move {
            // To the end of the worker's queue, and no further: tokio's `yield_now` also asks for events, which costs more
            // than larger batches save.
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
