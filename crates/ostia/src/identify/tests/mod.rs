//! The door as a whole, before providers that answer by script.

mod door;
mod introspection;
mod oidc;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, StatusCode, request};
use ostia_core::{BoxFuture, Clock, Identity, ManualClock, Secret};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Authenticator, Identify, Sender, SignInError, Web, WebAnswer, WebFault, WebRequest};
use crate::settings;

/// The wall clock of these tests, in seconds.
pub(super) const NOW: i64 = 1_800_000_000;

type Script = dyn Fn(&WebRequest) -> Result<WebAnswer, WebFault> + Send + Sync;

/// A provider's side of the wire.
pub(super) struct FakeWeb {
    script: Mutex<Arc<Script>>,
    calls: Mutex<Vec<WebRequest>>,
    /// Each call takes one; without permits they wait.
    gate: Semaphore,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

impl FakeWeb {
    pub(super) fn new(
        script: impl Fn(&WebRequest) -> Result<WebAnswer, WebFault> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Arc::new(script)),
            calls: Mutex::default(),
            gate: Semaphore::new(1_000_000),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        })
    }

    pub(super) fn now(
        &self,
        script: impl Fn(&WebRequest) -> Result<WebAnswer, WebFault> + Send + Sync + 'static,
    ) {
        *self.script.lock() = Arc::new(script);
    }

    pub(super) fn calls(&self) -> Vec<WebRequest> {
        self.calls.lock().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.calls.lock().len()
    }

    fn hold(&self) {
        self.gate.forget_permits(1_000_000);
    }

    fn release(&self) {
        self.gate.add_permits(1_000_000);
    }
}

impl Web for FakeWeb {
    fn call(&self, request: WebRequest) -> BoxFuture<'_, Result<WebAnswer, WebFault>> {
        Box::pin(async move {
            self.calls.lock().push(request.clone());
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_running.fetch_max(running, Ordering::SeqCst);
            // Others get a turn, as they would while a real answer is under way.
            tokio::task::yield_now().await;
            self.gate.acquire().await.unwrap().forget();
            self.running.fetch_sub(1, Ordering::SeqCst);
            let script = Arc::clone(&self.script.lock());
            script(&request)
        })
    }
}

pub(super) fn answer(status: u16, body: &Value) -> Result<WebAnswer, WebFault> {
    Ok(WebAnswer {
        status: StatusCode::from_u16(status).unwrap(),
        content_type: Some("application/json".to_owned()),
        body: body.to_string().into(),
    })
}

/// One field of a form.
pub(super) fn field(request: &WebRequest, name: &str) -> Option<String> {
    let form = request.form.as_ref()?.expose();
    let fields = form.split('&').filter_map(|field| field.split_once('='));
    let mut found = fields.filter(|(field, _)| *field == name);
    found.next().map(|(_, value)| value.to_owned())
}

pub(super) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(NOW * 1_000_000))
}

fn head(token: &str) -> request::Parts {
    let request = Request::builder().header("authorization", format!("Bearer {token}"));
    request.body(()).unwrap().into_parts().0
}

fn from(ip: &str) -> Sender {
    let ip = ip.parse().unwrap();
    Sender {
        peer_ip: ip,
        origin_ip: ip,
    }
}

fn door(provider: impl Authenticator, clock: &Arc<ManualClock>) -> Identify {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Identify::new(vec![Arc::new(provider)], None, false, clock)
}

async fn sign_in(door: &Identify, token: &str) -> Result<Arc<Identity>, SignInError> {
    let principal = door.identify(&head(token), from("192.0.2.1")).await?;
    Ok(Arc::clone(principal.identity()))
}

fn settings() -> settings::Introspection {
    settings::Introspection {
        url: "https://idp.example/introspect".to_owned(),
        client_id: "gate way".to_owned(),
        client_secret: Secret::new("s+cret".to_owned()),
        audience: vec!["ostia".to_owned()],
        scope: "inference".to_owned(),
        vouching: settings::Vouching {
            claims: BTreeMap::from([("user".to_owned(), "username".to_owned())]),
            ..settings::Vouching::default()
        },
    }
}
