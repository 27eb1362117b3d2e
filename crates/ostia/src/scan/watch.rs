use std::sync::Arc;

use super::keys::mark;
use super::lexeme::RawString;
use super::link::{LONGEST, Link, MediaHosts};
use super::prints::PrintKey;
use super::spot::Spot;

/// What the endpoints of a catalog want to know of a body before they take it, all of it together: which endpoint will
/// be asked is known only when the scan is over.
#[derive(Debug, Default)]
pub struct Watch {
    /// In lower case, as Go's servers compare names.
    denied: Vec<Arc<str>>,
    marks: u64,
    media: Vec<Arc<MediaHosts>>,
    print_key: Option<PrintKey>,
}

/// What was seen of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sightings {
    /// Denied fields that are given.
    pub denied: Vec<Arc<str>>,
    /// The lists of hosts that do not have every URL, and the top-level key of the first that is missing.
    pub media: Vec<(Arc<MediaHosts>, &'static str)>,
    /// The first reference to something stored.
    pub reference: Option<&'static str>,
}

impl Watch {
    /// The longest name of a field that can be denied.
    pub const LONGEST_NAME: usize = 32;

    /// One endpoint denies this top-level field.
    pub fn deny(&mut self, field: &str) {
        let field = field.to_ascii_lowercase();
        if !self.denied.iter().any(|known| **known == *field) {
            self.marks |= mark(field.as_bytes());
            self.denied.push(field.into());
        }
    }

    /// One endpoint takes URLs on these hosts only.
    pub fn hosts(&mut self, hosts: &Arc<MediaHosts>) {
        if !self.media.contains(hosts) {
            self.media.push(Arc::clone(hosts));
        }
    }

    /// A request may go to more than one endpoint: which of them knows its prompt is told by its hashes.
    pub fn print_with(&mut self, key: PrintKey) {
        self.print_key = Some(key);
    }

    pub fn print_key(&self) -> Option<PrintKey> {
        self.print_key
    }

    pub(super) fn denied(&self, name: RawString<'_>) -> Option<&Arc<str>> {
        if !name.escaped && self.marks & mark(name.inner) == 0 && name.inner.is_ascii() {
            return None;
        }
        let mut buffer = [0; Self::LONGEST_NAME];
        let name = name.folded(&mut buffer)?;
        self.denied.iter().find(|known| known.as_bytes() == name)
    }

    pub fn is_denied(&self, name: &str) -> Option<&Arc<str>> {
        let raw = RawString {
            inner: name.as_bytes(),
            escaped: false,
        };
        self.denied(raw)
    }
}

impl Sightings {
    pub fn field(&mut self, name: &Arc<str>) {
        if !self.denied.contains(name) {
            self.denied.push(Arc::clone(name));
        }
    }

    /// Looks at a string at a spot. `field`: its top-level key.
    pub(super) fn string(&mut self, spot: Spot, raw: &[u8], watch: &Watch, field: &'static str) {
        let text = RawString {
            inner: &raw[1..raw.len() - 1],
            escaped: true,
        };
        match spot {
            spot if spot.is_link() => self.url(spot, text, watch, field),
            _ if text.inner.is_empty() => {}
            _ => self.refers(spot),
        }
    }

    /// A value other than a container, `null` and the empty string stands at a spot.
    pub(super) fn refers(&mut self, spot: Spot) {
        self.reference = self.reference.or(spot.reference());
    }

    fn url(&mut self, spot: Spot, text: RawString<'_>, watch: &Watch, field: &'static str) {
        if text.inner.is_empty() || self.media.len() == watch.media.len() {
            return;
        }
        let mut buffer = [0; LONGEST];
        let link = Link::of(text, &mut buffer);
        for hosts in &watch.media {
            let is_known = self.media.iter().any(|(known, _)| known == hosts);
            if !is_known && !hosts.take(&link, spot.instead()) {
                self.media.push((Arc::clone(hosts), field));
            }
        }
    }

    /// Adds those of a part, which showed at its end that they count.
    pub(super) fn add_media(&mut self, part: Self) {
        for (hosts, field) in part.media {
            if !self.media.iter().any(|(known, _)| *known == hosts) {
                self.media.push((hosts, field));
            }
        }
    }

    /// Looks at a form's field that is not a file.
    pub fn part(&mut self, name: &[u8], value: &[u8], watch: &Watch) {
        let spot = Spot::of_part(name);
        let text = RawString {
            inner: value,
            escaped: false,
        };
        match spot {
            spot if spot.is_link() => self.url(spot, text, watch, "url"),
            _ if value.is_empty() => {}
            _ => self.refers(spot),
        }
    }
}
