//! In: an installation ([`Site`]) and fake backends.
//! Out: a gateway that listens, and after the test a check that its books are right and nothing leaked.
//! Not here: how a gateway is started; anything that can be started is a [`Subject`].

mod audit;
pub mod gauges;
mod keys;
mod log;
mod process;
mod rows;
mod site;
mod start;

use std::net::SocketAddr;
use std::sync::Arc;

use ostia::gateway::{Gateway, ReloadRefused, Reloaded};
use ostia_core::BoxFuture;
use serde_json::{Value, json};

use crate::backend::FakeBackend;
use crate::canary::Sinks;
use crate::client::{Answer, RawClient, Request};
use crate::patience::{until, within};

pub use audit::audit;
pub use log::Log;
pub use process::Process;
pub use rows::{Row, read_rows};
pub use site::{BACKEND_KEY_VARIABLE, CLUSTER, Endpoint, FRAMEWORK, Secrets, Site, USER};

/// A running gateway, within this process or as a process of its own.
pub trait Subject: Send + Sync {
    fn address(&self) -> SocketAddr;

    fn admin_address(&self) -> SocketAddr;

    /// Resources that it still holds and that are not in its metrics; read only when it is idle.
    fn held(&self) -> Vec<String> {
        Vec::new()
    }

    /// The gateway itself, where it runs in this process.
    fn gateway(&self) -> Option<&Arc<Gateway>> {
        None
    }

    /// Reads the installation's files again, where it runs in this process. The generation that is served then.
    fn reload(&self) -> Option<Result<Reloaded, ReloadRefused>> {
        None
    }

    /// What it wrote to its log since it started.
    fn log(&self) -> Vec<u8>;

    /// Ends in an orderly way: drained, rows in the database.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// A gateway under test. Ends with [`TestGateway::finish`], which checks what must hold after every test.
pub struct TestGateway {
    site: Site,
    subject: Option<Box<dyn Subject>>,
    /// Output for clients: contains no secret.
    answers: Sinks,
    /// Output for administrators: contains no prompt either.
    inside: Sinks,
}

impl TestGateway {
    /// Takes over a gateway that was started from `site`.
    pub fn around(site: Site, subject: impl Subject + 'static) -> Self {
        Self {
            site,
            subject: Some(Box::new(subject)),
            answers: Sinks::new(),
            inside: Sinks::new(),
        }
    }

    pub const fn site(&self) -> &Site {
        &self.site
    }

    pub fn address(&self) -> SocketAddr {
        self.subject().address()
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.subject().admin_address()
    }

    /// Of a gateway in this process.
    pub fn gateway(&self) -> &Arc<Gateway> {
        self.subject().gateway().expect("a gateway in this process")
    }

    /// Serves the installation's files as they are now. Of a gateway in this process.
    pub fn reload(&self) -> Result<Reloaded, ReloadRefused> {
        let reloaded = self.subject().reload();
        reloaded.expect("a gateway in this process")
    }

    pub async fn client(&self) -> RawClient {
        RawClient::connect(self.address()).await
    }

