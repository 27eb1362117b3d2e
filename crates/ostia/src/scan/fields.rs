use std::borrow::Cow;
use std::ops::Range;

use super::FieldKey;
use super::prints::Prints;
use super::watch::Sightings;

/// The result of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields<'a> {
    body: &'a [u8],
    /// The position right after the body's opening brace.
    pub behind_brace: usize,
    /// Whether the body has no member at all.
    pub is_empty: bool,
    /// In body order.
    found: Vec<(&'static str, Slot)>,
    /// Those that stand in an object of [`FieldKey::options`].
    pub(super) options: Vec<(&'static str, Slot)>,
    pub(super) held: Held,
    pub prompt: PromptSize,
    /// An element of a list at [`super::Spot::Items`] names a stored one.
    pub refers_to_items: bool,
    pub sightings: Sightings,
    /// Empty where nobody asks for them.
    pub prints: Prints,
}

/// The object of [`FieldKey::holding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// The last member with the name that is looked for.
    pub member: Option<Slot>,
    pub is_empty: bool,
}

/// The value of one control key.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    body: &'a [u8],
    slot: Slot,
}

/// The type of a JSON value. An empty array is a type of its own, because no API accepts one as a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKind {
    Null,
    False,
    True,
    /// A number without a fraction or exponent.
    Integer,
    Fraction,
    String,
    EmptyArray,
    Array,
    Object,
}

/// A value's type, and the types found in it two levels down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub kind: JsonKind,
    pub elements: usize,
    pub(super) element_kinds: JsonKinds,
    pub(super) inner_kinds: JsonKinds,
}

/// A set of [`JsonKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct JsonKinds(u16);

/// How much prompt the fields that carry prompts hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PromptSize {
    /// Bytes of string values, as written.
    pub text_bytes: u64,
    /// Integers: token ids.
    pub token_ids: u64,
    /// Images, audio and files inside the JSON.
    pub media: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub start: usize,
    pub end: usize,
    pub shape: Shape,
}

impl<'a> Fields<'a> {
    pub(super) fn new(body: &'a [u8], behind_brace: usize) -> Self {
        Self {
            body,
            behind_brace,
            is_empty: true,
            found: Vec::with_capacity(8),
            options: Vec::new(),
            held: Held {
                member: None,
                is_empty: true,
            },
            prompt: PromptSize::default(),
            refers_to_items: false,
            sightings: Sightings::default(),
            prints: Prints::default(),
        }
    }

    pub fn get(&self, key: FieldKey) -> Option<Value<'a>> {
        let mut found = self.found.iter();
        let (_, slot) = found.find(|(name, _)| *name == key.name())?;
        Some(self.value(*slot))
    }

    /// Like [`Self::get`], but treats `null` as absent.
    pub fn given(&self, key: FieldKey) -> Option<Value<'a>> {
        self.get(key).filter(|value| value.kind() != JsonKind::Null)
    }

    /// Every value of a key that is given: at the top, and in objects of [`FieldKey::options`].
    pub fn all_given(&self, key: FieldKey) -> impl Iterator<Item = Value<'a>> {
        let found = self.found.iter().chain(&self.options);
        found
            .filter(move |(name, _)| *name == key.name())
            .map(|(_, slot)| self.value(*slot))
            .filter(|value| value.kind() != JsonKind::Null)
    }

    /// Whether it stands in an object of [`FieldKey::options`].
    pub fn is_nested(&self, key: FieldKey) -> bool {
        self.options.iter().any(|(name, _)| *name == key.name())
    }

    /// The member asked for by [`FieldKey::holding`].
    pub fn held(&self) -> Option<Value<'a>> {
        self.held.member.map(|slot| self.value(slot))
    }

    /// Whether the object of [`FieldKey::holding`] has no member.
    pub fn held_is_empty(&self) -> bool {
        self.held.is_empty
    }

    fn value(&self, slot: Slot) -> Value<'a> {
        Value {
            body: self.body,
            slot,
        }
    }

    pub(super) fn put(&mut self, key: FieldKey, range: Range<usize>, shape: Shape) {
        let slot = Slot {
            start: range.start,
            end: range.end,
            shape,
        };
        self.found.push((key.name(), slot));
    }
}

impl<'a> Value<'a> {
    pub fn kind(&self) -> JsonKind {
        self.slot.shape.kind
    }

    pub fn shape(&self) -> Shape {
        self.slot.shape
    }

    /// The value as written; a string includes its quotes.
    pub fn raw(&self) -> &'a str {
        std::str::from_utf8(&self.body[self.range()]).unwrap_or_default()
    }

    /// How many bytes it takes as written.
    pub fn length(&self) -> usize {
        self.slot.end - self.slot.start
    }

    /// Its byte range in the body.
    pub fn range(&self) -> Range<usize> {
        self.slot.start..self.slot.end
    }

    /// A string's decoded text; `None` for other types and for lone surrogates, which a Rust string cannot hold.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        if self.kind() != JsonKind::String {
            return None;
        }
        let raw = self.raw();
        let inner = &raw[1..raw.len() - 1];
        match memchr::memchr(b'\\', inner.as_bytes()) {
            None => Some(Cow::Borrowed(inner)),
            Some(_) => serde_json::from_str(raw).ok().map(Cow::Owned),
        }
    }
}

impl JsonKind {
    /// With an article, for messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::False | Self::True => "a boolean",
            Self::Integer => "an integer",
            Self::Fraction => "a decimal",
            Self::String => "a string",
            Self::EmptyArray => "an empty array",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

impl Shape {
    pub(super) fn of(kind: JsonKind) -> Self {
        Self {
            kind,
            elements: 0,
            element_kinds: JsonKinds::default(),
            inner_kinds: JsonKinds::default(),
        }
    }

    /// A non-empty array that holds only objects.
    pub fn is_objects(&self) -> bool {
        self.kind == JsonKind::Array && self.element_kinds.is_only(JsonKind::Object)
    }

    /// How many prompts this is: a string, an array of strings, an array of integers (one prompt), or an array of
    /// non-empty arrays of integers. `None` for anything else, including mixed and empty arrays.
    pub fn prompts(&self) -> Option<u64> {
        let elements = self.element_kinds;
        match self.kind {
            JsonKind::String => Some(1),
            JsonKind::Array if elements.is_only(JsonKind::Integer) => Some(1),
            JsonKind::Array if elements.is_only(JsonKind::String) => Some(self.elements as u64),
            JsonKind::Array
                if elements.is_only(JsonKind::Array)
                    && self.inner_kinds.is_only(JsonKind::Integer) =>
            {
                Some(self.elements as u64)
            }
            _ => None,
        }
    }
}

impl JsonKinds {
    pub(super) fn add(&mut self, kind: JsonKind) {
        self.0 |= 1 << kind as u16;
    }

    fn is_only(self, kind: JsonKind) -> bool {
        self.0 == 1 << kind as u16
    }
}

impl PromptSize {
    /// What a data URL counts for, whatever its length: close to what vision models use for an image.
    const TOKENS_PER_MEDIUM: u64 = 1024;

    /// At least 1.
    pub fn estimated_tokens(&self) -> u64 {
        let media = self.media.saturating_mul(Self::TOKENS_PER_MEDIUM);
        (self.text_bytes.div_ceil(4) + self.token_ids)
            .saturating_add(media)
            .max(1)
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.text_bytes += other.text_bytes;
        self.token_ids += other.token_ids;
        self.media += other.media;
    }
}
