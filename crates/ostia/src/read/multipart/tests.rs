use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::scan::MediaHosts;

const BOUNDARY: &[u8] = b"xYz";

fn text(name: &str, value: &str) -> String {
    format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// Scans a form and counts the pauses.
fn scan_pausing(body: &[u8], boundary: &[u8]) -> (Result<FormFields, Invalid>, usize) {
    let mut watch = Watch::default();
    watch.deny("rid");
    watch.hosts(&Arc::new(MediaHosts::Public));
    let mut scan = std::pin::pin!(scan_form(body, boundary, &watch));
    let mut task = Context::from_waker(Waker::noop());
    let mut pauses = 0;
    loop {
        match scan.as_mut().poll(&mut task) {
            Poll::Ready(fields) => return (fields, pauses),
            Poll::Pending => pauses += 1,
        }
    }
}

fn scan_bytes(body: &[u8], boundary: &[u8]) -> Result<FormFields, Invalid> {
    scan_pausing(body, boundary).0
}

fn scan(body: &str) -> Result<FormFields, Invalid> {
    scan_bytes(body.as_bytes(), BOUNDARY)
}

fn scan_parts(parts: &[String]) -> Result<FormFields, Invalid> {
    scan(&format!("{}--xYz--\r\n", parts.concat()))
}

fn model_in(body: &str) -> Option<&str> {
    let range = scan(body).unwrap().model?;
    Some(&body[range])
}

#[test]
fn finds_what_a_client_library_writes() {
    let body = "--xYz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\
                Content-Type: audio/mpeg\r\n\r\n\x00\x01--xYz not at a line's start\r\n\r\n\
                --xYz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nopenai/whisper\r\n\
                --xYz\r\ncontent-disposition:form-data;name=stream\r\n\r\ntrue\r\n\
                --xYz\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nhello\r\n--xYz--\r\n";
    assert_eq!(model_in(body), Some("openai/whisper"));
    let fields = scan(body).unwrap();
    assert_eq!(fields.stream, Some(true));
    assert_eq!(fields.text_bytes, 5);
}

#[test]
fn values_keep_line_breaks_and_may_be_empty() {
    let body = format!("{}--xYz--", text("model", "a\r\nb\r\n"));
    assert_eq!(model_in(&body), Some("a\r\nb\r\n"));
    let body = format!(
        "\r\n{}--xYz  \r\n{}--xYz--\r\n \r\n",
        text("a", "b"),
        &text("model", "")[7..]
    );
    assert_eq!(model_in(&body), Some(""));
}

#[test]
fn a_second_model_is_refused_in_every_spelling() {
    for spelling in [
        "name=\"model\"",
        "name=model",
        "NAME=\"model\"",
        "name=\"mod\\el\"",
        "name*=utf-8''model",
        "name*0=\"mo\"; name*1=\"del\"",
        "filename=\"x\"; name=\"model\"",
        "name=\"x\"; name=\"model\"",
    ] {
        let second = format!("--xYz\r\nContent-Disposition: form-data; {spelling}\r\n\r\nb\r\n");
        assert!(
            scan_parts(&[text("model", "a"), second.clone()]).is_err(),
            "{spelling}"
        );
        assert!(
            scan_parts(&[second, text("model", "a")]).is_err(),
            "{spelling}"
        );
    }
}

#[test]
fn names_that_servers_unquote_in_two_ways_are_refused() {
    for disposition in [
        "name=\"mod\\el\"",
        "name=\"model\\\"\"",
        "filename=\"x\\\"; name=\\\"model\\\"; y=\\\"z\"; name=\"a\"",
        "name=\"a\"; filename=\"x\\\"",
    ] {
        let part = format!("--xYz\r\nContent-Disposition: form-data; {disposition}\r\n\r\nb\r\n");
        assert!(
            scan_parts(&[text("model", "a"), part]).is_err(),
            "{disposition}"
        );
    }
    let path = "name=\"file\"; filename=\"C:\\dir\\a.mp3\"";
    let part = format!("--xYz\r\nContent-Disposition: form-data; {path}\r\n\r\nb\r\n");
    assert!(scan_parts(&[text("model", "a"), part]).is_ok());
}

#[test]
fn charsets_of_parts_are_utf_8() {
    let typed = |kind: &str| {
        format!("--xYz\r\nContent-Disposition: form-data; name=\"model\"\r\n{kind}\r\n\r\na\r\n")
    };
    for (kind, fine) in [
        ("Content-Type: text/plain", true),
        ("Content-Type: text/plain; charset=UTF-8", true),
        ("Content-Type: text/plain; charset=utf-7", false),
        ("Content-Type: text/plain; charset=\"utf-16\"", false),
        ("Content-Type: text/plain; charset*=utf-7", false),
        ("Content-Type: a/b\r\nContent-Type: a/b", false),
    ] {
        assert_eq!(scan_parts(&[typed(kind)]).is_ok(), fine, "{kind}");
    }
    assert!(scan_parts(&[text("_charset_", "utf-7"), text("model", "a")]).is_err());
}

#[test]
fn a_second_stream_is_refused() {
    let parts = [
        text("model", "a"),
        text("stream", "false"),
        text("stream", "true"),
    ];
    assert!(scan_parts(&parts).is_err());
}

#[test]
fn parts_that_endpoints_may_deny_are_seen() {
    let seen = |parts: &[String]| scan_parts(parts).unwrap().sightings;
    assert_eq!(seen(&[text("language", "en")]), Sightings::default());
    assert_eq!(
        seen(&[text("RID", "1")]).denied,
        [std::sync::Arc::<str>::from("rid")]
    );
    assert_eq!(seen(&[text("file_id", "f")]).reference, Some("file_id"));
    for (name, url, refused) in [
        ("url", "http://10.0.0.1/a", true),
        ("url", "https://example.org/a", false),
        ("image_url", "file:///a", true),
        ("file", "file:///a", true),
        ("file", "aGVsbG8=", false),
        ("prompt", "http://10.0.0.1/a", false),
    ] {
        let sightings = seen(&[text(name, url)]);
        assert_eq!(!sightings.media.is_empty(), refused, "{name} {url}");
    }
}

#[test]
fn forms_are_bounded_and_pause() {
    let many = |count: usize| vec![text("a", "b"); count];
    assert!(scan_parts(&many(MOST_PARTS - 2)).is_ok());
    assert!(scan_parts(&many(MOST_PARTS + 1)).is_err());
    let blank = " ".repeat(LONGEST_PADDING + 1);
    assert!(scan(&format!("{blank}{}--xYz--", text("a", "b"))).is_err());
    assert!(scan(&format!("{}--xYz--{blank}", text("a", "b"))).is_err());

    let filling = "x--xYz".repeat(3 * BLOCK / 6);
    let body = [text("file", &filling), text("model", "a")].concat() + "--xYz--";
    let (fields, pauses) = scan_pausing(body.as_bytes(), BOUNDARY);
    assert!(pauses >= 2, "{pauses}");
    assert_eq!(&body[fields.unwrap().model.unwrap()], "a");
}

#[test]
fn a_model_must_be_plain_text() {
    for headers in [
        "Content-Disposition: form-data; name=\"model\"; filename=\"m\"",
        "Content-Disposition: form-data; name=\"model\"; filename*=utf-8''m",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64",
    ] {
        let error = scan_parts(&[format!("--xYz\r\n{headers}\r\n\r\na\r\n")]).unwrap_err();
        assert_eq!(error.param, Some("model"), "{headers}");
    }
    let plain = "--xYz\r\nContent-Disposition: form-data; name=\"model\"\r\n\
                 Content-Transfer-Encoding: 8bit\r\n\r\na\r\n";
    assert!(scan_parts(&[plain.to_owned()]).is_ok());
}

#[test]
fn what_parsers_read_differently_is_refused() {
    let good = text("model", "a");
    for body in [
        String::new(),
        "--xYz--".replace("xYz", "other"),
        good.clone(),
        format!("hello\r\n{good}--xYz--"),
        format!("{good}--xYz--\r\n{good}"),
        format!("{good}--xYz--x"),
        format!("{}--xYz--", good.replace("\r\n", "\n")),
        format!("{}--xYz--", text("file", "a\n--xYz\nb")),
        format!("{}--xYz--", text("file", "a\r--xYz\rb")),
        format!("{}--xYz--", text("file", "a\r\n--xYzz\r\nb")),
        "--xYz\r\n--xYz--".to_owned(),
        "--xYz\r\n\r\nvalue\r\n--xYz--".to_owned(),
        "--xYz\r\nContent-Disposition: form-data; name=\"model\"\r\n--xYz--".to_owned(),
        "--xYz\r\nContent-Disposition: form-data\r\n\r\na\r\n--xYz--".to_owned(),
        "--xYz\r\nContent-Disposition: attachment; name=\"model\"\r\n\r\na\r\n--xYz--".to_owned(),
        "--xYz\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\na\r\n--xYz--"
            .to_owned(),
        "--xYz\r\nContent-Disposition : form-data; name=\"model\"\r\n\r\na\r\n--xYz--".to_owned(),
        "--xYz\r\nA: b\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\r\n--xYz--"
            .to_owned(),
        format!("--xYz\r\nA: {}\r\n\r\n\r\n--xYz--", "a".repeat(LONG)),
    ] {
        assert!(scan(&body).is_err(), "{body}");
    }
}

const LONG: usize = 17 * 1024;

#[test]
fn boundaries() {
    let of = |value: &str| boundary_of(value.as_bytes()).ok();
    let some = |text: &str| Some(text.as_bytes().into());
    assert_eq!(of("multipart/form-data; boundary=abc"), some("abc"));
    assert_eq!(
        of("multipart/form-data; charset=utf-8; Boundary=\"a:b/c\""),
        some("a:b/c")
    );
    for value in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary*=utf-8''a",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=\"a b\"",
        "multipart/form-data; boundary=\"a\\b\"",
        "multipart/form-data; boundary=\"a\\\"b\"",
        "multipart/form-data; boundary=\"a;b\"",
        "multipart/form-data; boundary=a\u{e9}",
    ] {
        assert_eq!(of(value), None, "{value}");
    }
    assert!(of(&format!("multipart/form-data; boundary={}", "a".repeat(70))).is_some());
    assert!(of(&format!("multipart/form-data; boundary={}", "a".repeat(71))).is_none());
}

