//! In: a `multipart/form-data` body and its boundary. Out: [`FormFields`]: where `model` is, and what else the gateway
//! acts on.
//! Here: RFC 7578, read strictly. Whatever two parsers may read differently (bare line feeds, `name*`, text around the
//! parts) is refused: otherwise a part that only the backend sees could name a model that nobody checked.
//! Not here: changes; the bytes are passed on as they came.

mod parameters;
mod part;
#[cfg(test)]
mod tests;

use std::ops::Range;

use memchr::memmem::Finder;

use self::parameters::{Parameters, behind_essence};
use self::part::Part;
use crate::dialect::{Invalid, MODEL};

/// What a form says that the gateway acts on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FormFields {
    /// The bare value of the part named `model`.
    pub model: Option<Range<usize>>,
    /// Where the first part's boundary begins, which is where a new part can be inserted.
    pub first_part: usize,
    pub stream: bool,
    /// Bytes of the parts named `prompt` and `input`.
    pub text_bytes: u64,
}

/// A line that begins with the boundary.
struct Delimiter {
    /// Where the part before it ends.
    end: usize,
    /// Where the next part begins; `None` after the last.
    next: Option<usize>,
}

/// The `boundary` of a `Content-Type` (RFC 2046, section 5.1.1: 1 to 70 characters).
pub(super) fn boundary_of(content_type: &[u8]) -> Result<Box<[u8]>, Invalid> {
    let mut boundary = None;
    for parameter in Parameters::of(behind_essence(content_type)) {
        let parameter = parameter?;
        if parameter.name.eq_ignore_ascii_case(b"boundary") {
            if boundary.replace(parameter.value).is_some() {
                return Err(Invalid::form("its Content-Type names two boundaries"));
            }
        } else if parameter
            .name
            .to_ascii_lowercase()
            .starts_with(b"boundary*")
        {
            return Err(Invalid::form("its boundary is encoded"));
        }
    }
    let boundary = boundary.ok_or_else(|| Invalid::form("its Content-Type has no boundary"))?;
    let sound = (1..=70).contains(&boundary.len())
        && boundary.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && !boundary.ends_with(b" ");
    match sound {
        true => Ok(boundary.into_owned().into()),
        false => Err(Invalid::form(
            "its boundary is not 1 to 70 printable characters",
        )),
    }
}

/// Validates a whole form and finds the fields.
pub(super) fn scan_form(body: &[u8], boundary: &[u8]) -> Result<FormFields, Invalid> {
    let dashes = [b"--", boundary].concat();
    let mut fields = FormFields::default();
    let mut part_at = None;
    for at in Finder::new(&dashes).find_iter(body) {
        let begins_line = at == 0 || matches!(body[at - 1], b'\r' | b'\n');
        if !begins_line {
            continue;
        }
        let delimiter = delimiter(body, at, dashes.len())?;
        match part_at {
            None => {
                let before = &body[..delimiter.end];
                refuse_text(before, "there is text before the first part")?;
                fields.first_part = at;
            }
            Some(start) if start > delimiter.end => {
                return Err(Invalid::form("a part has no headers"));
            }
            Some(start) => add(&mut fields, Part::of(body, start..delimiter.end)?, body)?,
        }
        part_at = delimiter.next;
        if part_at.is_none() {
            return Ok(fields);
        }
    }
    Err(Invalid::form("its last boundary is missing"))
}

fn delimiter(body: &[u8], at: usize, length: usize) -> Result<Delimiter, Invalid> {
    let end = match &body[..at] {
        [] => 0,
        [before @ .., b'\r', b'\n'] => before.len(),
        _ => return Err(Invalid::form("a line does not end with CRLF")),
    };
    let behind = &body[at + length..];
    if let Some(epilogue) = behind.strip_prefix(b"--") {
        refuse_text(epilogue, "there is text after the last part")?;
        return Ok(Delimiter { end, next: None });
    }
    let padding = behind
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'));
    let padding = padding.count();
    match behind[padding..].starts_with(b"\r\n") {
        true => Ok(Delimiter {
            end,
            next: Some(at + length + padding + 2),
        }),
        false => Err(Invalid::form("a boundary is not alone on its line")),
    }
}

fn refuse_text(bytes: &[u8], why: &str) -> Result<(), Invalid> {
    match bytes.trim_ascii().is_empty() {
        true => Ok(()),
        false => Err(Invalid::form(why)),
    }
}

fn add(fields: &mut FormFields, part: Part<'_>, body: &[u8]) -> Result<(), Invalid> {
    let value = &body[part.value.clone()];
    match &*part.name {
        b"model" if fields.model.is_some() => {
            return Err(Invalid::value(MODEL, "the part is given more than once"));
        }
        b"model" if !part.is_text => {
            return Err(Invalid::value(MODEL, "the part must be plain text"));
        }
        b"model" => fields.model = Some(part.value),
        b"stream" => fields.stream = value.eq_ignore_ascii_case(b"true") || value == b"1",
        b"prompt" | b"input" if part.is_text => fields.text_bytes += value.len() as u64,
        _ => {}
    }
    Ok(())
}
