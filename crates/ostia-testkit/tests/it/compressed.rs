//! Compressed bodies: backends get plain bytes, and no body exceeds its limit or the memory budget.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use ostia_testkit::client::Request;
use ostia_testkit::gateway::TestGateway;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::common::{rig, rig_with};

const BODY: &str = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hello hello hello hello"}]}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

/// One uncompressed meta-block (RFC 7932 section 9.2), in a window of 64 KiB.
fn brotli(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len() - 1).unwrap();
    let bits = (length << 4) | (1 << 20);
    let mut stream = bits.to_le_bytes()[..3].to_vec();
    stream.extend_from_slice(text);
    stream.push(0b11);
    stream
}

fn coded(gateway: &TestGateway, body: Vec<u8>, coding: &str) -> Request {
    Request::post("/v1/chat/completions")
        .bearer(&gateway.site().secrets.client_bearer())
        .header("Content-Type", "application/json")
        .header("Content-Encoding", coding)
        .body(body)
}

#[tokio::test]
async fn backends_get_plain_bytes_whatever_the_coding() {
    let (backend, gateway) = rig().await;
    let text = BODY.as_bytes();
    let table = [
        ("gzip", gzip(text)),
        ("X-GZIP", gzip(text)),
        ("deflate", zlib(text)),
        ("deflate", deflate(text)),
        ("br", brotli(text)),
        ("zstd", zstd(text)),
        ("zstd, gzip", gzip(&zstd(text))),
        (
            "gzip, identity, deflate, br, zstd",
            zstd(&brotli(&zlib(&gzip(text)))),
        ),
        ("identity", text.to_vec()),
    ];
    let count = table.len();
    for (coding, body) in table {
        let answer = gateway.call(&coded(&gateway, body, coding)).await;
        assert_eq!(answer.status(), 200, "{coding}: {}", answer.text());
    }
    let records = backend.records();
    assert_eq!(records.len(), count);
    for record in records {
        assert_eq!(record.received.body, BODY);
        assert_eq!(record.received.head.fields.first("content-encoding"), None);
        let length = BODY.len().to_string();
        assert_eq!(
            record.received.head.fields.first("content-length"),
            Some(&*length)
        );
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(row.request_bytes, BODY.len() as u64);
    }
}

#[tokio::test]
async fn what_does_not_decode_is_told_in_the_one_shape() {
    let (backend, gateway) = rig_with("[server]\nmax_body_bytes = 100000").await;
    let text = BODY.as_bytes();
    let long = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(99_000)
    );
    let fits = coded(&gateway, zstd(long.as_bytes()), "zstd");
    assert_eq!(gateway.call(&fits).await.status(), 200);
    let cut = |body: Vec<u8>| body[..body.len() - 1].to_vec();
    let more = |body: Vec<u8>| [&body[..], b"{}"].concat();
    let bomb = vec![b' '; 20 << 20];
    let table = [
        ("gzip", cut(gzip(text)), 400, "invalid_encoding"),
        ("gzip", more(gzip(text)), 400, "invalid_encoding"),
        ("deflate", cut(zlib(text)), 400, "invalid_encoding"),
        ("deflate", more(deflate(text)), 400, "invalid_encoding"),
        ("br", cut(brotli(text)), 400, "invalid_encoding"),
        ("br", more(brotli(text)), 400, "invalid_encoding"),
        ("zstd", cut(zstd(text)), 400, "invalid_encoding"),
        ("zstd", more(zstd(text)), 400, "invalid_encoding"),
        ("zstd", text.to_vec(), 400, "invalid_encoding"),
        ("zstd", Vec::new(), 400, "invalid_encoding"),
        // A window of 16 MiB, in either coding.
        ("br", vec![0x5f, 0x9f, 0x86, 0x81], 400, "invalid_encoding"),
        (
            "zstd",
            vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x70, 0, 0],
            400,
            "invalid_encoding",
        ),
        ("gzip", gzip(&bomb), 413, "request_too_large"),
        ("zstd", zstd(&bomb), 413, "request_too_large"),
        ("gzip, gzip", gzip(&gzip(&bomb)), 413, "request_too_large"),
        // The intermediate result is too large, whatever the final one is.
        ("deflate, gzip", gzip(&bomb), 413, "request_too_large"),
        ("gzip", gzip(b"{}"), 400, "missing_model"),
    ];
    for (coding, body, status, code) in table {
        let answer = gateway.call(&coded(&gateway, body, coding)).await;
        assert_eq!(answer.status(), status, "{coding}: {}", answer.text());
        assert_eq!(answer.error_code().as_deref(), Some(code), "{coding}");
        if code == "invalid_encoding" {
            assert_eq!(answer.json()["error"]["param"], "Content-Encoding");
        }
    }
    assert_eq!(backend.records().len(), 1);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn decoding_takes_of_the_one_budget_and_is_refused_at_once() {
    let settings = "[server]\nmax_body_bytes = 1000000\nmax_buffered_bytes = 1200000";
    let (backend, gateway) = rig_with(settings).await;
    let text = BODY.as_bytes();
    // zstd needs memory for its tables; gzip needs no more than the body itself.
    let busy = gateway.call(&coded(&gateway, zstd(text), "zstd")).await;
    assert_eq!(
        (busy.status(), busy.error_code().as_deref()),
        (503, Some("gateway_busy"))
    );
    assert_eq!(busy.header("retry-after"), Some("1"));
    let fine = gateway.call(&coded(&gateway, gzip(text), "gzip")).await;
    assert_eq!(fine.status(), 200, "{}", fine.text());
    assert_eq!(gateway.gateway().body_budget().used(), 0);
    gateway.finish(&[&backend]).await;
}
