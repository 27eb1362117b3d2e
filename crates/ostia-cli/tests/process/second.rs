//! One process per state folder.

use ostia_core::SystemClock;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::gateway::{Process, Site, TestGateway};

use crate::binary;

#[tokio::test]
async fn a_second_process_on_the_same_folder_says_why_not() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    site.prepare(&SystemClock).await;
    let first = Process::start(binary(), &site).await;
    let second = Process::spawn(binary(), &site);
    let (status, log) = second.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("in use by another ostia process") && last.contains("server.state_dir"),
        "{last}"
    );
    assert!(!log.contains("ostia listens"), "{log}");
    // The first process is not affected.
    let gateway = TestGateway::around(site, first);
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    gateway.finish(&[&backend]).await;
}
