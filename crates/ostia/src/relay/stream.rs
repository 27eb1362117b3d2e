use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame};
use ostia_core::{Outcome, Phase, Usage};

use super::indiscreet::{Indiscreet, begins_as_error, indiscreet};
use super::outbox::Outbox;
use super::sse::{Piece, Splitter};
use super::timers::{Due, Timers};
use super::{Context, InFlight};
use crate::dialect::{Meter, Seen};
use crate::listen::BodyBroken;
use crate::refusal::AnswerFault;
use crate::upstream::BodyError;

/// How long the last event waits for the end of the backend's message. Waiting lets both leave in one write, and
/// anything that follows the event, such as usage, still counts.
const GRACE: Duration = Duration::from_millis(20);
/// Events that are already there are written together, up to this many bytes.
const BATCH: usize = 64 * 1024;
/// A single line without a blank one, which would make some clients dispatch an empty event.
pub const KEEPALIVE: Bytes = Bytes::from_static(b": keep-alive\n");

/// An event stream on its way to the client. It is the backend's body, split into events, with three changes: a usage
/// chunk that only the gateway asked for is hidden, keep-alive comments fill silences, and a broken stream ends with an
/// error event.
pub(super) struct StreamBody<B> {
    backend: Option<B>,
    splitter: Splitter,
    meter: Meter,
    in_flight: InFlight,
    context: Context,
    timers: Timers,
    ready: Outbox,
    /// The last usage, the terminal event and whatever followed it, held until the backend's message ends or [`GRACE`]
    /// is over.
    held: Outbox,
    /// The terminal event has arrived.
    terminal: bool,
    state: State,
    status: u16,
    passed: u64,
    /// Events that have arrived so far.
    events: u64,
    /// The present event passes in parts, and the first has.
    part_passed: bool,
    /// A very long event began as an error: nothing of it may pass.
    is_unfit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Relaying,
    /// The terminal event was sent and the row is written; whatever still comes is only relayed.
    Trailing,
    /// The row is written and the backend's message has ended.
    Ended,
    /// The error event is being sent; then the connection is cut.
    Breaking,
}

enum Pull {
    Progress,
    Pending,
    Fault(AnswerFault),
}

