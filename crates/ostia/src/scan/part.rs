use super::lexeme::RawString;
use super::spot::Spot;
use super::watch::{Sightings, Watch};

/// The parts of messages that are open, of which some have a `url`, a `path` or a `file_id`. Only the whole part shows
/// whether a backend fetches it: if it is of a kind of media, or has nothing else to say; and whether the file is one that
/// a tool has made, which only tells what it did.
#[derive(Default)]
pub(super) struct Parts {
    open: Vec<Part>,
}

struct Part {
    depth: usize,
    has_kind: bool,
    is_media: bool,
    has_text: bool,
    is_made: bool,
    names_file: bool,
    urls: Sightings,
}

/// Kinds whose `url` or `path` is that of the medium.
const MEDIA: [&[u8]; 17] = [
    b"image",
    b"video",
    b"audio",
    b"input_image",
    b"input_video",
    b"input_audio",
    b"image_url",
    b"video_url",
    b"audio_url",
    b"image_file",
    b"file",
    b"input_file",
    b"file_url",
    b"document",
    b"document_url",
    b"pdf",
    b"media",
];
/// Kinds in which tools tell of the files that they have made.
const MADE: [&[u8]; 2] = [b"code_execution_output", b"bash_code_execution_output"];
/// Members beside which a URL only says where a text is from.
const TEXTS: [&[u8]; 9] = [
    b"text",
    b"title",
    b"content",
    b"contents",
    b"snippet",
    b"passage",
    b"body",
    b"description",
    b"page_content",
];

impl Parts {
    /// A part begins.
    pub(super) fn begin(&mut self, depth: usize) {
        self.open.push(Part {
            depth,
            has_kind: false,
            is_media: false,
            has_text: false,
            is_made: false,
            names_file: false,
            urls: Sightings::default(),
        });
    }

    /// A member of the innermost part begins, whose name is in lower case.
    pub(super) fn member(&mut self, name: &[u8]) {
        if let Some(part) = self.open.last_mut() {
            part.has_text |= TEXTS.contains(&name);
        }
    }

    /// The value of a part's `type`, which is a string.
    pub(super) fn kind(&mut self, raw: &[u8]) {
        let Some(part) = self.open.last_mut() else {
            return;
        };
        let text = RawString {
            inner: raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default(),
            escaped: true,
        };
        part.has_kind = true;
        let mut buffer = [0; 32];
        let kind = text.folded(&mut buffer);
        part.is_media |= kind.is_some_and(|kind| MEDIA.contains(&kind));
        part.is_made |= kind.is_some_and(|kind| MADE.contains(&kind));
    }

    /// The value of a part's `file_id`.
    pub(super) fn file_id(&mut self, raw: &[u8]) {
        if let Some(part) = self.open.last_mut() {
            part.names_file |= raw != b"\"\"";
        }
    }

    pub(super) fn url(&mut self, raw: &[u8], watch: &Watch, field: &'static str) {
        if let Some(part) = self.open.last_mut() {
            part.urls.string(Spot::Url, raw, watch, field);
        }
    }

    /// A container ends.
    pub(super) fn end(&mut self, depth: usize, sightings: &mut Sightings) {
        let Some(part) = self.open.pop_if(|part| part.depth == depth) else {
            return;
        };
        if part.is_media || !part.has_kind && !part.has_text {
            sightings.add_media(part.urls);
        }
        if part.names_file && !part.is_made {
            sightings.refers(Spot::PartFileId);
        }
    }
}
