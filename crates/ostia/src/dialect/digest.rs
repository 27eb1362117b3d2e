use memchr::{memchr2, memchr3};

/// A longer string becomes an empty one.
const LONGEST_STRING: usize = 1024;
/// Nothing that the gateway reads is deeper: `response.usage.output_tokens_details` in an event.
const DEEPEST: usize = 4;
/// A digest that grows larger is abandoned.
const LONGEST: usize = 64 * 1024;

/// A small stand-in for a large JSON object that passes in pieces. It has the same members that the gateway looks at,
/// but not the text of long strings, the elements of arrays (a single `0` stands for them) or the members of deep
/// objects. So one code path reads all responses, also those too large to buffer.
#[derive(Debug, Default)]
pub struct Digest {
    json: Vec<u8>,
    at: At,
    /// How many objects are open.
    depth: usize,
    skipped: Option<Skipped>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Structure,
    /// `start`: where in the digest the content between the quotes begins.
    Text { start: usize, escaped: bool },
    /// It is not an object, or the digest grew too large.
    Off,
}

/// An array or a deep object whose content is left out.
#[derive(Debug, Clone, Copy)]
struct Skipped {
    open: u8,
    close: u8,
    depth: usize,
    /// Only white space has been seen in it.
    empty: bool,
}

impl Digest {
    /// Takes the next piece of the object.
    pub fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let taken = match (self.at, self.skipped) {
                (At::Off, _) => return,
                (At::Text { start, escaped }, _) => self.text(piece, start, escaped),
                (At::Structure, Some(skipped)) => self.skip(piece, skipped),
                (At::Structure, None) => self.structure(piece[0]),
            };
            piece = &piece[taken..];
            if self.json.len() > LONGEST {
                self.at = At::Off;
            }
        }
    }

    /// Valid JSON if the whole object has arrived.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    fn text(&mut self, piece: &[u8], start: usize, escaped: bool) -> usize {
        let end = match escaped {
            true => Some(0),
            false => memchr2(b'"', b'\\', piece),
        };
        let taken = end.map_or(piece.len(), |end| end + 1);
        let closes = !escaped && end.is_some_and(|end| piece[end] == b'"');
        self.at = match closes {
            true => At::Structure,
            false => At::Text {
                start,
                escaped: !escaped && end.is_some(),
            },
        };
        if self.skipped.is_some() {
            return taken;
        }
        // Keep one byte more than allowed, so that the end of the string can tell that it was too long.
        let room = (start + LONGEST_STRING + 1).saturating_sub(self.json.len());
        let text = &piece[..taken - usize::from(closes)];
        self.json.extend_from_slice(&text[..text.len().min(room)]);
        if closes {
            if self.json.len() > start + LONGEST_STRING {
                self.json.truncate(start);
            }
            self.json.push(b'"');
        }
        taken
    }

    fn skip(&mut self, piece: &[u8], mut skipped: Skipped) -> usize {
        if skipped.empty {
            let Some(first) = piece.iter().position(|byte| !byte.is_ascii_whitespace()) else {
                return piece.len();
            };
            skipped.empty = false;
            if skipped.open == b'[' && piece[first] != b']' {
                self.json.push(b'0');
            }
        }
        let mark = memchr3(skipped.open, skipped.close, b'"', piece);
        match mark.map(|mark| piece[mark]) {
            Some(b'"') => self.begin_text(),
            Some(byte) if byte == skipped.open => skipped.depth += 1,
            Some(_) => skipped.depth -= 1,
            None => {}
        }
        self.skipped = Some(skipped);
        if skipped.depth == 0 {
            self.json.push(skipped.close);
            self.skipped = None;
        }
        mark.map_or(piece.len(), |mark| mark + 1)
    }

    fn structure(&mut self, byte: u8) -> usize {
        match byte {
            _ if byte.is_ascii_whitespace() => return 1,
            b'{' if self.depth < DEEPEST => self.depth += 1,
            b'{' => self.begin_skip(b'{', b'}'),
            b'[' => self.begin_skip(b'[', b']'),
            b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.json.is_empty() && byte != b'{' {
            self.at = At::Off;
            return 1;
        }
        self.json.push(byte);
        if byte == b'"' {
            self.begin_text();
        }
        1
    }

    fn begin_text(&mut self) {
        self.at = At::Text {
            start: self.json.len(),
            escaped: false,
        };
    }

    fn begin_skip(&mut self, open: u8, close: u8) {
        self.skipped = Some(Skipped {
            open,
            close,
            depth: 1,
            empty: true,
        });
    }
}

#[cfg(test)]
mod tests;
