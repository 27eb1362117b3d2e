//! Bodies in `multipart/form-data`.

use std::ops::Range;

use super::ReadError;
use super::collect::Held;
use super::multipart::{FormFields, scan_form};
use super::splice::Edit;
use crate::dialect::{Invalid, MODEL, RequestFacts};
use crate::scan::Watch;

const LONGEST_MODEL: usize = 1024;

/// Finds the facts of a form. If the path names the model, the form is changed to name it too.
pub(super) async fn read(
    held: &mut Held,
    boundary: &[u8],
    model: Option<&str>,
    watch: &Watch,
) -> Result<RequestFacts, ReadError> {
    let fields = scan_form(&held.bytes, boundary, watch).await?;
    let renaming = model.and_then(|model| renaming(&fields, &held.bytes, boundary, model));
    let Some(renaming) = renaming else {
        return Ok(facts(fields, &held.bytes)?);
    };
    renaming.apply(held).await?;
    let fields = scan_form(&held.bytes, boundary, watch).await?;
    Ok(facts(fields, &held.bytes)?)
}

fn facts(fields: FormFields, body: &[u8]) -> Result<RequestFacts, Invalid> {
    let model_at = fields.model.ok_or_else(Invalid::missing_model)?;
    let model = &body[model_at.clone()];
    if model.is_empty() {
        return Err(Invalid::missing_model());
    }
    if model.len() > LONGEST_MODEL {
        let why = format!("it is longer than {LONGEST_MODEL} bytes");
        return Err(Invalid::value(MODEL, &why));
    }
    let model =
        std::str::from_utf8(model).map_err(|_| Invalid::value(MODEL, "it is not valid UTF-8"))?;
    let prompt_estimate = fields.text_bytes.div_ceil(4).max(1);
    Ok(RequestFacts {
        stream: fields.stream.unwrap_or(false),
        sightings: fields.sightings,
        prints: Default::default(),
        ..RequestFacts::plain(model.into(), model_at, prompt_estimate)
    })
}

/// The edit that makes the form name the model in its path; `None` if it already does.
fn renaming(fields: &FormFields, body: &[u8], boundary: &[u8], model: &str) -> Option<Edit> {
    let part = |at: usize| {
        let head = b"\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
        let part = [b"--", boundary, head, model.as_bytes(), b"\r\n"].concat();
        Edit::new(at..at, part)
    };
    match &fields.model {
        None => Some(part(fields.first_part)),
        Some(said) => renamed(body, said, model),
    }
}

fn renamed(body: &[u8], said: &Range<usize>, model: &str) -> Option<Edit> {
    let differs = body[said.clone()] != *model.as_bytes();
    differs.then(|| Edit::new(said.clone(), model.to_owned()))
}
