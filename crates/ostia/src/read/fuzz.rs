use futures_util::FutureExt as _;

use super::multipart::{boundary_of, scan_form};
use crate::scan::Watch;

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
