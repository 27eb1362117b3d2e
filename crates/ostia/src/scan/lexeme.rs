use super::fields::JsonKind;
use super::{ScanError, ScanErrorKind};

/// How much of a body a scan reads before it lets other requests run.
pub const BLOCK: usize = 64 * 1024;

/// Nobody computes with more.
const MOST_DIGITS: usize = 4096;
/// Longer names are nobody's: a known one has at most 32 characters, and each takes at most six bytes, as an escape.
pub(super) const LONGEST_NAME: usize = 6 * 32;
/// Stands for each character beyond ASCII.
pub(super) const NOT_ASCII: u8 = 0xff;

/// A position in a body, and the tokens that can be read from there.
pub(super) struct Scanner<'a> {
    pub(super) body: &'a [u8],
    pub(super) at: usize,
    /// The body is valid UTF-8 up to here, and the scan pauses here.
    block_end: usize,
    /// The start of a string that goes on in the next block, and whether it has escapes.
    open_string: Option<(usize, bool)>,
}

/// The content between a string's quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawString<'a> {
    pub(super) inner: &'a [u8],
    pub(super) escaped: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8]) -> Result<Self, ScanError> {
        let mut scanner = Self {
            body,
            at: 0,
            block_end: 0,
            open_string: None,
        };
        scanner.open_block()?;
        Ok(scanner)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn fault(&self, fault: ScanErrorKind) -> ScanError {
        fault.at(self.at)
    }

    pub(super) async fn skip_space(&mut self) -> Result<(), ScanError> {
        while !self.space() {
            self.pause().await?;
        }
        Ok(())
    }

    /// Reads a comma and the white space after it.
    pub(super) async fn comma(&mut self, expected: &'static str) -> Result<(), ScanError> {
        if !self.eat(b',') {
            return Err(self.fault(ScanErrorKind::Expected(expected)));
        }
        self.skip_space().await
    }

    /// Reads a key, its colon, and the white space before its value.
    pub(super) async fn key(&mut self) -> Result<RawString<'a>, ScanError> {
        let key = loop {
            match self.string("a key in double quotes")? {
                Some(key) => break key,
                None => self.pause().await?,
            }
        };
        self.skip_space().await?;
        if !self.eat(b':') {
            return Err(self.fault(ScanErrorKind::Expected("':'")));
        }
        self.skip_space().await?;
        Ok(key)
    }

    /// Skips white space; `false` if the block ends first.
    pub(super) fn space(&mut self) -> bool {
        while self.at < self.block_end {
            if !matches!(self.body.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
                return true;
            }
            self.at += 1;
        }
        self.block_end == self.body.len()
    }

    /// Whether a string was begun that the block does not end.
    pub(super) fn is_in_string(&self) -> bool {
        self.open_string.is_some()
    }

    /// Reads a string that starts here, or goes on with the one that was begun; `None` if the block ends first.
    pub(super) fn string(
        &mut self,
        expected: &'static str,
    ) -> Result<Option<RawString<'a>>, ScanError> {
        let (start, mut escaped) = match self.open_string.take() {
            Some(open) => open,
            None if self.eat(b'"') => (self.at, false),
            None => return Err(self.fault(ScanErrorKind::Expected(expected))),
        };
        let block = &self.body[..self.block_end];
        let mut specials = Specials::of(block);
        // Held here, not in `self`, so that it stays in a register. Most strings are short.
        let mut at = self.at + plain_words(block.get(self.at..).unwrap_or_default(), SHORT);
        loop {
            self.at = at;
            match block.get(at) {
                None => return self.break_off(start, escaped),
                Some(b'"') => break,
                Some(b'\\') => {
                    at += self.escape()?;
                    escaped = true;
                }
                Some(..b' ') => return Err(self.fault(ScanErrorKind::ControlCharacter)),
                Some(_) => {}
            }
            at = specials.next(at);
        }
        self.at = at + 1;
        Ok(Some(RawString {
            inner: &self.body[start..at],
            escaped,
        }))
    }

    /// The block ends within a string.
    #[cold]
    fn break_off(
        &mut self,
        start: usize,
        escaped: bool,
    ) -> Result<Option<RawString<'a>>, ScanError> {
        if self.block_end == self.body.len() {
            return Err(self.fault(ScanErrorKind::Expected("'\"' at the end of a string")));
        }
        self.open_string = Some((start, escaped));
        Ok(None)
    }

    /// Reads a number that starts here (RFC 8259, section 6).
    pub(super) fn number(&mut self) -> Result<JsonKind, ScanError> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        let mut kind = JsonKind::Integer;
        if self.eat(b'.') {
            kind = JsonKind::Fraction;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            kind = JsonKind::Fraction;
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(kind)
    }

    pub(super) fn literal(
        &mut self,
        word: &'static str,
        kind: JsonKind,
    ) -> Result<JsonKind, ScanError> {
        if !self.body[self.at..].starts_with(word.as_bytes()) {
            return Err(self.fault(ScanErrorKind::Expected("a value")));
        }
        self.at += word.len();
        Ok(kind)
    }

    /// May go beyond the block, as digits are valid UTF-8.
    fn digits(&mut self) -> Result<(), ScanError> {
        let rest = &self.body[self.at..];
        let rest = &rest[..rest.len().min(MOST_DIGITS + 1)];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > MOST_DIGITS {
            return Err(self.fault(ScanErrorKind::Expected("a number of fewer digits")));
        }
        self.at += digits;
        match digits {
            0 => Err(self.fault(ScanErrorKind::Expected("a digit"))),
            _ => Ok(()),
        }
    }

    /// The block is finished: lets other requests run, then starts the next block.
    pub(super) async fn pause(&mut self) -> Result<(), ScanError> {
        tokio::task::yield_now().await;
        self.open_block()
    }

    fn open_block(&mut self) -> Result<(), ScanError> {
        let start = self.block_end;
        let end = self.body.len().min(start + BLOCK);
        let Err(error) = std::str::from_utf8(&self.body[start..end]) else {
            self.block_end = end;
            return Ok(());
        };
        let valid = start + error.valid_up_to();
        let is_cut = error.error_len().is_none() && end < self.body.len();
        if !is_cut {
            return Err(ScanErrorKind::NotUtf8.at(valid));
        }
        // The block's end splits a character.
        self.block_end = valid;
        Ok(())
    }

    /// The length of an escape that starts here. It does not check that surrogates come in pairs: whoever decodes the
    /// text does. It may go beyond the block, as escapes are ASCII.
    fn escape(&self) -> Result<usize, ScanError> {
        match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(2),
            Some(b'u') => {
                let hex = self.body.get(self.at + 2..self.at + 6);
                if hex.is_some_and(|hex| hex.iter().all(|&byte| IS_HEX[usize::from(byte)])) {
                    return Ok(6);
                }
            }
            _ => {}
        }
        Err(self.fault(ScanErrorKind::Escape))
    }
}

