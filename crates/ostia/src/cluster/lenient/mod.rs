//! In: the listing of a scheduler, or a status page; both should be JSON. Out: [`Listing`]: its entries, and its mistakes.
//! Here: tolerance for broken JSON: text around it, unescaped quotes, Latin-1, `005`, `NaN`, comments, a cut end.
//! Not here: what an entry means.
//!
//! One broken entry must not hide the others, so each is read by itself: by serde_json, and if that fails, by
//! [`scanner`](self::scanner), which accepts any bytes. Memory, depth and time are bounded, because a page may be hostile.

mod encoding;
mod scanner;
mod strings;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::{Deserializer, Map, Value};

use super::Faults;
use scanner::{Budget, Scanner};
use strings::Role;

/// Where a page keeps its entries.
pub(super) struct Shape {
    /// The key of the top-level object under which they are. `None`: the page itself is the object or list of entries.
    pub root: Option<&'static str>,
    /// Other top-level keys whose values are wanted.
    pub aside: &'static [&'static str],
}

/// What a page holds. Only [`read`] makes one.
pub(super) struct Listing<T> {
    pub entries: Vec<T>,
    pub aside: Map<String, Value>,
    /// What stands under [`Shape::root`], if that is an object or a list.
    pub root: Option<Container>,
    /// At least one entry could not be read, so the listing is not complete.
    pub lost: bool,
    pub faults: Faults,
    /// How many entries `take` accepted.
    sound: usize,
    /// Where the JSON begins and ends.
    place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    List,
}

/// The value cannot be an entry.
pub(super) struct NotAnEntry;

/// Descriptions of jobs and models are shorter.
const LONGEST_ENTRY: usize = 1 << 20;
/// A big machine's queue has a few tens of thousands.
const MOST_ENTRIES: usize = 100_000;
/// Places where the JSON may begin, in a page that begins with something else.
const MOST_BEGINNINGS: usize = 16;
/// JSON documents in one page.
const MOST_DOCUMENTS: usize = 64;
/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// How often reading resumes after an entry that swallows the rest of the page. Each time, it goes on at what looks
/// like the next entry.
const MOST_RESUMPTIONS: usize = 16;

/// Reads a page. `take` gets each entry's value, and its key if the entries are in an object, and returns what to keep;
/// `Ok(None)` keeps nothing. `None`: the page does not have this shape.
pub(super) fn read<T>(
    page: &[u8],
    shape: &Shape,
    mut take: impl FnMut(Option<&str>, &Value) -> Result<Option<T>, NotAnEntry>,
) -> Option<Listing<T>> {
    let (page, unusual) = encoding::usual(page);
    let mut whole = document(&page, 0, unusual, shape, &mut take)?;
    // A scheduler that is asked for several clusters prints one document for each.
    let mut before = whole.place.clone();
    let mut left = MOST_DOCUMENTS;
    while let Some(next) = document(&page, before.end, None, shape, &mut take) {
        if left == 0 {
            whole.lost = true;
            break;
        }
        left -= 1;
        let is_repeated = page.get(before) == page.get(next.place.clone());
        before = next.place.clone();
        if !is_repeated {
            whole.add(next);
        }
    }
    Some(whole)
}

/// The first JSON of this shape that begins at `from` or behind it.
fn document<T>(
    page: &[u8],
    from: usize,
    unusual: Option<&'static str>,
    shape: &Shape,
    take: &mut impl FnMut(Option<&str>, &Value) -> Result<Option<T>, NotAnEntry>,
) -> Option<Listing<T>> {
    beginnings(page, from).find_map(|at| {
        let mut pass = |by_lines: bool| {
            let mut reader = Reader {
                scanner: Scanner::new(page, at),
                shape,
                take: &mut *take,
                listing: Listing::default(),
                preceded: from > 0,
                resumptions: MOST_RESUMPTIONS,
                by_lines,
            };
            if let Some(unusual) = unusual {
                reader.scanner.fault(0, unusual);
            }
            reader.page();
            (reader.scanner.faults.count() > 0, reader.accepted(at))
        };
        let (is_faulty, first) = pass(false);
        if !is_faulty {
            return first;
        }
        // If a bracket is missing, the entry that lacks it holds those after it.
        let (_, second) = pass(true);
        let entries =
            |listing: &Option<Listing<T>>| listing.as_ref().map_or(0, |it| it.entries.len());
        if entries(&second) >= entries(&first) {
            second
        } else {
            first
        }
    })
}

