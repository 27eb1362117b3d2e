use std::io::Read;

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Damage, Decoder, LARGEST_WINDOW, Step};

pub(super) const NAME: &str = "zstd";

/// What a decoder has beside its window: one block in all its stages, and tables.
const BESIDE: u64 = 2 << 20;

/// Frames, one behind the other (RFC 8878).
#[derive(Default)]
pub(super) struct Zstd {
    decoder: FrameDecoder,
    /// The window of the frame that is being decoded.
    frame: Option<u64>,
    /// The largest window so far, which the decoder keeps.
    window: u64,
    /// Complete frames so far.
    frames: usize,
}

/// How a frame begins.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    Frame { window: u64 },
    Skippable { length: usize },
    Foreign,
}

const MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;

impl Decoder for Zstd {
    fn memory(&self, input: &[u8]) -> Result<u64, Damage> {
        let window = match (self.frame, input.is_empty()) {
            (None, false) => match beginning(input)? {
                Beginning::Frame { window } => window.max(self.window),
                _ => self.window,
            },
            _ => self.window,
        };
        Ok(window + BESIDE)
    }

    fn step(&mut self, input: &mut &[u8], room: &mut [u8]) -> Result<Step, Damage> {
        let mut step = Step {
            filled: 0,
            ended: false,
        };
        if self.frame.is_some() {
            step.filled = self.advance(input, room)?;
            return Ok(step);
        }
        if input.is_empty() && self.frames > 0 {
            step.ended = true;
            return Ok(step);
        }
        match beginning(input)? {
            Beginning::Frame { window } => {
                self.decoder
                    .reset(&mut *input)
                    .map_err(|_| Damage::Invalid(NAME))?;
                self.frame = Some(window);
                self.window = self.window.max(window);
            }
            Beginning::Skippable { length } => {
                *input = input.get(length..).ok_or(Damage::Truncated(NAME))?;
            }
            Beginning::Foreign if self.frames > 0 => step.ended = true,
            Beginning::Foreign => return Err(Damage::Invalid(NAME)),
        }
        Ok(step)
    }
}

impl Zstd {
    /// Hands out what is decoded, or decodes the next block.
    fn advance(&mut self, input: &mut &[u8], room: &mut [u8]) -> Result<usize, Damage> {
        let filled = self.decoder.read(room).map_err(|_| Damage::Invalid(NAME))?;
        if filled > 0 {
            return Ok(filled);
        }
        if self.decoder.is_finished() {
            let told = self.decoder.get_checksum_from_data();
            if told.is_some() && told != self.decoder.get_calculated_checksum() {
                return Err(Damage::Invalid(NAME));
            }
            self.frame = None;
            self.frames += 1;
            return Ok(0);
        }
        let enough = block_is_there(input)?;
        self.decoder
            .decode_blocks(&mut *input, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_| match enough {
                true => Damage::Invalid(NAME),
                false => Damage::Truncated(NAME),
            })?;
        Ok(0)
    }
}

/// Reads a frame's header (RFC 8878 section 3.1.1.1).
fn beginning(input: &[u8]) -> Result<Beginning, Damage> {
    let truncated = Damage::Truncated(NAME);
    let (magic, rest) = input.split_first_chunk::<4>().ok_or(truncated)?;
    let magic = u32::from_le_bytes(*magic);
    if SKIPPABLE.contains(&magic) {
        let length = rest.first_chunk::<4>().ok_or(truncated)?;
        let length = u32::from_le_bytes(*length) as usize;
        return Ok(Beginning::Skippable { length: 8 + length });
    }
    if magic != MAGIC {
        return Ok(Beginning::Foreign);
    }
    let (descriptor, rest) = rest.split_first().ok_or(truncated)?;
    let is_single = descriptor & 1 << 5 != 0;
    let id_length = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let window = match is_single {
        false => window_of(*rest.first().ok_or(truncated)?),
        true => content_size(descriptor >> 6, rest.get(id_length..).ok_or(truncated)?)?,
    };
    if window > LARGEST_WINDOW {
        return Err(Damage::Window(NAME));
    }
    match id_length {
        0 => Ok(Beginning::Frame { window }),
        _ => Err(Damage::Dictionary(NAME)),
    }
}

/// A window descriptor: an exponent and eighths.
fn window_of(byte: u8) -> u64 {
    let base = 1_u64 << (10 + (byte >> 3));
    base + base / 8 * u64::from(byte & 7)
}

/// The content of a frame whose window is as large as that.
fn content_size(flag: u8, field: &[u8]) -> Result<u64, Damage> {
    let length = 1 << flag;
    let bytes = field.get(..length).ok_or(Damage::Truncated(NAME))?;
    let mut size = [0; 8];
    size[..length].copy_from_slice(bytes);
    let size = u64::from_le_bytes(size);
    Ok(size + if length == 2 { 256 } else { 0 })
}

/// Whether all of the next block is there, and the checksum behind the last one may be.
fn block_is_there(input: &[u8]) -> Result<bool, Damage> {
    const RLE: u32 = 1;
    let [a, b, c] = *input.first_chunk::<3>().ok_or(Damage::Truncated(NAME))?;
    let header = u32::from_le_bytes([a, b, c, 0]);
    let length = match header >> 1 & 3 {
        RLE => 1,
        _ => header >> 3,
    };
    let has_end = if header & 1 == 1 { 4 } else { 0 };
    Ok(input.len() as u64 >= u64::from(3 + length + has_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_from_headers() {
        let frame = |rest: &[u8]| beginning(&[&MAGIC.to_le_bytes()[..], rest].concat());
        let window = |rest: &[u8]| match frame(rest) {
            Ok(Beginning::Frame { window }) => Ok(window),
            Ok(_) => panic!("a frame"),
            Err(damage) => Err(damage),
        };
        assert_eq!(window(&[0, 0]), Ok(1024));
        assert_eq!(window(&[0, 13 << 3]), Ok(8 << 20));
        assert_eq!(window(&[0, 13 << 3 | 1]), Err(Damage::Window(NAME)));
        assert_eq!(window(&[0, 0xff]), Err(Damage::Window(NAME)));
        assert_eq!(window(&[1 << 5, 7]), Ok(7));
        assert_eq!(window(&[1 << 5 | 1 << 6, 1, 0]), Ok(257));
        assert_eq!(
            window(&[1 << 5 | 3 << 6, 0, 0, 0, 0, 1, 0, 0, 0]),
            Err(Damage::Window(NAME))
        );
        assert_eq!(window(&[1, 0, 9]), Err(Damage::Dictionary(NAME)));
        assert_eq!(window(&[1 << 5 | 1 << 6, 1]), Err(Damage::Truncated(NAME)));
        let skipped = [0x50, 0x2A, 0x4D, 0x18, 5, 0, 0, 0];
        assert_eq!(beginning(&skipped), Ok(Beginning::Skippable { length: 13 }));
        assert_eq!(beginning(b"{\"mo"), Ok(Beginning::Foreign));
        assert_eq!(beginning(b"{\"m"), Err(Damage::Truncated(NAME)));
    }
}
