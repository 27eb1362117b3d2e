//! In: a request's headers and body, once its caller is known, and what its path says.
//! Out: [`Call`]: the body's bytes and the few facts the gateway acts on, found in one scan. Or a [`ReadError`].
//! Not here: what the facts are (`dialect`), whether the model exists, who may use it, what it costs.

mod budget;
mod call;
mod collect;
mod content;
mod error;
mod forms;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod json;
mod multipart;
mod refused;
mod session;
mod splice;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use crate::codings::codings_of;
use crate::routes::Address;
use crate::scan::Watch;
pub use budget::{Budget, Reserved};
pub use call::{Call, Demand, Form, Splices, Stored};
pub use collect::{LEAST_PROGRESS, ReadLimits};
pub use error::ReadError;
pub use refused::{RefusedBytes, Toll};
pub use session::session;
pub use splice::Changes;

use content::Content;

/// What holds for every body.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub limits: &'a ReadLimits,
    pub budget: &'a Arc<Budget>,
    /// Whose body it is, and where it comes from.
    pub user: &'a Arc<str>,
    pub origin: IpAddr,
    /// What endpoints want to know of it.
    pub watch: &'a Watch,
}

/// Reads a whole request body, and stops as soon as it exceeds the limit. Pass `&mut` to keep the body, so that the
/// rest of it can be drained. Cancel-safe.
///
/// `Content-Type`, `Content-Encoding` and `Content-Length` are checked before the first poll of the body, because that
/// poll is what makes hyper send `100 Continue`. A compressed body is decoded: whoever comes after this reads plain bytes.
pub async fn read<B>(
    headers: &HeaderMap,
    body: B,
    address: &Address<'_>,
    rules: Rules<'_>,
    toll: &mut Toll<'_>,
) -> Result<Call, ReadError>
where
    B: Body<Data = Bytes, Error: 'static> + Unpin,
{
    let api = &address.api;
    let codings = codings_of(headers).map_err(|_| ReadError::Encoded)?;
    let content = content::content_of(headers, api)?;
    let announced = content::announced_length(headers);
    let mut took = |bytes| toll.took(bytes);
    let reserved = rules.budget.begin(rules.user, rules.origin)?;
    let mut held = collect::collect(body, announced, rules.limits, reserved, &mut took).await?;
    if !codings.is_empty() {
        held.decode(&codings, rules.limits.max_body_bytes, took)
            .await?;
    }
    let content_type = content.header();
    let model = address.model.as_deref();
    let (form, facts) = match content {
        Content::Json => {
            let facts = json::read(&mut held, api, model, rules.watch).await?;
            (Form::Json, facts)
        }
        Content::Multipart { boundary } => {
            let facts = forms::read(&mut held, &boundary, model, rules.watch).await?;
            (Form::Multipart, facts)
        }
    };
    Ok(Call {
        api: api.clone(),
        model: facts.model,
        stream: facts.stream,
        output_cap: facts.output_cap,
        may_exceed_cap: facts.may_exceed_cap,
        tries: facts.tries,
        choices: facts.choices,
        prompt_estimate: facts.prompt_estimate,
        wants_usage: facts.wants_usage,
        previous_response_id: facts.previous_response_id,
        reserved_fields: facts.reserved,
        session: None,
        prints: facts.prints,
        stored: None,
        sightings: facts.sightings,
        form,
        content_type,
        splices: Splices {
            model: facts.model_at,
            stream_options: facts.stream_options,
            first_member: facts.first_member,
            billing_block: facts.billing_block,
        },
        body: held.bytes,
        reserved: held.reserved,
    })
}
