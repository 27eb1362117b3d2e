//! What OpenAI's APIs, and most others, share.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::event::{
    Probe, choices_end, is_reason, names_choices, names_error, names_usage, take_usages,
};
use super::{Progress, Seen};
use crate::refusal::{AnswerFault, Refusal};

/// The last chunk of a choice.
#[derive(Deserialize)]
struct LastChunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default, borrow)]
    finish_reason: Option<&'a RawValue>,
    /// Some hosted APIs report it here.
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
}

/// Reads a chunk of `chat/completions` or `completions`, or an event of an API that has none of its own.
pub(super) fn chunk(data: &[u8], length: usize, progress: &mut Progress) -> Seen {
    if names_usage(data)
        && let Ok(probe) = serde_json::from_slice::<Probe<'_>>(data)
    {
        take_usages(&probe, progress);
        if probe.is_bare_usage() {
            return Seen::LastUsage;
        }
        if probe.has_no_choice() {
            return Seen::Forward;
        }
    }
    if names_error(data) || !names_choices(data) {
        let probe = serde_json::from_slice::<Probe<'_>>(data);
        if probe.is_ok_and(|probe| probe.is_error()) {
            progress.fail(data);
            return Seen::Forward;
        }
    }
    if choices_end(data)
        && let Ok(last) = serde_json::from_slice::<LastChunk<'_>>(data)
    {
        let ended = last.choices.iter();
        for choice in ended.filter(|choice| choice.finish_reason.is_some_and(is_reason)) {
            progress.choice_ended(choice.index.unwrap_or(0));
            if let Some(usage) = choice.usage {
                progress.usage.take(usage);
            }
        }
    }
    progress.text(length);
    Seen::Forward
}

pub(super) fn error(refusal: &Refusal) -> Value {
    let mut error = json!({
        "message": refusal.message,
        "type": refusal.kind,
        "param": refusal.param,
        "code": refusal.told_code.as_ref().unwrap_or(&Value::from(&*refusal.code)),
    });
    if let Some(info) = &refusal.info {
        error["info"] = info.clone();
    }
    json!({ "error": error })
}

/// The error object for a broken stream.
pub(super) fn fault(fault: AnswerFault) -> Value {
    json!({"error": {
        "message": fault.message(), "type": fault_kind(fault), "param": null, "code": fault.code(),
    }})
}

/// The error object for a refusal that must be told in a stream, on one line.
pub(super) fn refused(refusal: &Refusal) -> Value {
    let relayed = refusal.body.as_ref();
    let relayed = relayed.and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let mut told = relayed.unwrap_or_else(|| error(refusal));
    let message = told["error"]["message"]
        .as_str()
        .unwrap_or(&refusal.message);
    let message = with_word(message, refusal);
    told["error"]["message"] = message.into();
    told
}

/// A message with a word by which clients know what may pass: a stream that has begun has no status that tells it.
fn with_word(message: &str, refusal: &Refusal) -> String {
    const WORDS: [&str; 5] = [
        "connection error",
        "network error",
        "server error",
        "timed out",
        "terminated",
    ];
    let may_pass = refusal.is_passing() && !WORDS.iter().any(|word| message.contains(word));
    match (may_pass, refusal.status.as_u16()) {
        (false, _) => message.to_owned(),
        (true, 504) => format!("{message} (timed out)"),
        (true, _) => format!("{message} (server error)"),
    }
}

pub(super) fn fault_kind(fault: AnswerFault) -> &'static str {
    match fault {
        AnswerFault::IdleTimeout | AnswerFault::TotalTimeout => "timeout_error",
        AnswerFault::ShuttingDown => "server_error",
        AnswerFault::Dismissed => "permission_error",
        _ => "upstream_error",
    }
}
