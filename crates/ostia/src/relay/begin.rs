use std::future::poll_fn;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use ostia_core::{Outcome, Phase, Usage};

use super::backend_error::read_text;
use super::bulk::{BulkBody, Collected};
use super::context_error::in_anthropics_words;
use super::head::{Form, Meaning, client_headers, meaning, refusal_headers};
use super::indiscreet::answer_tells;
use super::stream::StreamBody;
use super::{BackendRefusal, ClientBody, Context, InFlight};
use crate::backend::{Answer, AnswerBody};
use crate::dialect::{AnswerFacts, is_json, read_answer};
use crate::refusal::{AnswerFault, Refusal};

/// Why a response cannot be relayed. Nothing has been sent to the client yet.
#[derive(Debug, PartialEq, Eq)]
pub enum RelayError {
    /// The response broke off, stalled or had the wrong form.
    Fault(AnswerFault),
    /// The backend's own refusal.
    Backend(BackendRefusal),
    /// The backend refused the gateway's key.
    KeyRefused(StatusCode),
    /// A status that clients must not see.
    Unusable(StatusCode),
}

/// Turns a backend's response into the client's. It holds the head back until there is something to send after it, so
/// that an earlier failure can be a plain error. It writes the row of a request that fails.
pub async fn begin(
    answer: Answer,
    mut in_flight: InFlight,
    context: Context,
) -> Result<Response<ClientBody>, Refusal> {
    let Answer {
        head,
        body,
        status,
        shown,
        ..
    } = answer;
    in_flight.receipt_mut().answered(status.as_u16());
    match relay(head, body, in_flight, context).await {
        Ok(mut response) => {
            response.headers_mut().extend(shown);
            Ok(response)
        }
        Err(mut refusal) => {
            // An error is JSON, whatever type the response had.
            let shown = shown
                .into_iter()
                .filter_map(|(name, value)| Some((name?, value)));
            for (name, value) in shown.filter(|(name, _)| *name != CONTENT_TYPE) {
                refusal.headers.retain(|(known, _)| *known != name);
                refusal.headers.push((name, value));
            }
            Err(refusal)
        }
    }
}

async fn relay(
    head: response::Parts,
    body: AnswerBody,
    mut in_flight: InFlight,
    context: Context,
) -> Result<Response<ClientBody>, Refusal> {
    match meaning(&head, &context) {
        Meaning::Events => begin_stream(head, body, in_flight, context).await,
        Meaning::Bulk(form) => begin_bulk(head, body, in_flight, context, form).await,
        Meaning::Uncounted(estimate) => {
            drop(body);
            Ok(counted(estimate, in_flight, &context).await)
        }
        Meaning::Refusal => {
            let mut text = read_refusal(body, &head.headers, &context).await;
            if context.rewrites_context_errors() {
                text = in_anthropics_words(text);
            }
            let refusal = BackendRefusal {
                status: context.api.dialect().status(head.status),
                headers: refusal_headers(&head.headers, &context),
                text,
            };
            Err(end(&mut in_flight, RelayError::Backend(refusal)).await)
        }
        Meaning::KeyRefused => Err(end(&mut in_flight, RelayError::KeyRefused(head.status)).await),
        Meaning::Unusable => Err(end(&mut in_flight, RelayError::Unusable(head.status)).await),
    }
}

async fn begin_stream(
    head: response::Parts,
    body: AnswerBody,
    in_flight: InFlight,
    context: Context,
) -> Result<Response<ClientBody>, Refusal> {
    let headers = client_headers(&head.headers, &context);
    let mut stream = Box::new(StreamBody::new(
        head.status.as_u16(),
        body,
        in_flight,
        context,
    ));
    if let Err(fault) = poll_fn(|task| stream.poll_hold(task)).await {
        return Err(end(stream.in_flight(), RelayError::Fault(fault)).await);
    }
    Ok(respond(head.status, headers, ClientBody::stream(stream)))
}

