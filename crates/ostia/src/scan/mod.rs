//! In: a body's bytes, the [`Keys`] that a dialect acts on, and what endpoints [`Watch`] for. Out: [`Fields`]: where those
//! keys are, how much prompt there is, and what was seen of the rest. Here: all of RFC 8259, in one pass that always goes
//! to the end, because backends use the last of two equal keys. It pauses after each block, so that no body holds up
//! other requests.
//! Not here: which keys there are, what they mean, messages for callers.

mod fields;
mod items;
mod keys;
mod layout;
mod lexeme;
mod link;
mod options;
mod part;
mod prints;
#[cfg(test)]
mod reference;
mod source;
mod spot;
mod tally;
mod walk;
mod watch;
mod weight;

pub use fields::{Fields, JsonKind, Shape, Value};
pub use keys::{FieldKey, Keys};
pub use layout::{Layout, MemberPlace, layout};
pub use lexeme::BLOCK;
pub use link::{HostRule, MediaHosts};
pub use prints::{PrintKey, Prints, print_of};
pub use spot::Spot;
pub use watch::{Sightings, Watch};

use fields::Held;
use keys::Role;
use lexeme::Scanner;
use options::{Member, Options};
use tally::Tally;

/// How many containers may be open at once, including the body's own object.
pub const MAX_DEPTH: usize = 256;

/// Where a body stops being valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {offset}")]
pub struct ScanError {
    pub offset: usize,
    pub fault: ScanErrorKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanErrorKind {
    #[error("byte order mark")]
    ByteOrderMark,
    #[error("invalid UTF-8")]
    NotUtf8,
    #[error("expected an object")]
    NotAnObject,
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("unescaped control character")]
    ControlCharacter,
    #[error("invalid escape")]
    Escape,
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("the key '{0}' repeated")]
    Repeated(FieldKey),
    /// `Model`: Go's `encoding/json` ignores case when it compares keys and would take this for `model`.
    #[error("the key '{0}' in another spelling")]
    OtherLetters(FieldKey),
}

/// Validates a whole body and finds the keys, whether they are written with escapes or not.
///
/// Why not serde_json: CPU time per body in microseconds, first without escapes, then with one every 60 bytes (release
/// build, median of nine; the scanner did not pause yet). This scanner allocates nothing, serde_json at most 11 KB.
///
/// | body | here | `RawValue` at each level | one visitor over the prompt |
/// | --- | --- | --- | --- |
/// | 256 B | 0.5, 0.5 | 0.9, 0.9 | 0.5, 0.6 |
/// | 32 KB | 8, 20 | 30, 45 | 9, 23 |
/// | 1 MB | 250, 600 | 920, 1390 | 400, 540 |
///
/// `RawValue` gives the same result but reads every level again below it. A visitor costs about as much as this
/// scanner, but refuses what must pass (`1e400`, lone surrogates, more than 127 levels) and counts the decoded prompt.
pub async fn scan<'a>(body: &'a [u8], keys: &Keys, watch: &Watch) -> Result<Fields<'a>, ScanError> {
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(ScanErrorKind::ByteOrderMark.at(0));
    }
    let mut scanner = Scanner::new(body)?;
    scanner.skip_space().await?;
    if !scanner.eat(b'{') {
        return Err(scanner.fault(ScanErrorKind::NotAnObject));
    }
    let mut fields = Fields::new(body, scanner.at);
    scanner.skip_space().await?;
    if !scanner.eat(b'}') {
        fields.is_empty = false;
        scan_members(&mut scanner, keys, watch, &mut fields).await?;
    }
    scanner.skip_space().await?;
    match scanner.at == body.len() {
        true => Ok(fields),
        false => Err(scanner.fault(ScanErrorKind::Expected("nothing after the object"))),
    }
}

async fn scan_members(
    scanner: &mut Scanner<'_>,
    keys: &Keys,
    watch: &Watch,
    fields: &mut Fields<'_>,
) -> Result<(), ScanError> {
    loop {
        let key_at = scanner.at;
        let name = scanner.key().await?;
        // `null` is as good as absent.
        let is_null = scanner.peek() == Some(b'n');
        if let Some(denied) = watch.denied(name).filter(|_| !is_null) {
            fields.sightings.field(denied);
        }
        match keys.find(name).map_err(|fault| fault.at(key_at))? {
            None => {
                scanner.value(&mut ()).await?;
            }
            Some(key) if !key.may_repeat() && fields.get(key).is_some() => {
                return Err(ScanErrorKind::Repeated(key).at(key_at));
            }
            Some(key) => scan_field(scanner, key, watch, fields).await?,
        }
        scanner.skip_space().await?;
        if scanner.eat(b'}') {
            return Ok(());
        }
        scanner.comma("',' or '}'").await?;
    }
}

async fn scan_field(
    scanner: &mut Scanner<'_>,
    key: FieldKey,
    watch: &Watch,
    fields: &mut Fields<'_>,
) -> Result<(), ScanError> {
    let start = scanner.at;
    let shape = match key.role() {
        Role::Noted => {
            let kind = scanner.value(&mut ()).await?;
            if fields.get(key).is_some() {
                return Ok(());
            }
            Shape::of(kind)
        }
        Role::Plain => Shape::of(scanner.value(&mut ()).await?),
        Role::Holding(name) => {
            let mut member = Member::of(name);
            let kind = scanner.value(&mut member).await?;
            refuse(member.other_letters, start)?;
            fields.held = Held {
                member: member.found,
                is_empty: member.is_empty,
            };
            Shape::of(kind)
        }
        Role::Options(keys) => {
            let mut options = Options::of(keys(), watch);
            let kind = scanner.value(&mut options).await?;
            refuse(options.repeated, start)?;
            fields.options.append(&mut options.found);
            for denied in &options.denied {
                fields.sightings.field(denied);
            }
            Shape::of(kind)
        }
        Role::Prompt | Role::Tensors | Role::Counted | Role::Placed | Role::Watched => {
            let mut tally = Tally::of(key, watch, fields);
            scanner.value(&mut tally).await?;
            let shape = tally.shape;
            tally.add_to(fields);
            let is_wanted = match key.role() {
                Role::Placed => fields.get(key).is_none(),
                _ => !key.may_repeat(),
            };
            if !is_wanted {
                return Ok(());
            }
            shape
        }
    };
    fields.put(key, start..scanner.at, shape);
    Ok(())
}

fn refuse(fault: Option<ScanErrorKind>, offset: usize) -> Result<(), ScanError> {
    fault.map_or(Ok(()), |fault| Err(fault.at(offset)))
}

impl ScanErrorKind {
    fn at(self, offset: usize) -> ScanError {
        ScanError {
            offset,
            fault: self,
        }
    }
}