proptest! {
    #[test]
    fn finds_the_model_among_any_parts(
        before in prop::collection::vec(("[a-ln-z]{1,6}", "[ -~\r\n]{0,30}"), 0..4),
        model in "[ -~]{0,20}",
        after in prop::collection::vec(("[a-ln-z]{1,6}", "[ -~\r\n]{0,30}"), 0..4),
    ) {
        let write = |parts: &[(String, String)]| -> String {
            parts.iter().map(|(name, value)| text(name, value)).collect()
        };
        let head = format!("{}{}", write(&before), text("model", ""));
        let start = head.len() - 2;
        let body = format!("{}{model}\r\n{}--xYz--\r\n", &head[..start], write(&after));
        // Skip values that happen to hold the boundary at the start of a line; those are refused.
        prop_assume!(body.matches("--xYz").count() == before.len() + after.len() + 2);
        prop_assert_eq!(scan(&body).unwrap().model, Some(start..start + model.len()));
    }

    #[test]
    fn never_panics(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "--xYz", "--", "\r\n", "\r", "\n", "\r\n\r\n", "Content-Disposition: form-data", "; name=",
            "\"model\"", "; ", "\"", "\\", "=", ":", "a", "\0", " ", "filename=",
        ]), 0..30),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let body = pieces.concat();
        if let Ok(fields) = scan(&body) {
            prop_assert!(fields.model.is_none_or(|range| range.end <= body.len()));
        }
        let _ = scan_bytes(&bytes, &bytes[..bytes.len().min(2)]);
        let _ = boundary_of(&bytes);
        let _ = boundary_of(body.as_bytes());
    }
}

