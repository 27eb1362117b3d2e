//! Checks that a stream arrived completely: every chunk once, in order, then exactly one `[DONE]`.

use memchr::memmem;
use std::fmt;

/// The text that precedes the number of each chunk: `"content":"t17 "`.
const TOKEN: &[u8] = br#""content":"t"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    OutOfOrder,
    MissingChunks,
    MissingDone,
    RepeatedDone,
    AfterDone,
    HalfEvent,
    ErrorEvent,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::OutOfOrder => "chunk out of order",
            Self::MissingChunks => "chunks missing",
            Self::MissingDone => "no [DONE]",
            Self::RepeatedDone => "[DONE] twice",
            Self::AfterDone => "event after [DONE]",
            Self::HalfEvent => "ended inside an event",
            Self::ErrorEvent => "error event",
        })
    }
}

/// Follows one stream. Keeps only the event that is still incomplete.
#[derive(Default)]
pub struct Checker {
    partial: Vec<u8>,
    chunks: u64,
    done: bool,
    fault: Option<Fault>,
}

impl Checker {
    /// Takes bytes as they arrive, split anywhere. Returns how many numbered chunks they completed.
    pub fn feed(&mut self, bytes: &[u8]) -> u64 {
        let before = self.chunks;
        if self.partial.is_empty() {
            let rest = self.events(bytes);
            self.partial.extend_from_slice(rest);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(bytes);
            self.partial = self.events(&joined).to_vec();
        }
        self.chunks - before
    }

    /// Call this at the end of the body. `expected` is the number of chunks that the mock was set to send.
    pub fn finish(self, expected: u64) -> Result<(), Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None if !self.partial.is_empty() => Err(Fault::HalfEvent),
            None if self.chunks != expected => Err(Fault::MissingChunks),
            None if !self.done => Err(Fault::MissingDone),
            None => Ok(()),
        }
    }

    fn events<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let Some(end) = memmem::find(bytes, b"\n\n") {
            self.event(&bytes[..end]);
            bytes = &bytes[end + 2..];
        }
        bytes
    }

    fn event(&mut self, event: &[u8]) {
        // Comments are a proxy's keep-alive. They are allowed anywhere and not part of the answer.
        let Some(data) = event.strip_prefix(b"data:") else {
            return;
        };
        let fault = match (data.trim_ascii(), self.done) {
            (b"[DONE]", true) => Some(Fault::RepeatedDone),
            (b"[DONE]", false) => {
                self.done = true;
                None
            }
            (_, true) => Some(Fault::AfterDone),
            (data, false) => self.chunk(data),
        };
        self.fault = self.fault.or(fault);
    }

    fn chunk(&mut self, data: &[u8]) -> Option<Fault> {
        let Some(at) = memmem::find(data, TOKEN) else {
            // A usage chunk carries no token. An error event replaces the rest of the stream.
            return data
                .starts_with(br#"{"error""#)
                .then_some(Fault::ErrorEvent);
        };
        let digits = data[at + TOKEN.len()..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0u64, |n, digit| {
            n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
        });
        let fault = (number != self.chunks).then_some(Fault::OutOfOrder);
        self.chunks += 1;
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = "data: [DONE]\n\n";
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{}}\n\n";

    fn chunk(n: u64) -> String {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"t{n} \"}}}}]}}\n\n")
    }

    fn check(stream: &str, expected: u64) -> Result<(), Fault> {
        let mut checker = Checker::default();
        checker.feed(stream.as_bytes());
        checker.finish(expected)
    }

    #[test]
    fn whole_streams_pass_however_they_are_cut() {
        let stream = format!(
            ": hello\n\n{}{}{}{USAGE}{DONE}",
            chunk(0),
            chunk(1),
            chunk(2)
        );
        for size in 1..=stream.len() {
            let mut checker = Checker::default();
            let seen: u64 = stream
                .as_bytes()
                .chunks(size)
                .map(|piece| checker.feed(piece))
                .sum();
            assert_eq!((seen, checker.finish(3)), (3, Ok(())), "pieces of {size}");
        }
    }

    #[test]
    fn faults_are_told_apart() {
        let (a, b) = (chunk(0), chunk(1));
        assert_eq!(check(&format!("{b}{a}{DONE}"), 2), Err(Fault::OutOfOrder));
        assert_eq!(check(&format!("{a}{a}{DONE}"), 2), Err(Fault::OutOfOrder));
        assert_eq!(check(&format!("{a}{DONE}"), 2), Err(Fault::MissingChunks));
        assert_eq!(check(&format!("{a}{b}"), 2), Err(Fault::MissingDone));
        assert_eq!(
            check(&format!("{a}{b}{DONE}{DONE}"), 2),
            Err(Fault::RepeatedDone)
        );
        assert_eq!(check(&format!("{a}{DONE}{b}"), 2), Err(Fault::AfterDone));
        assert_eq!(
            check(&format!("{a}{b}data: [DONE]"), 2),
            Err(Fault::HalfEvent)
        );
        assert_eq!(
            check(&format!("{a}data: {{\"error\":{{}}}}\n\n"), 2),
            Err(Fault::ErrorEvent)
        );
        assert_eq!(check("", 0), Err(Fault::MissingDone));
    }
}
