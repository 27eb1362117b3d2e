use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use ostia_core::{Outcome, Phase, Usage};

use super::timers::{Due, Timers};
use super::{Context, InFlight};
use crate::dialect::{Counters, Digest, read_answer};
use crate::listen::BodyBroken;
use crate::refusal::AnswerFault;
use crate::upstream::BodyError;

/// Responses up to this size are held until they are complete, so that an earlier failure is a plain error.
const WHOLE: usize = 256 * 1024;

/// What the first part of a response turned out to be.
pub(super) enum Collected {
    Whole(Bytes),
    /// Larger than what is held.
    Begun,
}

/// A response that is not an event stream.
pub(super) struct BulkBody<B> {
    backend: Option<B>,
    in_flight: InFlight,
    context: Context,
    timers: Timers,
    ready: VecDeque<Bytes>,
    /// The last part, while its row is written.
    last: Option<Bytes>,
    collected: usize,
    /// How much may be held until the response is complete.
    holds: usize,
    passed: u64,
    /// Bytes that the backend still has to send, if it announced a length.
    remaining: Option<u64>,
    /// The `content-length` for the client.
    length: Option<u64>,
    /// A digest of a response that is too large to be read whole.
    digest: Digest,
    broken: bool,
}

impl<B> BulkBody<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    /// `holds`: a small response may be held until it is complete.
    pub(super) fn new(backend: B, in_flight: InFlight, context: Context, holds: bool) -> Self {
        let length = backend.size_hint().exact();
        let now = context.clock.now();
        Self {
            backend: Some(backend),
            in_flight,
            timers: Timers::new(now, context.idle_timeout, None, context.deadline),
            context,
            ready: VecDeque::new(),
            last: None,
            collected: 0,
            holds: if holds { WHOLE } else { 0 },
            passed: 0,
            remaining: length,
            length,
            digest: Digest::default(),
            broken: false,
        }
    }

    pub(super) fn in_flight(&mut self) -> &mut InFlight {
        &mut self.in_flight
    }

    /// The client leaves. Returns whether the answer is to be read to its end.
    pub(super) fn outlast(&mut self) -> bool {
        if self.in_flight.receipt().is_closed() {
            return false;
        }
        let usage = self.estimate(self.counted());
        let receipt = self.in_flight.receipt_mut();
        receipt.relayed(Phase::Streaming, self.passed, usage);
        receipt.leave()
    }

    /// Reads the answer to its end, for its usage.
    pub(super) fn poll_to_end(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        while !self.in_flight.receipt().is_closed() {
            match std::task::ready!(Pin::new(&mut *self).poll_frame(task)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        Poll::Ready(())
    }

    /// Reads the response until it is complete or too large to be held.
    pub(super) fn poll_collect(
        &mut self,
        task: &mut TaskContext<'_>,
    ) -> Poll<Result<Collected, AnswerFault>> {
        while self.collected <= self.holds {
            match std::task::ready!(self.poll_backend(task))? {
                Some(data) => {
                    self.collected += data.len();
                    self.ready.push_back(data);
                }
                None => return Poll::Ready(Ok(Collected::Whole(self.join()))),
            }
        }
        self.context.bind_wire();
        Poll::Ready(Ok(Collected::Begun))
    }

    /// Hands in the row of a complete, valid response. Call it before the bytes are handed over. `counted`: output
    /// tokens, in case the backend does not report them.
    pub(super) fn finish_whole(&mut self, length: u64, told: &Counters, counted: u64) {
        let usage = self.used(told, counted);
        self.finish(length, usage);
    }

    /// Whether the bytes so far can be the beginning of a large JSON value.
    pub(super) fn begins_as_json(&self) -> bool {
        let mut bytes = self.ready.iter().flatten();
        bytes
            .find(|byte| !byte.is_ascii_whitespace())
            .is_some_and(|first| matches!(first, b'{' | b'['))
    }

    fn poll_backend(
        &mut self,
        task: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Bytes>, AnswerFault>> {
        loop {
            let Some(backend) = &mut self.backend else {
                return Poll::Ready(Ok(None));
            };
            match Pin::new(backend).poll_frame(task) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.timers.heard(self.context.clock.now());
                        self.remaining = self
                            .remaining
                            .map(|left| left.saturating_sub(data.len() as u64));
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.backend = None;
                    return Poll::Ready(Err(error.into()));
                }
                Poll::Ready(None) => {
                    self.backend = None;
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => break,
            }
        }
        match self.timers.poll(task, self.context.clock.now()) {
            Some(Due::Total) => Poll::Ready(Err(AnswerFault::TotalTimeout)),
            Some(_) => Poll::Ready(Err(AnswerFault::IdleTimeout)),
            None => Poll::Pending,
        }
    }

    fn join(&mut self) -> Bytes {
        if self.ready.len() == 1
            && let Some(only) = self.ready.pop_front()
        {
            return only;
        }
        let mut whole = BytesMut::with_capacity(self.collected);
        for piece in self.ready.drain(..) {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }

    fn finish(&mut self, response_bytes: u64, usage: Usage) {
        let receipt = self.in_flight.receipt_mut();
        receipt.relayed(Phase::Done, response_bytes, usage);
        self.in_flight.finish(Outcome::Ok);
        self.context.free_wire();
    }

    fn finish_large(&mut self) {
        let dialect = self.context.api.dialect();
        let reading = read_answer(dialect, self.digest.json()).unwrap_or_default();
        if let Some(id) = &reading.response_id {
            self.in_flight.note_response(&self.context.responses, id);
        }
        let usage = self.used(&reading.usage, self.counted());
        match reading.unfinished {
            true => self.fail(AnswerFault::Unfinished, usage),
            false => self.finish(self.passed, usage),
        }
    }

    /// Hands in the row before the last bytes leave if their number is known, otherwise before the end of the body.
    fn pass(&mut self, data: Bytes) -> Option<Bytes> {
        self.digest.push(&data);
        self.passed += data.len() as u64;
        let backend_done =
            self.remaining == Some(0) || (self.length.is_none() && self.backend.is_none());
        if self.ready.is_empty() && backend_done {
            self.finish_large();
            self.last = Some(data);
            return None;
        }
        Some(data)
    }

    /// There is no way to report an error inside such a body, so the connection is just cut.
    fn break_off(&mut self, fault: AnswerFault) {
        self.broken = true;
        self.backend = None;
        self.context.free_wire();
        if !self.in_flight.receipt().is_closed() {
            let estimate = self.estimate(self.counted());
            self.fail(fault, estimate);
        }
    }

    fn fail(&mut self, fault: AnswerFault, usage: Usage) {
        let receipt = self.in_flight.receipt_mut();
        receipt.relayed(Phase::Streaming, self.passed, usage);
        receipt.code(fault.code());
        self.in_flight.finish(fault.outcome());
        self.context.free_wire();
    }
}

impl<B> Body for BulkBody<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let this = &mut *self;
        loop {
            std::task::ready!(this.in_flight.receipt_mut().poll_settled(task));
            if let Some(last) = this.last.take() {
                return Poll::Ready(Some(Ok(Frame::data(last))));
            }
            if this.ready.is_empty()
                && !this.broken
                && this.context.wire.is_given_up()
                && !this.in_flight.receipt().is_closed()
            {
                this.break_off(AnswerFault::ShuttingDown);
                continue;
            }
            if !this.broken
                && !this.in_flight.receipt().is_closed()
                && this.context.present.poll_dismissed(task).is_ready()
            {
                this.break_off(AnswerFault::Dismissed);
                continue;
            }
            if this.broken {
                this.context.wire.cut();
                return Poll::Pending;
            }
            let data = match this.ready.pop_front() {
                Some(data) => Some(data),
                None => match std::task::ready!(this.poll_backend(task)) {
                    Ok(data) => data,
                    Err(fault) => {
                        this.break_off(fault);
                        continue;
                    }
                },
            };
            match data {
                Some(data) => {
                    if let Some(data) = this.pass(data) {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                None if this.in_flight.receipt().is_closed() => return Poll::Ready(None),
                None => this.finish_large(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty()
            && self.last.is_none()
            && !self.broken
            && self.in_flight.receipt().is_closed()
            && self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, |length| {
            SizeHint::with_exact(length - self.passed)
        })
    }
}

impl<B> BulkBody<B> {
    fn used(&self, told: &Counters, counted: u64) -> Usage {
        let estimate = self.estimate(counted);
        match self.context.api.runs_a_model() {
            true => told.usage(estimate).unwrap_or(estimate),
            // A stored response repeats the usage of the request that made it.
            false => estimate,
        }
    }

    /// The usage to record if the backend does not report it.
    fn estimate(&self, counted: u64) -> Usage {
        self.in_flight.receipt().estimate(counted)
    }

    /// Estimates output tokens from the number of bytes, for a response that was not read whole.
    fn counted(&self) -> u64 {
        match self.context.api.generates_text() {
            true => self.passed.max(self.collected as u64) / 4,
            false => 0,
        }
    }
}

impl<B> Drop for BulkBody<B> {
    fn drop(&mut self) {
        if self.in_flight.receipt().is_closed() {
            return;
        }
        let estimate = self.estimate(self.counted());
        let receipt = self.in_flight.receipt_mut();
        receipt.relayed(Phase::Streaming, self.passed, estimate);
    }
}