impl<'a> RawString<'a> {
    /// Whether decoding and folding would change nothing, or nothing that matters.
    pub(super) fn is_plain(&self) -> bool {
        let is_lower = |byte: &u8| byte.is_ascii() && !byte.is_ascii_uppercase();
        self.inner.len() > LONGEST_NAME || !self.escaped && self.inner.iter().all(is_lower)
    }

    /// The decoded text if it is ASCII and fits the buffer, otherwise the bytes as written. The latter equal no key that
    /// the gateway knows: those fit the buffer, are ASCII and have no backslash.
    pub(super) fn ascii<'b>(&self, buffer: &'b mut [u8; 32]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self.escaped {
            false => self.inner,
            true => self.decode(buffer).unwrap_or(self.inner),
        }
    }

    fn decode<'b>(&self, buffer: &'b mut [u8; 32]) -> Option<&'b [u8]> {
        self.map_into(buffer, |unit| unit.try_into().ok().filter(u8::is_ascii))
    }

    /// The text as Go's `encoding/json` folds it before it compares keys (`foldName`): in lower case, `\u{17f}` as `s`
    /// and the Kelvin sign as `k`. `None` if the result is not ASCII or does not fit.
    pub(super) fn folded<'b>(&self, buffer: &'b mut [u8; 32]) -> Option<&'b [u8]> {
        self.map_into(buffer, |unit| match unit {
            0x17f => Some(b's'),
            0x212a => Some(b'k'),
            other => {
                let byte = u8::try_from(other).ok().filter(u8::is_ascii)?;
                Some(byte.to_ascii_lowercase())
            }
        })
    }

    /// Decodes escapes and maps each character to a byte with `byte_of`. `None` if one has no byte, or if they do not
    /// fit.
    fn map_into<'b>(
        &self,
        buffer: &'b mut [u8; 32],
        byte_of: impl Fn(u32) -> Option<u8>,
    ) -> Option<&'b [u8]> {
        if self.inner.len() > LONGEST_NAME {
            return None;
        }
        let text = std::str::from_utf8(self.inner).ok()?;
        let mut rest = text.chars();
        let mut length = 0;
        while let Some(plain) = rest.clone().next() {
            let (unit, width) = match plain {
                '\\' => decode_escape(rest.as_str().as_bytes())?,
                plain => (plain.into(), plain.len_utf8()),
            };
            *buffer.get_mut(length)? = byte_of(unit)?;
            length += 1;
            rest = rest.as_str().get(width..)?.chars();
        }
        Some(&buffer[..length])
    }
}

