use std::ops::Range;

use memchr::memmem;

use super::super::content::names_another_charset;
use super::parameters::{Parameters, behind_essence, is_token};
use crate::dialect::Invalid;

/// One part of a form.
pub(super) struct Part<'a> {
    pub(super) name: &'a [u8],
    /// Neither a file nor encoded nor in another charset.
    pub(super) is_text: bool,
    /// The same to some servers: those take a file without a name for a text.
    pub(super) may_be_text: bool,
    pub(super) value: Range<usize>,
}

const LONGEST_HEADERS: usize = 16 * 1024;

impl<'a> Part<'a> {
    /// Reads a part's headers; `range` is the text between two delimiters.
    pub(super) fn of(body: &'a [u8], range: Range<usize>) -> Result<Self, Invalid> {
        let part = &body[range.clone()];
        let begin = &part[..part.len().min(LONGEST_HEADERS + 4)];
        let length = memmem::find(begin, b"\r\n\r\n")
            .ok_or_else(|| Invalid::form("a part's headers do not end"))?;
        let mut disposition = None;
        let mut is_typed = false;
        let mut plain = true;
        for line in Lines(Some(&part[..length])) {
            let (name, value) = header(line)?;
            if name.eq_ignore_ascii_case(b"content-disposition") {
                if disposition.replace(value).is_some() {
                    return Err(Invalid::form("a part has two Content-Disposition headers"));
                }
            } else if name.eq_ignore_ascii_case(b"content-type") {
                if std::mem::replace(&mut is_typed, true) {
                    return Err(Invalid::form("a part has two Content-Type headers"));
                }
                plain &= !names_another_charset(value);
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                plain &= [b"7bit".as_slice(), b"8bit", b"binary"]
                    .iter()
                    .any(|coding| value.eq_ignore_ascii_case(coding));
            }
        }
        let disposition =
            disposition.ok_or_else(|| Invalid::form("a part has no Content-Disposition"))?;
        let (name, file) = named(disposition)?;
        Ok(Self {
            name,
            is_text: plain && file == File::No,
            may_be_text: plain && file != File::Yes,
            value: range.start + length + 4..range.end,
        })
    }
}

/// The lines between CRLFs.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0?;
        let end = memmem::find(rest, b"\r\n");
        self.0 = end.map(|end| &rest[end + 2..]);
        Some(&rest[..end.unwrap_or(rest.len())])
    }
}

fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    let malformed = || Invalid::form("a part's header is malformed");
    let colon = memchr::memchr(b':', line).ok_or_else(malformed)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let sound = !name.is_empty()
        && name.iter().all(is_token)
        && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    match sound {
        true => Ok((name, value.trim_ascii())),
        false => Err(malformed()),
    }
}

/// Whether a part is a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    No,
    Nameless,
    Yes,
}

/// The part's name, and whether it is a file.
fn named(disposition: &[u8]) -> Result<(&[u8], File), Invalid> {
    let parameters = behind_essence(disposition);
    let essence = &disposition[..disposition.len() - parameters.len()];
    if !essence.trim_ascii_end().eq_ignore_ascii_case(b"form-data") {
        return Err(Invalid::form(
            "a part's Content-Disposition is not form-data",
        ));
    }
    let mut found = None;
    let mut file = File::No;
    for parameter in Parameters::of(parameters) {
        let parameter = parameter?;
        match &*parameter.name.to_ascii_lowercase() {
            b"name" if found.is_some() => return Err(Invalid::form("a part has two names")),
            b"name" => found = Some(parameter.value),
            b"filename" if parameter.value.is_empty() && file == File::No => file = File::Nameless,
            b"filename" => file = File::Yes,
            other if other.starts_with(b"filename*") => file = File::Yes,
            // RFC 7578, section 4.2 forbids it, but some parsers decode it.
            other if other.starts_with(b"name*") => {
                return Err(Invalid::form("a part's name is encoded"));
            }
            _ => {}
        }
    }
    let name = found.ok_or_else(|| Invalid::form("a part has no name"))?;
    if name.contains(&b'\\') {
        return Err(Invalid::form("a part's name contains a backslash"));
    }
    Ok((name, file))
}
