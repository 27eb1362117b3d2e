//! Without a file descriptor for a backend (R85): the backend is not blamed, and requests work again once there is one.

use ostia_core::SystemClock;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{Process, Site, Subject as _, TestGateway};

use crate::binary;

const CLIENTS: usize = 8;

#[tokio::test]
async fn r85_a_shortage_is_503_and_passes() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    site.prepare(&SystemClock).await;
    let process = Process::start(binary(), &site).await;
    let address = process.address();
    let limits = process.open_files_limit();
    let gateway = TestGateway::around(site, process);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = gateway.client().await;
        assert_eq!(client.call(&Request::get("/health")).await.status(), 200);
        clients.push(client);
    }
    // Lower than the number in use, so that no connection can be opened.
    limits.lower_to(8);
    for client in &mut clients {
        let refused = client.call(&gateway.chat("m")).await;
        assert_eq!(refused.status(), 503, "{}", refused.text());
        assert_eq!(refused.error_code().as_deref(), Some("gateway_busy"));
        assert!(refused.header("retry-after").is_some());
    }
    limits.restore();
    for client in &mut clients {
        let answer = client.call(&gateway.chat("m")).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    // Clients that connected meanwhile are served too.
    assert_eq!(gateway.address(), address);
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let rows = gateway.finish(&[&backend]).await;
    let (refused, served): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.http_status == 503);
    assert_eq!((refused.len(), served.len()), (CLIENTS, CLIENTS + 1));
    for row in refused {
        assert_eq!(
            (&*row.outcome, &*row.error_code),
            ("rejected", "gateway_busy"),
            "{row:?}"
        );
    }
}
