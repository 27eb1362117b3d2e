//! A second look at the raw bytes of HTTP/1 requests, because hyper hides one fault: it merges repeated Content-Length
//! lines into one. If a proxy in front of us reads such a request differently, it can smuggle another one.

/// Longer than any valid Content-Length line.
const KEPT_LINE_BYTES: usize = 64;

/// Parses one connection's requests just enough to count their heads.
pub(super) struct Framing {
    at: At,
    heads: u64,
    line: Vec<u8>,
    /// The line was longer than the part that is kept.
    is_cut: bool,
    lengths: u32,
    length: u64,
    has_transfer_encoding: bool,
}

enum At {
    RequestLine,
    HeaderLine,
    /// This many bytes of a body are still to come.
    Body(u64),
    /// Nothing more is parsed: the connection ends with the current request.
    Off,
}

impl Framing {
    pub fn new() -> Self {
        Self {
            at: At::RequestLine,
            heads: 0,
            line: Vec::new(),
            is_cut: false,
            lengths: 0,
            length: 0,
            has_transfer_encoding: false,
        }
    }

    /// Takes the next bytes from the socket. Returns the number, counted from 1, of a head with several Content-Length
    /// lines or with an invalid one; nothing after it is examined.
    pub fn read(&mut self, mut bytes: &[u8]) -> Option<u64> {
        while !bytes.is_empty() {
            match self.at {
                At::Off => return None,
                At::Body(left) => {
                    let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    bytes = &bytes[here..];
                    self.at = match left - here as u64 {
                        0 => At::RequestLine,
                        left => At::Body(left),
                    };
                }
                At::RequestLine | At::HeaderLine => {
                    let end = memchr::memchr(b'\n', bytes);
                    let (part, rest) = match end {
                        Some(end) => (&bytes[..end], &bytes[end + 1..]),
                        None => (bytes, &bytes[bytes.len()..]),
                    };
                    bytes = rest;
                    if end.is_some() && self.line.is_empty() && tells_nothing(part) {
                        self.at = At::HeaderLine;
                        continue;
                    }
                    self.keep(part);
                    if end.is_some() && self.end_line() {
                        return Some(self.heads);
                    }
                }
            }
        }
        None
    }

    /// Blanks around a value are dropped, however many there are.
    fn keep(&mut self, part: &[u8]) {
        let name = match self.line.contains(&b':') {
            true => 0,
            false => memchr::memchr(b':', part).map_or(part.len(), |colon| colon + 1),
        };
        let (name, value) = part.split_at(name);
        self.keep_exactly(name);
        let begins = memchr::memchr(b':', &self.line).is_some_and(|at| at + 1 == self.line.len());
        let value = match begins {
            true => value.trim_ascii_start(),
            false => value,
        };
        self.keep_exactly(value);
    }

    fn keep_exactly(&mut self, part: &[u8]) {
        let room = KEPT_LINE_BYTES.saturating_sub(self.line.len());
        let (kept, rest) = part.split_at(part.len().min(room));
        self.line.extend_from_slice(kept);
        self.is_cut |= !rest.trim_ascii_end().is_empty();
    }

    /// True at the end of a head with a fault.
    fn end_line(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        let odd = match (&self.at, text.is_empty()) {
            // Empty lines before a request are skipped (RFC 9112 section 2.2).
            (At::RequestLine, true) => false,
            (At::RequestLine, false) => {
                self.at = At::HeaderLine;
                false
            }
            (_, false) => {
                self.note_header(text);
                false
            }
            (_, true) => self.end_head(),
        };
        self.line = line;
        self.line.clear();
        self.is_cut = false;
        odd
    }

    fn note_header(&mut self, line: &[u8]) {
        let Some(colon) = memchr::memchr(b':', line) else {
            return;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.has_transfer_encoding = true;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            // Endless zeros before the number: hyper would accept them.
            self.lengths += if self.is_cut { 2 } else { 1 };
            // hyper refuses anything that is not a number, and the connection ends.
            self.length = std::str::from_utf8(value)
                .ok()
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or(0);
        }
    }

    fn end_head(&mut self) -> bool {
        self.heads += 1;
        let odd = self.lengths > 1;
        self.at = match (odd || self.has_transfer_encoding, self.length) {
            (true, _) => At::Off,
            (false, 0) => At::RequestLine,
            (false, length) => At::Body(length),
        };
        self.lengths = 0;
        self.length = 0;
        odd
    }
}

/// A whole line that is neither empty nor a length or a transfer encoding. Most are, and need not be kept.
fn tells_nothing(line: &[u8]) -> bool {
    !matches!(line.first(), None | Some(b'\r' | b'c' | b'C' | b't' | b'T'))
}

#[cfg(test)]
mod tests {
    use super::Framing;

    fn first_odd(bytes: &[u8], step: usize) -> Option<u64> {
        let mut framing = Framing::new();
        bytes.chunks(step).find_map(|part| framing.read(part))
    }

    #[track_caller]
    fn check(requests: &str, expected: Option<u64>) {
        for step in 1..=requests.len() {
            assert_eq!(first_odd(requests.as_bytes(), step), expected, "{step}");
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n\r\n\r\n\n";
    const TWICE: &str =
        "\r\nPOST / HTTP/1.1\r\nContent-Length:5\r\nhost: a\r\ncontent-LENGTH: \t5\r\n\r\nhello";

    #[test]
    fn repeated_lengths_are_found_in_any_head() {
        check(TWICE, Some(1));
        check(&format!("{GET}{POST}{TWICE}"), Some(3));
        check(&TWICE.replace("\r\n", "\n"), Some(1));
    }

    #[test]
    fn blanks_around_a_length_do_not_hide_it() {
        let blanks = " \t".repeat(80);
        let inner = TWICE.len();
        let post =
            format!("POST / HTTP/1.1\r\nContent-Length:{blanks}{inner}{blanks}\r\n\r\n{TWICE}");
        check(&format!("{post}{GET}"), None);
        check(&format!("{post}{TWICE}"), Some(2));
        let zeros = "0".repeat(80);
        check(
            &format!("{GET}POST / HTTP/1.1\r\nContent-Length: {zeros}5\r\n\r\nhello"),
            Some(2),
        );
    }

    #[test]
    fn sound_requests_pass() {
        check(&format!("{GET}{POST}{POST}{GET}"), None);
        let long = format!(
            "GET /{} HTTP/1.1\r\nx: {}\r\ncontent-length-x: 1\r\ncontent-length: 0\r\n\r\n{POST}",
            "p".repeat(90),
            "content-length: 1".repeat(9)
        );
        check(&long, None);
    }

    #[test]
    fn bodies_are_not_heads() {
        let inner = "x\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n";
        let post = format!(
            "POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{inner}{GET}",
            inner.len()
        );
        check(&post, None);
        let chunked = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{TWICE}");
        check(&chunked, None);
    }
}
