use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use rhai::{Dynamic, Engine};

use super::text;
use super::{AdapterError, ResponseContext};
use crate::script::logged;

/// `ctx` in `on_response`: a copy of the response head and a list of changes to make.
#[derive(Clone)]
pub(super) struct Scene(Arc<ResponseSnapshot>);

struct ResponseSnapshot {
    endpoint: Arc<str>,
    model: Arc<str>,
    status: u16,
    headers: HeaderMap,
    changes: Mutex<Vec<Change>>,
}

enum Change {
    Status(i64),
    Set(String, String),
    Remove(String),
}

impl Scene {
    pub(super) fn of(context: &ResponseContext<'_>) -> Self {
        Self(Arc::new(ResponseSnapshot {
            endpoint: Arc::clone(&context.deployment.slug),
            model: Arc::clone(&context.deployment.model),
            status: context.status().as_u16(),
            headers: context.headers().clone(),
            changes: Mutex::default(),
        }))
    }

    /// Applies the script's changes to the head.
    pub(super) fn replay(&self, context: &mut ResponseContext<'_>) -> Result<(), AdapterError> {
        for change in std::mem::take(&mut *self.0.changes.lock()) {
            match change {
                Change::Status(status) => context.set_status(u16::try_from(status).unwrap_or(0))?,
                Change::Set(name, value) => context.set_header(&name, &value)?,
                Change::Remove(name) => context.remove_header(&name),
            }
        }
        Ok(())
    }

    fn header(&mut self, name: &str) -> Dynamic {
        let value = self.0.headers.get(name);
        match value.and_then(|value| value.to_str().ok()) {
            Some(value) => text(value).into(),
            None => Dynamic::UNIT,
        }
    }

    fn change(&mut self, change: Change) {
        self.0.changes.lock().push(change);
    }
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Scene>("Answer")
        .register_get("endpoint", |scene: &mut Scene| text(&scene.0.endpoint))
        .register_get("model", |scene: &mut Scene| text(&scene.0.model))
        .register_get("status", |scene: &mut Scene| i64::from(scene.0.status))
        .register_get("content_type", |scene: &mut Scene| {
            scene.header("content-type")
        })
        .register_fn("header", Scene::header)
        .register_fn("set_status", |scene: &mut Scene, status: i64| {
            scene.change(Change::Status(status));
        })
        .register_fn(
            "set_header",
            |scene: &mut Scene, name: &str, value: &str| {
                scene.change(Change::Set(name.to_owned(), value.to_owned()));
            },
        )
        .register_fn("remove_header", |scene: &mut Scene, name: &str| {
            scene.change(Change::Remove(name.to_owned()));
        })
        .register_fn("log", |scene: &mut Scene, text: &str| {
            tracing::info!(endpoint = &*scene.0.endpoint, "{}", logged(text));
        });
}
