//! The address of a request: the peer's, or what a trusted proxy reports (R35).

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::gateway::{Site, TestGateway};

use crate::ledger::{Table, table};

async fn origins(trusted: &str, forwarded: &[Vec<String>]) -> Vec<String> {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings(&format!("[server]\ntrusted_proxies = {trusted}"));
    let database = site.database_path();
    let gateway = TestGateway::start(site).await;
    let mut ids = Vec::new();
    for lines in forwarded {
        let mut request = gateway
            .chat("m")
            .header("X-Real-IP", "6.6.6.6")
            .header("Forwarded", "for=6.6.6.6")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "evil.example");
        for line in lines {
            request = request.header("X-Forwarded-For", line);
        }
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let row = gateway.row_of(&answer).await;
        ids.push(row.request_id);
    }
    for record in backend.records() {
        let names = record.received.head.fields.names();
        assert!(
            names
                .iter()
                .all(|name| !name.contains("forwarded") && name != "x-real-ip"),
            "{names:?}"
        );
    }
    let rows: Table = table(&database, "ledger").await;
    gateway.finish(&[&backend]).await;
    let origin = |id: &String| {
        let row = rows
            .iter()
            .find(|row| row["request_id"] == id.as_str())
            .unwrap();
        row["origin_ip"].as_str().unwrap().to_owned()
    };
    ids.iter().map(origin).collect()
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

#[tokio::test]
async fn an_untrusted_peer_says_nothing_about_others() {
    let spoofed = [
        lines(&[]),
        lines(&["192.0.2.7"]),
        lines(&["192.0.2.7, 10.0.0.1"]),
        lines(&["192.0.2.7", "127.0.0.1"]),
    ];
    for trusted in ["[]", "[\"10.0.0.0/8\"]"] {
        assert_eq!(
            origins(trusted, &spoofed).await,
            ["127.0.0.1"; 4],
            "{trusted}"
        );
    }
}

#[tokio::test]
async fn of_a_trusted_peers_hops_the_right_most_untrusted_one_counts() {
    let fifty: Vec<String> = (1..=50).map(|hop| format!("203.0.113.{hop}")).collect();
    let cases = [
        (lines(&[]), "127.0.0.1"),
        (lines(&["192.0.2.7"]), "192.0.2.7"),
        (lines(&["6.6.6.6, 192.0.2.7"]), "192.0.2.7"),
        (lines(&["6.6.6.6", "192.0.2.7"]), "192.0.2.7"),
        (lines(&["6.6.6.6, 192.0.2.7, 10.1.1.1"]), "192.0.2.7"),
        (lines(&[&fifty.join(", ")]), "203.0.113.50"),
        (lines(&["6.6.6.6, nonsense"]), "127.0.0.1"),
        (lines(&["[2001:db8::1]:80"]), "2001:db8::1"),
    ];
    let (forwarded, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    assert_eq!(
        origins("[\"127.0.0.0/8\", \"10.0.0.0/8\"]", &forwarded).await,
        expected
    );
}
