//! Pages that are JSON but for their encoding or their quotes.

use std::borrow::Cow;

/// The page in UTF-8 and with double quotes, and what was unusual.
pub(super) fn usual(page: &[u8]) -> (Cow<'_, [u8]>, Option<&'static str>) {
    // As PowerShell writes files.
    let units = match page {
        [0xff, 0xfe, rest @ ..] => Some(units(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Some(units(rest, u16::from_be_bytes)),
        _ => None,
    };
    if let Some(units) = units {
        let text = String::from_utf16_lossy(&units);
        return (text.into_bytes().into(), Some("UTF-16"));
    }
    // As Python prints a dict. With a double quote in it, the quotes cannot be told apart.
    let is_python = memchr::memchr(b'"', page).is_none() && memchr::memchr(b'\'', page).is_some();
    if is_python {
        let mut escapes = false;
        let swapped = |byte: &u8| {
            let is_escaped = escapes;
            escapes = *byte == b'\\' && !is_escaped;
            match *byte {
                b'\'' if !is_escaped => b'"',
                other => other,
            }
        };
        let page: Vec<u8> = page.iter().map(swapped).collect();
        return (page.into(), Some("single quotes"));
    }
    (page.into(), None)
}

fn units(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks();
    pairs.iter().map(|pair| unit(*pair)).collect()
}
