//! Where one server-sent event ends and the next begins (WHATWG HTML, section 9.2.6).

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// A longer event passes in parts.
pub(super) const LONGEST_EVENT: usize = 256 * 1024;

/// Cuts a byte stream into whole events, whatever pieces it arrives in. Nothing is lost or changed.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// Bytes of the event that has begun and is not finished.
    tail: BytesMut,
    scanner: Scanner,
    /// Part of the present event has been passed on already.
    in_parts: bool,
}

/// What a push completed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// One whole event with the blank line that ends it.
    Event(Bytes),
    /// Part of an event that is too long to be held, or the LF that completes what was given up to its CR.
    Part(Bytes),
    /// The last part of such an event, with its blank line.
    LastPart(Bytes),
}

#[derive(Debug)]
struct Scanner {
    /// How much of the present event was looked at.
    scanned: usize,
    /// No byte of the present line was seen yet.
    line_empty: bool,
    /// The byte before was a CR: an LF that follows belongs to the same line end.
    after_cr: bool,
}

impl Splitter {
    /// Takes the next bytes and gives what they complete, in order.
    pub(super) fn push(&mut self, mut chunk: Bytes, mut give: impl FnMut(Piece)) {
        // Nothing can follow within this line end: kept back, it would keep comments from a place that is free.
        if self.tail.is_empty() && self.scanner.after_cr && chunk.starts_with(b"\n") {
            self.scanner.after_cr = false;
            give(Piece::Part(chunk.split_to(1)));
        }
        if self.tail.is_empty() {
            let mut rest = chunk;
            while let Some(end) = self.scanner.event_end(&rest) {
                give(self.piece(rest.split_to(end)));
            }
            self.tail.extend_from_slice(&rest);
        } else {
            self.tail.extend_from_slice(&chunk);
            while let Some(end) = self.scanner.event_end(&self.tail) {
                let event = self.tail.split_to(end).freeze();
                give(self.piece(event));
            }
        }
        if self.tail.len() > LONGEST_EVENT {
            self.in_parts = true;
            self.scanner.scanned = 0;
            give(Piece::Part(self.tail.split().freeze()));
        }
    }

    /// What is left of an event that was never finished.
    pub(super) fn take_tail(&mut self) -> Bytes {
        self.scanner = Scanner::default();
        self.tail.split().freeze()
    }

    /// Whether a line may be put in here without touching an event.
    pub(super) fn at_boundary(&self) -> bool {
        self.tail.is_empty() && !self.in_parts && !self.scanner.after_cr
    }

    /// Whether the client has seen the beginning of an event and not its end.
    pub(super) fn is_in_parts(&self) -> bool {
        self.in_parts
    }

    fn piece(&mut self, bytes: Bytes) -> Piece {
        if std::mem::take(&mut self.in_parts) {
            Piece::LastPart(bytes)
        } else {
            Piece::Event(bytes)
        }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            scanned: 0,
            line_empty: true,
            after_cr: false,
        }
    }
}

impl Scanner {
    /// The length of the first event of `buffer`, if its blank line is there.
    fn event_end(&mut self, buffer: &[u8]) -> Option<usize> {
        let mut at = self.scanned;
        loop {
            let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) else {
                self.scanned = buffer.len();
                return None;
            };
            if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
                at += 1;
                continue;
            }
            let Some(offset) = memchr2(b'\n', b'\r', rest) else {
                self.line_empty = false;
                self.scanned = buffer.len();
                return None;
            };
            let blank = self.line_empty && offset == 0;
            at += offset + 1;
            self.line_empty = true;
            self.after_cr = buffer.get(at - 1) == Some(&b'\r');
            if !blank {
                continue;
            }
            if self.after_cr && buffer.get(at) == Some(&b'\n') {
                self.after_cr = false;
                at += 1;
            }
            self.scanned = 0;
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests;
