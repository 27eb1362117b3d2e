use std::sync::Arc;

use super::ScanErrorKind;
use super::fields::{JsonKind, Shape, Slot};
use super::keys::{FieldKey, Keys, Role};
use super::lexeme::RawString;
use super::walk::Observe;
use super::watch::Watch;

/// Finds control keys inside an object, and inside objects of options within it.
pub(super) struct Options<'a> {
    pub(super) found: Vec<(&'static str, Slot)>,
    /// One of them occurs twice.
    pub(super) repeated: Option<ScanErrorKind>,
    /// Denied fields that are given there.
    pub(super) denied: Vec<Arc<str>>,
    /// The keys of each object of options that is open, from the outermost.
    open: Vec<&'static Keys>,
    watch: &'a Watch,
    next: Option<FieldKey>,
    next_denied: Option<&'a Arc<str>>,
}

/// Finds the last member of a given name directly inside an object.
pub(super) struct Member {
    pub(super) found: Option<Slot>,
    pub(super) is_empty: bool,
    /// A server that ignores case would take another member for it.
    pub(super) other_letters: Option<ScanErrorKind>,
    name: &'static str,
    awaited: bool,
}

impl<'a> Options<'a> {
    pub(super) fn of(keys: &'static Keys, watch: &'a Watch) -> Self {
        Self {
            found: Vec::new(),
            repeated: None,
            denied: Vec::new(),
            open: vec![keys],
            watch,
            next: None,
            next_denied: None,
        }
    }
}

impl Member {
    pub(super) fn of(name: &'static str) -> Self {
        Self {
            found: None,
            is_empty: true,
            other_letters: None,
            name,
            awaited: false,
        }
    }
}

impl Observe for Options<'_> {
    fn key(&mut self, depth: usize, key: RawString<'_>) {
        if let Some(keys) = self.open.last().filter(|_| depth == self.open.len()) {
            self.next_denied = self.watch.denied(key);
            self.next = keys.find_in_any_letters(key);
        }
    }

    fn value(&mut self, depth: usize, kind: JsonKind, at: usize, raw: &[u8]) {
        let denied = self.next_denied.take();
        if let Some(denied) = denied.filter(|_| kind != JsonKind::Null)
            && !self.denied.contains(denied)
        {
            self.denied.push(Arc::clone(denied));
        }
        let Some(key) = self.next.take().filter(|_| depth == self.open.len()) else {
            return;
        };
        if let Role::Options(keys) = key.role() {
            if kind == JsonKind::Object {
                self.open.push(keys());
            }
            return;
        }
        if self.found.iter().any(|(known, _)| *known == key.name()) {
            self.repeated = Some(ScanErrorKind::Repeated(key));
            return;
        }
        let slot = Slot {
            start: at,
            end: at + raw.len(),
            shape: Shape::of(kind),
        };
        self.found.push((key.name(), slot));
    }

    fn closed(&mut self, depth: usize, _end: usize) {
        self.open.truncate(depth.max(1));
    }
}

impl Observe for Member {
    fn key(&mut self, depth: usize, key: RawString<'_>) {
        if depth != 1 {
            return;
        }
        self.is_empty = false;
        let mut buffer = [0; 32];
        self.awaited = key.ascii(&mut buffer) == self.name.as_bytes();
        if !self.awaited && key.folded(&mut buffer) == Some(self.name.as_bytes()) {
            let key = FieldKey::new(self.name);
            self.other_letters = Some(ScanErrorKind::OtherLetters(key));
        }
    }

    fn value(&mut self, depth: usize, kind: JsonKind, at: usize, raw: &[u8]) {
        if depth == 1 && self.awaited {
            self.found = Some(Slot {
                start: at,
                end: at + raw.len(),
                shape: Shape::of(kind),
            });
        }
    }

    fn closed(&mut self, depth: usize, end: usize) {
        if depth == 1
            && self.awaited
            && let Some(slot) = &mut self.found
        {
            slot.end = end;
        }
    }
}