impl RawString<'_> {
    /// Decodes as much of the text as fits. Characters beyond ASCII become [`NOT_ASCII`].
    pub(super) fn beginning<'b>(&self, buffer: &'b mut [u8]) -> &'b [u8] {
        let mut rest = self.inner;
        let mut length = 0;
        while let (Some(byte), Some(place)) = (rest.first(), buffer.get_mut(length)) {
            let (unit, width) = match byte {
                b'\\' => decode_escape(rest).unwrap_or((NOT_ASCII.into(), 1)),
                plain => ((*plain).into(), 1),
            };
            let unit = u8::try_from(unit).ok().filter(u8::is_ascii);
            *place = unit.unwrap_or(NOT_ASCII);
            length += 1;
            rest = rest.get(width..).unwrap_or_default();
        }
        &buffer[..length]
    }
}

/// The UTF-16 code unit that a valid escape stands for, and the escape's length.
fn decode_escape(escape: &[u8]) -> Option<(u32, usize)> {
    let short = match escape.get(1)? {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let hex = std::str::from_utf8(escape.get(2..6)?).ok()?;
            return Some((u32::from_str_radix(hex, 16).ok()?, 6));
        }
        itself => *itself,
    };
    Some((short.into(), 2))
}

/// A lookup table: range comparisons are mispredicted as often as the digits vary.
static IS_HEX: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_hexdigit();
        byte += 1;
    }
    table
};

/// The beginning of a string, which is looked at word by word: less work than a chunk.
const SHORT: usize = 16;

/// Finds special bytes a chunk at a time, as long strings have many escapes.
struct Specials<'a> {
    bytes: &'a [u8],
    /// The chunk that was looked at last, and one bit for each of its bytes: whether it is special.
    chunk: usize,
    marks: u64,
}

const CHUNK: usize = 64;

impl<'a> Specials<'a> {
    /// Nothing was looked at yet.
    fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            chunk: usize::MAX - CHUNK,
            marks: 0,
        }
    }

    /// Where the next special byte is, from `at` on, or where the bytes end. `at` only grows.
    #[inline]
    fn next(&mut self, mut at: usize) -> usize {
        loop {
            if let Some(gone) = at.checked_sub(self.chunk).filter(|gone| *gone < CHUNK) {
                match self.marks >> gone {
                    0 => at = self.chunk + CHUNK,
                    marks => return at + marks.trailing_zeros() as usize,
                }
            }
            let Some(rest) = self.bytes.get(at..) else {
                return at;
            };
            let Some(chunk) = rest.first_chunk() else {
                return at + plain_words(rest, CHUNK);
            };
            self.marks = marks_in(chunk);
            self.chunk = at;
        }
    }
}

/// One bit for each byte: whether it is special. Compiles to vector instructions and eight multiplications, each of which
/// gathers the lowest bits of eight bytes.
#[inline]
fn marks_in(chunk: &[u8; CHUNK]) -> u64 {
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let flags = chunk.map(|byte| u8::from(is_special(byte)));
    let mut marks = [0; CHUNK / 8];
    for (marks, flags) in marks.iter_mut().zip(flags.as_chunks().0) {
        *marks = (u64::from_le_bytes(*flags).wrapping_mul(GATHER) >> 56) as u8;
    }
    u64::from_le_bytes(marks)
}

/// Without branches, so that many bytes are looked at at once.
fn is_special(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// How many plain bytes come first, looking at no more than `most`, if that is a multiple of a word.
#[inline]
fn plain_words(bytes: &[u8], most: usize) -> usize {
    let mut at = 0;
    while at < most {
        let Some(word) = bytes[at..].first_chunk() else {
            let special = bytes[at..].iter().position(|&byte| is_special(byte));
            return special.map_or(bytes.len(), |special| at + special);
        };
        let specials = specials_in(u64::from_le_bytes(*word));
        if specials != 0 {
            return at + specials.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// Sets the high bit of each byte that is a quote, a backslash or a control character. Borrows run upwards and may mark
/// bytes above the first such byte wrongly, so use only the lowest mark.
fn specials_in(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * b' ' as u64) & !word;
    let quote = quotes.wrapping_sub(ONES) & !quotes;
    let backslash = backslashes.wrapping_sub(ONES) & !backslashes;
    (control | quote | backslash) & HIGH
}
