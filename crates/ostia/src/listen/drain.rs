use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How far the shutdown has progressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Serving,
    /// Connections are still accepted, but clients are asked to open a new one for their next request.
    Leaving,
    /// No new connections; idle ones are closed; responses say `Connection: close` or, on HTTP/2, GOAWAY.
    Draining,
    /// The drain limit has passed. Bodies get time for an honest end ([`super::Wire::give_up`]), then connections are
    /// dropped.
    GivingUp,
}

/// Controls the shutdown; shared by the application and its listeners. Stages only move forward.
#[derive(Debug, Clone)]
pub struct Drain {
    stage: Arc<watch::Sender<Stage>>,
    handed_over: Arc<AtomicBool>,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    pub fn new() -> Self {
        Self {
            stage: Arc::new(watch::Sender::new(Stage::Serving)),
            handed_over: Arc::default(),
        }
    }

    pub fn leave(&self) {
        self.advance(Stage::Leaving);
    }

    pub fn begin(&self) {
        self.advance(Stage::Draining);
    }

    pub fn give_up(&self) {
        self.advance(Stage::GivingUp);
    }

    /// Like [`Drain::begin`], while another process goes on listening on the same socket.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
        self.begin();
    }

    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Resolves once the shutdown has reached `stage`.
    pub async fn reached(&self, stage: Stage) {
        self.watch().reached(stage).await;
    }

    pub(super) fn watch(&self) -> StageWatch {
        StageWatch(self.stage.subscribe())
    }

    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let further = *stage < to;
            if further {
                *stage = to;
            }
            further
        });
    }
}

pub(super) struct StageWatch(watch::Receiver<Stage>);

impl StageWatch {
    pub async fn reached(&mut self, stage: Stage) {
        self.until(|now| now >= stage).await;
    }

    /// The next stage after `seen`.
    pub async fn after(&mut self, seen: Stage) -> Stage {
        self.until(|now| now > seen).await
    }

    async fn until(&mut self, reached: impl Fn(Stage) -> bool) -> Stage {
        let stage = self.0.wait_for(|now| reached(*now)).await.map(|now| *now);
        match stage {
            Ok(stage) => stage,
            // Nobody is left who could start a shutdown.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Drain, Stage};

    #[tokio::test]
    async fn stages_only_go_forward() {
        let drain = Drain::new();
        assert_eq!(drain.stage(), Stage::Serving);
        drain.give_up();
        drain.begin();
        assert_eq!(drain.stage(), Stage::GivingUp);
        drain.reached(Stage::Draining).await;
        assert_eq!(drain.watch().after(Stage::Draining).await, Stage::GivingUp);
    }
}
