use std::sync::Arc;

use futures_util::FutureExt as _;
use serde::de::IgnoredAny;

use super::multipart::{boundary_of, scan_form};
use crate::dialect::{Api, MODEL};
use crate::scan::{MediaHosts, ScanErrorKind, Watch, layout, scan};

/// A body is scanned for each dialect without a panic; whatever serde_json accepts as an object is not a syntax error here; and
/// what is found lies where the body says so.
pub fn bodies(data: &[u8]) {
    let mut watch = Watch::default();
    watch.deny("priority");
    watch.hosts(&Arc::new(MediaHosts::Public));
    let is_object = data.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<IgnoredAny>(data).is_ok();
    for api in ["chat/completions", "responses", "messages", "rerank"] {
        let keys = Api::parse(api).dialect().keys();
        // Longer bodies pause.
        let Some(scanned) = scan(data, keys, &watch).now_or_never() else {
            return;
        };
        match scanned {
            Ok(fields) => {
                let model = fields.get(MODEL);
                assert!(model.is_none_or(|model| data.get(model.range()).is_some()));
            }
            Err(error) => assert!(
                !is_object || is_choosy(error.fault),
                "{error}: serde_json takes it"
            ),
        }
    }
    let Some(Ok(Some(found))) = layout(data, 4096, 1 << 18).now_or_never() else {
        return;
    };
    for member in found.members {
        let name = data.get(member.name).unwrap_or_default();
        assert!(name.starts_with(b"\"") && name.ends_with(b"\""));
        assert!(serde_json::from_slice::<String>(name).is_ok() || name.contains(&b'\\'));
    }
}

/// Refused although it is JSON.
fn is_choosy(fault: ScanErrorKind) -> bool {
    matches!(
        fault,
        ScanErrorKind::Repeated(_)
            | ScanErrorKind::OtherLetters(_)
            | ScanErrorKind::TooDeep
            | ScanErrorKind::NotUtf8
            | ScanErrorKind::Expected("a number of fewer digits")
    )
}

/// A form's header and body: what is found lies in the body, and neither is read in a second way that a boundary with a
/// backslash or a bare line end would open.
pub fn forms(data: &[u8]) {
    let (header, body) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (b"multipart/form-data; boundary=x".as_slice(), data),
    };
    let Ok(boundary) = boundary_of(header) else {
        return;
    };
    assert!(!boundary.contains(&b'\\') && !boundary.contains(&b'"'));
    let scanned = scan_form(body, &boundary, &Watch::default()).now_or_never();
    if let Some(Ok(fields)) = scanned {
        let value = fields.model.map(|model| body.get(model));
        assert!(value.is_none_or(|value| value.is_some()));
        assert!(fields.first_part <= body.len());
    }
}