#[test]
fn parts_that_some_servers_take_for_model_or_stream_are_refused() {
    for name in [
        "Model",
        "MODEL",
        " model",
        "model ",
        "model[]",
        "Stream",
        "\u{17f}tream",
        "STREAM[]",
        "_CHARSET_",
    ] {
        let parts = [text("model", "m"), text(name, "true")];
        assert!(scan_parts(&parts).is_err(), "{name}");
    }
    for name in [
        "model_name",
        "streams",
        "models[]",
        "timestamp_granularities[]",
    ] {
        let parts = [text("model", "m"), text(name, "true")];
        assert!(scan_parts(&parts).is_ok(), "{name}");
    }
}

#[test]
fn stream_is_read_in_the_words_of_lenient_servers() {
    let stream = |value: &str| {
        let parts = [text("model", "m"), text("stream", value)];
        scan_parts(&parts).map(|fields| fields.stream)
    };
    for value in ["true", "True", "1", "t", "yes", "Y", "ON"] {
        assert_eq!(stream(value), Ok(Some(true)), "{value}");
    }
    for value in ["", "false", "FALSE", "0", "f", "no", "N", "off"] {
        assert_eq!(stream(value), Ok(Some(false)), "{value}");
    }
    for value in [" true", "2", "truthy", "null", "true\r\n"] {
        assert!(stream(value).is_err(), "{value}");
    }
}

#[test]
fn names_of_members_and_files_without_a_name_are_looked_at() {
    let nameless = |name: &str, value: &str| {
        text(name, value).replace(
            &format!("name=\"{name}\""),
            &format!("name=\"{name}\"; filename=\"\""),
        )
    };
    for part in [
        text("image_url[url]", "http://10.0.0.1/"),
        text("IMAGE_URL", "http://10.0.0.1/"),
        text("image_url.url", "http://10.0.0.1/"),
        text("image[0][image_url]", "http://10.0.0.1/"),
        text("url[]", "http://10.0.0.1/"),
        nameless("url", "http://10.0.0.1/"),
    ] {
        let fields = scan_parts(&[text("model", "m"), part.clone()]).unwrap();
        assert_eq!(fields.sightings.media.len(), 1, "{part}");
    }
    for part in [text("file_ids[]", "file-1"), text("File_Id", "file-1")] {
        let fields = scan_parts(&[text("model", "m"), part.clone()]).unwrap();
        assert_eq!(fields.sightings.reference, Some("file_id"), "{part}");
    }
    for (name, is_denied) in [
        ("rid", true),
        ("RID", true),
        ("rid[]", true),
        ("extra_body[rid]", true),
        ("extra_body[extra_body][rid]", true),
        ("metadata[rid]", false),
        ("grid", false),
    ] {
        let fields = scan_parts(&[text("model", "m"), text(name, "x")]).unwrap();
        assert_eq!(!fields.sightings.denied.is_empty(), is_denied, "{name}");
    }
    assert!(scan_parts(&[nameless("model", "m")]).is_err());
}
