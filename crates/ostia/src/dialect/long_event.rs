use memchr::memchr2;

use super::digest::Digest;

const DATA: &[u8] = b"data:";

/// An event that passes in parts: builds a digest of its data from its `data` lines (WHATWG HTML, section 9.2.6).
#[derive(Debug, Default)]
pub(super) struct LongEvent {
    digest: Digest,
    length: usize,
    line: Line,
}

#[derive(Debug, Clone, Copy)]
enum Line {
    /// This many bytes of `data:` have been seen.
    Name(usize),
    /// After the colon, where one space is not part of the value.
    Colon,
    Data,
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl LongEvent {
    /// Takes the next part of the event.
    pub(super) fn push(&mut self, mut part: &[u8]) {
        while let Some(&first) = part.first() {
            let taken = match self.line {
                Line::Name(_) if is_line_end(first) => {
                    self.line = Line::default();
                    1
                }
                Line::Name(seen) if DATA.get(seen) == Some(&first) => {
                    self.line = match seen + 1 {
                        seen if seen == DATA.len() => Line::Colon,
                        seen => Line::Name(seen),
                    };
                    1
                }
                Line::Name(_) => {
                    self.line = Line::Other;
                    0
                }
                Line::Colon => {
                    self.line = Line::Data;
                    usize::from(first == b' ')
                }
                Line::Data | Line::Other => self.rest_of_line(part),
            };
            part = &part[taken..];
        }
    }

    /// The digest of its data, and the length of the data.
    pub(super) fn data(&self) -> (&[u8], usize) {
        (self.digest.json(), self.length)
    }

    fn rest_of_line(&mut self, part: &[u8]) -> usize {
        let end = memchr2(b'\n', b'\r', part);
        let rest = &part[..end.unwrap_or(part.len())];
        if matches!(self.line, Line::Data) {
            self.digest.push(rest);
            self.length += rest.len();
        }
        match end {
            Some(end) => {
                self.line = Line::default();
                end + 1
            }
            None => part.len(),
        }
    }
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

#[cfg(test)]
mod tests {
    use super::LongEvent;

    #[test]
    fn the_data_lines_are_read_wherever_the_event_is_cut() {
        let text = b"event: a\r\ndat: {\r\n: data: {\r\ndata:{\"a\":\ndata\ndata:  [1,\rdata: 2]}\r\ndatax: {\r\n\r\n";
        for cut in 0..text.len() {
            let mut event = LongEvent::default();
            event.push(&text[..cut]);
            event.push(&text[cut..]);
            assert_eq!(event.data(), (&br#"{"a":[0]}"#[..], 12), "{cut}");
        }
    }
}
