use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ostia_engine::{Output, Tokens, UsageShape};
use serde_json::Value;

use super::Received;
use crate::gate::Gate;

/// How one request is answered, byte by byte if need be. By default, as a correct model server would answer.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) answer: Answer,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) interim: Vec<Bytes>,
    pub(super) framing: ScriptFraming,
    pub(super) line_ending: LineEnding,
    /// Written before the first event, between events, and instead of nothing behind the last.
    pub(super) preamble: Bytes,
    pub(super) comment: Option<String>,
    pub(super) body_cuts: Option<Cuts>,
    pub(super) wire_cuts: Option<Cuts>,
    pub(super) head_gate: Option<Gate>,
    pub(super) event_gate: Option<Gate>,
    pub(super) end_gate: Option<Gate>,
    pub(super) breaking: Option<(usize, Break)>,
    pub(super) early: bool,
    pub(super) close: bool,
}

#[derive(Clone)]
pub(super) enum Answer {
    /// A stream if the request asks for one, plain JSON otherwise.
    Completion(Output),
    /// An event stream, whatever was asked.
    Events(Vec<Bytes>),
    Body(Bytes),
    Repeated(Bytes, u64),
    /// Everything at will, heads included.
    Steps(Vec<Step>),
    By(Arc<dyn Fn(&Received) -> Script + Send + Sync>),
}

/// The smallest things a backend can do on a connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// One write.
    Write(Bytes),
    /// The same write again and again, without holding all of it.
    Repeat(Bytes, u64),
    /// Waits until the test lets it go on.
    Pass(Gate),
    /// Notes that an event is complete: tokens of text in it, and the usage it reported.
    Mark(u64, Option<Tokens>),
    /// Notes that the message was broken on purpose here.
    Spoilt,
    /// Says nothing more until the peer goes away.
    Silence,
    /// Closes the connection in an orderly way.
    Fin,
    /// Closes the connection with a reset.
    Reset,
}

/// How an answer breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    Reset,
    /// Orderly close without the last chunk (or short of the length).
    Fin,
    /// `Content-Length` of the whole, then an orderly close in between.
    ShortLength,
    /// A chunk whose size is not a number; the connection stays open.
    BadChunk,
    /// Nothing more, and the connection stays open.
    Stall,
}

/// Where bytes are cut into pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cuts {
    /// Nowhere: all in one.
    Whole,
    /// Before the bytes at these positions, counted from 0.
    At(Vec<usize>),
    /// Into pieces of this many bytes.
    Every(usize),
}

/// How the end of the body is signalled. `Auto`: chunked for streams, a length otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptFraming {
    Auto,
    Length,
    Chunked,
    UntilClose,
}

/// What ends a line of an event stream; the standard allows all, mixed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnding {
    Lf,
    CrLf,
    Cr,
    /// One after the other.
    Mixed,
}

impl Default for Script {
    fn default() -> Self {
        Self::completion()
    }
}

impl Script {
    /// A sound answer of three pieces of text, streamed if the request asks for a stream.
    pub fn completion() -> Self {
        let output = Output {
            pieces: pieces(3),
            prompt_tokens: 11,
            ..Output::default()
        };
        Self::new(Answer::Completion(output))
    }

    /// An event stream of exactly these events, whatever was asked. Each counts as an event of its own.
    pub fn events(events: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        let events = events.into_iter().map(Into::into).collect();
        Self::new(Answer::Events(events)).header("content-type", "text/event-stream; charset=utf-8")
    }

    /// A status and a body with its length; no content type unless [`Script::header`] adds one.
    pub fn raw(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(Answer::Body(body.into())).status(status)
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::raw(status, body.to_string()).header("content-type", "application/json")
    }

    /// A body of `times` times `piece`, too big to hold. `u64::MAX` with [`ScriptFraming::Chunked`] never ends.
    pub fn repeated(piece: impl Into<Bytes>, times: u64) -> Self {
        Self::new(Answer::Repeated(piece.into(), times))
            .header("content-type", "application/octet-stream")
    }

