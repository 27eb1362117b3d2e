use flate2::{Decompress, FlushDecompress, Status};

use super::{Damage, Decoder, Step};
use crate::scan::BLOCK;

pub(super) const NAME: &str = "deflate";

/// The window of 32 KiB and the tables around it.
pub(super) const MEMORY: u64 = 64 * 1024;

/// With the zlib header that the standard demands, or without it, as some clients send it.
#[derive(Default)]
pub(super) struct Deflate(Option<Decompress>);

impl Decoder for Deflate {
    fn memory(&self, _input: &[u8]) -> Result<u64, Damage> {
        Ok(MEMORY)
    }

    fn step(&mut self, input: &mut &[u8], room: &mut [u8]) -> Result<Step, Damage> {
        let inflater = self
            .0
            .get_or_insert_with(|| Decompress::new(has_zlib_header(input)));
        inflate(inflater, input, room, NAME)
    }
}

/// Whether the data begins with a zlib header (RFC 1950 section 2.2). Raw deflate cannot look like one: its first byte
/// would be a stored block's, with padding that is not zero.
fn has_zlib_header(input: &[u8]) -> bool {
    const DEFLATE: u8 = 8;
    match input {
        [method, flags, ..] => {
            let check = u16::from_be_bytes([*method, *flags]);
            method & 0x0f == DEFLATE && method >> 4 <= 7 && check % 31 == 0
        }
        _ => false,
    }
}

/// One step of raw deflate or zlib.
pub(super) fn inflate(
    inflater: &mut Decompress,
    input: &mut &[u8],
    room: &mut [u8],
    name: &'static str,
) -> Result<Step, Damage> {
    let (taken, made) = (inflater.total_in(), inflater.total_out());
    let part = &input[..input.len().min(BLOCK)];
    let status = inflater
        .decompress(part, room, FlushDecompress::None)
        .map_err(|error| match error.needs_dictionary() {
            Some(_) => Damage::Dictionary(name),
            None => Damage::Invalid(name),
        })?;
    let taken = usize::try_from(inflater.total_in() - taken).unwrap_or(part.len());
    let filled = usize::try_from(inflater.total_out() - made).unwrap_or(room.len());
    *input = &input[taken..];
    let ended = status == Status::StreamEnd;
    match !ended && taken == 0 && filled == 0 {
        true => Err(Damage::Truncated(name)),
        false => Ok(Step { filled, ended }),
    }
}
