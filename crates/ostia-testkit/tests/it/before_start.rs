//! What a client is told if a backend fails before there is anything to relay (R45, R46).

use ostia_testkit::backend::{Break, Script, ScriptFraming};
use ostia_testkit::chaos::{ChaosProxy, Mode};
use ostia_testkit::client::Ended;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::ports::{ClosedPort, DeafPort};
use serde_json::json;

use crate::common::{assert_error, rig, rig_with};

const GATEWAY_ERROR: (u16, &str) = (502, "upstream_error");

fn failing() -> Vec<(&'static str, Script, &'static str)> {
    let no_sse = Script::error(200, "out of memory");
    vec![
        ("reset", Script::reset(), "upstream_unreachable"),
        ("hang up", Script::hang_up(), "upstream_unreachable"),
        (
            "401 with the key",
            Script::unauthorized_echo(),
            "upstream_auth",
        ),
        ("403", Script::error(403, "no"), "upstream_auth"),
        (
            "302",
            Script::redirect(302, "http://127.0.0.1/login"),
            "upstream_invalid",
        ),
        (
            "307",
            Script::redirect(307, "/elsewhere"),
            "upstream_invalid",
        ),
        ("500 page", Script::html(500), "upstream_invalid"),
        (
            "500 JSON",
            Script::error(500, "at 127.0.0.1"),
            "upstream_invalid",
        ),
        ("504 page", Script::html(504), "upstream_invalid"),
        ("407", Script::error(407, "pay"), "upstream_auth"),
        ("508", Script::html(508), "upstream_invalid"),
        ("empty 200", Script::empty(), "upstream_invalid"),
        ("204", Script::raw(204, ""), "upstream_invalid"),
        ("error in a 200", no_sse, "upstream_invalid"),
        ("page in a 200", Script::html(200), "upstream_invalid"),
        (
            "list in a 200",
            Script::json(200, &json!([1])),
            "upstream_invalid",
        ),
        (
            "half JSON",
            Script::raw(200, "{\"id\":").header("content-type", "application/json"),
            "upstream_invalid",
        ),
        ("no HTTP", Script::garbage(), "upstream_invalid"),
        ("101", Script::switching_protocols(), "upstream_invalid"),
        (
            "endless head",
            Script::endless_headers(),
            "upstream_invalid",
        ),
    ]
}

#[tokio::test]
async fn a_backend_that_fails_before_the_answer_is_a_plain_502() {
    let (backend, gateway) = rig().await;
    let cases = failing();
    for (what, script, code) in &cases {
        for request in [gateway.chat("m"), gateway.chat_stream("m")] {
            backend.next(script.clone());
            let answer = gateway.call(&request).await;
            assert_error(&answer, GATEWAY_ERROR.0, GATEWAY_ERROR.1, code, what);
            assert_eq!(answer.ended, Ended::Complete, "{what}");
            for absent in ["location", "server", "cache-control", "upgrade"] {
                assert_eq!(answer.header(absent), None, "{what}");
            }
        }
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 2 * cases.len());
    for (row, (what, _, code)) in rows.iter().zip(cases.iter().flat_map(|case| [case, case])) {
        assert_eq!(
            (row.http_status, &*row.outcome),
            (502, "upstream_error"),
            "{what}"
        );
        assert_eq!(&row.error_code, code, "{what}");
        assert_eq!(
            (row.total_tokens, &*row.usage_source),
            (0, "none"),
            "{what}"
        );
        assert_eq!((row.attempts, row.ttft_ms), (1, None), "{what}");
    }
}

#[tokio::test]
async fn a_body_that_dies_before_its_first_event_is_a_plain_502() {
    let (backend, gateway) = rig().await;
    let endings = [
        (Break::Reset, "upstream_closed"),
        (Break::Fin, "upstream_closed"),
        (Break::ShortLength, "upstream_closed"),
        (Break::BadChunk, "upstream_invalid"),
    ];
    for (how, code) in endings {
        for request in [gateway.chat_stream("m"), gateway.chat("m")] {
            backend.next(Script::completion().break_after(0, how));
            let answer = gateway.call(&request).await;
            assert_error(&answer, 502, "upstream_error", code, &format!("{how:?}"));
        }
    }
    backend.next(Script::events([""; 0]).framing(ScriptFraming::Chunked));
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert_error(
        &answer,
        502,
        "upstream_error",
        "upstream_invalid",
        "a stream of nothing",
    );
    let rows = gateway.finish(&[&backend]).await;
    assert!(
        rows.iter().all(|row| row.outcome == "upstream_error"
            && row.total_tokens == 0
            && row.ttft_ms.is_none()),
        "{rows:#?}"
    );
}

