//! Strings with quotes and backslashes that should have been escaped.

use super::scanner::{Budget, Scanner};

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

impl Scanner<'_> {
    /// Reads the string whose opening quote comes next. `None`: the text ends within.
    pub fn string(&mut self, role: Role, budget: &mut Budget) -> Option<String> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            let plain = &rest[..plain];
            self.at += plain.len();
            budget.push(&mut bytes, plain);
            if plain.iter().any(|byte| *byte < b' ') {
                self.fault(start, "a control character in a string");
            }
            match self.peek()? {
                b'"' if self.closes(self.at, role) => {
                    self.at += 1;
                    return Some(self.decoded(bytes, start));
                }
                b'"' => {
                    self.fault(self.at, "a quote that is not escaped");
                    self.at += 1;
                    if role == Role::Key && self.at - start > LONGEST_KEY {
                        return Some(self.decoded(bytes, start));
                    }
                    budget.push(&mut bytes, b"\"");
                }
                _ => {
                    if self.escape(role, &mut bytes, budget)? {
                        return Some(self.decoded(bytes, start));
                    }
                }
            }
        }
    }

    /// An escape, or a backslash that should have been one. `Some(true)`: it was the string's last character. `None`: the
    /// text ends within.
    fn escape(&mut self, role: Role, bytes: &mut Vec<u8>, budget: &mut Budget) -> Option<bool> {
        let at = self.at;
        let escaped = *self.text.get(at + 1)?;
        self.at += 2;
        let meant: &[u8] = match escaped {
            // A Windows path may end in a backslash. A line break right after the quote means that the string is over,
            // because sound strings contain none.
            b'"' if self.ends_line(at + 2) && self.closes(at + 1, role) => {
                self.fault(at, "a backslash that is not escaped");
                budget.push(bytes, b"\\");
                return Some(true);
            }
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
    fn closes(&self, at: usize, role: Role) -> bool {
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
            (Role::InObject, b'"') => new_line && self.is_key(next),
            (Role::InList, b']') => self.ends_container(next),
            (Role::InList, b',') => match self.text.get(self.beyond(next + 1).0) {
                None => true,
                Some(byte) => {
                    matches!(
                        byte,
                        b'"' | b'{' | b'[' | b']' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N'
                    )
                }
            },
            (Role::Anywhere, byte) => matches!(byte, b',' | b':' | b'}' | b']'),
            _ => false,
        }
    }

    /// Whether the line ends at `at`, or behind a comma there.
    fn ends_line(&self, at: usize) -> bool {
        let (next, new_line) = self.beyond(at);
        new_line || (self.text.get(next) == Some(&b',') && self.beyond(next + 1).1)
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
        let Some(rest) = self
            .text
            .get(at..)
            .and_then(|rest| rest.strip_prefix(b"\""))
        else {
            return false;
        };
        let near = &rest[..rest.len().min(LOOK_AHEAD)];
        let escaped = |end: usize| {
            let slashes = near[..end].iter().rev().take_while(|byte| **byte == b'\\');
            slashes.count() % 2 == 1
        };
        let mut ends = memchr::memchr2_iter(b'"', b'\n', near);
        let end = ends.find(|end| near[*end] == b'\n' || !escaped(*end));
        end.is_some_and(|end| {
            near[end] == b'"' && self.text.get(self.beyond(at + end + 2).0) == Some(&b':')
        })
    }

    /// The first non-blank byte from `at` on, and whether a line break comes before it.
    fn beyond(&self, at: usize) -> (usize, bool) {
        let rest = self.text.get(at..).unwrap_or_default();
        let near = &rest[..rest.len().min(LOOK_AHEAD)];
        let blanks = near.iter().position(|byte| !byte.is_ascii_whitespace());
        let blanks = blanks.unwrap_or(near.len());
        (at + blanks, near[..blanks].contains(&b'\n'))
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
