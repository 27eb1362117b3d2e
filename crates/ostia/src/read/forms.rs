//! Bodies written as `multipart/form-data`.

use super::facts::Facts;
use super::multipart::FormFields;
use super::scan::Key;
use super::{Invalid, StreamOptions};

const LONGEST_MODEL: usize = 1024;

pub(super) fn facts(fields: &FormFields, body: &[u8]) -> Result<Facts, Invalid> {
    let model_at = fields.model.clone().ok_or_else(Invalid::missing_model)?;
    let model = &body[model_at.clone()];
    if model.is_empty() {
        return Err(Invalid::missing_model());
    }
    if model.len() > LONGEST_MODEL {
        let why = format!("it is longer than {LONGEST_MODEL} bytes");
        return Err(Invalid::value(Key::Model, &why));
    }
    let model = std::str::from_utf8(model)
        .map_err(|_| Invalid::value(Key::Model, "it is not valid UTF-8"))?;
    Ok(Facts {
        model: model.into(),
        model_at,
        stream: fields.stream,
        stream_options: StreamOptions::Foreign,
        wants_usage: false,
        output_cap: None,
        prompt_estimate: fields.text_bytes.div_ceil(4).max(1),
        previous_response_id: None,
    })
}
