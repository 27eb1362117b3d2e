//! Requests that go on when their clients leave, because their backends bill to the end.

use std::pin::Pin;
use std::task::{Context, Poll};

use ostia_core::Outlasting;

use super::edge::Served;
use crate::runtime::spawn_beside;

/// A request in progress, which owns all that it needs. Dropped, it ends; but once a backend that bills to the end works
/// on it, it goes on without its client, so that the row tells what is billed.
pub(super) struct Work {
    serving: Option<Serving>,
    outlasting: Outlasting,
}

type Serving = Pin<Box<dyn Future<Output = Served> + Send>>;

impl Work {
    pub(super) fn new(
        serving: impl Future<Output = Served> + Send + 'static,
        outlasting: Outlasting,
    ) -> Self {
        Self {
            // Boxed before it is handed on, and so moved once.
            serving: Some(Box::pin(serving)),
            outlasting,
        }
    }
}

impl Future for Work {
    type Output = Served;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Served> {
        let Some(serving) = &mut self.serving else {
            return Poll::Pending;
        };
        let served = std::task::ready!(serving.as_mut().poll(task));
        self.serving = None;
        Poll::Ready(served)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take()
            && self.outlasting.leave()
        {
            // The body of a response goes on likewise.
            spawn_beside(async { drop(serving.await) });
        }
    }
}
