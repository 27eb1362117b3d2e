//! Many streams at once: all are complete, and the ledger is exact.

use futures_util::future::join_all;
use ostia_testkit::backend::Script;
use ostia_testkit::client::Ended;
use serde_json::json;

use crate::common::rig_with;

const CONNECTIONS: usize = 64;
/// An unoptimized build uses a quarter, to save time.
const STREAMS: usize = if cfg!(debug_assertions) { 256 } else { 1_000 };
const CHUNKS: usize = 64;

#[tokio::test]
async fn many_streams_are_whole_and_their_tokens_add_up() {
    let (backend, gateway) = rig_with("[upstream]\npool_idle_timeout = \"60s\"").await;
    backend.otherwise(Script::completion().chunks(CHUNKS));
    let work = |number: usize| {
        let gateway = &gateway;
        async move {
            let mut client = gateway.client().await;
            let mut whole = 0;
            for turn in (number..STREAMS).step_by(CONNECTIONS) {
                let options =
                    json!({"stream": true, "stream_options": {"include_usage": turn % 2 == 0}});
                let request = gateway.request("chat/completions", "m", &options);
                let answer = client.call(&request).await;
                let pieces = memchr::memmem::find_iter(&answer.body, b"piece").count();
                let done = answer.body.ends_with(b"data: [DONE]\n\n");
                assert_eq!(
                    (&answer.ended, pieces, done),
                    (&Ended::Complete, CHUNKS, true)
                );
                whole += 1;
            }
            whole
        }
    };
    let whole: usize = join_all((0..CONNECTIONS).map(work)).await.into_iter().sum();
    assert_eq!(whole, STREAMS);
    assert!(backend.counts().connections <= CONNECTIONS);
    let reported = backend
        .records()
        .into_iter()
        .filter_map(|record| record.reported);
    let reported = reported.map(|tokens| tokens.total()).sum::<u64>();
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), STREAMS);
    assert_eq!(
        rows.iter().map(|row| row.total_tokens).sum::<u64>(),
        reported
    );
    assert_eq!(reported, (STREAMS * (11 + CHUNKS)) as u64);
}
