//! What endpoints accept in a body: fields that control engines, hosts that backends fetch from, and references under
//! the key that all users share.

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};

use super::{assert_refused, raw};

async fn rig(config: &[(&str, Value)]) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let mut endpoint = Endpoint::of("m", &backend);
    for (key, value) in config {
        endpoint = endpoint.config(key, value.clone());
    }
    (
        backend,
        TestGateway::start(Site::new().endpoint(endpoint)).await,
    )
}

fn body(members: &str) -> String {
    let usual = match members {
        members if members.starts_with("\"messages\"") || members.starts_with("\"input\"") => "",
        _ => r#""messages":[{}],"input":"a","#,
    };
    format!(r#"{{"model":"m",{usual}{members}}}"#)
}

/// All of these are refused because of their `param`, and none reaches the backend.
async fn assert_all_refused(config: &[(&str, Value)], cases: &[(&str, &str, &str)]) {
    let (backend, gateway) = rig(config).await;
    for (api, members, param) in cases {
        let answer = gateway.call(&raw(&gateway, api, body(members))).await;
        assert_refused(&answer, param, members);
    }
    assert!(backend.records().is_empty());
    gateway.finish(&[&backend]).await;
}

/// All of these reach the backend byte for byte.
async fn assert_all_pass(config: &[(&str, Value)], cases: &[(&str, &str)]) {
    let (backend, gateway) = rig(config).await;
    for (number, (api, members)) in cases.iter().enumerate() {
        let sent = body(members);
        let answer = gateway.call(&raw(&gateway, api, sent.clone())).await;
        assert_eq!(answer.status(), 200, "{members}: {}", answer.text());
        assert_eq!(backend.records()[number].received.body, sent, "{members}");
    }
    gateway.finish(&[&backend]).await;
}

const CHAT: &str = "chat/completions";

#[tokio::test]
async fn fields_that_steer_the_engine_are_refused() {
    let cases = [
        (CHAT, r#""priority":-100"#, "priority"),
        (
            CHAT,
            r#""kv_transfer_params":{"do_remote_prefill":true,"remote_host":"10.0.0.1"}"#,
            "kv_transfer_params",
        ),
        (CHAT, r#""bootstrap_host":"10.0.0.1""#, "bootstrap_host"),
        (CHAT, r#""extra_body":{"priority":1}"#, "priority"),
        (
            CHAT,
            r#""extra_body":{"a":1,"Kv_Tran\u017ffer_params":{}}"#,
            "kv_transfer_params",
        ),
        (CHAT, r#""sampling_params":{"Priority":1}"#, "priority"),
        (
            CHAT,
            r#""extra_body":{"extra_body":{"options":{"rid":"x"}}}"#,
            "rid",
        ),
        (
            CHAT,
            r#""vllm_xargs":{"kv_transfer_params":{}}"#,
            "kv_transfer_params",
        ),
        (
            CHAT,
            r#""ec_transfer_params":{"a":{"peer_host":"10.0.0.1"}}"#,
            "ec_transfer_params",
        ),
        (
            CHAT,
            r#""disaggregated_params":{"ctx_request_id":1}"#,
            "disaggregated_params",
        ),
        (CHAT, r#""routed_dp_rank":1"#, "routed_dp_rank"),
        (
            CHAT,
            r#""disagg_prefill_dp_rank":1"#,
            "disagg_prefill_dp_rank",
        ),
        ("embeddings", r#""vllm_xargs":{"priority":1}"#, "priority"),
        (
            "rerank",
            r#""sampling_params":{"Data_Parallel_Rank":1}"#,
            "data_parallel_rank",
        ),
        (
            "images/generations",
            r#""parameters":{"options":{"rid":"x"}}"#,
            "rid",
        ),
        (
            CHAT,
            r#""logits_processors":["os.system"]"#,
            "logits_processors",
        ),
        (
            "embeddings",
            r#""data_parallel_rank":"0""#,
            "data_parallel_rank",
        ),
        (CHAT, r#""bootstrap_port":1"#, "bootstrap_port"),
        (CHAT, r#""bootstrap_room":[1]"#, "bootstrap_room"),
        (
            CHAT,
            r#""custom_logit_processor":"gASV""#,
            "custom_logit_processor",
        ),
        (CHAT, r#""rid":"other""#, "rid"),
        (CHAT, r#""r\u0069d":"other""#, "rid"),
        (
            "responses",
            r#""data_parallel_rank":1"#,
            "data_parallel_rank",
        ),
        ("rerank", r#""priority":0"#, "priority"),
        ("messages", r#""priority":1,"priority":2"#, "priority"),
    ];
    assert_all_refused(&[], &cases).await;
    let passes = [
        (
            CHAT,
            r#""priority":null,"cache_salt":"x","guided_regex":"(a+)+$""#,
        ),
        (CHAT, r#""metadata":{"priority":1,"rid":"x"}"#),
        // Engines take the gateway's id before this one.
        (CHAT, r#""request_id":"x""#),
        ("rerank", r#""parameters":{"truncate":true}"#),
        (CHAT, r#""extra_body":{"metadata":{"rid":"x"}}"#),
        (
            CHAT,
            r#""messages":[{"role":"user","content":"\"rid\":1","priority":1}]"#,
        ),
        (
            "responses",
            r#""text":{"format":{"type":"json_schema","schema":{"rid":1}}}"#,
        ),
    ];
    assert_all_pass(&[], &passes).await;
}

#[tokio::test]
async fn an_endpoint_denies_what_it_lists_and_nothing_else() {
    let own = [("denied_fields", json!(["cache_salt", "Guided_Regex", "n"]))];
    let cases = [
        (CHAT, r#""cache_salt":"x""#, "cache_salt"),
        (CHAT, r#""guided_regex":"(a+)+$""#, "guided_regex"),
        (CHAT, r#""n":1"#, "n"),
    ];
    assert_all_refused(&own, &cases).await;
    assert_all_pass(&own, &[(CHAT, r#""priority":1,"rid":"x""#)]).await;
    assert_all_pass(
        &[("denied_fields", json!([]))],
        &[(CHAT, r#""priority":1"#)],
    )
    .await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_falls_out_and_another_answers() {
    let (strict, lax) = (FakeBackend::start().await, FakeBackend::start().await);
    let lax_one = Endpoint::of("m", &lax)
        .on("other", "vllm")
        .config("denied_fields", json!([]))
        .config("media_hosts", json!(["*"]))
        .config("shared_references", json!(true))
        .config("priority", json!(7));
    let site = Site::new()
        .endpoint(Endpoint::of("m", &strict))
        .endpoint(lax_one);
    let gateway = TestGateway::start(site).await;
    let parts = r#""messages":[{"content":[{"image_url":{"url":"http://10.0.0.1/a"}},{"file":{"file_id":"f"}}]}]"#;
    for members in [r#""priority":1"#, parts] {
        let answer = gateway.call(&raw(&gateway, CHAT, body(members))).await;
        assert_eq!(answer.status(), 200, "{members}: {}", answer.text());
        let bearer = gateway.site().secrets.client_bearer();
        let named = Request::post("/lab/vllm/v1/chat/completions")
            .bearer(&bearer)
            .body(body(members));
        assert_eq!(gateway.call(&named).await.status(), 400, "{members}");
    }
    assert_eq!((strict.records().len(), lax.records().len()), (0, 2));
    gateway.finish(&[&strict, &lax]).await;
}

#[tokio::test]
async fn urls_that_lead_into_the_site_are_refused_wherever_a_backend_would_fetch_them() {
    let cases = [
        (
            CHAT,
            r#""messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://169.254.169.254/latest"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"image_url","image_url":"http://2852039166/"}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"Image_Url":{"URL":"http:\/\/0xa9fea9fe"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"image_url":{"url":"f\u0069le:///etc/passwd"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"video_url","video_url":{"url":"http://intranet/a"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"audio_url","audio_url":{"url":"http://[::ffff:10.0.0.1]/a"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"file","file":{"file_data":"http://db.internal/a"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"https://user@example.org/a"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://example.org","url":"http://localhost/"}}]}]"#,
            "messages",
        ),
        (
            "responses",
            r#""input":[{"role":"user","content":[{"type":"input_image","image_url":"http://127.1:8000/"}]}]"#,
            "input",
        ),
        (
            "responses",
            r#""input":[{"role":"user","content":[{"type":"input_file","file_url":"http://nas.local/a.pdf"}]}]"#,
            "input",
        ),
        (
            "responses",
            r#""input":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"http://10.0.0.1/"}]}]"#,
            "input",
        ),
        (
            "responses",
            r#""input":[{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"http://10.0.0.1/"}}]"#,
            "input",
        ),
        (
            "responses",
            r#""tools":[{"type":"mcp","server_label":"x","server_url":"http://10.0.0.1/sse"}]"#,
            "tools",
        ),
        (
            "messages",
            r#""messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"http://10.0.0.1/"}}]}]"#,
            "messages",
        ),
        (
            "messages",
            r#""messages":[{"content":[{"type":"tool_result","content":[{"type":"document","source":{"type":"content","content":[{"type":"image","source":{"type":"url","url":"http://10.0.0.1/"}}]}}]}]}]"#,
            "messages",
        ),
        (
            "messages",
            r#""mcp_servers":[{"type":"url","url":"http://10.0.0.1/","name":"x"}]"#,
            "mcp_servers",
        ),
        (
            "score",
            r#""data_1":{"content":[{"type":"image_url","image_url":{"url":"http://10.0.0.1/"}}]}"#,
            "data_1",
        ),
        (
            "rerank",
            r#""documents":{"content":[{"type":"image_url","image_url":{"url":"http://10.0.0.1/"}}]}"#,
            "documents",
        ),
        (
            "embeddings",
            r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"http://10.0.0.1/"}}]}]"#,
            "messages",
        ),
        (
            "images/edits",
            r#""images":[{"image_url":"http://10.0.0.1/"}]"#,
            "images",
        ),
    ];
    assert_all_refused(&[], &cases).await;
    assert_all_refused(&[], &odd_places()).await;
    let passes = [
        (
            CHAT,
            r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"https://example.org/a.png","detail":"low"}}]}]"#,
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]"#,
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"text","text":"http://10.0.0.1/"}]},{"content":"file:///etc/passwd"}]"#,
        ),
        (
            CHAT,
            r#""messages":[{"tool_calls":[{"function":{"arguments":"{\"image_url\":\"http://10.0.0.1/\"}"}}]}]"#,
        ),
        (
            CHAT,
            r#""tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"image_url":{"default":"http://10.0.0.1/"}}}}}]"#,
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"input_audio","input_audio":{"data":"SUQz","format":"mp3"}}]}]"#,
        ),
        (
            CHAT,
            r#""messages":[{}],"metadata":{"image_url":"http://10.0.0.1/"}"#,
        ),
        (
            "messages",
            r#""messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"source":{"url":"http://10.0.0.1/"}}}]}]"#,
        ),
        (
            "messages",
            r#""messages":[{"content":[{"type":"web_search_tool_result","content":[{"type":"web_search_result","url":"http://10.0.0.1/"}]}]}]"#,
        ),
        (
            "responses",
            r#""input":[{"role":"assistant","content":[{"type":"output_text","text":"a","annotations":[{"type":"url_citation","url":"http://10.0.0.1/"}]}]}]"#,
        ),
    ];
    assert_all_pass(&[], &passes).await;
}

/// Where servers look that go beyond the API.
fn odd_places() -> [(&'static str, &'static str, &'static str); 21] {
    [
        (CHAT, r#""image_data":"http://10.0.0.1/""#, "image_data"),
        (
            CHAT,
            r#""image_data":["https://example.org/a","/srv/scans/a.png"]"#,
            "image_data",
        ),
        (
            "completions",
            r#""prompt":"a","video_data":"http://10.0.0.1/""#,
            "video_data",
        ),
        (
            "embeddings",
            r#""audio_data":["file:///etc/passwd"]"#,
            "audio_data",
        ),
        (CHAT, r#""images":["http://10.0.0.1/"]"#, "images"),
        (CHAT, r#""pdf_url":"http://nas.local/a.pdf""#, "pdf_url"),
        (
            CHAT,
            r#""multi_modal_data":{"image":["http://10.0.0.1/"]}"#,
            "multi_modal_data",
        ),
        (
            "images/ocr",
            r#""document":{"document_url":"http://10.0.0.1/"}"#,
            "document",
        ),
        ("audio/transcriptions", r#""url":"http://10.0.0.1/""#, "url"),
        (
            "rerank",
            r#""documents":[{"url":"http://10.0.0.1/"}]"#,
            "documents",
        ),
        (
            "rerank",
            r#""documents":[{"text":"a"},{"image":"http://10.0.0.1/"}]"#,
            "documents",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"image","url":"http://10.0.0.1/"}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"url":"http://10.0.0.1/","type":"Vid\u0065o"}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"audio","path":"/etc/passwd"}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"image","url":["http://10.0.0.1/"]}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"input_video","input_video":{"url":"http://10.0.0.1/"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"pdf_url","pdf_url":{"url":"http://10.0.0.1/"}}]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"file","file":"http://10.0.0.1/"}]}]"#,
            "messages",
        ),
        (
            "responses",
            r#""input":[{"role":"user","content":[{"type":"input_image","url":"http://10.0.0.1/"}]}]"#,
            "input",
        ),
        (
            CHAT,
            r#""messages":[{"content":"a","images":["/srv/scans/a.png"]}]"#,
            "messages",
        ),
        (
            CHAT,
            r#""contents":[{"content":[{"inlineData":{"url":"http://10.0.0.1/"}}]}]"#,
            "contents",
        ),
    ]
}

#[tokio::test]
async fn a_url_beside_a_text_is_where_the_text_is_from() {
    let passes = [
        (
            CHAT,
            r#""messages":[{}],"documents":[{"title":"a","text":"b","url":"http://wiki.local/a"}]"#,
        ),
        (
            "rerank",
            r#""documents":[{"url":"http://wiki.local/a","text":"b"},"file:///etc/passwd"]"#,
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"text","text":"a","url":"http://10.0.0.1/"}]}]"#,
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"image","url":"https://example.org/a.png"}]}]"#,
        ),
        (
            CHAT,
            r#""image_data":"iVBORw0KGgo=","images":[],"pdf_url":null"#,
        ),
        (
            "messages",
            r#""messages":[{"content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"A text. It has dots."}}]}]"#,
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"document","document":{"id":"1","data":"A text."}}]}]"#,
        ),
    ];
    assert_all_pass(&[], &passes).await;
}

