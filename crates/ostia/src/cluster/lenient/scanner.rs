//! Reads any bytes as if they were JSON. It skips what does not fit, and every step moves forward.

use serde_json::{Map, Value};

use super::super::Faults;
use super::strings::Role;

pub(super) struct Scanner<'a> {
    pub text: &'a [u8],
    pub at: usize,
    /// Where the last key began.
    pub key_at: usize,
    pub faults: Faults,
    /// Something stood where only brackets, keys and values may: entries may have been missed there.
    pub misplaced: bool,
    /// The line that was looked at last: where it ends, and its last character but for blanks and a comma.
    pub line: Line,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Line {
    pub end: usize,
    pub last: usize,
}

/// How much may be kept of what is read.
pub(super) struct Budget {
    nodes: usize,
    bytes: usize,
    spent: bool,
}

/// How deep containers may be nested.
const DEEPEST: usize = 64;
/// Numbers and words are cut after this many bytes.
const LONGEST_WORD: usize = 64;
/// A longer `/* */` is none: its end is not looked for.
const LONGEST_COMMENT: usize = 1024;

impl Budget {
    pub fn entry() -> Self {
        Self::new(1 << 16, 1 << 20)
    }

    pub fn keys() -> Self {
        Self::new(1, 1 << 12)
    }

    /// A budget that keeps nothing, for values to be skipped.
    pub fn nothing() -> Self {
        Self::new(0, 0)
    }

    fn new(nodes: usize, bytes: usize) -> Self {
        Self {
            nodes,
            bytes,
            spent: false,
        }
    }