    /// Only these steps, which include heads and framing. The connection is kept if none of them closes it.
    pub fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::new(Answer::Steps(steps.into_iter().collect()))
    }

    /// Chooses the script once the request is known: for an echo, for example.
    pub fn by(decide: impl Fn(&Received) -> Self + Send + Sync + 'static) -> Self {
        Self::new(Answer::By(Arc::new(decide)))
    }

    fn new(answer: Answer) -> Self {
        Self {
            answer,
            status: 200,
            headers: Vec::new(),
            interim: Vec::new(),
            framing: ScriptFraming::Auto,
            line_ending: LineEnding::Lf,
            preamble: Bytes::new(),
            comment: None,
            body_cuts: None,
            wire_cuts: None,
            head_gate: None,
            event_gate: None,
            end_gate: None,
            breaking: None,
            early: false,
            close: false,
        }
    }

    /// `chunks` pieces of text, a token each. For completions only, as are `text`, `tokens` and `usage`.
    #[must_use]
    pub fn chunks(self, chunks: usize) -> Self {
        self.text(pieces(chunks))
    }

    #[must_use]
    pub fn text(mut self, pieces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.output_mut().pieces = pieces.into_iter().map(Into::into).collect();
        self
    }

    /// Counts of the prompt; those of the answer are its pieces.
    #[must_use]
    pub fn prompt_tokens(mut self, prompt: u64, cached: u64) -> Self {
        let output = self.output_mut();
        output.prompt_tokens = prompt;
        output.cached_tokens = cached;
        self
    }

    #[must_use]
    pub fn usage(mut self, shape: UsageShape) -> Self {
        self.output_mut().usage = shape;
        self
    }

    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// One more header line; a content type replaces the previous one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("content-type") {
            self.headers
                .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Bytes before the final head: `103 Early Hints`, `100 Continue`, ...; the blank line is the caller's.
    #[must_use]
    pub fn interim(mut self, head: impl Into<Bytes>) -> Self {
        self.interim.push(head.into());
        self
    }

    #[must_use]
    pub const fn framing(mut self, framing: ScriptFraming) -> Self {
        self.framing = framing;
        self
    }

    #[must_use]
    pub const fn line_ending(mut self, ending: LineEnding) -> Self {
        self.line_ending = ending;
        self
    }

    /// A byte order mark before the first event.
    #[must_use]
    pub fn bom(mut self) -> Self {
        self.preamble = Bytes::from_static(b"\xef\xbb\xbf");
        self
    }

    /// A comment line before each event.
    #[must_use]
    pub fn comments(mut self, text: &str) -> Self {
        self.comment = Some(text.to_owned());
        self
    }

    /// Cuts the body; each piece is a chunk and a write of its own.
    #[must_use]
    pub fn cut_body(mut self, cuts: Cuts) -> Self {
        self.body_cuts = Some(cuts);
        self
    }

    /// Splits the whole output, heads and framing included, into writes. Gates between events are dropped.
    #[must_use]
    pub fn cut_wire(mut self, cuts: Cuts) -> Self {
        self.wire_cuts = Some(cuts);
        self
    }

    /// Head, body and end in one write.
    #[must_use]
    pub fn coalesced(self) -> Self {
        self.cut_wire(Cuts::Whole)
    }

    /// One release lets the head out.
    #[must_use]
    pub fn gate_head(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    /// One release lets one event out (or one piece, where the body is cut). The head is not held.
    #[must_use]
    pub fn gate_events(mut self, gate: &Gate) -> Self {
        self.event_gate = Some(gate.clone());
        self
    }

    /// One release lets the end of the message out: the last chunk, or the close.
    #[must_use]
    pub fn gate_end(mut self, gate: &Gate) -> Self {
        self.end_gate = Some(gate.clone());
        self
    }

    /// Breaks the answer when its head and `events` events were written.
    #[must_use]
    pub const fn break_after(mut self, events: usize, how: Break) -> Self {
        self.breaking = Some((events, how));
        self
    }

    /// Answers when the head has come, before the body. Only for scripts in the queue.
    #[must_use]
    pub const fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Says `Connection: close`, and does it.
    #[must_use]
    pub const fn close(mut self) -> Self {
        self.close = true;
        self
    }

    fn output_mut(&mut self) -> &mut Output {
        match &mut self.answer {
            Answer::Completion(output) => output,
            other => panic!("only a completion has text and usage, not {other:?}"),
        }
    }
}

/// Pieces of text, no two alike.
fn pieces(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("piece{n} ")).collect()
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completion(_) => "a completion",
            Self::Events(_) => "given events",
            Self::Body(_) => "a given body",
            Self::Repeated(..) => "a repeated body",
            Self::Steps(_) => "given steps",
            Self::By(_) => "decided by the request",
        })
    }
}
