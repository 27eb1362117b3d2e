//! What lasts longer than every timer (R50), and a wall clock that jumps (R84).

use std::sync::Arc;
use std::time::Duration;

use ostia_core::ManualClock;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::Ended;
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::json;

const HOUR_MICROS: i64 = 3_600_000_000;

/// How many silences of a fifth of a second a stream has; `scripts/stress.sh R50` has half an hour of them.
fn silences() -> usize {
    let set = std::env::var("OSTIA_TEST_SILENCES").ok();
    set.map_or(15, |count| count.parse().unwrap())
}

/// Every timer but the total one is shorter than the stream. The test keeps no time itself: it waits for the comment that a
/// silence brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r50_no_timer_but_the_total_one_ends_a_stream() {
    let backend = FakeBackend::start().await;
    let gate = Gate::closed();
    backend.otherwise(Script::completion().chunks(silences()).gate_events(&gate));
    let second = "\"1s\"";
    let server = [
        "header_timeout",
        "body_idle_timeout",
        "write_idle_timeout",
        "idle_timeout",
    ];
    let upstream = [
        "connect_timeout",
        "response_header_timeout",
        "stream_idle_timeout",
    ];
    let short = |keys: &[&str]| -> String {
        keys.iter()
            .map(|key| format!("{key} = {second}\n"))
            .collect()
    };
    let site = Site::new()
        .settings(&format!("[server]\n{}", short(&server)))
        .settings(&format!(
            "[upstream]\n{}pool_idle_timeout = {second}\ntotal_timeout = \"0\"\nkeepalive_comment = \"200ms\"",
            short(&upstream)
        ))
        .settings(&format!("[limits]\nqueue_timeout = {second}"))
        .model("m", &backend);
    let gateway = TestGateway::start(site).await;
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    gate.release(1);
    let mut reading = client.begin().await.unwrap();
    for _ in 0..silences() {
        client.until(&mut reading, b": keep-alive\n").await;
        gate.release(1);
    }
    gate.open();
    let answer = client.rest(reading).await;
    assert_eq!(answer.ended, Ended::Complete);
    assert!(
        answer.text().ends_with("data: [DONE]\n\n"),
        "{}",
        answer.text()
    );
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((&*rows[0].outcome, rows[0].attempts), ("ok", 1));
    assert!(rows[0].duration_ms >= 200 * i64::try_from(silences()).unwrap());
}

/// An hour on, an hour back, and to 1970: limits and timers go by monotonic time, and no row has a negative duration.
#[tokio::test]
async fn r84_a_wall_clock_that_jumps_changes_no_limit_and_no_duration() {
    let backend = FakeBackend::start().await;
    let clock = Arc::new(ManualClock::at(400_000 * HOUR_MICROS));
    let site = Site::new()
        .model("m", &backend)
        .settings("[limits]\nrequests_per_second_per_user = 2\nqueue_timeout = \"0\"");
    let gateway = TestGateway::start_at(site, Arc::clone(&clock) as _).await;
    for jump in [HOUR_MICROS, -HOUR_MICROS, -400_000 * HOUR_MICROS, 0] {
        let gate = Gate::closed();
        backend.otherwise(Script::completion().gate_events(&gate));
        let mut client = gateway.client().await;
        client.send(gateway.chat_stream("m").bytes()).await;
        gate.release(1);
        let reading = client.begin().await.unwrap();
        clock.jump_wall(jump);
        backend.otherwise(Script::completion());
        let statuses = [
            gateway.call(&gateway.chat("m")).await.status(),
            gateway.call(&gateway.chat("m")).await.status(),
        ];
        assert_eq!(statuses, [200, 429], "after a jump by {jump}");
        gate.open();
        let answer = client.rest(reading).await;
        assert_eq!(answer.ended, Ended::Complete);
        gateway.note(&answer);
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            gateway
                .call(&gateway.request("chat/completions", "m", &json!({})))
                .await
                .status(),
            200
        );
        clock.advance(Duration::from_secs(2));
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 16);
    for row in rows {
        assert!(row.duration_ms >= 0 && row.queue_ms < 1000, "{row:?}");
        assert!(
            row.finished_at - row.started_at < 2 * HOUR_MICROS,
            "{row:?}"
        );
        assert!(row.ttft_ms.is_none_or(|time| time >= 0), "{row:?}");
    }
}
