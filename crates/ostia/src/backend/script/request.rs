use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use ostia_core::{Identity, RequestId};
use parking_lot::Mutex;
use rhai::serde::{from_dynamic, to_dynamic};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map};
use serde_json::{Value, json};

use super::super::context::visible;
use super::super::draft::Draft;
use super::super::edits::Edits;
use super::http::{in_time, reply_to_dynamic, with_options};
use super::{AdapterError, Outcome, RequestContext, SCRIPT_TIMEOUT, text};
use crate::cache::Cache;
use crate::cache::weight;
use crate::catalog::Deployment;
use crate::script::{SecretText, logged, text_of};
use crate::upstream::Http;

/// The most that a script may put into one request.
const MAX_CHANGES: usize = 64 << 20;

/// `ctx` in a script: a copy of the request and a list of changes to make.
#[derive(Clone)]
pub(super) struct Scene(Arc<RequestSnapshot>);

struct RequestSnapshot {
    identity: Arc<Identity>,
    deployment: Arc<Deployment>,
    api: Box<str>,
    stream: bool,
    id: RequestId,
    session: Option<Arc<str>>,
    /// The caller's headers that scripts may see.
    headers: HeaderMap,
    draft: Draft,
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
    /// In order; `None` removes.
    headers: Vec<(String, Option<String>)>,
    timeout: Option<Duration>,
    /// The total bytes of everything that was ever set.
    weight: usize,
}

impl Scene {
    pub(super) fn of(context: &RequestContext<'_>) -> Self {
        let call = context.call;
        Self(Arc::new(RequestSnapshot {
            identity: Arc::new(context.principal.clone()),
            deployment: Arc::clone(context.deployment),
            api: call.api.as_str().into(),
            stream: call.stream,
            id: context.request_id(),
            session: call.session.clone(),
            headers: context.visible_headers(),
            draft: context.draft(),
            body: call.body.clone(),
            http: context.http().clone().within(SCRIPT_TIMEOUT),
            cache: Arc::clone(context.cache()),
            runtime: tokio::runtime::Handle::current(),
            changes: Mutex::default(),
        }))
    }

    /// Applies the script's changes to the request.
    pub(super) fn replay(&self, context: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        let changes = std::mem::take(&mut *self.0.changes.lock());
        if let Some(url) = &changes.api_url {
            context.set_api_url(url)?;
        }
        for (name, value) in &changes.headers {
            match value {
                Some(value) => context.set_header(name, value)?,
                None => context.remove_header(name)?,
            }
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
        match facts.draft.field(&facts.changes.lock().edits, name) {
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
        let bytes = match body.as_immutable_string_ref() {
            Ok(text) => bytes::Bytes::copy_from_slice(text.as_bytes()),
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
            .map_err(|_| "the body is not text".into())
    }

    fn final_body(&mut self) -> Outcome<Dynamic> {
        let edits = self.0.changes.lock().edits.clone();
        match self.0.draft.render(edits) {
            Ok(written) => Ok(bytes_to_dynamic(&written.body())),
            Err(error) => Err(error.to_string().into()),
        }
    }

    fn header(&mut self, name: &str) -> Dynamic {
        let value = visible(&self.0.headers, name);
        match value.and_then(|value| value.to_str().ok()) {
            Some(value) => text(value).into(),
            None => Dynamic::UNIT,
        }
    }

    fn secret(&mut self, name: &str) -> Outcome<SecretText> {
        match self.0.deployment.secrets.get(name) {
            Some(secret) => Ok(SecretText::from(secret)),
            None => Err(format!("`{name}` is not in `config.secrets`").into()),
        }
    }

    fn set_header(&mut self, name: &str, value: Dynamic) -> Outcome<()> {
        let (value, _) = text_of(&value)?;
        let mut changes = self.0.changes.lock();
        changes.charge(name.len() + value.len())?;
        changes.headers.push((name.to_owned(), Some(value)));
        Ok(())
    }

    fn remove_header(&mut self, name: &str) -> Outcome<()> {
        let mut changes = self.0.changes.lock();
        changes.charge(name.len())?;
        changes.headers.push((name.to_owned(), None));
        Ok(())
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

    fn http_get(&mut self, url: &str, options: Map) -> Outcome<Dynamic> {
        let facts = &self.0;
        let http = with_options(in_time(&facts.http), &options)?;
        reply_to_dynamic(facts.runtime.block_on(http.get(url)))
    }

    fn http_post(&mut self, url: &str, body: Dynamic, options: Map) -> Outcome<Dynamic> {
        let facts = &self.0;
        let body: Value = from_dynamic(&body)?;
        let http = with_options(in_time(&facts.http), &options)?;
        reply_to_dynamic(facts.runtime.block_on(http.post(url, &body)))
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
    /// Counts what is about to be stored outside the script, where its engine does not limit the size.
    fn charge(&mut self, bytes: usize) -> Outcome<()> {
        self.weight = self.weight.saturating_add(bytes);
        if self.weight > MAX_CHANGES {
            return Err("the changes to the request are too large".into());
        }
        Ok(())
    }
}

/// A blob if the bytes are not text.
fn bytes_to_dynamic(bytes: &[u8]) -> Dynamic {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => Dynamic::from_blob(bytes.to_vec()),
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Scene>("Context");
    register_facts(engine);
    register_changes(engine);
    engine
        .register_fn("http_get", |scene: &mut Scene, url: &str| {
            scene.http_get(url, Map::new())
        })
        .register_fn("http_get", Scene::http_get)
        .register_fn(
            "http_post",
            |scene: &mut Scene, url: &str, body: Dynamic| scene.http_post(url, body, Map::new()),
        )
        .register_fn("http_post", Scene::http_post)
        .register_fn("cache_get", Scene::cache_get)
        .register_fn("cache_set", Scene::cache_set)
        .register_fn("log", |scene: &mut Scene, text: &str| {
            tracing::info!(endpoint = &*scene.0.deployment.slug, "{}", logged(text));
        })
        .register_fn("log", |scene: &mut Scene, secret: SecretText| {
            tracing::info!(endpoint = &*scene.0.deployment.slug, "{secret}");
        });
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
        .register_get("request_id", |scene: &mut Scene| {
            text(&scene.0.id.to_string())
        })
        .register_get("session", |scene: &mut Scene| match &scene.0.session {
            Some(session) => text(session).into(),
            None => Dynamic::UNIT,
        })
        .register_fn("header", Scene::header)
        .register_fn("secret", Scene::secret)
        .register_fn("final_body", Scene::final_body)
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
        .register_fn("set_header", Scene::set_header)
        .register_fn("remove_header", Scene::remove_header)
        .register_fn("set_timeout", |scene: &mut Scene, seconds: i64| {
            let seconds = u64::try_from(seconds.max(1)).unwrap_or(1);
            scene.0.changes.lock().timeout = Some(Duration::from_secs(seconds));
        });
}
