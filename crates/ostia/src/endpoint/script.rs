//! An endpoint adapter that is a script: what its `ctx` can do is what [`super::RequestContext`] can.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use ostia_core::{Identity, LedgerRow};
use parking_lot::Mutex;
use rhai::serde::{from_dynamic, to_dynamic};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};
use serde_json::{Value, json};

use super::ask::{AskError, Http, Reply};
use super::cache::weight;
use super::edits::Edits;
use super::{AdapterError, Cache, EndpointAdapter, RequestContext, ResponseContext};
use crate::catalog::Deployment;
use crate::read::Form;
use crate::runtime::spawn;
use crate::script::{Program, Thrown, logged, on_pool, time_left};

/// A script's own time, HTTP included; less than a hook has, so that its fault says why.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(5);
/// All that a script may put into one request.
const MAX_CHANGES: usize = 64 << 20;

pub(super) struct ScriptEndpoint {
    program: Arc<Program>,
    http: Http,
    cache: Arc<Cache>,
}

/// `ctx` in a script: a copy of what the request is, and a list of what is to be changed.
#[derive(Clone)]
struct Scene(Arc<Facts>);

struct Facts {
    identity: Arc<Identity>,
    deployment: Arc<Deployment>,
    api: Box<str>,
    stream: bool,
    form: Form,
    body: bytes::Bytes,
    http: Http,
    cache: Arc<Cache>,
    runtime: tokio::runtime::Handle,
    changes: Mutex<Changes>,
}

#[derive(Default)]
struct Changes {
    edits: Edits,
    api_url: Option<String>,
    headers: Vec<(String, String)>,
    timeout: Option<Duration>,
    /// Bytes of everything that was ever set.
    weight: usize,
}

type Outcome<T> = Result<T, Box<EvalAltResult>>;

impl ScriptEndpoint {
    pub(super) fn new(program: Arc<Program>, http: Http, cache: Arc<Cache>) -> Self {
        Self {
            program,
            http: http.within(SCRIPT_TIMEOUT),
            cache,
        }
    }

    async fn run(
        &self,
        hook: &'static str,
        context: &mut RequestContext<'_>,
    ) -> Result<(), AdapterError> {
        let scene = self.scene(context);
        let (program, given) = (Arc::clone(&self.program), scene.clone());
        let clock = Arc::clone(self.cache.clock());
        let ran = on_pool(&clock, SCRIPT_TIMEOUT, move || {
            program.call(engine(), hook, (given,)).map(drop)
        });
        match ran.await {
            Some(Ok(())) => scene.replay(context),
            Some(Err(thrown)) => Err(thrown.into()),
            None => {
                let why = format!("{}: `{hook}` got no thread", self.program.path());
                Err(AdapterError::Failed(why))
            }
        }
    }

    fn scene(&self, context: &RequestContext<'_>) -> Scene {
        Scene(Arc::new(Facts {
            identity: Arc::new(context.principal.clone()),
            deployment: Arc::clone(context.deployment),
            api: context.call.api.as_str().into(),
            stream: context.call.stream,
            form: context.call.form,
            body: context.call.body.clone(),
            http: self.http.clone(),
            cache: Arc::clone(&self.cache),
            runtime: tokio::runtime::Handle::current(),
            changes: Mutex::default(),
        }))
    }

    /// Runs a hook that only looks, beside the request.
    fn tell(&self, hook: &'static str, what: &Value) {
        if !self.program.has(hook) || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let Ok(argument) = to_dynamic(what) else {
            return;
        };
        let (program, clock) = (Arc::clone(&self.program), Arc::clone(self.cache.clock()));
        spawn(async move {
            let called = Arc::clone(&program);
            let ran = on_pool(&clock, SCRIPT_TIMEOUT, move || {
                called.call(engine(), hook, (argument,)).map(drop)
            });
            match ran.await {
                Some(Err(Thrown::Fault(error))) => tracing::error!(%error, "`{hook}` failed"),
                None => tracing::error!(script = &**program.path(), "`{hook}` got no thread"),
                _ => {}
            }
        });
    }
}

