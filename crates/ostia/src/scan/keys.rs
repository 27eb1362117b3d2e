use std::fmt;

use super::ScanErrorKind;
use super::lexeme::RawString;

/// A top-level key that a dialect acts on. Unless it only counts as prompt or is only noted, it may occur only once and
/// only in this spelling.
#[derive(Debug, Clone, Copy)]
pub struct FieldKey {
    name: &'static str,
    role: Role,
}

/// What the scan does with a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    /// Also look for a member of this name inside it.
    Holding(&'static str),
    Prompt,
    /// Prompt whose long strings are media.
    Tensors,
    /// Prompt and nothing else.
    Counted,
    /// Whether it is there, and nothing else.
    Noted,
}

impl Role {
    /// Whether it changes nothing how often a key stands.
    pub fn may_repeat(self) -> bool {
        matches!(self, Self::Counted | Self::Noted)
    }
}

/// The keys of one dialect.
#[derive(Debug)]
pub struct Keys {
    lists: &'static [&'static [FieldKey]],
    /// A small Bloom filter: one bit for each name's length and first byte in lower case. One look rules out most other
    /// keys.
    marks: u64,
}

impl FieldKey {
    /// Finds its value.
    pub const fn new(name: &'static str) -> Self {
        let role = Role::Plain;
        Self { name, role }
    }

    /// Finds its value and, inside it, the member that [`super::Fields::held`] returns. A dialect may have one such
    /// key.
    pub const fn holding(name: &'static str, member: &'static str) -> Self {
        let role = Role::Holding(member);
        Self { name, role }
    }

    /// Finds its value and its [`super::Shape`], and counts it as prompt.
    pub const fn prompt(name: &'static str) -> Self {
        let role = Role::Prompt;
        Self { name, role }
    }

    /// The same, but a long string in it is media, not text.
    pub const fn tensors(name: &'static str) -> Self {
        let role = Role::Tensors;
        Self { name, role }
    }

    /// Counts its value as prompt, however often it occurs.
    pub const fn counted(name: &'static str) -> Self {
        let role = Role::Counted;
        Self { name, role }
    }

    /// It is found, in any letters and however often it stands.
    pub const fn noted(name: &'static str) -> Self {
        let role = Role::Noted;
        Self { name, role }
    }

    pub const fn name(self) -> &'static str {
        self.name
    }

    pub fn is_noted(self) -> bool {
        self.role == Role::Noted
    }

    pub(super) const fn role(self) -> Role {
        self.role
    }
}

/// Two keys are equal if their names are.
impl PartialEq for FieldKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for FieldKey {}

impl fmt::Display for FieldKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name)
    }
}

impl Keys {
    pub const fn of(lists: &'static [&'static [FieldKey]]) -> Self {
        let mut marks = 0;
        let mut list = 0;
        while list < lists.len() {
            let mut key = 0;
            while key < lists[list].len() {
                marks |= mark(lists[list][key].name.as_bytes());
                key += 1;
            }
            list += 1;
        }
        Self { lists, marks }
    }

    /// The key that a name stands for, both to backends that compare keys exactly and to those that ignore case.
    pub(super) fn find(&self, name: RawString<'_>) -> Result<Option<FieldKey>, ScanErrorKind> {
        if let Some(key) = self.named(name.inner) {
            return Ok(Some(key));
        }
        // Without escapes, only capitals and non-ASCII characters fold; folding a capital keeps its position and its
        // mark.
        let is_other =
            self.marks & mark(name.inner) == 0 || !name.inner.iter().any(u8::is_ascii_uppercase);
        match !name.escaped && name.inner.is_ascii() && is_other {
            true => Ok(None),
            false => self.find_folded(name),
        }
    }

    fn find_folded(&self, name: RawString<'_>) -> Result<Option<FieldKey>, ScanErrorKind> {
        let mut buffer = [0; 32];
        if let Some(key) = self.named(name.ascii(&mut buffer)) {
            return Ok(Some(key));
        }
        let folded = name.folded(&mut buffer).and_then(|name| self.named(name));
        match folded {
            Some(key) if !key.role.may_repeat() => Err(ScanErrorKind::OtherLetters(key)),
            other => Ok(other),
        }
    }

    fn named(&self, name: &[u8]) -> Option<FieldKey> {
        if self.marks & mark(name) == 0 {
            return None;
        }
        for list in self.lists {
            for key in *list {
                if key.name.as_bytes() == name {
                    return Some(*key);
                }
            }
        }
        None
    }
}

const fn mark(name: &[u8]) -> u64 {
    match name {
        [first, ..] => 1 << ((first.to_ascii_lowercase() as usize + name.len() * 7) % 64),
        [] => 0,
    }
}
