use flate2::{Crc, Decompress};

use super::deflate::{MEMORY, inflate};
use super::{Damage, Decoder, Step};

pub(super) const NAME: &str = "gzip";

/// Members, one behind the other (RFC 1952).
pub(super) struct Gzip {
    at: At,
    /// Complete members so far.
    members: usize,
    inflater: Decompress,
    sum: Crc,
}

enum At {
    Header,
    Data,
    Trailer,
}

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER: usize = 10;

impl Default for Gzip {
    fn default() -> Self {
        Self {
            at: At::Header,
            members: 0,
            inflater: Decompress::new(false),
            sum: Crc::new(),
        }
    }
}

impl Decoder for Gzip {
    fn memory(&self, _input: &[u8]) -> Result<u64, Damage> {
        Ok(MEMORY)
    }

    fn step(&mut self, input: &mut &[u8], room: &mut [u8]) -> Result<Step, Damage> {
        let mut step = Step {
            filled: 0,
            ended: false,
        };
        match self.at {
            At::Header if self.members > 0 && !input.starts_with(&MAGIC) => step.ended = true,
            At::Header => {
                *input = behind_header(input)?;
                self.inflater.reset(false);
                self.sum.reset();
                self.at = At::Data;
            }
            At::Data => {
                let part = inflate(&mut self.inflater, input, room, NAME)?;
                self.sum.update(&room[..part.filled]);
                step.filled = part.filled;
                if part.ended {
                    self.at = At::Trailer;
                }
            }
            At::Trailer => {
                *input = self.behind_trailer(input)?;
                self.members += 1;
                self.at = At::Header;
            }
        }
        Ok(step)
    }
}

impl Gzip {
    fn behind_trailer<'a>(&self, input: &'a [u8]) -> Result<&'a [u8], Damage> {
        let (trailer, rest) = input
            .split_first_chunk::<8>()
            .ok_or(Damage::Truncated(NAME))?;
        let [a, b, c, d, sizes @ ..] = *trailer;
        let sum = u32::from_le_bytes([a, b, c, d]);
        let size = u32::from_le_bytes(sizes);
        match sum == self.sum.sum() && size == self.sum.amount() {
            true => Ok(rest),
            false => Err(Damage::Invalid(NAME)),
        }
    }
}

/// What follows a member's header, whose optional parts are of no interest.
fn behind_header(input: &[u8]) -> Result<&[u8], Damage> {
    const HEADER_SUM: u8 = 1 << 1;
    const EXTRA: u8 = 1 << 2;
    const NAMED: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    const RESERVED: u8 = 0b1110_0000;
    let known = input.len().min(MAGIC.len());
    if input[..known] != MAGIC[..known] {
        return Err(Damage::Invalid(NAME));
    }
    let (header, mut rest) = input
        .split_first_chunk::<HEADER>()
        .ok_or(Damage::Truncated(NAME))?;
    let flags = header[3];
    if flags & RESERVED != 0 {
        return Err(Damage::Invalid(NAME));
    }
    if flags & EXTRA != 0 {
        let (length, behind) = rest
            .split_first_chunk::<2>()
            .ok_or(Damage::Truncated(NAME))?;
        rest = behind_bytes(behind, usize::from(u16::from_le_bytes(*length)))?;
    }
    for flag in [NAMED, COMMENT] {
        if flags & flag != 0 {
            let end = memchr::memchr(0, rest).ok_or(Damage::Truncated(NAME))?;
            rest = behind_bytes(rest, end + 1)?;
        }
    }
    match flags & HEADER_SUM {
        0 => Ok(rest),
        _ => behind_bytes(rest, 2),
    }
}

fn behind_bytes(input: &[u8], count: usize) -> Result<&[u8], Damage> {
    input.get(count..).ok_or(Damage::Truncated(NAME))
}