#[async_trait]
impl EndpointAdapter for ScriptEndpoint {
    async fn on_request(&self, context: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        if !self.program.has("on_request") {
            return Ok(());
        }
        self.run("on_request", context).await
    }

    async fn on_stream_request(
        &self,
        context: &mut RequestContext<'_>,
    ) -> Result<(), AdapterError> {
        if !self.program.has("on_stream_request") {
            return self.on_request(context).await;
        }
        self.run("on_stream_request", context).await
    }

    fn on_response(&self, context: &ResponseContext<'_>) {
        if !self.program.has("on_response") {
            return;
        }
        let content_type = context.headers.get(http::header::CONTENT_TYPE);
        self.tell(
            "on_response",
            &json!({
                "endpoint": &*context.deployment.slug,
                "model": &*context.deployment.model,
                "status": context.status.as_u16(),
                "content_type": content_type.and_then(|value| value.to_str().ok()),
            }),
        );
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

impl Scene {
    /// Does to the request what the script asked for.
    fn replay(&self, context: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        let changes = std::mem::take(&mut *self.0.changes.lock());
        if let Some(url) = &changes.api_url {
            context.set_api_url(url)?;
        }
        for (name, value) in &changes.headers {
            context.set_header(name, value)?;
        }
        if let Some(timeout) = changes.timeout {
            context.set_timeout(timeout);
        }
        if let Some(body) = changes.edits.body {
            context.set_body(body);
        }
        for (name, value) in changes.edits.fields {
            match value {
                Some(value) => context.set_field(&name, value),
                None => context.remove_field(&name),
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str) -> Outcome<Dynamic> {
        let facts = &self.0;
        if facts.form == Form::Multipart {
            return Ok(Dynamic::UNIT);
        }
        match facts.changes.lock().edits.field(&facts.body, name) {
            Some(value) => to_dynamic(value),
            None => Ok(Dynamic::UNIT),
        }
    }

    fn set_field(&mut self, name: &str, value: Dynamic) -> Outcome<()> {
        let value: Value = from_dynamic(&value)?;
        let mut changes = self.0.changes.lock();
        changes.charge(name.len() + weight(&value))?;
        changes.edits.set(name, Some(value));
        Ok(())
    }

    fn set_body(&mut self, body: Dynamic) -> Outcome<()> {
        let bytes = match body.clone().into_immutable_string() {
            Ok(text) => bytes::Bytes::from(text.to_string()),
            Err(_) => from_dynamic::<Value>(&body)?.to_string().into(),
        };
        let mut changes = self.0.changes.lock();
        changes.charge(bytes.len())?;
        changes.edits.body = Some(bytes);
        Ok(())
    }

    fn body(&mut self) -> Outcome<ImmutableString> {
        std::str::from_utf8(&self.0.body)
            .map(Into::into)
            .map_err(|_| "the body is no text".into())
    }

    fn user(&mut self) -> Outcome<Dynamic> {
        let who = &self.0.identity;
        to_dynamic(json!({
            "id": who.user_id,
            "name": who.name,
            "username": who.username,
            "domain": who.domain,
            "groups": who.groups,
        }))
    }

    fn http_get(&mut self, url: &str) -> Outcome<Dynamic> {
        let facts = &self.0;
        reply_to_dynamic(facts.runtime.block_on(in_time(&facts.http).get(url)))
    }

    fn http_post(&mut self, url: &str, body: Dynamic) -> Outcome<Dynamic> {
        let facts = &self.0;
        let body: Value = from_dynamic(&body)?;
        reply_to_dynamic(
            facts
                .runtime
                .block_on(in_time(&facts.http).post(url, &body)),
        )
    }

    fn cache_get(&mut self, key: &str) -> Outcome<Dynamic> {
        match self.0.cache.get(key) {
            Some(value) => to_dynamic(value),
            None => Ok(Dynamic::UNIT),
        }
    }

    fn cache_set(&mut self, key: &str, value: Dynamic, seconds: i64) -> Outcome<()> {
        let value: Value = from_dynamic(&value)?;
        let keep = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        self.0.cache.set(key, value, keep);
        Ok(())
    }
}

impl Changes {
    /// Counts what is about to be kept beside the script's own values, whose sizes its engine looks at.
    fn charge(&mut self, bytes: usize) -> Outcome<()> {
        self.weight = self.weight.saturating_add(bytes);
        if self.weight > MAX_CHANGES {
            return Err("the changes to the request are too large".into());
        }
        Ok(())
    }
}

/// The same client with no more time than the script has left.
pub(crate) fn in_time(http: &Http) -> Http {
    http.clone().within(time_left().unwrap_or(SCRIPT_TIMEOUT))
}

/// `#{status, body, json}`; `json` is `()` where the body is none.
pub(crate) fn reply_to_dynamic(reply: Result<Reply, AskError>) -> Outcome<Dynamic> {
    let reply = reply.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&reply.body);
    to_dynamic(json!({
        "status": reply.status.as_u16(),
        "json": reply.json().unwrap_or(Value::Null),
        "body": text,
    }))
}

/// One for all scripts: what differs from request to request is in `ctx`.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut engine = crate::script::engine();
        engine.register_type_with_name::<Scene>("Context");
        register_facts(&mut engine);
        register_changes(&mut engine);
        engine
            .register_fn("http_get", Scene::http_get)
            .register_fn("http_post", Scene::http_post)
            .register_fn("cache_get", Scene::cache_get)
            .register_fn("cache_set", Scene::cache_set)
            .register_fn("log", |scene: &mut Scene, text: &str| {
                tracing::info!(endpoint = &*scene.0.deployment.slug, "{}", logged(text));
            });
        engine
    })
}

