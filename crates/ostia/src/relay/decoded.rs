use bytes::Bytes;
use http::HeaderMap;

use crate::codings::{Memory, codings_of, decode};

/// Undoes the content codings of a short body. `None`: an unknown coding, a damaged body, or more than `most` bytes.
///
/// The gateway asks for no coding, but some servers compress everything they send.
pub(super) async fn decoded(body: Bytes, headers: &HeaderMap, most: usize) -> Option<Bytes> {
    let codings = codings_of(headers).ok()?;
    decode(body, &codings, most as u64, &mut Few, |_| {})
        .await
        .ok()
}

/// Refusals are few and short, so their memory is not counted.
struct Few;

impl Memory for Few {
    fn hold(&mut self, _bytes: u64) -> bool {
        true
    }
}
