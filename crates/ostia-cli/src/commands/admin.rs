//! What all commands that call a running gateway share.

use std::path::PathBuf;

use http::Method;
use ostia::admin::{AdminAnswer, CallError, call};
use ostia::fleet::Fleet;
use serde_json::Value;

use super::load::{load, unsound};
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::note;
use crate::runtime;

/// Calls the configuration's running gateway. A refusal becomes a failure with the gateway's message.
pub fn ask(
    setup: &Setup,
    method: Method,
    path_and_query: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let answer = call_running(setup, method, path_and_query, body)?;
    match answer.status.is_success() {
        true => Ok(answer.value),
        false => Err(refused(&answer)),
    }
}

pub fn call_running(
    setup: &Setup,
    method: Method,
    path_and_query: &str,
    body: Option<&Value>,
) -> Result<AdminAnswer, Failure> {
    let folder = state_dir(setup)?;
    runtime::run(async {
        let called = call(&folder, method, path_and_query, body).await;
        called.map_err(|error| {
            let folder = folder.display();
            Failure::other(match error {
                CallError::NotRunning => format!(
                    "{error} ({folder}): start it with `ostia serve`, or name its configuration with --config"
                ),
                _ => error.to_string(),
            })
        })
    })
}

/// Ignores mistakes in the files, which are common when this is needed; the running gateway has none.
fn state_dir(setup: &Setup) -> Result<PathBuf, Failure> {
    let loaded = load(setup, None, &Fleet::default());
    loaded.state_dir.clone().ok_or_else(|| {
        for problem in loaded.errors() {
            note(&problem.to_string());
        }
        unsound()
    })
}

/// The gateway's message about a refusal. People do not need its error codes.
pub fn refused(answer: &AdminAnswer) -> Failure {
    let error = &answer.value["error"];
    let mut text = match error["message"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("the gateway answered with status {}", answer.status),
    };
    for fault in error["info"].as_array().into_iter().flatten() {
        if let Some(fault) = fault.as_str() {
            text.push_str("\n  ");
            text.push_str(fault);
        }
    }
    match answer.status.as_u16() {
        422 => Failure::config(text),
        _ => Failure::other(text),
    }
}
