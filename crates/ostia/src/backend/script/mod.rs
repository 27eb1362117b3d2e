//! Hooks written as a script: its `ctx` offers what [`super::RequestContext`] and [`super::ResponseContext`] do.

mod answer;
mod http;
mod request;

use std::any::TypeId;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use ostia_core::{Clock, LedgerRow};
use rhai::serde::to_dynamic;
use rhai::{Engine, EvalAltResult, FuncArgs, ImmutableString};
use serde_json::{Value, json};

use super::{AdapterError, EndpointAdapter, RequestContext, ResponseContext};
use crate::runtime::spawn;
use crate::script::{Argument, Program, ScriptError, Thrown, on_pool};

pub(crate) use http::{in_time, reply_to_dynamic};

/// The time limit of a script, HTTP included. It is shorter than a hook's, so that the script's own error is reported.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct ScriptHooks {
    program: Arc<Program>,
    clock: Arc<dyn Clock>,
}

type Outcome<T> = Result<T, Box<EvalAltResult>>;

impl ScriptHooks {
    pub(super) fn new(program: Arc<Program>, clock: Arc<dyn Clock>) -> Self {
        Self { program, clock }
    }

    async fn run(
        &self,
        hook: &'static str,
        arguments: impl FuncArgs + Send + 'static,
    ) -> Result<(), AdapterError> {
        let program = Arc::clone(&self.program);
        let ran = on_pool(&self.clock, SCRIPT_TIMEOUT, move || {
            program.call(engine(), hook, arguments).map(drop)
        });
        match ran.await {
            Some(ran) => Ok(ran?),
            None => {
                let why = format!("{}: no thread for `{hook}`", self.program.path());
                Err(AdapterError::Failed(why))
            }
        }
    }

    /// Runs a hook that only observes, beside the request.
    fn tell(&self, hook: &'static str, what: &Value) {
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let Ok(argument) = to_dynamic(what) else {
            return;
        };
        let hooks = Self::new(Arc::clone(&self.program), Arc::clone(&self.clock));
        spawn(async move {
            if let Err(error) = hooks.run(hook, (argument,)).await {
                tracing::error!(%error, "`{hook}` failed");
            }
        });
    }
}

#[async_trait]
impl EndpointAdapter for ScriptHooks {
    async fn on_request(&self, context: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        if !self.program.has("on_request") {
            return Ok(());
        }
        let scene = request::Scene::of(context);
        self.run("on_request", (scene.clone(),)).await?;
        scene.replay(context)
    }

    async fn on_stream_request(
        &self,
        context: &mut RequestContext<'_>,
    ) -> Result<(), AdapterError> {
        if !self.program.has("on_stream_request") {
            return self.on_request(context).await;
        }
        let scene = request::Scene::of(context);
        self.run("on_stream_request", (scene.clone(),)).await?;
        scene.replay(context)
    }

    async fn on_response(&self, context: &mut ResponseContext<'_>) {
        if !self.program.has("on_response") {
            return;
        }
        let scene = answer::Scene::of(context);
        let ran = self.run("on_response", (scene.clone(),)).await;
        if let Err(error) = ran.and_then(|()| scene.replay(context)) {
            tracing::error!(endpoint = &*context.deployment.slug, %error, "`on_response` failed");
        }
    }

    fn on_complete(&self, row: &LedgerRow<'_>) {
        if !self.program.has("on_complete") {
            return;
        }
        self.tell(
            "on_complete",
            &json!({
                "request_id": row.request_id.to_string(),
                "endpoint": row.endpoint_slug,
                "model": row.model,
                "username": row.username,
                "stream": row.stream,
                "status": row.http_status,
                "outcome": row.outcome.as_str(),
                "error_code": row.error_code,
                "prompt_tokens": row.prompt_tokens,
                "completion_tokens": row.completion_tokens,
                "duration_ms": row.duration_ms,
            }),
        );
    }
}

impl From<Thrown> for AdapterError {
    fn from(thrown: Thrown) -> Self {
        match thrown {
            Thrown::Refusal {
                status,
                message,
                code,
            } => Self::refusal(status, message, code),
            Thrown::Fault(error) => Self::Failed(error.to_string()),
        }
    }
}

/// Certain mistakes in a script for endpoints.
pub(crate) fn faults(program: &Program) -> Vec<ScriptError> {
    let request = Some(TypeId::of::<request::Scene>());
    let arguments: [Argument; 4] = [
        ("on_request", request),
        ("on_stream_request", request),
        ("on_response", Some(TypeId::of::<answer::Scene>())),
        ("on_complete", None),
    ];
    program.faults(engine(), &arguments)
}

/// The functions that scripts of endpoints may call. One engine serves all of them: whatever differs between requests
/// is in `ctx`.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut engine = crate::script::engine();
        request::register(&mut engine);
        answer::register(&mut engine);
        engine
    })
}

fn text(text: &str) -> ImmutableString {
    text.into()
}
