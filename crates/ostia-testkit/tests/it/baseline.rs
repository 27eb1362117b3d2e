use ostia_testkit::backend::{Break, FakeBackend, Script};
use ostia_testkit::client::{Ended, HangUp};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::json;

async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    (backend, gateway)
}

#[tokio::test]
async fn every_api_is_relayed_and_counted() {
    let (backend, gateway) = rig().await;
    let apis = [
        "chat/completions",
        "completions",
        "embeddings",
        "responses",
        "messages",
    ];
    for api in apis {
        let answer = gateway.call(&gateway.request(api, "m", &json!({}))).await;
        assert_eq!(
            (answer.status(), &answer.ended),
            (200, &Ended::Complete),
            "{api}: {}",
            answer.text()
        );
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.iter().map(|row| &*row.api).collect::<Vec<_>>(), apis);
    assert!(
        rows.iter()
            .all(|row| row.outcome == "ok" && row.usage_source == "upstream"),
        "{rows:#?}"
    );
}

#[tokio::test]
async fn a_stream_is_the_same_whether_or_not_usage_was_asked_for() {
    for api in ["chat/completions", "completions", "responses", "messages"] {
        let (backend, gateway) = rig().await;
        let more = json!({"stream": true});
        let answer = gateway.call(&gateway.request(api, "m", &more)).await;
        assert_eq!(
            (answer.status(), &answer.ended),
            (200, &Ended::Complete),
            "{api}: {}",
            answer.text()
        );
        let asked = api.ends_with("completions");
        assert_eq!(
            backend.ended(1).await[0].received.wants_usage(),
            asked,
            "{api}"
        );
        assert!(
            !asked || !answer.text().contains("\"usage\""),
            "{}",
            answer.text()
        );
        let rows = gateway.finish(&[&backend]).await;
        assert_eq!(
            (rows[0].tokens.prompt, rows[0].tokens.completion),
            (11, 3),
            "{api}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_breaks_after_the_client_read_its_events_ends_broken() {
    for how in [
        Break::Reset,
        Break::Fin,
        Break::ShortLength,
        Break::BadChunk,
    ] {
        let (backend, gateway) = rig().await;
        let gate = Gate::closed();
        let script = Script::broken_stream(3, how).break_after(2, how);
        backend.otherwise(script.gate_end(&gate));
        let mut client = gateway.client().await;
        client.send(gateway.chat_stream("m").bytes()).await;
        let mut reading = client.begin().await.unwrap();
        let mut text = client.until(&mut reading, b"\n\n").await.to_vec();
        while memchr::memmem::find(&text, b"piece1").is_none() {
            text.extend_from_slice(&client.until(&mut reading, b"\n\n").await);
        }
        gate.open();
        let rest = client.rest(reading).await;
        assert_eq!(rest.ended, Ended::Fin, "{how:?}: {}", rest.text());
        assert_eq!(rest.events().len(), 1, "{how:?}: {}", rest.text());
        assert!(
            rest.text().starts_with("data: {\"error\":"),
            "{how:?}: {}",
            rest.text()
        );
        let rows = gateway.finish(&[&backend]).await;
        let row = &rows[0];
        assert_eq!(
            (&*row.outcome, &*row.phase),
            ("upstream_error", "streaming"),
            "{how:?}"
        );
        assert_eq!(
            (&*row.usage_source, row.tokens.completion >= 2),
            ("estimated", true),
            "{how:?}: {row:?}"
        );
    }
}

#[tokio::test]
async fn events_that_came_just_before_the_break_are_delivered() {
    let mut lost = Vec::new();
    for how in [
        Break::Reset,
        Break::Fin,
        Break::ShortLength,
        Break::BadChunk,
    ] {
        for events in 1..=3 {
            let (backend, gateway) = rig().await;
            backend.otherwise(Script::broken_stream(4, how).break_after(events, how));
            let answer = gateway.call(&gateway.chat_stream("m")).await;
            let delivered = answer.text().matches("piece").count();
            if delivered != events || answer.ended == Ended::Complete {
                lost.push(format!(
                    "{how:?} after {events}: {delivered} delivered, {:?}",
                    answer.ended
                ));
            }
            gateway.finish(&[&backend]).await;
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_backends_work() {
    for how in [HangUp::Fin, HangUp::Reset] {
        let (backend, gateway) = rig().await;
        let gate = Gate::closed();
        backend.otherwise(Script::completion().gate_events(&gate));
        let mut client = gateway.client().await;
        client.send(gateway.chat_stream("m").bytes()).await;
        gate.release(1);
        let mut reading = client.begin().await.unwrap();
        client.until(&mut reading, b"\n\n").await;
        client.hang_up(how).await;
        backend.aborts(1).await;
        let rows = gateway.finish(&[&backend]).await;
        assert_eq!(
            (&*rows[0].outcome, &*rows[0].phase),
            ("client_closed", "streaming"),
            "{how:?}"
        );
    }
}
