//! In: a request's headers and body, once its caller is known, and the api that its path names.
//! Out: [`Call`]: the body's bytes and the few facts the gateway acts on, found in one scan. Or a [`ReadError`].
//! Not here: whether the model exists, who may use it, what it costs.

mod budget;
mod call;
mod chat;
mod collect;
mod completions;
mod content;
mod embeddings;
mod error;
mod facts;
mod forms;
mod messages;
mod multipart;
mod passthrough;
mod responses;
pub mod scan;
mod session;
mod splice;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use crate::dialect::Api;
pub use budget::{Budget, Reserved};
pub use call::{Call, Form, Splices, StreamOptions};
pub use collect::{LEAST_PROGRESS, ReadLimits};
pub use error::{Invalid, ReadError};
pub use session::session;

use content::Content;
use facts::Facts;
use scan::Fields;

/// Reads a whole request body, or says why not before more than the limit was read. Pass `&mut` to keep the body, so
/// that what is left of it can be drained. Cancel-safe.
///
/// `Content-Type`, `Content-Encoding` and `Content-Length` are judged before the first byte is asked for; that first
/// request is also what lets hyper send `100 Continue`.
pub async fn read<B>(
    headers: &HeaderMap,
    body: B,
    api: Api,
    limits: &ReadLimits,
    budget: &Arc<Budget>,
) -> Result<Call, ReadError>
where
    B: Body<Data = Bytes, Error: 'static> + Unpin,
{
    let content = content::content_of(headers, &api)?;
    let announced = content::announced_length(headers);
    let (body, reserved) = collect::collect(body, announced, limits, budget).await?;
    let (form, facts) = match content {
        Content::Json => (
            Form::Json,
            json_facts(&scan::scan(&body).map_err(Invalid::from)?, &api)?,
        ),
        Content::Multipart { boundary } => {
            let fields = multipart::scan_form(&body, &boundary)?;
            (Form::Multipart, forms::facts(&fields, &body)?)
        }
    };
    Ok(Call {
        api,
        model: facts.model,
        stream: facts.stream,
        output_cap: facts.output_cap,
        prompt_estimate: facts.prompt_estimate,
        wants_usage: facts.wants_usage,
        previous_response_id: facts.previous_response_id,
        session: None,
        form,
        splices: Splices {
            model: facts.model_at,
            stream_options: facts.stream_options,
        },
        body,
        reserved,
    })
}

fn json_facts(fields: &Fields<'_>, api: &Api) -> Result<Facts, Invalid> {
    match api {
        Api::ChatCompletions => chat::facts(fields),
        Api::Completions => completions::facts(fields),
        Api::Embeddings => embeddings::facts(fields),
        Api::Responses => responses::facts(fields),
        Api::Messages | Api::MessagesCountTokens => messages::facts(fields, api),
        _ => passthrough::facts(fields, api),
    }
}
