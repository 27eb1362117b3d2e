//! Every other api: a model, whether to stream, and nothing else.

use super::facts::Facts;
use super::scan::Fields;
use super::{Api, Invalid};

pub(super) fn facts(fields: &Fields<'_>, api: &Api) -> Result<Facts, Invalid> {
    // These answer with scores or with the prompt's own tokens: nothing is generated.
    let output_cap = match api {
        Api::Rerank | Api::Score | Api::Tokenize | Api::Detokenize => Some(0),
        _ => None,
    };
    Ok(Facts::of(fields)?.with_output_cap(output_cap))
}