impl<T> Listing<T> {
    /// Adds the next document of the same page.
    fn add(&mut self, next: Self) {
        self.entries.extend(next.entries);
        self.entries.truncate(MOST_ENTRIES);
        self.lost |= next.lost;
        self.sound += next.sound;
        self.root = self.root.or(next.root);
        self.faults.add(next.faults);
        for (key, value) in next.aside {
            match (self.aside.get_mut(&key), value) {
                (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
                (_, value) => {
                    self.aside.insert(key, value);
                }
            }
        }
    }
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            aside: Map::new(),
            root: None,
            lost: false,
            faults: Faults::default(),
            sound: 0,
            place: 0..0,
        }
    }
}

/// Where the JSON may begin: at the first character from `from` on, then at brackets that begin a line, then at any.
fn beginnings(page: &[u8], from: usize) -> impl Iterator<Item = usize> {
    let text = page.get(from..).unwrap_or_default();
    let after_mark = if text.starts_with(MARK) {
        MARK.len()
    } else {
        0
    };
    let first = after_mark + blanks(&text[after_mark..]);
    let begins_line = |at: &usize| {
        let before = text[..*at].iter().rev();
        let before = before.take(256).find(|byte| !matches!(byte, b' ' | b'\t'));
        before.is_none_or(|byte| *byte == b'\n')
    };
    let brackets = || memchr::memchr2_iter(b'{', b'[', text).filter(move |at| *at != first);
    let opens = matches!(text.get(first), Some(b'{' | b'['));
    opens
        .then_some(first)
        .into_iter()
        .chain(brackets().filter(begins_line).take(MOST_BEGINNINGS))
        .chain(brackets().take(MOST_BEGINNINGS))
        .map(move |at| from + at)
}

fn blanks(text: &[u8]) -> usize {
    let blanks = text.iter().position(|byte| !byte.is_ascii_whitespace());
    blanks.unwrap_or(text.len())
}

struct Reader<'a, T, F> {
    scanner: Scanner<'a>,
    shape: &'a Shape,
    take: &'a mut F,
    listing: Listing<T>,
    /// Other text stands before the JSON.
    preceded: bool,
    resumptions: usize,
    /// An entry ends where a line begins as the entry did: with the same indentation and character.
    by_lines: bool,
}

/// What became of one value.
enum Outcome {
    Whole(Value),
    TooLong,
    /// The page ends within it.
    Cut,
}

/// Whether there is more to read.
type More = bool;