fn register_facts(engine: &mut Engine) {
    engine
        .register_get("model", |scene: &mut Scene| text(&scene.0.deployment.model))
        .register_get("upstream_model", |scene: &mut Scene| {
            text(&scene.0.deployment.upstream_model)
        })
        .register_get("framework", |scene: &mut Scene| {
            text(&scene.0.deployment.framework)
        })
        .register_get("cluster", |scene: &mut Scene| {
            text(&scene.0.deployment.cluster.name)
        })
        .register_get("endpoint", |scene: &mut Scene| {
            text(&scene.0.deployment.slug)
        })
        .register_get("api", |scene: &mut Scene| text(&scene.0.api))
        .register_get("stream", |scene: &mut Scene| scene.0.stream)
        .register_get("user", Scene::user)
        .register_get("body", Scene::body)
        .register_get("config", |scene: &mut Scene| {
            to_dynamic(&scene.0.deployment.config)
        })
        .register_fn("model_state", |scene: &mut Scene| {
            text(scene.0.deployment.state.model_state().as_str())
        })
        .register_fn("get", Scene::field);
}

fn register_changes(engine: &mut Engine) {
    engine
        .register_fn("set", Scene::set_field)
        .register_fn("remove", |scene: &mut Scene, name: &str| {
            let mut changes = scene.0.changes.lock();
            changes.charge(name.len())?;
            changes.edits.set(name, None);
            Ok::<_, Box<EvalAltResult>>(())
        })
        .register_fn("set_body", Scene::set_body)
        .register_fn("set_api_url", |scene: &mut Scene, url: &str| {
            scene.0.changes.lock().api_url = Some(url.to_owned());
        })
        .register_fn(
            "set_header",
            |scene: &mut Scene, name: &str, value: &str| {
                let header = (name.to_owned(), value.to_owned());
                let mut changes = scene.0.changes.lock();
                changes.charge(name.len() + value.len())?;
                changes.headers.push(header);
                Ok::<_, Box<EvalAltResult>>(())
            },
        )
        .register_fn("set_timeout", |scene: &mut Scene, seconds: i64| {
            let seconds = u64::try_from(seconds.max(1)).unwrap_or(1);
            scene.0.changes.lock().timeout = Some(Duration::from_secs(seconds));
        });
}

fn text(text: &str) -> ImmutableString {
    text.into()
}
