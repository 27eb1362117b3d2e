use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use ostia_core::JournalFull;

use super::PATIENCE;
use crate::account::segment::Segment;

/// One request in the queue, from its `started` record to the end of its final one.
pub(super) struct Place {
    pub(super) phase: Phase,
    /// Of its `started` record.
    pub(super) number: u64,
    pub(super) reserve: usize,
    /// The task that waits for the record handed in last.
    pub(super) waker: Option<Waker>,
    /// The request is gone; the place goes with its final record.
    pub(super) orphan: bool,
    /// Has the `started` record.
    segment: Option<Arc<Segment>>,
    since: Instant,
    /// The wait has reached its limit.
    late: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The `started` record waits, or the writer has it.
    Starting,
    /// There is no `started` record, and there will not be one.
    Refused,
    /// The `started` record is written.
    Open,
    /// The final record waits, or the writer has it.
    Ending,
    Ended,
}

impl Place {
    pub(super) fn starting(number: u64, reserve: usize, now: Instant) -> Self {
        Self {
            phase: Phase::Starting,
            number,
            reserve,
            waker: None,
            orphan: false,
            segment: None,
            since: now,
            late: false,
        }
    }

    pub(super) fn refused(now: Instant) -> Self {
        Self {
            phase: Phase::Refused,
            ..Self::starting(0, 0, now)
        }
    }

    pub(super) fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<(), JournalFull>> {
        match self.phase {
            Phase::Open | Phase::Ended => Poll::Ready(Ok(())),
            Phase::Ending if self.late => Poll::Ready(Ok(())),
            Phase::Starting if self.late => Poll::Ready(Err(JournalFull)),
            Phase::Refused => Poll::Ready(Err(JournalFull)),
            Phase::Starting | Phase::Ending => {
                match &mut self.waker {
                    Some(waker) => waker.clone_from(task.waker()),
                    none => *none = Some(task.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    pub(super) fn take_segment(&mut self) -> Option<Arc<Segment>> {
        self.segment.take()
    }

    /// The writer has finished the `started` record, which is in `segment` if it was written. `true`: the request is
    /// refused.
    pub(super) fn started(&mut self, segment: Option<Arc<Segment>>) -> bool {
        self.segment = segment;
        // A final record that was handed in meanwhile finds the segment here, or becomes that of a refusal.
        if self.phase != Phase::Starting {
            return false;
        }
        let is_written = self.segment.is_some();
        self.phase = match is_written {
            true => Phase::Open,
            false => Phase::Refused,
        };
        !is_written && !self.late
    }

    /// The final record is handed over.
    pub(super) fn end(&mut self, now: Instant, hangs: bool) {
        self.phase = Phase::Ending;
        self.since = now;
        self.late = hangs;
    }

    /// `true`: the wait has just reached its limit.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let waits = matches!(self.phase, Phase::Starting | Phase::Ending);
        let expires = waits && !self.late && now.saturating_duration_since(self.since) >= PATIENCE;
        self.late |= expires;
        expires
    }
}