#[tokio::test]
async fn addresses_where_nobody_answers() {
    let closed = ClosedPort::bind();
    let deaf = DeafPort::bind().await;
    let no_tls = ChaosProxy::start(closed.address()).await;
    no_tls.switch(Mode::TurnAway);
    let url = |scheme: &str, address: std::net::SocketAddr| format!("{scheme}://{address}/v1");
    let site = Site::new()
        .endpoint(Endpoint::new("closed", &url("http", closed.address())))
        .endpoint(Endpoint::new("deaf", &url("http", deaf.address())))
        .endpoint(Endpoint::new("tls", &url("https", no_tls.address())))
        .endpoint(Endpoint::new("nowhere", "http://no-such-host.invalid/v1"))
        .settings("[upstream]\nconnect_timeout = \"300ms\"");
    let gateway = TestGateway::start(site).await;
    for (model, status, kind, code) in [
        ("closed", 502, "upstream_error", "upstream_unreachable"),
        ("tls", 502, "upstream_error", "upstream_unreachable"),
        ("deaf", 504, "timeout_error", "upstream_timeout"),
    ] {
        for request in [gateway.chat(model), gateway.chat_stream(model)] {
            let answer = gateway.call(&request).await;
            assert_error(&answer, status, kind, code, model);
        }
    }
    let answer = gateway.call(&gateway.chat("nowhere")).await;
    assert!(matches!(answer.status(), 502 | 504), "{}", answer.text());
    let rows = gateway.finish(&[]).await;
    for row in &rows {
        assert_eq!((&*row.phase, row.attempts), ("connecting", 1), "{row:?}");
    }
    assert_eq!(rows[4].outcome, "upstream_timeout", "{:?}", rows[4]);
}

#[tokio::test]
async fn a_backend_that_never_answers_is_a_504_and_is_left() {
    let (backend, gateway) = rig_with("[upstream]\nresponse_header_timeout = \"60ms\"").await;
    backend.otherwise(Script::silent());
    for (number, request) in [gateway.chat("m"), gateway.chat_stream("m")]
        .iter()
        .enumerate()
    {
        let answer = gateway.call(request).await;
        assert_error(&answer, 504, "timeout_error", "upstream_timeout", "silent");
        backend.aborts(number + 1).await;
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (&*row.outcome, &*row.phase),
            ("upstream_timeout", "waiting_headers")
        );
        // The backend had received the prompt.
        assert_eq!((row.attempts, &*row.usage_source), (1, "estimated"));
        assert!(row.total_tokens > 0);
    }
}

#[tokio::test]
async fn the_total_timeout_ends_a_wait_for_the_head_too() {
    let settings = "[upstream]\nresponse_header_timeout = \"0\"\ntotal_timeout = \"60ms\"";
    let (backend, gateway) = rig_with(settings).await;
    backend.otherwise(Script::silent());
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_error(&answer, 504, "timeout_error", "upstream_timeout", "total");
    backend.aborts(1).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        (&*rows[0].outcome, &*rows[0].phase),
        ("upstream_timeout", "waiting_headers")
    );
}

#[tokio::test]
async fn a_plain_answer_that_stalls_is_a_504() {
    let (backend, gateway) = rig_with("[upstream]\nstream_idle_timeout = \"60ms\"").await;
    backend.otherwise(Script::completion().break_after(0, Break::Stall));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_error(&answer, 504, "timeout_error", "upstream_timeout", "stalled");
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert_error(
        &answer,
        504,
        "timeout_error",
        "upstream_timeout",
        "stalled stream",
    );
    backend.aborts(2).await;
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_failed_costs_no_tokens() {
    // There is room for one reservation: a second would be refused if the first were not given back.
    let (backend, gateway) = rig_with("[limits]\ntpm_user = 1000\ntpm_model = 1000").await;
    let more = json!({"max_tokens": 700});
    for script in [
        Script::reset(),
        Script::html(500),
        Script::error(429, "later"),
        Script::empty(),
    ] {
        for stream in [true, false] {
            let mut more = more.clone();
            more["stream"] = stream.into();
            backend.next(script.clone());
            let answer = gateway
                .call(&gateway.request("chat/completions", "m", &more))
                .await;
            assert_ne!(answer.error_code().as_deref(), Some("tokens"), "{script:?}");
            assert!(answer.status() >= 429, "{}", answer.text());
        }
    }
    let answer = gateway
        .call(&gateway.request("chat/completions", "m", &more))
        .await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.header("x-ratelimit-limit-tokens"), Some("1000"));
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.iter().map(|row| row.total_tokens).sum::<u64>(), 14);
}

/// An answer too large to be held is judged by its beginning.
#[tokio::test]
async fn a_large_page_is_no_answer() {
    let (backend, gateway) = rig().await;
    for streamed in [false, true] {
        let page = format!("<html>{}", "x".repeat(400_000));
        backend.next(Script::raw(200, page).header("content-type", "text/html"));
        let request = match streamed {
            true => gateway.chat_stream("m"),
            false => gateway.chat("m"),
        };
        let answer = gateway.call(&request).await;
        assert_error(&answer, 502, "upstream_error", "upstream_invalid", "a page");
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (&*row.outcome, &*row.usage_source),
            ("upstream_error", "none")
        );
    }
}
