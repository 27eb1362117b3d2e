//! A block as bytes.
//!
//! A version, the number of entries, the first hour; the texts of each dimension; then the columns, each as a width in bytes
//! and that many for each entry, little-endian. A column of width 0 is all zeros: what has one value takes no room.
//! Numbers of the head are LEB128.

use super::{Block, COUNT, Entry, Key, Sums};

const VERSION: u8 = 1;
/// Requests, prompt tokens, completion tokens, and by how much the total exceeds both.
const SUMS: usize = 4;

/// Bytes that are not a block, or one of a later release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of the roll-up cannot be read")]
pub(crate) struct Damaged;

/// A block whose entries are still bytes.
pub(crate) struct View<'a> {
    pub(crate) names: [Vec<&'a str>; COUNT],
    pub(crate) len: usize,
    first_hour: u32,
    values: [Column<'a>; COUNT],
    hours: Column<'a>,
    sums: [Column<'a>; SUMS],
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Column<'a> {
    width: usize,
    bytes: &'a [u8],
}

impl Block {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let first_hour = self.entries.iter().map(|entry| entry.key.hour).min();
        let first_hour = first_hour.unwrap_or(0);
        let mut bytes = vec![VERSION];
        put(&mut bytes, self.entries.len() as u64);
        put(&mut bytes, first_hour.into());
        for names in &self.names {
            put(&mut bytes, names.len() as u64);
            for name in names {
                put(&mut bytes, name.len() as u64);
                bytes.extend_from_slice(name.as_bytes());
            }
        }
        for at in 0..COUNT {
            let value = |entry: &Entry| entry.key.values.get(at).copied().unwrap_or(0).into();
            self.put_column(&mut bytes, value);
        }
        self.put_column(&mut bytes, |entry| (entry.key.hour - first_hour).into());
        self.put_column(&mut bytes, |entry| entry.sums.requests.cast_unsigned());
        self.put_column(&mut bytes, |entry| entry.sums.prompt_tokens.cast_unsigned());
        self.put_column(&mut bytes, |entry| {
            entry.sums.completion_tokens.cast_unsigned()
        });
        self.put_column(&mut bytes, |entry| {
            let both = entry.sums.prompt_tokens;
            let both = both.wrapping_add(entry.sums.completion_tokens);
            entry.sums.total_tokens.wrapping_sub(both).cast_unsigned()
        });
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let view = View::of(bytes)?;
        let all = |column: Column<'_>| {
            let mut values = Vec::new();
            column.fill(0, view.len, &mut values);
            values
        };
        let (values, hours) = (view.values.map(all), all(view.hours));
        let sums = view.sums.map(all);
        let entries = (0..view.len).map(|at| Entry {
            key: Key {
                values: values.each_ref().map(|values| small(values[at])),
                hour: view.hour_of(hours[at]),
            },
            sums: View::sums_of(sums.each_ref().map(|values| values[at])),
        });
        let entries = entries.collect();
        Ok(Self {
            entries,
            names: view
                .names
                .map(|names| names.into_iter().map(Into::into).collect()),
        })
    }

    fn put_column(&self, bytes: &mut Vec<u8>, value: impl Fn(&Entry) -> u64) {
        let largest = self.entries.iter().map(&value).max().unwrap_or(0);
        let width = match largest {
            0 => 0,
            1..0x100 => 1,
            0x100..0x1_0000 => 2,
            0x1_0000..0x1_0000_0000 => 4,
            _ => 8,
        };
        bytes.push(width);
        let width = usize::from(width);
        bytes.reserve(width * self.entries.len());
        for entry in &self.entries {
            let value = value(entry).to_le_bytes();
            bytes.extend_from_slice(value.get(..width).unwrap_or_default());
        }
    }
}

impl<'a> View<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let mut rest = bytes;
        if take(&mut rest, 1)? != [VERSION] {
            return Err(Damaged);
        }
        let len = usize::try_from(number(&mut rest)?).map_err(|_| Damaged)?;
        let first_hour = u32::try_from(number(&mut rest)?).map_err(|_| Damaged)?;
        let mut view = Self {
            names: [const { Vec::new() }; COUNT],
            len,
            first_hour,
            values: [Column::default(); COUNT],
            hours: Column::default(),
            sums: [Column::default(); SUMS],
        };
        for names in &mut view.names {
            for _ in 0..number(&mut rest)? {
                let length = usize::try_from(number(&mut rest)?).map_err(|_| Damaged)?;
                let name = str::from_utf8(take(&mut rest, length)?).map_err(|_| Damaged)?;
                names.push(name);
            }
        }
        for column in &mut view.values {
            *column = Column::of(&mut rest, len)?;
        }
        view.hours = Column::of(&mut rest, len)?;
        for column in &mut view.sums {
            *column = Column::of(&mut rest, len)?;
        }
        // Keys differ, so that there are never more entries than bytes.
        let differs = |column: &Column<'_>| column.width > 0;
        let is_plausible = len < 2 || view.values.iter().any(differs) || differs(&view.hours);
        if rest.is_empty() && is_plausible {
            Ok(view)
        } else {
            Err(Damaged)
        }
    }

    /// The places of a dimension's texts.
    pub(crate) fn column(&self, dimension: usize) -> Column<'a> {
        self.values.get(dimension).copied().unwrap_or_default()
    }

    /// What stands before the first hour is added to it, see [`Self::hour_of`].
    pub(crate) const fn hours(&self) -> Column<'a> {
        self.hours
    }

    pub(crate) fn hour_of(&self, value: u64) -> u32 {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.first_hour.saturating_add(value)
    }

    pub(crate) const fn sum_columns(&self) -> [Column<'a>; SUMS] {
        self.sums
    }

    /// What the columns of [`Self::sum_columns`] say.
    pub(crate) fn sums_of(values: [u64; SUMS]) -> Sums {
        let [requests, prompt_tokens, completion_tokens, more] = values.map(u64::cast_signed);
        let both = prompt_tokens.wrapping_add(completion_tokens);
        Sums {
            requests,
            prompt_tokens,
            completion_tokens,
            total_tokens: both.wrapping_add(more),
        }
    }
}

impl<'a> Column<'a> {
    fn of(rest: &mut &'a [u8], len: usize) -> Result<Self, Damaged> {
        let width = match take(rest, 1)? {
            [width @ (0 | 1 | 2 | 4 | 8)] => usize::from(*width),
            _ => return Err(Damaged),
        };
        let bytes = take(rest, width.checked_mul(len).ok_or(Damaged)?)?;
        Ok(Self { width, bytes })
    }

    /// Replaces what `into` has by the values of some entries.
    pub(crate) fn fill(&self, from: usize, count: usize, into: &mut Vec<u64>) {
        into.clear();
        let (from, to) = (from * self.width, (from + count) * self.width);
        let bytes = self.bytes.get(from..to).unwrap_or_default();
        match self.width {
            0 => into.resize(count, 0),
            1 => into.extend(bytes.iter().map(|byte| u64::from(*byte))),
            2 => into.extend(values(bytes).map(|two| u64::from(u16::from_le_bytes(two)))),
            4 => into.extend(values(bytes).map(|four| u64::from(u32::from_le_bytes(four)))),
            _ => into.extend(values(bytes).map(u64::from_le_bytes)),
        }
    }
}

fn values<const WIDTH: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; WIDTH]> {
    bytes.as_chunks().0.iter().copied()
}

fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

fn number(rest: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?.first().copied().ok_or(Damaged)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Damaged> {
    let (taken, behind) = rest.split_at_checked(length).ok_or(Damaged)?;
    *rest = behind;
    Ok(taken)
}
