//! From a script and a request to the steps on the connection.

use bytes::{Bytes, BytesMut};
use ostia_engine::{Api, Ask, Event, Output, Stamp, Tokens, Turn};

use super::script::{Answer, Break, Cuts, LineEnding, ScriptFraming, Step};
use super::{Received, Script};

/// What to do on the connection, and whether it is kept afterwards.
pub(super) struct Plan {
    pub steps: Vec<Step>,
    pub keep: bool,
}

/// Something that was completed by a byte.
type Mark = (u64, Option<Tokens>);

/// Bytes, and the marks that are due once they are written.
type Piece = (Bytes, Vec<Mark>);

pub(super) fn plan(script: &Script, request: &Received) -> Plan {
    if let Answer::By(decide) = &script.answer {
        return plan(&decide(request), request);
    }
    if let Answer::Steps(steps) = &script.answer {
        return Plan {
            steps: steps.clone(),
            keep: !script.close,
        };
    }
    let rendering = Rendering::new(script, request);
    let steps = rendering.steps();
    let steps = match &script.wire_cuts {
        Some(cuts) => recut_steps(steps, cuts),
        None => steps,
    };
    Plan {
        steps,
        keep: !rendering.closes(),
    }
}

struct Rendering<'a> {
    script: &'a Script,
    events: Vec<Event>,
    stream: bool,
    framing: ScriptFraming,
}

impl<'a> Rendering<'a> {
    fn new(script: &'a Script, request: &Received) -> Self {
        let (mut events, stream) = match &script.answer {
            Answer::Completion(output) => completion(output, request),
            Answer::Events(events) => (events.iter().cloned().map(Event::from).collect(), true),
            Answer::Body(body) => (vec![Event::from(body.clone())], false),
            _ => (Vec::new(), false),
        };
        if stream {
            dress(&mut events, script);
        }
        let framing = match (script.breaking, script.framing) {
            (Some((_, Break::ShortLength)), _) => ScriptFraming::Length,
            (Some((_, Break::BadChunk)), _) => ScriptFraming::Chunked,
            (_, ScriptFraming::Auto) if stream => ScriptFraming::Chunked,
            (_, ScriptFraming::Auto) => ScriptFraming::Length,
            (_, given) => given,
        };
        Self {
            script,
            events,
            stream,
            framing,
        }
    }

    fn closes(&self) -> bool {
        self.script.close || self.framing == ScriptFraming::UntilClose
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<_> = self
            .script
            .interim
            .iter()
            .cloned()
            .map(Step::Write)
            .collect();
        steps.extend(self.script.head_gate.clone().map(Step::Pass));
        steps.push(Step::Write(self.head()));
        if let Answer::Repeated(piece, times) = &self.script.answer {
            steps.push(Step::Repeat(self.framed(piece.clone()), *times));
            steps.push(Step::Mark(0, None));
        }
        for (bytes, marks) in self.pieces() {
            steps.extend(self.script.event_gate.clone().map(Step::Pass));
            if !bytes.is_empty() {
                steps.push(Step::Write(self.framed(bytes)));
            }
            steps.extend(
                marks
                    .into_iter()
                    .map(|(tokens, usage)| Step::Mark(tokens, usage)),
            );
        }
        steps.extend(self.script.end_gate.clone().map(Step::Pass));
        steps.extend(self.end());
        steps
    }

    /// The body up to where it breaks, cut as the script says.
    fn pieces(&self) -> Vec<Piece> {
        let whole = self
            .script
            .breaking
            .map_or(usize::MAX, |(events, _)| events);
        let events = self.events.iter().take(whole);
        let pieces = events.map(|event| (event.bytes.clone(), vec![(event.tokens, event.usage)]));
        let pieces: Vec<_> = pieces.collect();
        match &self.script.body_cuts {
            Some(cuts) => recut(pieces, cuts),
            None => pieces,
        }
    }

    fn head(&self) -> Bytes {
        let status = self.script.status;
        let reason = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|code| code.canonical_reason());
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or("Unknown"));
        let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        for (name, value) in &self.script.headers {
            line(name, value);
        }
        let typed = self
            .script
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !typed && matches!(self.script.answer, Answer::Completion(_)) {
            line(
                "content-type",
                if self.stream {
                    "text/event-stream"
                } else {
                    "application/json"
                },
            );
        }
        match self.framing {
            ScriptFraming::Chunked => line("transfer-encoding", "chunked"),
            ScriptFraming::UntilClose => {}
            _ => line("content-length", &self.length().to_string()),
        }
        if self.closes() {
            line("connection", "close");
        }
        head.push_str("\r\n");
        head.into()
    }

    fn length(&self) -> u64 {
        match &self.script.answer {
            Answer::Repeated(piece, times) => times.saturating_mul(piece.len() as u64),
            _ => self
                .events
                .iter()
                .map(|event| event.bytes.len() as u64)
                .sum(),
        }
    }

    fn framed(&self, bytes: Bytes) -> Bytes {
        if self.framing != ScriptFraming::Chunked {
            return bytes;
        }
        let mut framed = BytesMut::from(format!("{:x}\r\n", bytes.len()).as_bytes());
        framed.extend_from_slice(&bytes);
        framed.extend_from_slice(b"\r\n");
        framed.freeze()
    }

    fn end(&self) -> Vec<Step> {
        match self.script.breaking {
            Some((_, Break::Reset)) => vec![Step::Spoilt, Step::Reset],
            Some((_, Break::Fin | Break::ShortLength)) => vec![Step::Spoilt, Step::Fin],
            Some((_, Break::BadChunk)) => {
                vec![Step::Write("zz\r\n".into()), Step::Spoilt, Step::Silence]
            }
            Some((_, Break::Stall)) => vec![Step::Silence],
            None if self.framing == ScriptFraming::Chunked => vec![Step::Write("0\r\n\r\n".into())],
            None => Vec::new(),
        }
    }
}

