//! Bodies in JSON.

use bytes::Bytes;

use super::splice::Edit;
use crate::dialect::{Api, Invalid, MODEL, RequestFacts};
use crate::scan::{Fields, scan};

/// Finds the facts of a body. If the path names the model, the body is changed to name it too.
pub(super) fn read(
    body: &mut Bytes,
    api: &Api,
    model: Option<&str>,
) -> Result<RequestFacts, Invalid> {
    let keys = api.dialect().keys();
    let renaming = {
        let fields = scan(body, keys)?;
        match model.and_then(|model| renaming(&fields, body, model)) {
            None => return facts(&fields, api),
            Some(renaming) => renaming,
        }
    };
    *body = renaming.apply(body);
    facts(&scan(body, keys)?, api)
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
fn renaming(fields: &Fields<'_>, body: &[u8], model: &str) -> Option<Edit> {
    let new = serde_json::Value::from(model).to_string();
    match fields.get(MODEL) {
        Some(said) if said.as_str().as_deref() == Some(model) => None,
        Some(said) => Some(Edit::new(said.range(), new)),
        None => {
            let at = fields.behind_brace;
            let is_last = body[at..].trim_ascii_start().starts_with(b"}");
            let comma = if is_last { "" } else { "," };
            Some(Edit::new(at..at, format!("\"model\":{new}{comma}")))
        }
    }
}
