//! Whatever an event stream may contain passes, and its facts are understood (R56, R57).

use ostia_testkit::backend::{Cuts, LineEnding, Script};
use ostia_testkit::client::Ended;
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::Row;

use crate::common::{DONE, asks_for_usage, chat_event, chat_stream_of, directly, rig, rig_with};

#[tokio::test]
async fn the_whole_grammar_of_event_streams_passes_and_is_understood() {
    let (backend, gateway) = rig().await;
    let request = gateway.request("chat/completions", "m", &asks_for_usage());
    let base = || Script::completion().chunks(4);
    let mut scripts = Vec::new();
    for ending in [
        LineEnding::Lf,
        LineEnding::CrLf,
        LineEnding::Cr,
        LineEnding::Mixed,
    ] {
        scripts.push(base().line_ending(ending));
        scripts.push(base().line_ending(ending).comments("ping"));
        scripts.push(base().line_ending(ending).bom());
        scripts.push(base().line_ending(ending).cut_body(Cuts::Every(3)));
    }
    for script in scripts {
        backend.next(script.clone());
        let through = gateway.call(&request).await;
        let direct = directly(&script, &request).await;
        assert_eq!(through.body, direct.body, "{script:?}");
        assert_eq!(through.events(), direct.events(), "{script:?}");
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (&*row.outcome, row.tokens.prompt, row.tokens.completion),
            ("ok", 11, 4)
        );
    }
}

const USAGE: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#;

#[tokio::test]
async fn odd_ends_of_streams_are_understood() {
    let (backend, gateway) = rig().await;
    let text = chat_event("x");
    let cases = [
        // A byte order mark before the only event with facts.
        (format!("\u{feff}data: {USAGE}\n\n{text}{DONE}"), "ok"),
        (format!("{text}data:{USAGE}\n\ndata:[DONE]\n\n"), "ok"),
        (format!("{text}data: {USAGE}\n\ndata:  [DONE] \n\n"), "ok"),
        (
            format!("{text}event: x\nid: 1\nretry: 5\ndata: {USAGE}\n\nid: 2\ndata: [DONE]\n\n"),
            "ok",
        ),
        (format!("{text}data: {USAGE}\n\ndata: [DONE]\n"), "ok"),
        (format!("{text}data: {USAGE}\n\ndata: [DONE]"), "ok"),
        (format!("{text}{DONE}data: {USAGE}\n\n"), "ok"),
        (
            format!(
                "{text}data: {}\ndata:{}\n\n{DONE}",
                &USAGE[..14],
                &USAGE[14..]
            ),
            "ok",
        ),
        (format!("{text}data: {USAGE}\n\n"), "upstream_error"),
        (
            format!("{text}data: {USAGE}\n\ndata: [DONE"),
            "upstream_error",
        ),
    ];
    let whole = format!("{text}data: {USAGE}\n\n");
    let request = gateway.request("chat/completions", "m", &asks_for_usage());
    for (stream, outcome) in &cases {
        backend.next(Script::events([stream.clone()]));
        let answer = gateway.call(&request).await;
        if *outcome == "ok" {
            assert_eq!((&answer.text(), &answer.ended), (stream, &Ended::Complete));
        } else {
            let text = answer.text();
            let last = text.strip_prefix(&whole).unwrap();
            assert!(last.starts_with("data: {\"error\":{"), "{stream:?}: {last}");
            assert_eq!(answer.ended, Ended::Fin, "{stream:?}");
        }
    }
    let rows = gateway.finish(&[&backend]).await;
    for (row, (stream, outcome)) in rows.iter().zip(&cases) {
        assert_eq!(row.outcome, *outcome, "{stream:?}");
        assert_eq!(
            (row.tokens.prompt, row.tokens.completion),
            (5, 2),
            "{stream:?}: {row:?}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_pass_unchanged() {
    let (backend, gateway) = rig().await;
    let noise: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    let event = [
        b"data: {\"choices\":[{\"delta\":\"".as_slice(),
        &noise,
        b"\xff\xc0\x00\xed\xa0\x80\"}]}\n\n",
    ]
    .concat();
    let lone_cr = b"data: a\rdata: b\r\rdata: c\n\r\ndata:\n\n".to_vec();
    let pieces = [event.clone(), lone_cr.clone(), DONE.into()];
    backend.next(Script::events(pieces.clone()));
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert_eq!(
        (&*answer.body, &answer.ended),
        (&*pieces.concat(), &Ended::Complete)
    );

    let plain = [b"{\"choices\":[\"".as_slice(), b"\xc3\xa9 \\u0000", b"\"]}"].concat();
    backend.next(Script::raw(200, plain.clone()).header("content-type", "application/json"));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!((answer.status(), &*answer.body), (200, &*plain));
    gateway.finish(&[&backend]).await;
}

/// More than the gateway holds of one event. An unoptimized build uses a fifth of the length.
const LONG: usize = if cfg!(debug_assertions) {
    1_000_000
} else {
    5_000_000
};

#[tokio::test]
async fn a_line_of_megabytes_passes() {
    let (backend, gateway) = rig().await;
    let mut events = chat_stream_of(2);
    events.insert(1, chat_event(&"long ".repeat(LONG / 5)));
    for script in [
        Script::events(events.clone()),
        Script::events(events.clone()).cut_body(Cuts::Every(100_000)),
    ] {
        backend.next(script);
        let answer = gateway.call(&gateway.chat_stream("m")).await;
        assert_eq!(answer.ended, Ended::Complete);
        assert!(answer.body == events.concat().as_bytes());
    }
    let estimated = |row: &Row| row.outcome == "ok" && row.usage_source == "estimated";
    assert!(gateway.finish(&[&backend]).await.iter().all(estimated));
}

/// A compressed stream can neither be read nor edited: it passes as it is, and is complete when it ends.
#[tokio::test]
async fn a_compressed_stream_passes_untouched() {
    let (backend, gateway) = rig_with("[upstream]\nkeepalive_comment = \"50ms\"").await;
    let gate = Gate::closed();
    let pieces: [&[u8]; 3] = [b"\x1f\x8b\x08 not", b" an\n\nevent", b" at all"];
    let script = Script::events(pieces)
        .header("content-encoding", "gzip")
        .gate_events(&gate);
    backend.next(script);
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    gate.release(1);
    let mut reading = client.begin().await.unwrap();
    let first = client.piece(&mut reading).await.unwrap().unwrap();
    assert_eq!(first, pieces[0]);
    // A stream that began later has its comment by now.
    let later = Gate::closed();
    backend.next(Script::completion().chunks(2).gate_events(&later));
    let mut commented = gateway.client().await;
    commented.send(gateway.chat_stream("m").bytes()).await;
    later.release(1);
    let mut reading_later = commented.begin().await.unwrap();
    let comment = b": keep-alive\n";
    commented.until(&mut reading_later, comment).await;
    later.open();
    assert_eq!(commented.rest(reading_later).await.ended, Ended::Complete);
    gate.open();
    let answer = client.rest(reading).await;
    assert_eq!(answer.body, pieces[1..].concat());
    assert_eq!(answer.ended, Ended::Complete);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    let row = gateway.row_of(&answer).await;
    assert_eq!(
        (&*row.outcome, &*row.phase, &*row.usage_source),
        ("ok", "done", "estimated")
    );
    gateway.finish(&[&backend]).await;
}