/// A model's answer in the format of the API that was called, and whether it is a stream.
fn completion(output: &Output, request: &Received) -> (Vec<Event>, bool) {
    let mut ask = Ask::read(request.json());
    ask.model = request.model().unwrap_or_default();
    let turn = Turn {
        ask: &ask,
        output,
        stamp: &Stamp::default(),
    };
    let api = Api::of(request.path()).unwrap_or(Api::Chat);
    match ask.stream.then(|| turn.events(api)).flatten() {
        Some(events) => (events, true),
        None => (vec![turn.plain(api)], false),
    }
}

/// Byte order mark, comments and line endings.
fn dress(events: &mut [Event], script: &Script) {
    let mut endings = [&b"\n"[..], b"\r\n", b"\r"].into_iter().cycle();
    for (place, event) in events.iter_mut().enumerate() {
        let mut bytes = BytesMut::new();
        if place == 0 {
            bytes.extend_from_slice(&script.preamble);
        }
        if let Some(comment) = &script.comment {
            bytes.extend_from_slice(format!(": {comment}\n").as_bytes());
        }
        bytes.extend_from_slice(&event.bytes);
        if script.line_ending == LineEnding::Lf {
            event.bytes = bytes.freeze();
            continue;
        }
        let mut ended = BytesMut::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n");
            ended.extend_from_slice(text.unwrap_or(line));
            let ending: &[u8] = match script.line_ending {
                LineEnding::CrLf => b"\r\n",
                LineEnding::Cr => b"\r",
                _ => endings.next().unwrap_or(b"\n"),
            };
            // CR, then an empty line that ends with LF, would read as one CRLF.
            let merges = ended.ends_with(b"\r") && ending == b"\n";
            let ending = if merges { b"\r" } else { ending };
            ended.extend_from_slice(if text.is_some() { ending } else { b"" });
        }
        event.bytes = ended.freeze();
    }
}

/// Splits the writes of a plan differently; other steps stay between the same writes, except gates.
fn recut_steps(steps: Vec<Step>, cuts: &Cuts) -> Vec<Step> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = Vec::new();
    for step in steps {
        match step {
            Step::Write(bytes) => pieces.push((bytes, Vec::new())),
            Step::Mark(tokens, usage) => match pieces.last_mut() {
                Some((_, marks)) => marks.push((tokens, usage)),
                None => rest.push(Step::Mark(tokens, usage)),
            },
            Step::Pass(_) => {}
            other => rest.push(other),
        }
    }
    let mut steps = Vec::new();
    for (bytes, marks) in recut(pieces, cuts) {
        steps.push(Step::Write(bytes));
        steps.extend(
            marks
                .into_iter()
                .map(|(tokens, usage)| Step::Mark(tokens, usage)),
        );
    }
    steps.extend(rest);
    steps
}

/// The same bytes in different pieces; each mark moves to the piece with its last byte.
fn recut(pieces: Vec<Piece>, cuts: &Cuts) -> Vec<Piece> {
    let mut whole = BytesMut::new();
    let mut marks = Vec::new();
    for (bytes, due) in pieces {
        whole.extend_from_slice(&bytes);
        marks.extend(due.into_iter().map(|mark| (whole.len(), mark)));
    }
    let whole = whole.freeze();
    let mut ends: Vec<usize> = match cuts {
        Cuts::Whole => Vec::new(),
        Cuts::At(positions) => positions.clone(),
        Cuts::Every(size) => (1..)
            .map(|n| n * size.max(&1))
            .take_while(|end| *end < whole.len())
            .collect(),
    };
    ends.retain(|end| (1..whole.len()).contains(end));
    ends.push(whole.len());
    ends.sort_unstable();
    ends.dedup();
    let mut start = 0;
    let mut marks = marks.into_iter().peekable();
    let mut cut = Vec::new();
    for end in ends {
        let mut due = Vec::new();
        while let Some((_, mark)) = marks.next_if(|(at, _)| *at <= end) {
            due.push(mark);
        }
        cut.push((whole.slice(start..end), due));
        start = end;
    }
    cut
}
