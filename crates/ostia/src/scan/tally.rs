use super::MAX_DEPTH;
use super::fields::{Fields, JsonKind, PromptSize, Shape};
use super::items::Items;
use super::keys::{FieldKey, Role};
use super::lexeme::RawString;
use super::part::Parts;
use super::prints::{Printer, Section};
use super::source::Sources;
use super::spot::Spot;
use super::walk::Observe;
use super::watch::{Sightings, Watch};
use super::weight::{Weight, weigh};

/// Measures a value that carries prompt, records the types that it is made of, and looks for what its backend would
/// fetch or has stored.
pub(super) struct Tally<'w> {
    pub(super) shape: Shape,
    prompt: PromptSize,
    key: FieldKey,
    /// The spots of the open containers, the outermost first.
    spots: [Spot; MAX_DEPTH],
    /// The spot of the value that follows a key.
    next: Option<Spot>,
    items: Items,
    parts: Parts,
    sources: Sources,
    printer: Option<Printer>,
    watch: &'w Watch,
    sightings: Sightings,
}

impl<'w> Tally<'w> {
    /// Goes on with what `fields` has seen so far.
    pub(super) fn of(key: FieldKey, watch: &'w Watch, fields: &mut Fields<'_>) -> Self {
        Self {
            shape: Shape::of(JsonKind::Null),
            prompt: PromptSize::default(),
            key,
            spots: [Spot::Elsewhere; MAX_DEPTH],
            next: Some(key.spot()),
            items: Items::default(),
            parts: Parts::default(),
            sources: Sources::default(),
            printer: watch
                .print_key()
                .zip(Section::of(key.name()))
                .map(|(secret, section)| Printer::new(secret, section)),
            watch,
            sightings: std::mem::take(&mut fields.sightings),
        }
    }

    pub(super) fn add_to(self, fields: &mut Fields<'_>) {
        match self.key.role() {
            // What is only watched is no text, but a model sees its media.
            Role::Watched => fields.prompt.media += self.prompt.media,
            _ => fields.prompt.add(&self.prompt),
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
            Spot::PartFileId => self.parts.file_id(raw),
            Spot::SourceKind => self.sources.kind(raw),
            spot => self.sightings.string(spot, raw, self.watch, field),
        }
    }

    fn count(&mut self, depth: usize, spot: Spot, inner: &[u8]) {
        match weigh(self.key, spot, inner) {
            Weight::Text => self.prompt.text_bytes += inner.len() as u64,
            Weight::Medium => self.prompt.media += 1,
            Weight::Data if self.sources.holds(depth, inner.len()) => {}
            Weight::Data => self.prompt.media += 1,
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
        match kind {
            JsonKind::String => {
                self.count(depth, spot, &raw[1..raw.len() - 1]);
                if spot != Spot::Elsewhere {
                    self.string(spot, raw);
                }
            }
            JsonKind::Object => {
                self.spots[depth] = spot;
                if spot.is_part() {
                    self.parts.begin(depth);
                }
                if spot == Spot::Media {
                    self.sources.begin(depth);
                }
            }
            JsonKind::Array | JsonKind::EmptyArray => self.spots[depth] = spot,
            JsonKind::Null => {}
            JsonKind::Integer | JsonKind::Fraction | JsonKind::True | JsonKind::False => {
                // Lenient servers take `7.0` for a token too.
                let is_number = matches!(kind, JsonKind::Integer | JsonKind::Fraction);
                self.prompt.token_ids += u64::from(is_number);
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
        self.sources.end(depth, &mut self.prompt);
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
