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

pub(super) use self::parameters::Parameters;
use self::part::Part;
use crate::dialect::{Invalid, MODEL};
use crate::scan::{BLOCK, Sightings, Watch};

/// What a form says that the gateway acts on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FormFields {
    /// The bare value of the part named `model`.
    pub model: Option<Range<usize>>,
    /// Where the first part's boundary begins, which is where a new part can be inserted.
    pub first_part: usize,
    /// `None`: there is no such part.
    pub stream: Option<bool>,
    /// Bytes of the parts named `prompt` and `input`.
    pub text_bytes: u64,
    /// What was seen that endpoints may deny.
    pub sightings: Sightings,
}

/// What is looked for in a form: where its parts begin, and what endpoints want to know.
struct Wanted<'a> {
    /// `--` and the boundary.
    dashes: Vec<u8>,
    watch: &'a Watch,
}

/// Servers take fewer.
const MOST_PARTS: usize = 2000;
/// White space around the parts, and after a boundary.
const LONGEST_PADDING: usize = 1024;

/// A line that begins with the boundary.
struct Delimiter {
    /// Where the part before it ends.
    end: usize,
    /// Where the next part begins; `None` after the last.
    next: Option<usize>,
}

/// The `boundary` of a `Content-Type` (RFC 2046, section 5.1.1: 1 to 70 characters; a space among them is read in two
/// ways).
pub(super) fn boundary_of(content_type: &[u8]) -> Result<Box<[u8]>, Invalid> {
    let mut boundary = None;
    for parameter in Parameters::of_header(content_type) {
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
        && boundary
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(byte));
    match sound {
        true => Ok(boundary.into()),
        false => Err(Invalid::form(
            "its boundary is not 1 to 70 letters, digits and '()+_,-./:=?",
        )),
    }
}

/// Validates a whole form and finds the fields. Other requests run between blocks.
pub(super) async fn scan_form(
    body: &[u8],
    boundary: &[u8],
    watch: &Watch,
) -> Result<FormFields, Invalid> {
    let wanted = Wanted {
        dashes: [b"--", boundary].concat(),
        watch,
    };
    let finder = Finder::new(&wanted.dashes);
    let mut fields = FormFields::default();
    let (mut part_at, mut parts) = (None, 0);
    let (mut at, mut pause_at) = (0, BLOCK);
    while at < body.len() {
        if at >= pause_at {
            tokio::task::yield_now().await;
            pause_at = at + BLOCK;
        }
        let window = &body[at..body.len().min(at + BLOCK + wanted.dashes.len() - 1)];
        let Some(found) = finder.find(window) else {
            at += BLOCK;
            continue;
        };
        let found = at + found;
        at = found + wanted.dashes.len();
        let begins_line = found == 0 || matches!(body[found - 1], b'\r' | b'\n');
        if begins_line {
            parts += 1;
            part_at = wanted.take(&mut fields, body, found, part_at)?;
            if part_at.is_none() {
                return Ok(fields);
            }
        }
        if parts > MOST_PARTS {
            let why = format!("it has more than {MOST_PARTS} parts");
            return Err(Invalid::form(&why));
        }
    }
    Err(Invalid::form("its last boundary is missing"))
}

impl Wanted<'_> {
    /// Takes the part that ends at a boundary; returns where the next one begins.
    fn take(
        &self,
        fields: &mut FormFields,
        body: &[u8],
        at: usize,
        part_at: Option<usize>,
    ) -> Result<Option<usize>, Invalid> {
        let delimiter = delimiter(body, at, self.dashes.len())?;
        match part_at {
            None => {
                let before = &body[..delimiter.end];
                refuse_text(before, "there is text before the first part")?;
                fields.first_part = at;
            }
            Some(start) if start > delimiter.end => {
                return Err(Invalid::form("a part has no headers"));
            }
            Some(start) => self.add(fields, Part::of(body, start..delimiter.end)?, body)?,
        }
        Ok(delimiter.next)
    }

    fn add(&self, fields: &mut FormFields, part: Part<'_>, body: &[u8]) -> Result<(), Invalid> {
        let value = &body[part.value.clone()];
        if part.name.eq_ignore_ascii_case(b"_charset_") {
            return Err(Invalid::form("it has a part that names a charset"));
        }
        if is_misspelt(part.name) {
            return Err(Invalid::form(
                "its parts 'model' and 'stream' must be named in lower case",
            ));
        }
        fields.sightings.part_name(part.name, self.watch);
        match part.name {
            b"model" if fields.model.is_some() => {
                return Err(Invalid::value(MODEL, "the part is given more than once"));
            }
            b"model" if !part.is_text => {
                return Err(Invalid::value(MODEL, "the part must be plain text"));
            }
            b"model" => fields.model = Some(part.value),
            b"stream" if fields.stream.is_some() => {
                return Err(Invalid::form("its part 'stream' is given more than once"));
            }
            b"stream" => {
                fields.stream = Some(truth(value)?);
            }
            b"prompt" | b"input" if part.is_text => fields.text_bytes += value.len() as u64,
            _ if part.may_be_text => fields.sightings.part(part.name, value, self.watch),
            _ => {}
        }
        Ok(())
    }
}

/// A boolean in any word that lenient servers accept.
fn truth(value: &[u8]) -> Result<bool, Invalid> {
    let is_one_of = |words: &[&[u8]]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    match value {
        _ if is_one_of(&[b"true", b"1", b"t", b"yes", b"y", b"on"]) => Ok(true),
        _ if is_one_of(&[b"", b"false", b"0", b"f", b"no", b"n", b"off"]) => Ok(false),
        _ => Err(Invalid::form("its part 'stream' must be 'true' or 'false'")),
    }
}

/// Whether some servers take it for a part that the gateway acts on, and others do not: in other letters (`ſtream` as
/// Go folds it), with spaces around it, or as the first of a list.
fn is_misspelt(name: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(name) else {
        return false;
    };
    let text = text.trim();
    let text = text.strip_suffix("[]").unwrap_or(text);
    let folded = text.replace('\u{17f}', "s").to_ascii_lowercase();
    matches!(folded.as_str(), "model" | "stream") && folded.as_bytes() != name
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
        .take(LONGEST_PADDING)
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
    match bytes.len() <= LONGEST_PADDING && bytes.trim_ascii().is_empty() {
        true => Ok(()),
        false => Err(Invalid::form(why)),
    }
}
