//! Strings with quotes and backslashes that should have been escaped.

use super::scanner::{Budget, Line, Scanner, comment};

/// Where a string is, which decides what may follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Key,
    InObject,
    InList,
    /// Unknown.
    Anywhere,
}

/// How far to look past a quote to decide whether it ends the string. Bounded, so that a page full of quotes still takes
/// linear time.
const LOOK_AHEAD: usize = 256;
/// A longer key was never closed.
const LONGEST_KEY: usize = 1024;

/// A string that is being read.
#[derive(Clone, Copy)]
struct Opened {
    role: Role,
    quote: u8,
    /// It holds JSON whose quotes are not escaped, and is the only value of its line: it ends where the line does.
    ends_with_line: bool,
}

impl Scanner<'_> {
    /// Reads the string whose opening quote comes next, which may be a single one as in Python. `None`: the text ends
    /// within.
    pub fn string(&mut self, role: Role, budget: &mut Budget) -> Option<String> {
        let start = self.at;
        let quote = self.peek()?;
        if quote != b'"' {
            self.fault(start, "single quotes");
        }
        let opened = Opened {
            role,
            quote,
            ends_with_line: role == Role::InObject && self.holds_json(start),
        };
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = memchr::memchr2(quote, b'\\', rest).unwrap_or(rest.len());
            let plain = &rest[..plain];
            self.at += plain.len();
            budget.push(&mut bytes, plain);
            if plain.iter().any(|byte| *byte < b' ') {
                self.fault(start, "a control character in a string");
            }
            match self.peek()? {
                b'\\' => {
                    if self.escape(opened, &mut bytes, budget)? {
                        return Some(self.decoded(bytes, start));
                    }
                }
                _ if self.closes(self.at, opened) => {
                    self.at += 1;
                    return Some(self.decoded(bytes, start));
                }
                _ => {
                    self.fault(self.at, "a quote that is not escaped");
                    self.at += 1;
                    if role == Role::Key && self.at - start > LONGEST_KEY {
                        return Some(self.decoded(bytes, start));
                    }
                    budget.push(&mut bytes, &[quote]);
                }
            }
        }
    }

    /// Whether the string at `start` begins like JSON without escapes, and its key begins a line.
    fn holds_json(&self, start: usize) -> bool {
        let inside = self.text.get(start + 1..).unwrap_or_default();
        let begins = [&b"{\""[..], b"{ \"", b"[\"", b"[{\""];
        let before = self.text[..self.key_at].iter().rev();
        let before = before.take(LOOK_AHEAD);
        begins.iter().any(|begin| inside.starts_with(begin))
            && before
                .into_iter()
                .find(|byte| !matches!(byte, b' ' | b'\t'))
                == Some(&b'\n')
    }

    /// An escape, or a backslash that should have been one. `Some(true)`: it was the string's last character. `None`: the
    /// text ends within.
    fn escape(&mut self, opened: Opened, bytes: &mut Vec<u8>, budget: &mut Budget) -> Option<bool> {
        let at = self.at;
        let escaped = *self.text.get(at + 1)?;
        self.at += 2;
        let meant: &[u8] = match escaped {
            // A Windows path may end in a backslash. If no other quote stands before the line break, the string is over,
            // because sound strings contain no line break.
            quote
                if quote == opened.quote
                    && self.ends_line(at + 2, quote)
                    && self.closes(at + 1, opened) =>
            {
                self.fault(at, "a backslash that is not escaped");
                budget.push(bytes, b"\\");
                return Some(true);
            }
            b'\'' if opened.quote == b'\'' => b"'",
            b'"' => b"\"",
            b'\\' => b"\\",
            b'/' => b"/",
            b'b' => b"\x08",
            b'f' => b"\x0c",
            b'n' => b"\n",
            b'r' => b"\r",
            b't' => b"\t",
            b'u' => {
                self.unicode(at, bytes, budget);
                return Some(false);
            }
            // PBS writes `\,` in lists of variables, and `\'`.
            other => {
                self.fault(at, "an escape that JSON does not have");
                self.at = at + 1;
                if other.is_ascii_punctuation() {
                    b""
                } else {
                    b"\\"
                }
            }
        };
        budget.push(bytes, meant);
        Some(false)
    }

    /// `\uXXXX` and surrogate pairs (RFC 8259 section 7). Anything else is kept as text.
    fn unicode(&mut self, at: usize, bytes: &mut Vec<u8>, budget: &mut Budget) {
        let code = |at: usize| {
            let text = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
            let digits = text.iter().all(u8::is_ascii_hexdigit);
            let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
            u16::from_str_radix(text, 16).ok()
        };
        let (first, second) = (code(at), code(at + 6));
        let Some(first) = first else {
            self.fault(at, "an escape that JSON does not have");
            budget.push(bytes, b"\\u");
            return;
        };
        let units = [first, second.unwrap_or(0)];
        let paired = char::decode_utf16(units).next().and_then(Result::ok);
        self.at = match paired {
            Some(found) if found.len_utf16() == 2 => at + 12,
            _ => at + 6,
        };
        let found = paired.unwrap_or(char::REPLACEMENT_CHARACTER);
        budget.push(bytes, found.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Whether the quote at `at` ends a string: JSON must continue after it.
    fn closes(&mut self, at: usize, opened: Opened) -> bool {
        if opened.ends_with_line && self.last_of_line(at) == Some(opened.quote) {
            return at == self.line.last;
        }
        let role = opened.role;
        let (next, new_line) = self.beyond(at + 1);
        let Some(byte) = self.text.get(next) else {
            return true;
        };
        match (role, byte) {
            (Role::Key, byte) => *byte == b':',
            (Role::InObject, b'}') => self.ends_container(next),
            (Role::InObject, b',') => match self.text.get(self.beyond(next + 1).0) {
                None | Some(b'}') => true,
                Some(_) => self.is_key(self.beyond(next + 1).0),
            },
            // A comma is missing.
            (Role::InObject, b'"' | b'\'') => new_line && self.is_key(next),
            (Role::InList, b']') => self.ends_container(next),
            (Role::InList, b',') => match self.text.get(self.beyond(next + 1).0) {
                None => true,
                Some(byte) => {
                    matches!(
                        byte,
                        b'"' | b'\'' | b'{' | b'[' | b']' | b'-' | b'0'
                            ..=b'9' | b't' | b'f' | b'n' | b'N'
                    )
                }
            },
            (Role::Anywhere, byte) => matches!(byte, b',' | b':' | b'}' | b']'),
            _ => false,
        }
    }

    /// The last character of the line that `at` is in, but for blanks and a comma.
    fn last_of_line(&mut self, at: usize) -> Option<u8> {
        if at >= self.line.end {
            let rest = self.text.get(at..)?;
            let line = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
            let shown = line.trim_ascii_end();
            let shown = shown.strip_suffix(b",").unwrap_or(shown).trim_ascii_end();
            self.line = Line {
                end: at + line.len(),
                last: at + shown.len().saturating_sub(1),
            };
        }
        self.text.get(self.line.last).copied()
    }

    /// Whether the line ends at `at`, or behind a comma there. What looks like a comment and holds a `quote` may be the
    /// rest of a string.
    fn ends_line(&self, at: usize, quote: u8) -> bool {
        let (mut next, mut new_line) = self.beyond(at);
        if !new_line && self.text.get(next) == Some(&b',') {
            (next, new_line) = self.beyond(next + 1);
        }
        let mut line = self.text[at..next]
            .iter()
            .take_while(|byte| **byte != b'\n');
        new_line && !line.any(|byte| *byte == quote)
    }

    /// Whether the bracket at `at` ends a container, rather than being a character of a string.
    fn ends_container(&self, at: usize) -> bool {
        let (next, new_line) = self.beyond(at + 1);
        match self.text.get(next) {
            None | Some(b',' | b'}' | b']') => true,
            Some(_) => new_line,
        }
    }

    /// Whether a key and its colon stand at `at`.
    fn is_key(&self, at: usize) -> bool {
        let rest = self.text.get(at..).unwrap_or_default();
        let Some((quote @ (b'"' | b'\''), rest)) = rest.split_first() else {
            return false;
        };
        let near = &rest[..rest.len().min(LOOK_AHEAD)];
        let escaped = |end: usize| {
            let slashes = near[..end].iter().rev().take_while(|byte| **byte == b'\\');
            slashes.count() % 2 == 1
        };
        let mut ends = memchr::memchr2_iter(*quote, b'\n', near);
        let end = ends.find(|end| near[*end] == b'\n' || !escaped(*end));
        end.is_some_and(|end| {
            near[end] == *quote && self.text.get(self.beyond(at + end + 2).0) == Some(&b':')
        })
    }

    /// The first byte from `at` on that is neither blank nor in a comment, and whether a line break comes before it.
    fn beyond(&self, at: usize) -> (usize, bool) {
        let rest = self.text.get(at..).unwrap_or_default();
        let near = &rest[..rest.len().min(LOOK_AHEAD)];
        let mut next = 0;
        loop {
            let rest = &near[next..];
            let blanks = rest.iter().position(|byte| !byte.is_ascii_whitespace());
            next += blanks.unwrap_or(rest.len());
            match comment(&near[next..]) {
                0 => return (at + next, near[..next].contains(&b'\n')),
                length => next += length,
            }
        }
    }

    /// Decodes UTF-8, and bytes that are not UTF-8 as Latin-1.
    pub fn decoded(&mut self, bytes: Vec<u8>, at: usize) -> String {
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => return text,
            Err(error) => error.into_bytes(),
        };
        self.fault(at, "bytes that are not UTF-8");
        let mut text = String::with_capacity(bytes.len() + 16);
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|byte| char::from(*byte)));
        }
        text
    }
}
