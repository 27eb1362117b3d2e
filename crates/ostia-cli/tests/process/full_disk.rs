//! A full disk: requests that cannot be recorded are not sent (R91).

use std::sync::Arc;

use ostia_core::{BoxFuture, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Process, Site, Subject, TestGateway};

use crate::binary;
use crate::books::assert_sound;

/// Lets the test reach the process that the gateway under test owns.
struct Held(Arc<Process>);

impl Subject for Held {
    fn address(&self) -> std::net::SocketAddr {
        self.0.address()
    }

    fn admin_address(&self) -> std::net::SocketAddr {
        self.0.admin_address()
    }

    fn log(&self) -> Vec<u8> {
        self.0.log()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        let process = Arc::into_inner(self.0).unwrap();
        Box::new(process).stop()
    }
}

#[tokio::test]
async fn without_room_requests_are_refused_and_with_room_they_are_served_again() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    site.prepare(&SystemClock).await;
    let process = Arc::new(Process::start(binary(), &site).await);
    let gateway = TestGateway::around(site, Held(Arc::clone(&process)));
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);

    // One request is running when the disk becomes full.
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let mut early = gateway.client().await;
    early.send(gateway.chat("m").bytes()).await;
    gate.reached(1).await;

    process.limit_files(Some(0));
    for _ in 0..20 {
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(
            (answer.status(), answer.error_code().as_deref()),
            (503, Some("store_unavailable")),
            "{}",
            answer.text()
        );
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(
        backend.records().len(),
        2,
        "what cannot be written down is not sent"
    );
    gate.open();
    assert_eq!(early.answer().await.status(), 200);

    process.limit_files(None);
    // It finds out by itself that there is room again, and gives no other sign.
    gateway.call_until(&gateway.chat("m"), 200).await;
    for _ in 0..20 {
        assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    }
    drop(process);
    let (rows, site) = gateway.finish_keeping(&[&backend]).await;
    assert_eq!(
        rows.iter().filter(|row| row.outcome == "ok").count(),
        23,
        "{rows:#?}"
    );
    assert_sound(&site).await;
}
