//! Pages that are JSON but for their encoding, or for what a terminal would hide.

use std::borrow::Cow;

/// The page in UTF-8, without NUL bytes and colour codes, and what was unusual.
pub(super) fn usual(page: &[u8]) -> (Cow<'_, [u8]>, Option<&'static str>) {
    if let Some(units) = utf_16(page) {
        let text = String::from_utf16_lossy(&units).into_bytes();
        // UTF-32 is UTF-16 with a NUL after each character of ASCII.
        return (visible(text.into()).0, Some("UTF-16"));
    }
    visible(page.into())
}

/// The units of a page in UTF-16, as PowerShell writes files: with a mark at the beginning, or with NUL bytes at every
/// second place, as all JSON has brackets and quotes.
fn utf_16(page: &[u8]) -> Option<Vec<u16>> {
    match page {
        [0xff, 0xfe, rest @ ..] => Some(units(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Some(units(rest, u16::from_be_bytes)),
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => {
            Some(units(page, u16::from_le_bytes))
        }
        [0, first, 0, second, ..] if *first != 0 && *second != 0 => {
            Some(units(page, u16::from_be_bytes))
        }
        _ => None,
    }
}

fn units(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks();
    pairs.iter().map(|pair| unit(*pair)).collect()
}

/// The page without NUL bytes and ANSI escape sequences (ECMA-48 section 5.4), neither of which JSON may hold.
fn visible(page: Cow<'_, [u8]>) -> (Cow<'_, [u8]>, Option<&'static str>) {
    let Some(first) = memchr::memchr2(0, ESCAPE, &page) else {
        return (page, None);
    };
    let mut rest = &page[first..];
    let mut shown = Vec::with_capacity(page.len());
    shown.extend_from_slice(&page[..first]);
    while let Some(hidden) = rest.first() {
        let skipped = match *hidden {
            ESCAPE => sequence(rest),
            _ => 1,
        };
        rest = rest.get(skipped..).unwrap_or_default();
        let plain = memchr::memchr2(0, ESCAPE, rest).unwrap_or(rest.len());
        shown.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
    }
    (shown.into(), Some("NUL bytes or colour codes"))
}

const ESCAPE: u8 = 0x1b;

/// The length of the escape sequence at the beginning of a text: `ESC [`, parameters, and a letter.
fn sequence(text: &[u8]) -> usize {
    let Some(parameters) = text.strip_prefix(b"\x1b[") else {
        return 1;
    };
    let length = parameters
        .iter()
        .position(|byte| !matches!(byte, 0x20..=0x3f));
    match length {
        Some(length) if matches!(parameters[length], 0x40..=0x7e) => length + 3,
        _ => 1,
    }
}
