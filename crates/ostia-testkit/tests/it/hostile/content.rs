//! The backend reads the same body that was checked: its Content-Type is written by the gateway.

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{Site, TestGateway};

use super::raw;

fn form(boundary: &str, parts: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let parts: String = parts.iter().map(part).collect();
    format!("{parts}--{boundary}--\r\n")
}

fn typed(gateway: &TestGateway, api: &str, kind: &str, body: String) -> Request {
    raw(gateway, api, body)
        .without("content-type")
        .header("Content-Type", kind)
}

#[tokio::test]
async fn what_two_programs_read_in_two_ways_reaches_no_backend() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    // A parser that does not unquote finds another boundary, and so another model.
    let two =
        "--x\\y\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nforbidden\r\n--x\\y--\r\n";
    let twofold = form("xy", &[("model", "m"), ("prompt", two)]);
    let json = r#"{"model":"m","messages":[{}]}"#.to_owned();
    for (api, kind, body, status) in [
        (
            "audio/transcriptions",
            "multipart/form-data; boundary=\"x\\y\"",
            twofold.clone(),
            400,
        ),
        (
            "audio/transcriptions",
            "multipart/form-data; boundary=\"x\\\"y\"",
            twofold.clone(),
            400,
        ),
        (
            "audio/transcriptions",
            "multipart/form-data; boundary=xy; boundary=\"x\\y\"",
            twofold.clone(),
            400,
        ),
        (
            "audio/transcriptions",
            "multipart/form-data; boundary=xy; charset=utf-16",
            twofold,
            415,
        ),
        (
            "chat/completions",
            "application/json; charset=utf-7",
            json.clone(),
            415,
        ),
        (
            "chat/completions",
            "application/json; charset=\"utf-16le\"",
            json.clone(),
            415,
        ),
        (
            "chat/completions",
            "text/plain; charset=iso-8859-1",
            json,
            415,
        ),
    ] {
        let answer = gateway.call(&typed(&gateway, api, kind, body)).await;
        assert_eq!(answer.status(), status, "{kind}: {}", answer.text());
    }
    for parts in [
        [("model", "m"), ("_charset_", "utf-16")],
        [("model", "m"), ("mod\\el", "forbidden")],
        [("mod\\el", "m"), ("language", "en")],
    ] {
        let kind = "multipart/form-data; boundary=xy";
        let body = form("xy", &parts);
        let answer = gateway
            .call(&typed(&gateway, "audio/transcriptions", kind, body))
            .await;
        assert_eq!(answer.status(), 400, "{parts:?}: {}", answer.text());
    }
    assert!(backend.records().is_empty());
    gateway.finish(&[&backend]).await;
}

/// SDKs write members of objects as `image_url[url]`; some servers ignore letter case.
#[tokio::test]
async fn parts_of_a_form_are_judged_by_every_name_that_servers_read_in_them() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let (inside, kind) = ("http://10.0.0.1/", "multipart/form-data; boundary=xy");
    for (name, value) in [
        ("image_url[url]", inside),
        ("Image_Url", inside),
        ("url[]", inside),
        ("url\"; filename=\"", inside),
        ("image[0].image_url", inside),
        ("file_ids[]", "file-1"),
        ("extra_body[priority]", "1"),
        ("PRIORITY", "1"),
        ("_Charset_", "utf-16"),
        ("stream", "maybe"),
    ] {
        let body = form("xy", &[("model", "m"), (name, value)]);
        let answer = gateway
            .call(&typed(&gateway, "audio/transcriptions", kind, body))
            .await;
        assert_eq!(answer.status(), 400, "{name}: {}", answer.text());
    }
    assert!(backend.records().is_empty());
    let body = form(
        "xy",
        &[
            ("model", "m"),
            ("metadata[priority]", "1"),
            ("stream", "no"),
        ],
    );
    let answer = gateway
        .call(&typed(&gateway, "audio/transcriptions", kind, body))
        .await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_content_type_is_of_the_gateways_own_making() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let json = r#"{"model":"m","messages":[{}]}"#;
    let body = form("x:y", &[("model", "m")]);
    for (api, kind, body, sent) in [
        (
            "chat/completions",
            "application/json; charset=UTF-8; x=\"\\y\"",
            json,
            "application/json",
        ),
        (
            "chat/completions",
            "application/vnd.api+json",
            json,
            "application/json",
        ),
        (
            "chat/completions",
            "application/json, multipart/form-data; boundary=x",
            json,
            "application/json",
        ),
        ("chat/completions", "text/plain", json, "application/json"),
        (
            "audio/transcriptions",
            "Multipart/Form-Data; a=b; BOUNDARY=\"x:y\"; charset=utf-8",
            &*body,
            "multipart/form-data; boundary=\"x:y\"",
        ),
    ] {
        let answer = gateway
            .call(&typed(&gateway, api, kind, body.to_owned()))
            .await;
        assert_eq!(answer.status(), 200, "{kind}: {}", answer.text());
        let records = backend.records();
        let received = &records[records.len() - 1].received;
        let kinds: Vec<_> = received.head.fields.all("content-type").collect();
        assert_eq!(kinds, [sent], "{kind}");
        assert_eq!(received.body, body, "{kind}");
    }
    gateway.finish(&[&backend]).await;
}
