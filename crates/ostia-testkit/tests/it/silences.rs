//! Long silences within a stream, on a clock that the test moves: ten minutes by default, longer where an endpoint says so.

use std::sync::Arc;
use std::time::Duration;

use ostia_core::ManualClock;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Ended, RawClient, Reading};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

use crate::common::{DONE, chat_stream_of, told};

const COMMENT: &[u8] = b": keep-alive\n";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A stream whose backend is quiet after its first event.
struct Quiet {
    gateway: TestGateway,
    backend: FakeBackend,
    clock: Arc<ManualClock>,
    gate: Gate,
    client: RawClient,
    reading: Reading,
}

impl Quiet {
    /// Comments come often, so that each poll of the body looks at the clock.
    async fn on(model: &str) -> Self {
        let backend = FakeBackend::start().await;
        let site = Site::new()
            .model("usual", &backend)
            .endpoint(Endpoint::of("patient", &backend).config("api_request_timeout", json!(1_200)))
            .settings("[upstream]\nkeepalive_comment = \"15ms\"\ntotal_timeout = \"2h\"");
        let clock = Arc::new(ManualClock::at(1_795_392_000_000_000));
        let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
        let gate = Gate::closed();
        backend.otherwise(Script::events(chat_stream_of(3)).gate_events(&gate));
        gate.release(1);
        let mut client = gateway.client().await;
        client.send(gateway.chat_stream(model).bytes()).await;
        let mut reading = client.begin().await.unwrap();
        client.until(&mut reading, b"\n\n").await;
        Self {
            gateway,
            backend,
            clock,
            gate,
            client,
            reading,
        }
    }

    /// Time passes, and comments come afterwards: the stream is still open.
    async fn passes(&mut self, time: Duration) {
        self.clock.advance(time);
        for _ in 0..5 {
            self.client.until(&mut self.reading, COMMENT).await;
        }
    }

    async fn goes_on(mut self) {
        self.gate.release(9);
        let answer = self.client.rest(self.reading).await;
        assert!(answer.text().ends_with(DONE), "{}", answer.text());
        let rows = self.gateway.finish(&[&self.backend]).await;
        assert_eq!((told(&rows[0]).0, rows[0].http_status), ("ok", 200));
    }

    async fn ends_broken(mut self) {
        let answer = self.client.rest(self.reading).await;
        assert_eq!(answer.ended, Ended::Fin);
        assert!(
            answer.text().contains("\"upstream_timeout\""),
            "{}",
            answer.text()
        );
        self.backend.aborts(1).await;
        let rows = self.gateway.finish(&[&self.backend]).await;
        assert_eq!(
            told(&rows[0]),
            ("upstream_timeout", "streaming", "upstream_timeout")
        );
    }
}

#[tokio::test]
async fn a_stream_may_be_quiet_for_nine_minutes() {
    let mut quiet = Quiet::on("usual").await;
    quiet.passes(9 * MINUTE).await;
    quiet.goes_on().await;
}

#[tokio::test]
async fn ten_minutes_are_too_long_where_nobody_says_otherwise() {
    let mut quiet = Quiet::on("usual").await;
    quiet.passes(10 * MINUTE - 2 * SECOND).await;
    quiet.clock.advance(3 * SECOND);
    quiet.ends_broken().await;
}

#[tokio::test]
async fn a_stream_may_be_quiet_for_twenty_minutes_where_its_endpoint_says_so() {
    let mut quiet = Quiet::on("patient").await;
    quiet.passes(9 * MINUTE).await;
    quiet.passes(11 * MINUTE - 2 * SECOND).await;
    quiet.goes_on().await;
}

#[tokio::test]
async fn beyond_what_its_endpoint_says_it_ends() {
    let mut quiet = Quiet::on("patient").await;
    quiet.passes(20 * MINUTE - 2 * SECOND).await;
    quiet.clock.advance(3 * SECOND);
    quiet.ends_broken().await;
}
