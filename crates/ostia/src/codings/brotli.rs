use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{Damage, Decoder, LARGEST_WINDOW, Step};
use crate::scan::BLOCK;

pub(super) const NAME: &str = "brotli";

/// What the largest Huffman tables take: 256 of each of the three kinds, 1,080 entries of 4 bytes a table, and the state
/// around them.
const TABLES: u64 = 4 << 20;

/// RFC 7932.
pub(super) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    /// `None`: no byte was taken.
    window: Option<u64>,
}

impl Default for Brotli {
    fn default() -> Self {
        let alloc = StandardAlloc::default;
        let state = BrotliState::new_strict(alloc(), alloc(), alloc());
        Self {
            state: Box::new(state),
            window: None,
        }
    }
}

impl Decoder for Brotli {
    fn memory(&self, input: &[u8]) -> Result<u64, Damage> {
        let window = match self.window {
            Some(window) => window,
            None => window_of(input)?,
        };
        Ok(window + TABLES)
    }

    fn step(&mut self, input: &mut &[u8], room: &mut [u8]) -> Result<Step, Damage> {
        if self.window.is_none() {
            self.window = Some(window_of(input)?);
        }
        let (mut left, mut taken) = (input.len().min(BLOCK), 0);
        let (mut space, mut filled, mut total) = (room.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            &input[..input.len().min(BLOCK)],
            &mut space,
            &mut filled,
            room,
            &mut total,
            &mut self.state,
        );
        *input = &input[taken..];
        let ended = match result {
            BrotliResult::ResultSuccess => true,
            BrotliResult::NeedsMoreOutput => false,
            BrotliResult::NeedsMoreInput if input.is_empty() => {
                return Err(Damage::Truncated(NAME));
            }
            BrotliResult::NeedsMoreInput => false,
            BrotliResult::ResultFailure => return Err(Damage::Invalid(NAME)),
        };
        Ok(Step { filled, ended })
    }
}

/// The size of the window, from the first bits of a stream (RFC 7932 section 9.1).
fn window_of(input: &[u8]) -> Result<u64, Damage> {
    let first = *input.first().ok_or(Damage::Truncated(NAME))?;
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        // "Large window brotli", which is not for HTTP.
        (_, 0, 1) => return Err(Damage::Window(NAME)),
        (_, 0, few) => 8 + few,
        (_, many, _) => 17 + many,
    };
    let window = 1 << bits;
    match window <= LARGEST_WINDOW {
        true => Ok(window),
        false => Err(Damage::Window(NAME)),
    }
}
