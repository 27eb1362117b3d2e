//! Finds where each server-sent event ends (WHATWG HTML, section 9.2.6).

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// A longer event passes in parts.
pub(super) const LONGEST_EVENT: usize = 256 * 1024;

/// Splits a byte stream into whole events, whatever pieces it arrives in. No byte is lost or changed.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// Bytes of the current, unfinished event.
    tail: BytesMut,
    scanner: Scanner,
    /// Part of the current event has already been passed on.
    in_parts: bool,
}

/// What a push completed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole event, including the blank line that ends it.
    Event(Bytes),
    /// Part of an event that is too long to be held, or the LF of a CRLF whose CR has already been passed on.
    Part(Bytes),
    /// The last part of such an event, including its blank line.
    LastPart(Bytes),
}

#[derive(Debug)]
struct Scanner {
    /// How much of the current event has been scanned.
    scanned: usize,
    /// The current line has no bytes yet.
    line_empty: bool,
    /// The previous byte was a CR: a following LF belongs to the same line ending.
    after_cr: bool,
}

impl Splitter {
    /// Takes the next bytes and yields the pieces that they complete, in order.
    pub(super) fn push(&mut self, mut chunk: Bytes, mut give: impl FnMut(Piece)) {
        // Pass the LF on at once: if it were kept as the start of an event, no keep-alive comment could be inserted
        // here.
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

    /// The rest of an event that was never finished.
    pub(super) fn take_tail(&mut self) -> Bytes {
        self.scanner = Scanner::default();
        self.tail.split().freeze()
    }

    /// Whether a line can be inserted here without breaking an event.
    pub(super) fn at_boundary(&self) -> bool {
        self.tail.is_empty() && !self.in_parts && !self.scanner.after_cr
    }

    /// Whether the client has received the beginning of an event but not its end.
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
    /// The length of the first event in `buffer`, if its blank line has arrived.
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