    /// A signed-in request; a prompt that must not turn up anywhere is in it.
    pub fn request(&self, api: &str, model: &str, more: &Value) -> Request {
        let prompt = self.site.secrets.prompt.secret();
        let mut body = match api {
            "completions" => json!({"model": model, "prompt": prompt}),
            "embeddings" | "responses" => json!({"model": model, "input": prompt}),
            _ => {
                json!({"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": prompt}]})
            }
        };
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        Request::post(&format!("/v1/{api}"))
            .bearer(&self.site.secrets.client_bearer())
            .json(&body)
    }

    pub fn chat(&self, model: &str) -> Request {
        self.request("chat/completions", model, &json!({}))
    }

    pub fn chat_stream(&self, model: &str) -> Request {
        self.request("chat/completions", model, &json!({"stream": true}))
    }

    /// Sends a request on a connection of its own.
    pub async fn call(&self, request: &Request) -> Answer {
        let answer = self.client().await.call(request).await;
        self.note(&answer);
        answer
    }

    /// Repeats a request until its answer has this status: what is in the database or fetched in the background is seen a
    /// little later.
    pub async fn call_until(&self, request: &Request, status: u16) -> Answer {
        let look = async || {
            let answer = self.call(request).await;
            (answer.status() == status).then_some(answer)
        };
        until(|| format!("status {status}"), look).await
    }

    /// Has an answer searched for secrets at the end, as [`TestGateway::call`] does by itself.
    pub fn note(&self, answer: &Answer) {
        self.answers
            .add("an answer's head", answer.head.raw.to_vec());
        self.answers.add("an answer's body", answer.body.to_vec());
        if answer.status() >= 400 {
            self.inside.add("an error's body", answer.body.to_vec());
        }
    }

    /// The rows that have reached the database so far.
    pub async fn rows(&self) -> Vec<Row> {
        self.site.fetch_database().await;
        read_rows(&self.site.database_path()).await
    }

    /// Waits for the row of the request that `answer` belongs to.
    pub async fn row_of(&self, answer: &Answer) -> Row {
        let id = answer
            .header("x-request-id")
            .expect("every answer has an id")
            .to_owned();
        let look = async || {
            let mut rows = self.rows().await.into_iter();
            rows.find(|row| row.request_id == id)
        };
        until(|| format!("a row for {id}"), look).await
    }

    /// Waits until it is idle, stops the gateway, and checks what must hold after every test: nothing held, exactly one
    /// row for each request that a backend saw, the tokens that were reported, no secret anywhere. Gives all rows.
    pub async fn finish(self, backends: &[&FakeBackend]) -> Vec<Row> {
        self.finish_keeping(backends).await.0
    }

    /// The same, and hands back the installation: its folder lives as long as it does.
    pub async fn finish_keeping(mut self, backends: &[&FakeBackend]) -> (Vec<Row>, Site) {
        for backend in backends {
            backend.idle().await;
        }
        let metrics = gauges::at_rest(self.admin_address()).await;
        self.inside.add("/metrics", metrics);
        let held = self.subject().held();
        assert!(held.is_empty(), "still held at rest: {held:?}");

        let subject = self.subject.take().expect("a running gateway");
        self.inside.add("the log", subject.log());
        within(|| "the gateway to stop".to_owned(), subject.stop()).await;

        let rows = self.rows().await;
        let records: Vec<_> = backends
            .iter()
            .flat_map(|backend| backend.records())
            .collect();
        let mut called = rows.clone();
        called.retain(|row| !self.site.is_answered_within(&row.model));
        let breaches = audit(&records, &called);
        assert!(
            breaches.is_empty(),
            "the books are wrong:\n{}",
            breaches.join("\n")
        );
        self.assert_no_leak(&records);
        (rows, std::mem::take(&mut self.site))
    }

    fn assert_no_leak(&self, records: &[crate::backend::Record]) {
        let Secrets {
            client_key,
            backend_key,
            prompt,
        } = self.site.secrets.clone();
        self.inside.add_folder(self.site.folder());
        self.inside
            .assert_clean(&[client_key.clone(), backend_key.clone(), prompt]);
        self.answers
            .assert_clean(&[client_key.clone(), backend_key]);
        for sinks in [&self.inside, &self.answers] {
            sinks.assert_clean(self.site.guarded());
        }
        let upstream = Sinks::new();
        for record in records {
            upstream.add("what a backend was sent", record.received.head.raw.to_vec());
            upstream.add("what a backend was sent", record.received.body.to_vec());
        }
        upstream.assert_clean(&[client_key]);
        upstream.assert_clean(self.site.guarded());
    }

    fn subject(&self) -> &dyn Subject {
        self.subject.as_deref().expect("a running gateway")
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        let forgotten = self.subject.is_some() && !std::thread::panicking();
        assert!(
            !forgotten,
            "a test must end with TestGateway::finish, which checks the books"
        );
    }
}

#[cfg(test)]
mod tests;
