use super::fields::JsonKind;
use super::{ScanError, ScanErrorKind};

/// A position in a body, and the tokens that can be read from there.
pub(super) struct Scanner<'a> {
    pub(super) body: &'a [u8],
    pub(super) at: usize,
}

/// The content between a string's quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawString<'a> {
    pub(super) inner: &'a [u8],
    pub(super) escaped: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
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

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads a comma and the white space after it.
    pub(super) fn comma(&mut self, expected: &'static str) -> Result<(), ScanError> {
        if !self.eat(b',') {
            return Err(self.fault(ScanErrorKind::Expected(expected)));
        }
        self.skip_space();
        Ok(())
    }

    /// Reads a key, its colon, and the white space before its value.
    pub(super) fn key(&mut self) -> Result<RawString<'a>, ScanError> {
        if self.peek() != Some(b'"') {
            return Err(self.fault(ScanErrorKind::Expected("a key in double quotes")));
        }
        let key = self.string()?;
        self.skip_space();
        if !self.eat(b':') {
            return Err(self.fault(ScanErrorKind::Expected("':'")));
        }
        self.skip_space();
        Ok(key)
    }

    /// Reads a string that starts here.
    pub(super) fn string(&mut self) -> Result<RawString<'a>, ScanError> {
        let start = self.at + 1;
        self.at = start;
        let mut escaped = false;
        loop {
            self.skip_plain()?;
            if self.eat(b'"') {
                break;
            }
            escaped = true;
            self.escape()?;
        }
        Ok(RawString {
            inner: &self.body[start..self.at - 1],
            escaped,
        })
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

    fn digits(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(self.fault(ScanErrorKind::Expected("a digit"))),
        }
    }

    /// Moves to the next quote or backslash. Most strings are short, so it checks the first bytes word by word. Long
    /// strings have many escapes, so it checks the rest in blocks, which need neither a call nor setup.
    fn skip_plain(&mut self) -> Result<(), ScanError> {
        for _ in 0..2 {
            if self.skip_word() != Some(8) {
                return self.skip_plain_bytes();
            }
        }
        // No early exit within a block, so that it compiles to vector instructions.
        while let Some(block) = self.body[self.at..].first_chunk::<16>()
            && !block
                .iter()
                .fold(false, |found, &byte| found | is_special(byte))
        {
            self.at += block.len();
        }
        while self.skip_word() == Some(8) {}
        self.skip_plain_bytes()
    }

    /// Skips the plain bytes among the next eight and returns how many there were; `None` if fewer than eight are left.
    fn skip_word(&mut self) -> Option<usize> {
        let word = self.body[self.at..].first_chunk()?;
        let specials = specials_in(u64::from_le_bytes(*word));
        let plain = specials.trailing_zeros() as usize / 8;
        self.at += plain;
        Some(plain)
    }

    fn skip_plain_bytes(&mut self) -> Result<(), ScanError> {
        while self.peek().is_some_and(|byte| !is_special(byte)) {
            self.at += 1;
        }
        match self.peek() {
            None => Err(self.fault(ScanErrorKind::Expected("'\"' at the end of a string"))),
            Some(byte) if byte < b' ' => Err(self.fault(ScanErrorKind::ControlCharacter)),
            Some(_) => Ok(()),
        }
    }

    /// Reads an escape that starts here. It does not check that surrogates come in pairs: whoever decodes the text
    /// does.
    fn escape(&mut self) -> Result<(), ScanError> {
        let digits = match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(self.fault(ScanErrorKind::Escape)),
        };
        let start = self.at + 2;
        match self.body.get(start..start + digits) {
            Some(hex) if hex.iter().all(|&byte| IS_HEX[usize::from(byte)]) => {
                self.at = start + digits;
                Ok(())
            }
            _ => Err(self.fault(ScanErrorKind::Escape)),
        }
    }
}

impl<'a> RawString<'a> {
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
        // A character takes at most six bytes, as an escape.
        if self.inner.len() > 6 * buffer.len() {
            return None;
        }
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

fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
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
