use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use ostia_core::Secret;

use super::RefusalText;
use super::backend_error::judge;
use super::indiscreet::{answer_tells, indiscreet};
use super::outbox::Outbox;
use super::sse::{Piece, Splitter};
use crate::catalog::{Origin, Scheme, Target, Timeouts};
use crate::dialect::{Api, Meter, read_answer};

/// A backend's refusal, or an answer of status 200: what a client is told of it is text, and no longer than it.
pub fn refusals(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let target = target();
    for kind in ["application/json", "text/plain"] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(RefusalText::Told(told)) = judge(&body, &headers) {
            assert!(!told.message.trim().is_empty());
            // A path of numbers may be longer than it was written.
            assert!(told.message.len() <= 2 * data.len() + 64);
        }
    }
    answer_tells(&body, &target);
    for api in ["chat/completions", "responses", "messages", "rerank"] {
        read_answer(Api::parse(api).dialect(), &body);
    }
}

/// A stream in pieces: every byte comes out once and in order, whatever is read in it.
pub fn streams(data: &[u8]) {
    let step = usize::from(data.first().copied().unwrap_or(1)).max(1);
    let mut splitter = Splitter::default();
    let mut outbox = Outbox::default();
    let target = target();
    let mut meters = ["chat/completions", "responses", "messages"]
        .map(|api| Meter::new(&Api::parse(api), true, 1));
    for chunk in data.chunks(step) {
        splitter.push(Bytes::copy_from_slice(chunk), |piece| {
            let bytes = match piece {
                Piece::Blank(bytes) => bytes,
                Piece::Part(bytes) => {
                    meters.iter_mut().for_each(|meter| meter.part(&bytes));
                    bytes
                }
                Piece::LastPart(bytes) => {
                    meters
                        .iter_mut()
                        .for_each(|meter| _ = meter.last_part(&bytes));
                    bytes
                }
                Piece::Event(bytes) | Piece::Comments(bytes) => {
                    meters.iter_mut().for_each(|meter| _ = meter.event(&bytes));
                    assert_eq!(
                        indiscreet(&Bytes::from_static(b"data: {}\n\n"), &target),
                        None
                    );
                    indiscreet(&bytes, &target);
                    bytes
                }
            };
            outbox.push(bytes);
        });
    }
    outbox.push(splitter.take_tail());
    let passed: Vec<u8> = std::iter::from_fn(|| outbox.pop()).flatten().collect();
    assert_eq!(passed, data);
}

fn target() -> Target {
    let origin = Origin {
        scheme: Scheme::Http,
        host: "gpu".into(),
        port: 8000,
    };
    Target {
        key: Some(Secret::new("sk-secret".to_owned())),
        ..Target::plain(origin, Timeouts::default())
    }
}