impl<B> StreamBody<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    /// `status`: what the client will be told once there is something to send.
    pub(super) fn new(status: u16, backend: B, in_flight: InFlight, context: Context) -> Self {
        let now = context.clock.now();
        let timers = Timers::new(
            now,
            context.idle_timeout,
            context.keepalive,
            context.deadline,
        );
        Self {
            meter: Meter::new(&context.api, context.hide_usage, context.choices),
            backend: Some(backend),
            splitter: Splitter::default(),
            in_flight,
            timers,
            context,
            ready: Outbox::default(),
            held: Outbox::default(),
            terminal: false,
            state: State::Relaying,
            status,
            passed: 0,
            events: 0,
            part_passed: false,
            is_unfit: false,
        }
    }

    /// Waits until there is something to send, so that an earlier failure can be a plain error.
    pub(super) fn poll_hold(
        &mut self,
        task: &mut TaskContext<'_>,
    ) -> Poll<Result<(), AnswerFault>> {
        while self.ready.is_empty() && self.state == State::Relaying {
            match self.pull(task) {
                Pull::Progress => {}
                Pull::Pending => return Poll::Pending,
                Pull::Fault(fault) if self.ready.is_empty() => return Poll::Ready(Err(fault)),
                Pull::Fault(fault) => self.break_off(fault),
            }
        }
        if self.state == State::Relaying {
            self.context.bind_wire();
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn in_flight(&mut self) -> &mut InFlight {
        &mut self.in_flight
    }

    /// The client leaves. Returns whether the answer is to be read to its end.
    pub(super) fn outlast(&mut self) -> bool {
        if self.in_flight.receipt().is_closed() {
            return false;
        }
        let usage = self.usage(false);
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

    fn pull(&mut self, task: &mut TaskContext<'_>) -> Pull {
        let now = self.context.clock.now();
        let mut taken = 0;
        while taken < BATCH {
            let Some(backend) = &mut self.backend else {
                break;
            };
            match Pin::new(backend).poll_frame(task) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) => {
                    self.timers.heard(now);
                    if let Ok(data) = frame.into_data() {
                        taken += data.len();
                        self.take(data, now);
                        if self.is_unfit {
                            return Pull::Fault(AnswerFault::Withheld);
                        }
                        if self.terminal && !self.meter.said_something() {
                            self.held.clear();
                            return Pull::Fault(AnswerFault::Empty);
                        }
                        if self.held.len() > BATCH {
                            self.pass_held();
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => return self.broken(error),
                Poll::Ready(None) => return self.backend_ended(),
            }
        }
        if taken > 0 && !self.ready.is_empty() {
            self.timers.sent(now);
            return Pull::Progress;
        }
        match self.timers.poll(task, now) {
            // The batch was full, so the backend was not polled until it had nothing left and will not wake this task:
            // poll it again.
            None if taken >= BATCH => Pull::Progress,
            None => Pull::Pending,
            Some(Due::Idle) => Pull::Fault(AnswerFault::IdleTimeout),
            Some(Due::Total) => Pull::Fault(AnswerFault::TotalTimeout),
            Some(Due::Grace) => {
                self.pass_held();
                Pull::Progress
            }
            Some(Due::Keepalive) => {
                self.in_flight.told(self.status);
                self.timers.sent(now);
                if self.splitter.at_boundary() && self.held.is_empty() {
                    self.ready.push(KEEPALIVE);
                }
                Pull::Progress
            }
        }
    }

    fn take(&mut self, data: Bytes, now: Instant) {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.push(data, |piece| self.place(piece, now));
        self.splitter = splitter;
    }

    fn place(&mut self, piece: Piece, now: Instant) {
        let piece = match piece {
            Piece::Blank(bytes) => {
                self.in_flight.told(self.status);
                return self.forward(bytes);
            }
            piece if self.state == State::Trailing => return self.trail(piece),
            piece => piece,
        };
        self.in_flight.begun(self.status, now);
        let (seen, event) = match piece {
            Piece::Comments(comments) => {
                let comments = self.discreet(comments);
                return self.forward(comments);
            }
            Piece::Blank(bytes) | Piece::Part(bytes) => return self.place_part(bytes),
            Piece::LastPart(bytes) => (self.meter.last_part(&bytes), bytes),
            Piece::Event(event) => (self.meter.event(&event), self.discreet(event)),
        };
        self.part_passed = false;
        self.events += 1;
        if let Some(id) = self.meter.take_response_id() {
            self.in_flight.note_response(&self.context.responses, &id);
        }
        match seen {
            Seen::Hide => {}
            Seen::Forward => self.forward(event),
            Seen::LastUsage => self.hold(event),
            Seen::Terminal => {
                self.terminal = true;
                self.hold(event);
            }
        }
    }

    fn place_part(&mut self, part: Bytes) {
        self.is_unfit |= !std::mem::replace(&mut self.part_passed, true) && begins_as_error(&part);
        if !self.is_unfit {
            self.meter.part(&part);
            self.forward(part);
        }
    }

    /// Bytes after the end of the answer are passed on, but not counted.
    fn trail(&mut self, piece: Piece) {
        match piece {
            Piece::Part(part) => self.place_part(part),
            Piece::Event(event) | Piece::Comments(event) => {
                let event = self.discreet(event);
                self.forward(event);
            }
            Piece::Blank(rest) | Piece::LastPart(rest) => {
                self.part_passed = false;
                self.forward(rest);
            }
        }
    }

    /// The event without anything that error bodies may not contain either.
    fn discreet(&self, event: Bytes) -> Bytes {
        let deployment = &self.context.deployment;
        let Some(found) = indiscreet(&event, &deployment.target) else {
            return event;
        };
        tracing::warn!(
            endpoint = &*deployment.slug,
            "a stream's event held the endpoint's key or address, which was withheld"
        );
        match found {
            Indiscreet::Beside(left) => left,
            Indiscreet::Data => {
                let dialect = self.context.api.dialect();
                dialect.broken_end(AnswerFault::Withheld, self.events)
            }
        }
    }

    /// Holds back an event that others will follow at once. A client may leave as soon as it sees the terminal event,
    /// so it must get everything in the same write.
    fn hold(&mut self, event: Bytes) {
        if self.held.is_empty() {
            self.timers.grace = Some(self.context.clock.now() + GRACE);
        }
        self.held.push(event);
    }

    fn forward(&mut self, bytes: Bytes) {
        if self.held.is_empty() {
            self.ready.push(bytes);
        } else {
            self.held.push(bytes);
        }
    }

    fn backend_ended(&mut self) -> Pull {
        let in_parts = self.splitter.is_in_parts();
        let tail = self.splitter.take_tail();
        let nothing = self.passed == 0 && self.ready.is_empty() && self.held.is_empty();
        if nothing && tail.is_empty() && self.state == State::Relaying {
            return Pull::Fault(AnswerFault::Empty);
        }
        self.backend = None;
        let (seen, tail) = match (in_parts, self.state) {
            (true, _) => (self.meter.last_part(&tail), tail),
            (false, State::Trailing) => (Seen::Forward, self.discreet(tail)),
            (false, _) => (self.meter.event(&tail), self.discreet(tail)),
        };
        if self.state == State::Trailing {
            self.forward(tail);
            self.state = State::Ended;
            return Pull::Progress;
        }
        self.terminal |= seen == Seen::Terminal;
        if !self.terminal && self.meter.has_only_begun() {
            return Pull::Fault(AnswerFault::Truncated);
        }
        if self.marker_due() && !self.terminal && !self.meter.is_over() {
            return Pull::Fault(AnswerFault::Truncated);
        }
        if !tail.is_empty() && seen != Seen::Hide {
            self.forward(tail);
        }
        self.ready.append(&mut self.held);
        self.finish_whole();
        self.state = State::Ended;
        Pull::Progress
    }

    fn marker_due(&self) -> bool {
        self.context.deployment.target.done_marker
            && self.context.api.dialect().has_terminal_event()
    }

    /// The backend's message broke. After the terminal event this is harmless: the response was complete.
    fn broken(&mut self, error: BodyError) -> Pull {
        self.backend = None;
        if self.state == State::Trailing {
            self.state = State::Ended;
            return Pull::Progress;
        }
        let whole = self.terminal;
        self.pass_held();
        if !whole {
            return Pull::Fault(error.into());
        }
        self.state = State::Ended;
        Pull::Progress
    }

    /// Sends the held events although the backend's message has not ended, because its end takes too long or the
    /// message broke.
    ///
    /// If the terminal event is among them, the response is complete for the client, so its row is written now: the
    /// client may leave on that event, and nothing that the backend still sends can change the usage.
    fn pass_held(&mut self) {
        self.timers.grace = None;
        self.ready.append(&mut self.held);
        if !self.terminal {
            return;
        }
        self.finish_whole();
        // The backend may go on forever, and the client may read slowly: let the socket enforce the deadline.
        self.context.bind_wire();
        self.state = State::Trailing;
    }

    /// Hands in the row. Call this before the bytes that complete the message are handed over: they wait for the row, so
    /// that no client has a complete response without one.
    fn finish_whole(&mut self) {
        if self.meter.failed() {
            let code = match self.meter.blames_request() {
                true => "upstream_refused",
                false => "upstream_error",
            };
            self.finish(Outcome::UpstreamError, Phase::Streaming, code);
        } else {
            self.finish(Outcome::Ok, Phase::Done, "");
        }
    }

    fn finish(&mut self, outcome: Outcome, phase: Phase, code: &'static str) {
        let pending = self.ready.len();
        self.in_flight.told(self.status);
        let usage = match outcome {
            // The backend failed before it made anything.
            Outcome::UpstreamError if self.has_made_nothing() => Usage::default(),
            _ => self.usage(outcome == Outcome::Ok || self.terminal),
        };
        let receipt = self.in_flight.receipt_mut();
        receipt.relayed(phase, self.passed + pending as u64, usage);
        receipt.code(code);
        self.in_flight.finish(outcome);
        self.context.free_wire();
    }

    /// Why the gateway itself ends this answer now: the process stops, or the account was disabled.
    fn ended_early(&self, task: &mut TaskContext<'_>) -> Option<AnswerFault> {
        if self.context.wire.is_given_up() {
            return Some(AnswerFault::ShuttingDown);
        }
        let dismissed = self.context.present.poll_dismissed(task).is_ready();
        dismissed.then_some(AnswerFault::Dismissed)
    }

    /// A complete answer ends normally, although the backend's message goes on; any other one breaks.
    fn leave(&mut self, fault: AnswerFault) {
        if self.state == State::Trailing {
            self.backend = None;
            self.state = State::Ended;
        } else {
            self.break_off(fault);
        }
    }

    /// Sends all whole events so far and an error event, then leaves the message unfinished, so that no client takes a
    /// broken stream for a complete one.
    fn break_off(&mut self, fault: AnswerFault) {
        self.backend = None;
        self.ready.append(&mut self.held);
        self.splitter.take_tail();
        if self.splitter.is_in_parts() && !self.is_unfit {
            self.ready.push(Bytes::from_static(b"\n\n"));
        }
        let dialect = self.context.api.dialect();
        self.ready.push(dialect.broken_end(fault, self.events));
        let phase = match fault {
            AnswerFault::Truncated => Phase::Truncated,
            _ => Phase::Streaming,
        };
        self.finish(fault.outcome(), phase, fault.code());
        self.state = State::Breaking;
    }
}

impl<B> StreamBody<B> {
    fn has_made_nothing(&self) -> bool {
        !self.splitter.is_in_parts() && self.meter.has_made_nothing()
    }

    fn usage(&self, whole: bool) -> Usage {
        let receipt = self.in_flight.receipt();
        self.meter.used(whole, |counted| receipt.estimate(counted))
    }
}

impl<B> Body for StreamBody<B>
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
            // The bytes that complete the answer are in `ready` when its row is submitted.
            std::task::ready!(this.in_flight.receipt_mut().poll_settled(task));
            if let Some(bytes) = this.ready.pop() {
                this.passed += bytes.len() as u64;
                // Cut with the last frame, not after it: on HTTP/2 that keeps the frame from being lost behind a full
                // window.
                if this.ready.is_empty() && this.state == State::Breaking {
                    this.context.wire.cut();
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match this.state {
                State::Ended => return Poll::Ready(None),
                State::Breaking => return Poll::Pending,
                State::Relaying | State::Trailing => {}
            }
            if let Some(fault) = this.ended_early(task) {
                this.leave(fault);
                continue;
            }
            match this.pull(task) {
                Pull::Progress => {}
                Pull::Pending => return Poll::Pending,
                Pull::Fault(fault) => this.leave(fault),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.state == State::Ended
    }
}

impl<B> Drop for StreamBody<B> {
    fn drop(&mut self) {
        if self.in_flight.receipt().is_closed() {
            return;
        }
        let usage = self.usage(false);
        let receipt = self.in_flight.receipt_mut();
        receipt.relayed(Phase::Streaming, self.passed, usage);
    }
}
