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
        }
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub fn skip_space(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let blanks = rest.iter().position(|byte| !byte.is_ascii_whitespace());
        self.at += blanks.unwrap_or(rest.len());
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
                b'"' => {
                    self.key_at = self.at;
                    let key = self.string(Role::Key, budget)?;
                    self.skip_space();
                    if self.peek()? == b':' {
                        self.at += 1;
                        self.skip_space();
                        return Some(Some(key));
                    }
                    self.fault(self.key_at, "a key without a value");
                }
                _ => {
                    self.fault(self.at, "something other than a key");
                    self.at += 1;
                }
            }
        }
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
                    self.fault(self.at, "something other than a value");
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
            b'"' => Some(self.string(role, budget)?.into()),
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
