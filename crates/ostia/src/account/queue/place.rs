use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use ostia_core::JournalFull;

use super::PATIENCE;
use crate::account::segment::Segment;

/// One request in the queue, from its `started` record to the end of its final one.
pub(super) struct Place {
    pub(super) phase: Phase,
    pub(super) reserve: usize,
    /// Has the `started` record.
    pub(super) segment: Option<Arc<Segment>>,
    /// Of who waits for the record that was handed in last.
    pub(super) waker: Option<Waker>,
    /// Nobody asks for it any more.
    pub(super) orphan: bool,
    since: Instant,
    /// It was waited for long enough.
    late: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The `started` record waits, or the writer has it.
    Starting {
        taken: bool,
    },
    /// It could not be written.
    Refused,
    /// It is written.
    Open,
    /// The final record waits, or the writer has it.
    Ending,
    Ended,
}

impl Place {
    pub(super) fn starting(reserve: usize, now: Instant) -> Self {
        Self {
            phase: Phase::Starting { taken: false },
            reserve,
            segment: None,
            waker: None,
            orphan: false,
            since: now,
            late: false,
        }
    }

    pub(super) fn refused(now: Instant) -> Self {
        Self {
            phase: Phase::Refused,
            ..Self::starting(0, now)
        }
    }

    pub(super) fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<(), JournalFull>> {
        match self.phase {
            Phase::Open | Phase::Ended => Poll::Ready(Ok(())),
            Phase::Ending if self.late => Poll::Ready(Ok(())),
            Phase::Starting { .. } if self.late => Poll::Ready(Err(JournalFull)),
            Phase::Refused => Poll::Ready(Err(JournalFull)),
            Phase::Starting { .. } | Phase::Ending => {
                self.waker = Some(task.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The writer is done with the `started` record, which is in `segment` if it is written. `true`: that refuses the request.
    pub(super) fn started(&mut self, segment: Option<Arc<Segment>>) -> bool {
        self.segment = segment;
        // A final record that was handed in meanwhile finds the segment here, or is like a refusal's.
        if !matches!(self.phase, Phase::Starting { .. }) {
            return false;
        }
        let is_written = self.segment.is_some();
        self.phase = match is_written {
            true => Phase::Open,
            false => Phase::Refused,
        };
        !is_written && !self.late
    }

    /// The final record comes. Gives how things stood before.
    pub(super) fn end(&mut self, now: Instant, hangs: bool) -> Phase {
        let before = self.phase;
        self.phase = match before {
            Phase::Starting { taken: true } | Phase::Open => Phase::Ending,
            Phase::Starting { taken: false } | Phase::Refused => Phase::Ended,
            Phase::Ending | Phase::Ended => return before,
        };
        self.since = now;
        self.late = hangs;
        before
    }

    /// `true`: who waits here has waited for long enough from now on.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let waits = matches!(self.phase, Phase::Starting { .. } | Phase::Ending);
        let expires = waits && !self.late && now.saturating_duration_since(self.since) >= PATIENCE;
        self.late |= expires;
        expires
    }
}
