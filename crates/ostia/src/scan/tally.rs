use super::fields::{JsonKind, PromptSize, Shape, Slot};
use super::keys::Role;
use super::lexeme::RawString;
use super::walk::Observe;

/// Measures a value that carries prompt, and records the types that it is made of.
pub(super) struct Tally {
    pub(super) shape: Shape,
    pub(super) prompt: PromptSize,
    /// Whether every long string is media (`prompt_embeds`: tensors in base64).
    only_media: bool,
    /// Whether the next value belongs to a key that carries base64.
    media_key: bool,
}

/// Finds the last member of a given name directly inside an object.
pub(super) struct Member {
    pub(super) found: Option<Slot>,
    name: &'static str,
    awaited: bool,
}

/// Shorter strings cost less as text than as a medium.
const SHORTEST_MEDIUM: usize = 4096;

impl Tally {
    pub(super) fn of(role: Role) -> Self {
        Self {
            shape: Shape::of(JsonKind::Null),
            prompt: PromptSize::default(),
            only_media: role == Role::Tensors,
            media_key: false,
        }
    }
}

impl Member {
    pub(super) fn of(name: &'static str) -> Self {
        Self {
            found: None,
            name,
            awaited: false,
        }
    }
}

impl Observe for Tally {
    fn key(&mut self, _depth: usize, key: RawString<'_>) {
        self.media_key = matches!(key.inner, b"data" | b"file_data");
    }

    fn value(&mut self, depth: usize, kind: JsonKind, _at: usize, raw: &[u8]) {
        match depth {
            0 => self.shape.kind = kind,
            1 => {
                self.shape.elements += 1;
                self.shape.element_kinds.add(kind);
            }
            2 => self.shape.inner_kinds.add(kind),
            _ => {}
        }
        let media = self.only_media || self.media_key;
        self.media_key = false;
        match kind {
            JsonKind::String => count_string(&mut self.prompt, &raw[1..raw.len() - 1], media),
            JsonKind::Integer => self.prompt.token_ids += 1,
            _ => {}
        }
    }
}

impl Observe for Member {
    fn key(&mut self, depth: usize, key: RawString<'_>) {
        if depth == 1 {
            self.awaited = key.ascii(&mut [0; 32]) == self.name.as_bytes();
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

/// Text counts by its bytes. A data URL and long base64 count as one medium. (A data URL has no spaces, unlike prose
/// that begins like one.)
pub(super) fn count_string(prompt: &mut PromptSize, inner: &[u8], media: bool) {
    let data_url = inner.starts_with(b"data:") && memchr::memchr(b' ', inner).is_none();
    if data_url || media && inner.len() >= SHORTEST_MEDIUM {
        prompt.media += 1;
    } else {
        prompt.text_bytes += inner.len() as u64;
    }
}