#[tokio::test]
async fn media_come_from_listed_hosts_or_from_none() {
    let image = |url: &str| {
        format!(
            r#""messages":[{{"content":[{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}]"#
        )
    };
    let (own, other) = (
        image("https://a.media.example/x"),
        image("https://example.org/x"),
    );
    let data = image("data:,x");
    let listed = [("media_hosts", json!(["*.media.example", "10.0.0.7"]))];
    let lan = image("http://10.0.0.7:9000/x");
    assert_all_pass(&listed, &[(CHAT, &own), (CHAT, &data), (CHAT, &lan)]).await;
    assert_all_refused(&listed, &[(CHAT, &other, "messages")]).await;
    let none = [("media_hosts", json!([]))];
    assert_all_pass(&none, &[(CHAT, &data)]).await;
    assert_all_refused(
        &none,
        &[(CHAT, &other, "messages"), (CHAT, &own, "messages")],
    )
    .await;
    let external = [("location", json!("external"))];
    assert_all_pass(&external, &[(CHAT, &lan), (CHAT, &image("gs://bucket/x"))]).await;
}

#[tokio::test]
async fn references_to_what_all_users_share_are_refused() {
    let cases = [
        (
            CHAT,
            r#""messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]"#,
            "file_id",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"file","file":{"f\u0069le_id":"file-1"}}]}]"#,
            "file_id",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"file","FILE":{"File_ID":"file-1"}}]}]"#,
            "file_id",
        ),
        (
            CHAT,
            r#""messages":[{"role":"assistant","audio":{"id":"audio_1"}}]"#,
            "audio.id",
        ),
        (
            CHAT,
            r#""messages":[{}],"audio":{"voice":{"id":"voice_1"},"format":"wav"}"#,
            "voice.id",
        ),
        (
            "responses",
            r#""input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]"#,
            "file_id",
        ),
        (
            "responses",
            r#""input":[{"role":"user","content":[{"type":"input_image","file_id":"file-1"}]}]"#,
            "file_id",
        ),
        (
            "responses",
            r#""input":[{"type":"code_interpreter_call","id":"ci","container_id":"cntr_1","code":""}]"#,
            "container",
        ),
        (
            "responses",
            r#""tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]"#,
            "vector_store_ids",
        ),
        (
            "responses",
            r#""tools":[{"type":"function","type":"file_search","vector_store_ids":["vs_1"]}]"#,
            "vector_store_ids",
        ),
        (
            "responses",
            r#""tools":[{"type":"code_interpreter","container":"cntr_1"}]"#,
            "container",
        ),
        (
            "responses",
            r#""tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-1"]}}]"#,
            "file_id",
        ),
        (
            "responses",
            r#""tools":[{"type":"shell","environment":{"type":"container_reference","container_id":"c"}}]"#,
            "container",
        ),
        (
            "responses",
            r#""tools":[{"type":"image_generation","input_image_mask":{"file_id":"file-1"}}]"#,
            "file_id",
        ),
        (
            "responses",
            r#""prompt":{"id":"pmpt_1","variables":{"city":"x"}}"#,
            "prompt",
        ),
        ("messages", r#""container":"container_1""#, "container"),
        (
            "messages",
            r#""container":{"id":"container_1","skills":[]}"#,
            "container",
        ),
        (
            "messages",
            r#""messages":[{"content":[{"type":"container_upload","file_id":"file-1"}]}]"#,
            "file_id",
        ),
        (
            "messages",
            r#""messages":[{"content":[{"type":"document","source":{"type":"file","file_id":"file-1"}}]}]"#,
            "file_id",
        ),
        (
            "messages",
            r#""messages":[{"content":[{"type":"code_execution_tool_result","content":{"content":[{"type":"code_execution_output","file_id":null,"file":{"file_id":"file-1"}}]}}]}]"#,
            "file_id",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"file_id":7,"type":"input_file"}]}]"#,
            "file_id",
        ),
        (
            CHAT,
            r#""messages":[{"content":[{"type":"file","file":{"id":"file-1"}}]}]"#,
            "file_id",
        ),
        (
            CHAT,
            r#""messages":[{"content":"a","attachments":[{"file_id":"file-1"}]}]"#,
            "file_id",
        ),
        ("images/edits", r#""mask":{"file_id":"file-1"}"#, "file_id"),
        (
            "audio/speech",
            r#""input":"a","voice":{"id":"voice_1"}"#,
            "voice.id",
        ),
        (
            CHAT,
            r#""tool_resources":{"file_search":{"vector_store_ids":["vs_1"]}}"#,
            "vector_store_ids",
        ),
    ];
    assert_all_refused(&[], &cases).await;
    let passes = [
        (
            CHAT,
            r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"file_id":{"type":"string"},"container":"x"},"required":["file_id"]}}}]"#,
        ),
        (
            "responses",
            r#""tools":[{"type":"function","name":"f","parameters":{"properties":{"vector_store_ids":["vs_1"],"file_id":"x"}}}]"#,
        ),
        (
            "responses",
            r#""tools":[{"type":"code_interpreter","container":{"type":"auto"}}]"#,
        ),
        (
            "responses",
            r#""text":{"format":{"type":"json_schema","name":"s","schema":{"properties":{"file_id":"x"}}}}"#,
        ),
        (
            "responses",
            r#""input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\"file_id\":\"x\"}"}]"#,
        ),
        (
            "responses",
            r#""input":[{"role":"user","content":[{"type":"input_file","file_id":null,"file_data":"data:,x"}]}]"#,
        ),
        (
            "messages",
            r#""messages":[{"content":[{"type":"tool_use","id":"t","name":"f","input":{"file_id":"x","container":"y"}}]}]"#,
        ),
        (
            "messages",
            r#""tools":[{"name":"f","input_schema":{"properties":{"file_id":{"type":"string"}}}}]"#,
        ),
        (
            CHAT,
            r#""messages":[{"content":"{\"file_id\":\"x\"}"}],"metadata":{"file_id":"x"}"#,
        ),
        ("audio/speech", r#""input":"a","voice":"alloy""#),
        // What a tool has made, in a conversation that goes on.
        (
            "messages",
            r#""messages":[{"role":"assistant","content":[{"type":"code_execution_tool_result","tool_use_id":"t","content":{"type":"code_execution_result","stdout":"","content":[{"file_id":"file-1","type":"code_execution_output"}]}}]}]"#,
        ),
        (
            "messages",
            r#""messages":[{"content":[{"type":"bash_code_execution_tool_result","content":{"content":[{"type":"bash_code_execution_output","file_id":"file-1"}]}}]}]"#,
        ),
    ];
    assert_all_pass(&[], &passes).await;
    let shared = [("shared_references", json!(true))];
    let passes: Vec<_> = cases
        .iter()
        .map(|(api, members, _)| (*api, *members))
        .collect();
    assert_all_pass(&shared, &passes).await;
}
