use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Coding, Fault, Memory, decode};

/// Little, so that most of the time goes into reading and not into filling memory with what a bomb holds.
const MOST: u64 = 1 << 14;

/// Allows so much and no more.
struct Room;

impl Memory for Room {
    fn hold(&mut self, bytes: u64) -> bool {
        bytes <= 1 << 25
    }
}

/// A compressed body comes to an end: within the limit, or with a fault.
pub fn compressed(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let all = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
    for coding in all {
        let (codings, mut room) = ([coding], Room);
        let mut decoding = pin!(decode(body.clone(), &codings, MOST, &mut room, |_| {}));
        let mut task = Context::from_waker(Waker::noop());
        let decoded: Result<Bytes, Fault> = loop {
            if let Poll::Ready(decoded) = decoding.as_mut().poll(&mut task) {
                break decoded;
            }
        };
        assert!(decoded.is_err() || decoded.is_ok_and(|bytes| bytes.len() as u64 <= MOST));
    }
}