impl<T, F> Reader<'_, T, F>
where
    F: FnMut(Option<&str>, &Value) -> Result<Option<T>, NotAnEntry>,
{
    fn page(&mut self) {
        let before = self.scanner.text[..self.scanner.at].trim_ascii();
        if self.preceded {
            // The document before this one has told so.
        } else if before == MARK {
            self.scanner.fault(0, "a byte order mark");
        } else if !before.is_empty() {
            self.preceded = true;
            self.scanner.fault(0, "text before the JSON");
        }
        let opening = self.scanner.peek();
        self.scanner.at += 1;
        let closed = match (opening, self.shape.root) {
            (Some(b'{'), Some(root)) => self.members(root),
            (Some(b'{'), None) => self.entries(Container::Object),
            (_, None) => self.entries(Container::List),
            (_, Some(_)) => return,
        };
        if !closed {
            self.listing.lost = true;
            self.listing.place.end = self.scanner.text.len();
            self.scanner
                .fault(self.scanner.at, "the text ends too early");
            return;
        }
        self.listing.place.end = self.scanner.at;
        self.scanner.skip_space();
        if let Some(next) = self.scanner.peek() {
            // After one bracket too many, entries stand outside.
            self.scanner.misplaced |= matches!(next, b'}' | b']' | b',');
            self.scanner.fault(self.scanner.at, "text after the JSON");
        }
    }

    /// `start`: where the JSON begins.
    fn accepted(mut self, start: usize) -> Option<Listing<T>> {
        let found = match self.shape.root {
            Some(_) => self.listing.root.is_some() || !self.listing.aside.is_empty(),
            // After other text, anything may look like a page: only an entry that is kept shows that it is one.
            None if self.preceded => !self.listing.entries.is_empty(),
            None => self.listing.sound > 0 || self.scanner.faults.count() == 0,
        };
        self.listing.place.start = start;
        self.listing.lost |= self.scanner.misplaced;
        self.listing.faults = self.scanner.faults;
        found.then_some(self.listing)
    }

    /// The members of the top-level object, of which one holds the entries. `false`: the text ends within.
    fn members(&mut self, root: &str) -> More {
        while let Some(next) = self.next_member() {
            let Some(key) = next else { return true };
            let wanted = self.shape.aside.contains(&key.as_str());
            let more = match self.scanner.peek() {
                Some(b'{') if key.eq_ignore_ascii_case(root) => self.root(Container::Object),
                Some(b'[') if key.eq_ignore_ascii_case(root) => self.root(Container::List),
                _ if wanted => match self.value() {
                    Outcome::Whole(value) => {
                        self.listing.aside.insert(key, value);
                        true
                    }
                    Outcome::TooLong => true,
                    Outcome::Cut => false,
                },
                _ => self.scanner.skip_value(),
            };
            if !more {
                return false;
            }
        }
        false
    }

    fn root(&mut self, container: Container) -> More {
        self.listing.root = Some(container);
        self.scanner.at += 1;
        self.entries(container)
    }

    fn entries(&mut self, container: Container) -> More {
        loop {
            let (key, start) = match container {
                Container::Object => match self.next_member() {
                    None => return false,
                    Some(None) => return true,
                    Some(Some(key)) => (Some(key), self.scanner.key_at),
                },
                Container::List => match self.scanner.next_item() {
                    None => return false,
                    Some(false) => return true,
                    Some(true) => (None, self.scanner.at),
                },
            };
            if !self.entry(key.as_deref(), start) {
                return false;
            }
        }
    }

    /// `start`: where the entry begins, its key included.
    fn entry(&mut self, key: Option<&str>, start: usize) -> More {
        let value_at = self.scanner.at;
        let value = self.value();
        if self.by_lines && self.next_like(start, self.scanner.at).is_some() {
            self.lose(value_at, "an entry without an end");
            return self.resume(start);
        }
        match value {
            Outcome::Whole(value) => match (self.take)(key, &value) {
                Ok(kept) => {
                    self.listing.sound += 1;
                    self.keep(kept);
                }
                Err(NotAnEntry) => self.lose(value_at, "an entry of the wrong kind"),
            },
            Outcome::TooLong => self.lose(value_at, "an entry that is too long"),
            Outcome::Cut => {
                self.lose(value_at, "an entry without an end");
                return self.resume(start);
            }
        }
        true
    }

    fn keep(&mut self, kept: Option<T>) {
        let Some(kept) = kept else { return };
        if self.listing.entries.len() < MOST_ENTRIES {
            self.listing.entries.push(kept);
        } else {
            self.lose(self.scanner.at, "too many entries");
        }
    }

    fn lose(&mut self, at: usize, what: &'static str) {
        self.listing.lost = true;
        self.scanner.fault(at, what);
    }

    /// Continues at what looks like the next entry.
    fn resume(&mut self, start: usize) -> More {
        if self.resumptions == 0 {
            return false;
        }
        self.resumptions -= 1;
        let next = self.next_like(start, self.scanner.text.len());
        next.inspect(|at| self.scanner.at = *at).is_some()
    }

    /// The next line, before `until`, that begins like the entry at `start`: with the same indentation and character.
    fn next_like(&self, start: usize, until: usize) -> Option<usize> {
        let text = self.scanner.text;
        let before = text[..start].iter().rev();
        let blanks = before
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let line = (start - blanks).checked_sub(1)?;
        let pattern = text.get(line..=start)?;
        if pattern.first() != Some(&b'\n') {
            return None;
        }
        let next = memchr::memmem::find(text.get(start + 1..until)?, pattern)?;
        Some(start + 1 + next + 1 + blanks)
    }

    /// The next member's key; the value comes next. `Some(None)`: the object ended, `None`: the text did.
    fn next_member(&mut self) -> Option<Option<String>> {
        self.scanner.next_key(&mut Budget::keys())
    }

    /// Reads a value with serde_json, which stops at its end, or else with the scanner.
    fn value(&mut self) -> Outcome {
        let start = self.scanner.at;
        let text = &self.scanner.text[start..];
        let window = &text[..text.len().min(LONGEST_ENTRY)];
        let mut strict = Deserializer::from_slice(window).into_iter::<Value>();
        if let Some(Ok(value)) = strict.next() {
            self.scanner.at = start + strict.byte_offset();
            return Outcome::Whole(value);
        }
        let mut budget = Budget::entry();
        match self.scanner.value(Role::Anywhere, 0, &mut budget) {
            None => Outcome::Cut,
            Some(_) if budget.is_spent() => Outcome::TooLong,
            Some(value) => Outcome::Whole(value),
        }
    }
}

impl Scanner<'_> {
    /// Skips a value that is not needed. `false`: the text ends within.
    fn skip_value(&mut self) -> More {
        let start = self.at;
        let mut strict = Deserializer::from_slice(&self.text[start..]).into_iter::<IgnoredAny>();
        if let Some(Ok(_)) = strict.next() {
            self.at = start + strict.byte_offset();
            return true;
        }
        self.value(Role::Anywhere, 0, &mut Budget::nothing())
            .is_some()
    }
}