    /// Whether something was left out.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    pub fn push(&mut self, to: &mut Vec<u8>, more: &[u8]) {
        let kept = more.len().min(self.bytes);
        self.spent |= kept < more.len();
        self.bytes -= kept;
        to.extend_from_slice(&more[..kept]);
    }

    /// Whether one more value may be kept.
    fn node(&mut self) -> bool {
        let room = self.nodes > 0;
        self.spent |= !room;
        self.nodes = self.nodes.saturating_sub(1);
        room
    }
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a [u8], at: usize) -> Self {
        Self {
            text,
            at,
            key_at: at,
            faults: Faults::default(),
            misplaced: false,
            line: Line::default(),
        }
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Skips blanks and comments.
    pub fn skip_space(&mut self) {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let blanks = rest.iter().position(|byte| !byte.is_ascii_whitespace());
            self.at += blanks.unwrap_or(rest.len());
            let rest = self.text.get(self.at..).unwrap_or_default();
            match comment(rest) {
                0 => return,
                length => {
                    self.fault(self.at, "a comment");
                    self.at += length;
                }
            }
        }
    }

    pub fn fault(&mut self, at: usize, what: &str) {
        let text = self.text;
        self.faults.note(|| {
            let before = &text[..at.min(text.len())];
            let line = memchr::memchr_iter(b'\n', before).count() + 1;
            let column = before
                .iter()
                .rev()
                .take_while(|byte| **byte != b'\n')
                .count()
                + 1;
            format!("{what} at line {line}, column {column}")
        });
    }

    /// The next key of an object; its value comes next. `Some(None)`: the object ended, `None`: the text did.
    pub fn next_key(&mut self, budget: &mut Budget) -> Option<Option<String>> {
        loop {
            self.skip_space();
            match self.peek()? {
                b'}' => {
                    self.at += 1;
                    return Some(None);
                }
                b',' => self.at += 1,
                b'"' | b'\'' => {
                    self.key_at = self.at;
                    let key = self.string(Role::Key, budget)?;
                    self.skip_space();
                    if self.peek()? == b':' {
                        self.at += 1;
                        self.skip_space();
                        return Some(Some(key));
                    }
                    self.misplace(self.key_at, "a key without a value");
                }
                _ => {
                    if let Some(key) = self.bare_key() {
                        return Some(Some(key));
                    }
                }
            }
        }
    }

    /// A key without quotes, as JavaScript allows it. Anything else is skipped.
    fn bare_key(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let is_of_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.$".contains(byte);
        let end = rest.iter().position(|byte| !is_of_key(byte));
        let word = &rest[..end.unwrap_or(rest.len())];
        let start = self.at;
        self.at += word.len().max(1);
        let is_short = (1..=LONGEST_WORD).contains(&word.len());
        self.skip_space();
        if is_short && self.peek() == Some(b':') {
            self.key_at = start;
            self.at += 1;
            self.skip_space();
            self.fault(start, "a key without quotes");
            return Some(String::from_utf8_lossy(word).into_owned());
        }
        self.misplace(start, "something other than a key");
        None
    }

    fn misplace(&mut self, at: usize, what: &str) {
        self.misplaced = true;
        self.fault(at, what);
    }

    /// `Some(true)`: an item of a list comes next, `Some(false)`: the list ended, `None`: the text did.
    pub fn next_item(&mut self) -> Option<bool> {
        loop {
            self.skip_space();
            match self.peek()? {
                b']' => {
                    self.at += 1;
                    return Some(false);
                }
                b',' => self.at += 1,
                b'}' | b':' => {
                    self.misplace(self.at, "something other than a value");
                    self.at += 1;
                }
                _ => return Some(true),
            }
        }
    }

    /// A value. `None`: the text ends within.
    pub fn value(&mut self, role: Role, depth: usize, budget: &mut Budget) -> Option<Value> {
        self.skip_space();
        let first = self.peek()?;
        match first {
            b'{' | b'[' if depth == DEEPEST => {
                self.fault(self.at, "too many levels");
                budget.spent = true;
                self.skip_nested(budget)?;
                Some(Value::Null)
            }
            b'{' => self.object(depth, budget),
            b'[' => self.list(depth, budget),
            b'"' | b'\'' => Some(self.string(role, budget)?.into()),
            b',' | b':' | b'}' | b']' => {
                self.fault(self.at, "a value is missing");
                Some(Value::Null)
            }
            _ => Some(self.word()),
        }
    }

    fn object(&mut self, depth: usize, budget: &mut Budget) -> Option<Value> {
        self.at += 1;
        let mut members = Map::new();
        while let Some(key) = self.next_key(budget)? {
            let value = self.value(Role::InObject, depth + 1, budget)?;
            if budget.node() {
                members.insert(key, value);
            }
        }
        Some(Value::Object(members))
    }

    fn list(&mut self, depth: usize, budget: &mut Budget) -> Option<Value> {
        self.at += 1;
        let mut items = Vec::new();
        while self.next_item()? {
            let value = self.value(Role::InList, depth + 1, budget)?;
            if budget.node() {
                items.push(value);
            }
        }
        Some(Value::Array(items))
    }

    /// Skips a container without recursion, however deep it is.
    fn skip_nested(&mut self, budget: &mut Budget) -> Option<()> {
        let mut open = 0_usize;
        loop {
            let rest = &self.text[self.at..];
            let found = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'));
            self.at += found?;
            match self.peek()? {
                b'"' => {
                    self.string(Role::Anywhere, budget)?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                _ => open = open.saturating_sub(1),
            }
            self.at += 1;
            if open == 0 {
                return Some(());
            }
        }
    }

    /// A number, `true`, `null`, or what is there instead. A number that JSON does not allow (`005`, `1e999`) becomes text.
    fn word(&mut self) -> Value {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b'\n'));
        let all = &rest[..end.unwrap_or(rest.len())];
        self.at += all.len();
        let kept = all[..all.len().min(LONGEST_WORD)].trim_ascii();
        if let Ok(value) = serde_json::from_slice(kept) {
            return value;
        }
        self.fault(start, "a value that JSON does not have");
        let text = self.decoded(kept.to_vec(), start);
        match text
            .trim_start_matches(['-', '+'])
            .to_ascii_lowercase()
            .as_str()
        {
            "nan" | "inf" | "infinity" | "none" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::String(text),
        }
    }
}

/// The length of the comment at the beginning of a text; 0: there is none.
pub(super) fn comment(text: &[u8]) -> usize {
    let line = || memchr::memchr(b'\n', text).unwrap_or(text.len());
    match text {
        [b'#', ..] | [b'/', b'/', ..] => line(),
        [b'/', b'*', inside @ ..] => {
            let near = &inside[..inside.len().min(LONGEST_COMMENT)];
            let end = memchr::memmem::find(near, b"*/");
            end.map_or(0, |end| end + 4)
        }
        _ => 0,
    }
}
