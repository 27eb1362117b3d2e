use std::fmt;

use super::ScanErrorKind;
use super::lexeme::{LONGEST_NAME, RawString};
use super::spot::Spot;

/// A top-level key that a dialect acts on. Unless it is only counted, watched or noted, it may occur only once and only
/// in this spelling.
#[derive(Debug, Clone, Copy)]
pub struct FieldKey {
    name: &'static str,
    role: Role,
    spot: Spot,
}

/// What the scan does with a key's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Plain,
    /// Also look for a member of this name inside it.
    Holding(&'static str),
    Prompt,
    /// Prompt whose long strings are media.
    Tensors,
    /// Prompt and nothing else.
    Counted,
    /// The same, and its first value is found.
    Placed,
    /// Whether it is there, and nothing else.
    Noted,
    /// Not prompt, but it may refer to what a backend fetches or stores.
    Watched,
    /// An object that may have some of these keys, in any letters; a function, as they may hold this key again.
    Options(fn() -> &'static Keys),
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
        Self::with(name, Role::Plain, Spot::Elsewhere)
    }

    /// Finds its value and, inside it, the member that [`super::Fields::held`] returns. A dialect may have one such
    /// key.
    pub const fn holding(name: &'static str, member: &'static str) -> Self {
        Self::with(name, Role::Holding(member), Spot::Elsewhere)
    }

    /// Finds these keys in its members, and adds them to those at the top.
    pub const fn options(name: &'static str, keys: fn() -> &'static Keys) -> Self {
        Self::with(name, Role::Options(keys), Spot::Elsewhere)
    }

    /// Finds its value and its [`super::Shape`], and counts it as prompt.
    pub const fn prompt(name: &'static str) -> Self {
        Self::with(name, Role::Prompt, Spot::Content)
    }

    /// The same, but a long string in it is media, not text.
    pub const fn tensors(name: &'static str) -> Self {
        Self::with(name, Role::Tensors, Spot::Elsewhere)
    }

    /// Counts its value as prompt, however often it occurs.
    pub const fn counted(name: &'static str) -> Self {
        Self::with(name, Role::Counted, Spot::Content)
    }

    /// The same, and finds its first value.
    pub const fn placed(name: &'static str) -> Self {
        Self::with(name, Role::Placed, Spot::Content)
    }

    /// Looks in its value for what a backend fetches or stores, however often it occurs.
    pub const fn watched(name: &'static str, spot: Spot) -> Self {
        Self::with(name, Role::Watched, spot)
    }

    /// Where in an API its value stands.
    pub const fn at(self, spot: Spot) -> Self {
        Self { spot, ..self }
    }

    const fn with(name: &'static str, role: Role, spot: Spot) -> Self {
        Self { name, role, spot }
    }

    /// It is found, in any letters and however often it stands.
    pub const fn noted(name: &'static str) -> Self {
        Self::with(name, Role::Noted, Spot::Elsewhere)
    }

    pub const fn name(self) -> &'static str {
        self.name
    }

    pub fn is_noted(self) -> bool {
        matches!(self.role, Role::Noted)
    }

    pub(super) const fn role(self) -> Role {
        self.role
    }

    pub(super) const fn spot(self) -> Spot {
        self.spot
    }

    /// Whether it may occur more than once, and in any letters: nothing is chosen by its value.
    pub(super) const fn may_repeat(self) -> bool {
        matches!(
            self.role,
            Role::Counted | Role::Placed | Role::Watched | Role::Noted
        )
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
        if name.inner.len() > LONGEST_NAME {
            return Ok(None);
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
            Some(key) if !key.may_repeat() => Err(ScanErrorKind::OtherLetters(key)),
            other => Ok(other),
        }
    }

    /// The key that a name stands for to a server that ignores case.
    pub(super) fn find_in_any_letters(&self, name: RawString<'_>) -> Option<FieldKey> {
        self.named(name.folded(&mut [0; 32])?)
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

pub(super) const fn mark(name: &[u8]) -> u64 {
    match name {
        [first, ..] => 1 << ((first.to_ascii_lowercase() as usize + name.len() * 7) % 64),
        [] => 0,
    }
}
