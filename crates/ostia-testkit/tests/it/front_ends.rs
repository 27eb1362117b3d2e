//! Chat front ends: with what Open WebUI and LibreChat send, a person's key is all that they need.

use ostia_testkit::client::Request;
use serde_json::json;

use crate::common::rig;

/// Headers of Open WebUI that name its user, of LibreChat, and of the browser behind them.
const HEADERS: [(&str, &str); 8] = [
    ("X-OpenWebUI-User-Name", "Ann%20Example"),
    ("X-OpenWebUI-User-Id", "7f7c1d9e-canary"),
    ("X-OpenWebUI-User-Email", "ann@example.org"),
    ("X-OpenWebUI-User-Role", "user"),
    ("X-OpenWebUI-Chat-Id", "c-1"),
    ("HTTP-Referer", "https://openwebui.com/"),
    ("X-Title", "Open WebUI"),
    ("Cookie", "session=canary"),
];

#[tokio::test]
async fn front_ends_list_chat_and_stream_with_fields_of_their_own() {
    let (backend, gateway) = rig().await;
    let bearer = gateway.site().secrets.client_bearer();
    let with_headers = |request: Request| {
        let request = request.bearer(&bearer);
        HEADERS.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    };
    let list = gateway
        .call(&with_headers(Request::get("/v1/models")))
        .await;
    assert_eq!(list.status(), 200);
    assert_eq!(list.json()["data"][0]["id"], "m");
    let listed = backend.records().len();

    let open_webui = json!({
        "model": "m", "stream": true, "params": {}, "tool_servers": [], "chat_id": "c-1", "session_id": "s", "id": "x",
        "features": {"voice": false, "image_generation": false, "web_search": false, "memory": false},
        "variables": {"{{USER_NAME}}": "Ann"}, "background_tasks": {"title_generation": true},
        "user": {"name": "Ann", "id": "7f7c", "email": "ann@example.org", "role": "user"},
        "metadata": {"user_id": "7f7c", "files": null}, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "hi"}],
    });
    let libre_chat = json!({
        "model": "m", "user": "65f1", "stream": true, "temperature": 1, "top_p": 1, "presence_penalty": 0,
        "frequency_penalty": 0, "messages": [{"role": "system", "content": "You are LibreChat"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]}], "stream_options": {"include_usage": true},
    });
    for body in [&open_webui, &libre_chat] {
        let request = with_headers(Request::post("/v1/chat/completions")).json(body);
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
        let records = backend.records();
        let received = &records.last().unwrap().received;
        assert_eq!(received.body, body.to_string());
        let head = String::from_utf8_lossy(&received.head.raw).to_lowercase();
        for word in ["openwebui", "canary", "ann", "referer", "x-title"] {
            assert!(!head.contains(word), "{word}: {head}");
        }
    }
    assert_eq!(backend.records().len(), listed + 2);
    gateway.finish(&[&backend]).await;
}
