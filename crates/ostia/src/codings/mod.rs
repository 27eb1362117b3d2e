//! In: bytes under content codings (RFC 9110 section 8.4), a limit, and the memory that decoding may take. Out: the plain
//! bytes, or a [`Fault`].
//! Here: one file a coding, each a decoder that goes in small steps. Not here: whose bytes these are, what they mean.
//!
//! To add a coding: a file with a unit that implements `Decoder`, a line in [`Coding`] with its names, and its name in
//! [`ACCEPTED`].

mod brotli;
mod deflate;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod gzip;
mod output;
#[cfg(test)]
mod tests;
mod zstd;

use bytes::Bytes;
use http::{HeaderMap, header};

use self::output::Output;
use crate::scan::BLOCK;

/// A coding that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// What `Accept-Encoding` may say, the most thrifty first.
pub const ACCEPTED: &str = "zstd, br, gzip, deflate";

/// More than anybody needs. Each coding costs a pass over up to the whole limit.
const MOST_CODINGS: usize = 4;

/// A decoder that does nothing in so many steps never will.
const MOST_IDLE: usize = 4;

/// The largest window of a decoder (RFC 9659; a brotli window of 23 bits is as large).
const LARGEST_WINDOW: u64 = 8 << 20;

/// `Content-Encoding` names a coding that cannot be undone, or too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported;

/// Why there are no plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are not what the coding makes.
    Damaged(Damage),
    /// More than the limit, after this coding or another.
    TooLarge,
    /// The memory is spent.
    NoMemory,
}

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it is not valid {0}")]
    Invalid(&'static str),
    #[error("its {0} data ends before it is complete")]
    Truncated(&'static str),
    #[error("there are bytes behind the end of its {0} data")]
    Trailing(&'static str),
    #[error("its {0} data needs a window of more than 8 MiB")]
    Window(&'static str),
    #[error("its {0} data needs a dictionary")]
    Dictionary(&'static str),
}

/// The memory that decoding takes.
pub trait Memory {
    /// Holds so many bytes from now on, instead of what was held before. `false`: there is not so much.
    fn hold(&mut self, bytes: u64) -> bool;
}

/// Undoes one coding, step by step.
trait Decoder: Send {
    /// The memory that it needs from the next step on, its window above all. `input`: what is left.
    fn memory(&self, input: &[u8]) -> Result<u64, Damage>;

    /// Takes some of `input`, at most about [`BLOCK`] bytes, and fills some of `room`.
    fn step(&mut self, input: &mut &[u8], room: &mut [u8]) -> Result<Step, Damage>;
}

/// What a step has done.
struct Step {
    /// Bytes of the room that it filled.
    filled: usize,
    /// The data is complete.
    ended: bool,
}

/// The codings that `Content-Encoding` names, in the order in which they were applied.
pub fn codings_of(headers: &HeaderMap) -> Result<Vec<Coding>, Unsupported> {
    let names = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    let codings = names
        .map(|name| Coding::named(name).ok_or(Unsupported))
        .collect::<Result<Vec<_>, _>>()?;
    match codings.len() <= MOST_CODINGS {
        true => Ok(codings),
        false => Err(Unsupported),
    }
}

/// Undoes all codings of a body, the last one first. `most`: the limit after each of them, so that what lies between two
/// is bounded too. Other requests run between blocks; `made` is told how many bytes each makes.
pub async fn decode(
    body: Bytes,
    codings: &[Coding],
    most: u64,
    memory: &mut impl Memory,
    mut made: impl FnMut(usize),
) -> Result<Bytes, Fault> {
    let mut bytes = body;
    for coding in codings.iter().rev() {
        bytes = undo(&bytes, *coding, most, memory, &mut made).await?;
    }
    Ok(bytes)
}

/// Undoes the content codings of a body that is not a request's: a backend's refusal, a status page. The gateway asks
/// for no coding there, but some servers compress everything they send. `None`: an unknown coding, a damaged body, or
/// more than `most` bytes.
pub async fn plain(body: Bytes, headers: &HeaderMap, most: usize) -> Option<Bytes> {
    let codings = codings_of(headers).ok()?;
    decode(body, &codings, most as u64, &mut Uncounted, |_| {})
        .await
        .ok()
}

/// Such bodies are few and short, so their memory is not counted.
struct Uncounted;

impl Memory for Uncounted {
    fn hold(&mut self, _bytes: u64) -> bool {
        true
    }
}

async fn undo(
    bytes: &Bytes,
    coding: Coding,
    most: u64,
    memory: &mut impl Memory,
    made: &mut impl FnMut(usize),
) -> Result<Bytes, Fault> {
    let mut decoder = coding.decoder();
    let mut input = &bytes[..];
    let mut output = Output::new(most);
    let mut room = vec![0; BLOCK];
    let (mut unpaused, mut idle) = (0, 0);
    loop {
        let before = input.len();
        let fixed = bytes.len() as u64 + BLOCK as u64 + decoder.memory(input)?;
        output.hold(fixed, 0, memory)?;
        let step = decoder.step(&mut input, &mut room)?;
        output.hold(fixed, step.filled, memory)?;
        output.add(&room[..step.filled]);
        made(step.filled);
        if step.ended {
            break;
        }
        let done = step.filled + before - input.len();
        // Between two frames a decoder may do nothing for a step or two.
        idle = if done == 0 { idle + 1 } else { 0 };
        if idle > MOST_IDLE {
            return Err(Damage::Invalid(coding.name()).into());
        }
        unpaused += done;
        if unpaused >= BLOCK {
            unpaused = 0;
            tokio::task::yield_now().await;
        }
    }
    match input.is_empty() {
        true => Ok(output.finish()),
        false => Err(Damage::Trailing(coding.name()).into()),
    }
}

impl Coding {
    fn named(name: &[u8]) -> Option<Self> {
        const NAMES: [(&str, Coding); 6] = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("br", Coding::Brotli),
            ("zstd", Coding::Zstd),
            ("x-zstd", Coding::Zstd),
        ];
        let found = NAMES
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|(_, coding)| *coding)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => gzip::NAME,
            Self::Deflate => deflate::NAME,
            Self::Brotli => brotli::NAME,
            Self::Zstd => zstd::NAME,
        }
    }

    fn decoder(self) -> Box<dyn Decoder> {
        match self {
            Self::Gzip => Box::new(gzip::Gzip::default()),
            Self::Deflate => Box::new(deflate::Deflate::default()),
            Self::Brotli => Box::new(brotli::Brotli::default()),
            Self::Zstd => Box::new(zstd::Zstd::default()),
        }
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}
