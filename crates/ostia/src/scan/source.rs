use super::fields::PromptSize;
use super::lexeme::RawString;

/// The sources of media that are open. Only the whole source shows whether its data is a medium: Anthropic's sources
/// hold plain texts too.
#[derive(Default)]
pub(super) struct Sources {
    open: Vec<Source>,
}

struct Source {
    depth: usize,
    is_text: bool,
    /// Of the strings that are one medium each, or so many bytes of text.
    strings: u64,
    bytes: u64,
}

impl Sources {
    /// A source begins.
    pub(super) fn begin(&mut self, depth: usize) {
        self.open.push(Source {
            depth,
            is_text: false,
            strings: 0,
            bytes: 0,
        });
    }

    /// The value of a source's `type`, which is a string.
    pub(super) fn kind(&mut self, raw: &[u8]) {
        let text = RawString {
            inner: raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default(),
            escaped: true,
        };
        if let Some(source) = self.open.last_mut() {
            source.is_text |= text.folded(&mut [0; 32]) == Some(b"text");
        }
    }

    /// Takes a string of this length if it is a member of the innermost source.
    pub(super) fn holds(&mut self, depth: usize, length: usize) -> bool {
        let source = self.open.last_mut();
        let Some(source) = source.filter(|source| source.depth + 1 == depth) else {
            return false;
        };
        source.strings += 1;
        source.bytes += length as u64;
        true
    }

    /// A container ends.
    pub(super) fn end(&mut self, depth: usize, prompt: &mut PromptSize) {
        let Some(source) = self.open.pop_if(|source| source.depth == depth) else {
            return;
        };
        match source.is_text {
            true => prompt.text_bytes += source.bytes,
            false => prompt.media += source.strings,
        }
    }
}
