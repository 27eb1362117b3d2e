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
    /// Line ends where an event could begin: as many empty events, which no client dispatches.
    Blank(Bytes),
    /// Several events in a row of nothing but comments, which no client dispatches either.
    Comments(Bytes),
    /// Part of an event that is too long to be held.
    Part(Bytes),
    /// The last part of such an event, including its blank line.
    LastPart(Bytes),
}

#[derive(Debug)]
struct Scanner {
    /// The current line has no bytes yet.
    line_empty: bool,
    /// The previous byte was a CR: a following LF belongs to the same line ending.
    after_cr: bool,
}

impl Splitter {
    /// Takes the next bytes and yields the pieces that they complete, in order. Each byte is looked at once.
    pub(super) fn push(&mut self, mut chunk: Bytes, mut give: impl FnMut(Piece)) {
        loop {
            let blank = self.blank(&chunk);
            if blank > 0 {
                give(Piece::Blank(chunk.split_to(blank)));
            }
            let comments = self.comments(&chunk);
            if comments > 0 {
                give(Piece::Comments(chunk.split_to(comments)));
                continue;
            }
            let Some(end) = self.scanner.event_end(&chunk) else {
                break;
            };
            let rest = chunk.split_to(end);
            let event = match self.tail.is_empty() {
                true => rest,
                false => {
                    self.tail.extend_from_slice(&rest);
                    self.tail.split().freeze()
                }
            };
            give(match std::mem::take(&mut self.in_parts) {
                true => Piece::LastPart(event),
                false => Piece::Event(event),
            });
        }
        self.tail.extend_from_slice(&chunk);
        if self.tail.len() > LONGEST_EVENT {
            self.in_parts = true;
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

    /// How many line ends `chunk` begins with, if an event could begin there. Among them is the LF of a CRLF whose CR has
    /// passed already: if it were kept as the start of an event, no keep-alive comment could be inserted behind it.
    fn blank(&mut self, chunk: &[u8]) -> usize {
        if !self.tail.is_empty() || self.in_parts {
            return 0;
        }
        let blank = chunk.iter().take_while(|byte| is_line_end(**byte)).count();
        if let Some(last) = chunk[..blank].last() {
            self.scanner.after_cr = *last == b'\r';
        }
        blank
    }

    /// The length of the events that `chunk` begins with, if there are several and all of them are comments.
    fn comments(&mut self, chunk: &[u8]) -> usize {
        if !self.tail.is_empty() || self.in_parts {
            return 0;
        }
        let (mut end, mut at, mut events) = (0, 0, 0);
        while chunk.get(at) == Some(&b':') {
            let Some(offset) = memchr2(b'\n', b'\r', &chunk[at..]) else {
                break;
            };
            at += offset;
            let line_end = match &chunk[at..] {
                // What follows may be the LF of the same line end.
                [b'\r'] => break,
                [b'\r', b'\n', ..] => 2,
                _ => 1,
            };
            at += line_end;
            let rest = chunk[at..].iter();
            let blank = rest.take_while(|byte| is_line_end(**byte)).count();
            if blank > 0 {
                at += blank;
                end = at;
                events += 1;
            }
        }
        if events < 2 {
            return 0;
        }
        self.scanner.after_cr = chunk[end - 1] == b'\r';
        end
    }
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            line_empty: true,
            after_cr: false,
        }
    }
}

impl Scanner {
    /// The length of what belongs to the current event, if its blank line is in `chunk`. What `chunk` follows has been
    /// scanned before.
    fn event_end(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = chunk.get(at..).filter(|rest| !rest.is_empty())?;
            if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
                at += 1;
                continue;
            }
            let Some(offset) = memchr2(b'\n', b'\r', rest) else {
                self.line_empty = false;
                return None;
            };
            let blank = self.line_empty && offset == 0;
            at += offset + 1;
            self.line_empty = true;
            self.after_cr = chunk.get(at - 1) == Some(&b'\r');
            if !blank {
                continue;
            }
            if self.after_cr && chunk.get(at) == Some(&b'\n') {
                self.after_cr = false;
                at += 1;
            }
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests;
