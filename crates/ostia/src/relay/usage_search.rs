use std::sync::LazyLock;

use memchr::memmem::Finder;
use ostia_core::Usage;

use super::usage::UsageShape;

const KEY: &[u8] = b"\"usage\"";
/// A usage object is never longer.
const LONGEST: usize = 4 * 1024;

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

/// Finds the last sound `"usage":{...}` in an answer that is too large to be held.
///
/// The seven bytes cannot stand inside a JSON string, where the quotes would be escaped.
#[derive(Debug, Default)]
pub(super) struct UsageSearch {
    /// What may still become, or already is, the beginning of the key and its value.
    window: Vec<u8>,
    inside: bool,
    usage: Option<Usage>,
}

impl UsageSearch {
    pub(super) fn push(&mut self, data: &[u8]) {
        self.window.extend_from_slice(data);
        loop {
            if !self.inside && !self.find_key() {
                return;
            }
            match value_end(&self.window) {
                Some(end) => {
                    self.read(end);
                    self.inside = false;
                }
                None if self.window.len() > LONGEST => self.inside = false,
                None => return,
            }
        }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Moves the window behind the next key; keeps only what may be the beginning of one.
    fn find_key(&mut self) -> bool {
        if let Some(at) = FINDER.find(&self.window) {
            self.window.drain(..at + KEY.len());
            self.inside = true;
            return true;
        }
        let keep = self.window.len().min(KEY.len() - 1);
        self.window.drain(..self.window.len() - keep);
        false
    }

    fn read(&mut self, end: usize) {
        let value = self
            .window
            .get(..end)
            .unwrap_or_default()
            .trim_ascii_start();
        let value = value.strip_prefix(b":").unwrap_or(value);
        let text = std::str::from_utf8(value).unwrap_or_default();
        if let Some(shape) = UsageShape::parse(text) {
            self.usage = shape.read(None).or(self.usage);
        }
    }
}

/// Where the object behind the key ends; 0 if what stands there is no object.
fn value_end(window: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in window.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth = depth.saturating_sub(1),
            b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            _ if depth == 0 => return Some(0),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::UsageSearch;

    fn search(pieces: &[&str]) -> Option<(u64, u64)> {
        let mut search = UsageSearch::default();
        for piece in pieces {
            search.push(piece.as_bytes());
        }
        search
            .usage()
            .map(|usage| (usage.prompt_tokens, usage.completion_tokens))
    }

    #[test]
    fn usage_is_found_wherever_the_answer_is_cut() {
        let text = r#"{"data":["\"usage\":{\"prompt_tokens\":1}"], "usage" : {"prompt_tokens":3,"x":{"a":"}"},"completion_tokens":4},"z":1}"#;
        for cut in 0..text.len() {
            assert_eq!(search(&[&text[..cut], &text[cut..]]), Some((3, 4)), "{cut}");
        }
        let bytes: Vec<&str> = text.split_inclusive(|_| true).collect();
        assert_eq!(search(&bytes), Some((3, 4)));
    }

    #[test]
    fn the_last_sound_one_counts() {
        let text = r#"{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2,"completion_tokens":5},"usage":null,"usage":{"prompt_tokens":-2}}"#;
        assert_eq!(search(&[text]), Some((2, 5)));
    }

    #[test]
    fn the_window_stays_small() {
        let mut search = UsageSearch::default();
        for _ in 0..1000 {
            search.push(&[b'x'; 1000]);
        }
        assert!(search.window.len() < 10);
        search.push(b"\"usage\":{\"");
        for _ in 0..100 {
            search.push(&[b'x'; 1000]);
        }
        assert!(search.window.len() < 8 * 1024);
    }
}
