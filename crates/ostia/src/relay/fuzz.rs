use bytes::Bytes;

use super::indiscreet::indiscreet;
use super::outbox::Outbox;
use super::sse::{Piece, Splitter};
use crate::catalog::{Origin, Scheme, Target, Timeouts};
use crate::dialect::{Api, Meter};

/// A stream in pieces: every byte comes out once and in order, whatever is read in it.
pub fn streams(data: &[u8]) {
    let step = usize::from(data.first().copied().unwrap_or(1)).max(1);
    let mut splitter = Splitter::default();
    let mut outbox = Outbox::default();
    let origin = Origin {
        scheme: Scheme::Http,
        host: "gpu".into(),
        port: 8000,
    };
    let target = Target::plain(origin, Timeouts::default());
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
                Piece::Event(bytes) => {
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
