use std::fmt::{self, Write};

/// A longer text of a single field is cut: one event must not fill the queue, nor a disk.
const LONGEST: usize = 8 << 10;
const CUT: &str = "...";

/// The ways to escape text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The inside of a JSON string (RFC 8259 section 7).
    Json,
    /// The inside of a quoted value of a text line.
    Quoted,
    /// A message: quotes and backslashes stay as they are.
    Bare,
}

/// Appends text to a line, escaped. Never fails: the part that is too long is left out.
pub(super) struct Escaped<'a> {
    line: &'a mut String,
    style: Style,
    room: usize,
    cut: bool,
}

impl<'a> Escaped<'a> {
    pub fn new(line: &'a mut String, style: Style) -> Self {
        Self {
            line,
            style,
            room: LONGEST,
            cut: false,
        }
    }

    fn end(&mut self) -> fmt::Result {
        if self.cut {
            self.line.push_str(CUT);
        }
        Ok(())
    }

    fn escape(&mut self, character: char) -> fmt::Result {
        let short = match character {
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            _ => None,
        };
        match (short, self.style) {
            (Some(short), _) => self.line.write_str(short),
            // All of them are in the basic plane: one unit of UTF-16.
            (None, Style::Json) => write!(self.line, "\\u{:04x}", u32::from(character)),
            (None, _) => write!(self.line, "\\u{{{:x}}}", u32::from(character)),
        }
    }
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.cut {
            return Ok(());
        }
        let fitting = text
            .get(..text.floor_char_boundary(self.room))
            .unwrap_or("");
        self.room -= fitting.len();
        self.cut = fitting.len() < text.len();
        if are_plain(fitting.as_bytes()) {
            self.line.push_str(fitting);
            return self.end();
        }
        let mut copied = 0;
        for (at, character) in fitting.char_indices() {
            if !needs_escape(character, self.style) {
                continue;
            }
            self.line.push_str(&fitting[copied..at]);
            self.escape(character)?;
            copied = at + character.len_utf8();
        }
        self.line.push_str(&fitting[copied..]);
        self.end()
    }
}

/// Whether a character could forge a line, move a terminal's cursor, or show text in another order than it has.
pub(super) const fn is_unsafe(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// Printable ASCII that stands for itself in every style: what most texts are made of. Looked at in chunks without an
/// early exit, which compile to vector instructions.
fn are_plain(bytes: &[u8]) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    let (chunks, rest) = bytes.as_chunks::<16>();
    let mut last = [b' '; 16];
    last[..rest.len()].copy_from_slice(rest);
    let mut chunks = chunks.iter().chain([&last]);
    chunks.all(|chunk| chunk.iter().fold(true, |all, &byte| all & is_plain(byte)))
}

const fn needs_escape(character: char, style: Style) -> bool {
    match character {
        '"' | '\\' => !matches!(style, Style::Bare),
        _ => is_unsafe(character),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::{Escaped, LONGEST, Style, is_unsafe};

    fn escaped(text: &str, style: Style) -> String {
        let mut line = String::new();
        write!(Escaped::new(&mut line, style), "{text}").unwrap();
        line
    }

    #[test]
    fn what_forges_lines_is_shown_as_text() {
        let evil = "a\r\n\u{1b}[31mred\u{9b}\u{202e}txt\"\\";
        for (style, expected) in [
            (Style::Bare, r#"a\r\n\u{1b}[31mred\u{9b}\u{202e}txt"\"#),
            (Style::Quoted, r#"a\r\n\u{1b}[31mred\u{9b}\u{202e}txt\"\\"#),
            (Style::Json, r#"a\r\n\u001b[31mred\u009b\u202etxt\"\\"#),
        ] {
            assert_eq!(escaped(evil, style), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let text = "é".repeat(LONGEST);
        let line = escaped(&text, Style::Json);
        assert_eq!(line.len(), LONGEST + 3);
        assert!(line.ends_with("é..."));

        let mut line = String::new();
        let mut pieces = Escaped::new(&mut line, Style::Bare);
        for _ in 0..LONGEST {
            pieces.write_str("abc").unwrap();
        }
        assert_eq!(line.len(), LONGEST + 3);
    }

    proptest! {
        #[test]
        fn json_gives_back_what_went_in(text in any::<String>()) {
            let line = format!("\"{}\"", escaped(&text, Style::Json));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }

        #[test]
        fn nothing_unsafe_is_left(text in any::<String>()) {
            for style in [Style::Json, Style::Quoted, Style::Bare] {
                prop_assert!(!escaped(&text, style).contains(is_unsafe));
            }
        }
    }
}
