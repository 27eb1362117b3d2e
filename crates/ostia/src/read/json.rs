//! Bodies in JSON.

use super::ReadError;
use super::collect::Held;
use super::splice::Edit;
use crate::dialect::{Api, Invalid, MODEL, RequestFacts};
use crate::scan::{Fields, Value, Watch, scan};

/// Finds the facts of a body. If the path names the model, the body is changed to name it too.
pub(super) async fn read(
    held: &mut Held,
    api: &Api,
    model: Option<&str>,
    watch: &Watch,
) -> Result<RequestFacts, ReadError> {
    let keys = api.dialect().keys();
    let renaming = {
        let fields = scan(&held.bytes, keys, watch)
            .await
            .map_err(Invalid::from)?;
        match model.and_then(|model| renaming(&fields, model)) {
            None => return Ok(facts(&fields, api)?),
            Some(renaming) => renaming,
        }
    };
    renaming.apply(held).await?;
    let fields = scan(&held.bytes, keys, watch)
        .await
        .map_err(Invalid::from)?;
    Ok(facts(&fields, api)?)
}

fn facts(fields: &Fields<'_>, api: &Api) -> Result<RequestFacts, Invalid> {
    let mut facts = RequestFacts::of(fields)?;
    api.dialect().read(fields, &mut facts)?;
    if !api.generates_text() {
        facts.output_cap = Some(0);
    }
    Ok(facts)
}

/// The edit that makes the body name this model; `None` if it already does.
fn renaming(fields: &Fields<'_>, model: &str) -> Option<Edit> {
    let new = serde_json::Value::from(model).to_string();
    match fields.get(MODEL) {
        Some(said) if names(said, model) => None,
        Some(said) => Some(Edit::new(said.range(), new)),
        None => {
            let at = fields.behind_brace;
            let comma = if fields.is_empty { "" } else { "," };
            Some(Edit::new(at..at, format!("\"model\":{new}{comma}")))
        }
    }
}

/// Whether a value is this text. No character takes more than six times as much space as its own.
fn names(value: Value<'_>, text: &str) -> bool {
    value.length() <= 6 * text.len() + 2 && value.as_str().as_deref() == Some(text)
}