async fn begin_bulk(
    head: response::Parts,
    body: AnswerBody,
    in_flight: InFlight,
    context: Context,
    form: Form,
) -> Result<Response<ClientBody>, Refusal> {
    let headers = client_headers(&head.headers, &context);
    let clock = Arc::clone(&context.clock);
    let responses = Arc::clone(&context.responses);
    let deployment = Arc::clone(&context.deployment);
    let dialect = context.api.dialect();
    let holds = form != Form::Any { waits: false };
    let mut bulk = Box::new(BulkBody::new(body, in_flight, context, holds));
    let status = head.status.as_u16();
    let whole = match poll_fn(|task| bulk.poll_collect(task)).await {
        Ok(Collected::Whole(whole)) => whole,
        Ok(Collected::Begun) if matches!(form, Form::Any { .. }) || bulk.begins_as_json() => {
            bulk.in_flight().begun(status, clock.now());
            return Ok(respond(head.status, headers, ClientBody::bulk(bulk)));
        }
        Ok(Collected::Begun) => {
            let error = RelayError::Fault(AnswerFault::NotJson);
            return Err(end(bulk.in_flight(), error).await);
        }
        Err(fault) => return Err(end(bulk.in_flight(), RelayError::Fault(fault)).await),
    };
    let reading = read_answer(dialect, &whole);
    let fault = fault_of(form, &whole, reading.as_ref());
    let withheld = || answer_tells(&whole, &deployment.target).then_some(AnswerFault::Withheld);
    if let Some(fault) = fault.or_else(withheld) {
        return Err(end(bulk.in_flight(), RelayError::Fault(fault)).await);
    }
    bulk.in_flight().begun(status, clock.now());
    let reading = reading.unwrap_or_default();
    if let Some(id) = &reading.response_id {
        bulk.in_flight().note_response(&responses, id);
    }
    let counted = match reading.usage.tells_output() {
        true => 0,
        false => dialect.count_text(&whole),
    };
    bulk.finish_whole(whole.len() as u64, &reading.usage, counted);
    bulk.in_flight().receipt_mut().settled().await;
    Ok(respond(head.status, headers, ClientBody::whole(whole)))
}

/// Answers for an engine that cannot count tokens, and says so.
async fn counted(
    estimate: u64,
    mut in_flight: InFlight,
    context: &Context,
) -> Response<ClientBody> {
    let body = context.api.dialect().counted(estimate);
    in_flight.begun(StatusCode::OK.as_u16(), context.clock.now());
    let receipt = in_flight.receipt_mut();
    receipt.relayed(Phase::Done, body.len() as u64, Usage::default());
    in_flight.finish(Outcome::Ok);
    in_flight.receipt_mut().settled().await;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let estimated = HeaderName::from_static("x-ostia-estimated");
    headers.insert(estimated, HeaderValue::from_static("true"));
    respond(StatusCode::OK, headers, ClientBody::whole(body))
}

/// What is wrong with a complete response that must have this form.
fn fault_of(form: Form, whole: &[u8], reading: Option<&AnswerFacts>) -> Option<AnswerFault> {
    let sound = match (form, reading) {
        (Form::Any { .. }, _) => true,
        (_, Some(reading)) => !reading.is_error,
        (Form::Json, None) => is_json(whole),
        (Form::Object, None) => false,
    };
    match sound {
        true => reading
            .is_some_and(|reading| reading.unfinished)
            .then_some(AnswerFault::Unfinished),
        false if whole.is_empty() => Some(AnswerFault::Empty),
        false => Some(AnswerFault::NotJson),
    }
}

/// Waits for a refusal's text, but not as long as for a response.
async fn read_refusal(
    body: AnswerBody,
    headers: &HeaderMap,
    context: &Context,
) -> super::RefusalText {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
    let reading = read_text(body, headers, &context.deployment.target);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap_or(super::RefusalText::Withheld)
}

fn respond(status: StatusCode, headers: HeaderMap, body: ClientBody) -> Response<ClientBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

async fn end(in_flight: &mut InFlight, error: RelayError) -> Refusal {
    let refusal = Refusal::from(error);
    in_flight.fail(
        refusal.outcome,
        refusal.status.as_u16(),
        refusal.code.clone(),
    );
    in_flight.receipt_mut().settled().await;
    refusal
}
