use super::MAX_DEPTH;
use super::fields::{Fields, JsonKind, PromptSize, Shape};
use super::items::Items;
use super::keys::{FieldKey, Role};
use super::lexeme::RawString;
use super::part::Parts;
use super::prints::{Printer, Section};
use super::spot::Spot;
use super::walk::Observe;
use super::watch::{Sightings, Watch};

/// Measures a value that carries prompt, records the types that it is made of, and looks for what its backend would
/// fetch or has stored.
pub(super) struct Tally<'w> {
    pub(super) shape: Shape,
    prompt: PromptSize,
    /// Whether every long string is media (`prompt_embeds`: tensors in base64).
    only_media: bool,
    /// Whether the next value belongs to a key that carries base64.
    media_key: bool,
    key: FieldKey,
    /// The spots of the open containers, the outermost first.
    spots: [Spot; MAX_DEPTH],
    /// The spot of the value that follows a key.
    next: Option<Spot>,
    items: Items,
    parts: Parts,
    printer: Option<Printer>,
    watch: &'w Watch,
    sightings: Sightings,
}

/// Shorter strings cost less as text than as a medium.
const SHORTEST_MEDIUM: usize = 4096;

impl<'w> Tally<'w> {
    /// Goes on with what `fields` has seen so far.
    pub(super) fn of(key: FieldKey, watch: &'w Watch, fields: &mut Fields<'_>) -> Self {
        Self {
            shape: Shape::of(JsonKind::Null),
            prompt: PromptSize::default(),
            only_media: matches!(key.role(), Role::Tensors),
            media_key: false,
            key,
            spots: [Spot::Elsewhere; MAX_DEPTH],
            next: Some(key.spot()),
            items: Items::default(),
            parts: Parts::default(),
            printer: watch
                .print_key()
                .zip(Section::of(key.name()))
                .map(|(secret, section)| Printer::new(secret, section)),
            watch,
            sightings: std::mem::take(&mut fields.sightings),
        }
    }

    pub(super) fn add_to(self, fields: &mut Fields<'_>) {
        if !matches!(self.key.role(), Role::Watched) {
            fields.prompt.add(&self.prompt);
        }
        if let Some(printer) = self.printer {
            printer.add_to(&mut fields.prints);
        }
        fields.refers_to_items |= self.items.refers;
        fields.sightings = self.sightings;
    }

    fn has_items(&self) -> bool {
        self.key.spot() == Spot::Items && self.shape.kind == JsonKind::Array
    }

    /// The spot of a member, whose name is in lower case.
    fn member(&mut self, outer: Spot, name: &[u8]) -> Spot {
        if outer.is_part() {
            self.parts.member(name);
        }
        outer.member(name)
    }

    /// A string that is not text.
    fn string(&mut self, spot: Spot, raw: &[u8]) {
        let field = self.key.name();
        match spot {
            Spot::Kind => self.parts.kind(raw),
            Spot::PartUrl => self.parts.url(raw, self.watch, field),
            spot => self.sightings.string(spot, raw, self.watch, field),
        }
    }

    /// The spot of the value that begins. Elements stand where their array does.
    fn arrive(&mut self, depth: usize) -> Spot {
        let outer = depth.checked_sub(1).and_then(|outer| self.spots.get(outer));
        let outer = outer.copied().unwrap_or(Spot::Elsewhere);
        self.next.take().unwrap_or(outer)
    }
}

impl Observe for Tally<'_> {
    fn key(&mut self, depth: usize, key: RawString<'_>) {
        if let Some(printer) = &mut self.printer {
            printer.key(depth, key);
        }
        self.media_key = matches!(key.inner, b"data" | b"file_data");
        self.next = Some(match self.spots[depth - 1] {
            Spot::Elsewhere => Spot::Elsewhere,
            outer if key.is_plain() => self.member(outer, key.inner),
            outer => {
                let mut buffer = [0; 32];
                let folded = key.folded(&mut buffer);
                folded.map_or(Spot::Elsewhere, |name| self.member(outer, name))
            }
        });
        if depth == 2 && self.has_items() {
            self.items.key(key);
        }
    }

    fn value(&mut self, depth: usize, kind: JsonKind, _at: usize, raw: &[u8]) {
        if let Some(printer) = &mut self.printer {
            printer.value(depth, content(kind, raw));
        }
        let spot = self.arrive(depth);
        match depth {
            0 => self.shape.kind = kind,
            1 => {
                self.shape.elements += 1;
                self.shape.element_kinds.add(kind);
            }
            2 => self.shape.inner_kinds.add(kind),
            _ => {}
        }
        if matches!(depth, 1 | 2) && self.has_items() {
            self.items.value(depth, kind, raw);
        }
        let media = self.only_media || self.media_key;
        self.media_key = false;
        match kind {
            JsonKind::String => {
                count_string(&mut self.prompt, &raw[1..raw.len() - 1], media);
                if spot != Spot::Elsewhere {
                    self.string(spot, raw);
                }
            }
            JsonKind::Object => {
                self.spots[depth] = spot;
                if spot.is_part() {
                    self.parts.begin(depth);
                }
            }
            JsonKind::Array | JsonKind::EmptyArray => self.spots[depth] = spot,
            JsonKind::Null => {}
            JsonKind::Integer | JsonKind::Fraction | JsonKind::True | JsonKind::False => {
                self.prompt.token_ids += u64::from(kind == JsonKind::Integer);
                self.sightings.refers(spot);
            }
        }
    }

    fn closed(&mut self, depth: usize, _end: usize) {
        if let Some(printer) = &mut self.printer {
            printer.closed(depth);
        }
        if self.spots[depth].is_part() {
            self.parts.end(depth, &mut self.sightings);
        }
        if depth == 1 && self.has_items() {
            self.items.closed();
        }
    }
}

/// What a scalar holds; `None` for a container.
fn content(kind: JsonKind, raw: &[u8]) -> Option<&[u8]> {
    match kind {
        JsonKind::String => raw.get(1..raw.len() - 1),
        JsonKind::Object | JsonKind::Array | JsonKind::EmptyArray => None,
        _ => Some(raw),
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
