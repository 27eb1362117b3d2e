//! One record: `len u32 | crc32c u32 | version u8 | kind u8 | body`, little endian; `len` counts what follows the
//! checksum.
//!
//! The checksum starts from the segment's own random salt, so that a text made to look like a record cannot deceive a
//! reader that searches for the next record after a torn one.

use std::cell::Cell;

use ostia_core::{LedgerRow, RequestId};

use super::fields;
pub(super) use super::fields::GROWTH;

pub(super) const HEAD: usize = 8;
/// The format of bodies. New fields need no new version, because an older ostia skips them. A change that it would
/// misread does.
pub(super) const VERSION: u8 = 2;
/// The longest record.
pub(super) const MAX_LEN: usize = 8 * 1024;

const LEAST_LEN: usize = 2;

const _: () = assert!(LEAST_LEN + fields::LARGEST <= MAX_LEN);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A row as it will be if the process dies now.
    Started,
    Final,
    Rejected,
    /// A request id: its slot was dropped without a final record.
    Abandoned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) version: u8,
    /// `None`: a version or kind that this binary does not know.
    pub(super) kind: Option<Kind>,
    body: &'a [u8],
}

/// What is at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A complete record, and its length with the head.
    Record(Record<'a>, usize),
    /// The beginning of a record whose rest may still be written.
    Unfinished,
    /// Not a record.
    Torn,
}

/// Replaces `buffer` with a record that still lacks its head.
pub(super) fn encode(buffer: &mut Vec<u8>, kind: Kind, row: &LedgerRow<'_>) {
    begin(buffer, kind);
    fields::write(buffer, row, usize::MAX);
}

/// Like `encode`, but at most `most` bytes, which is at least `GROWTH` more than an empty record.
pub(super) fn encode_final(buffer: &mut Vec<u8>, row: &LedgerRow<'_>, most: usize) {
    encode(buffer, Kind::Final, row);
    if buffer.len() > most {
        begin(buffer, Kind::Final);
        fields::write(buffer, row, fields::TIGHT);
    }
}

pub(super) fn encode_abandoned(buffer: &mut Vec<u8>, id: RequestId) {
    begin(buffer, Kind::Abandoned);
    buffer.extend_from_slice(id.as_bytes());
}

/// Fills in length and checksum.
pub(super) fn seal(record: &mut [u8], salt: u32) {
    let Some((head, payload)) = record.split_at_mut_checked(HEAD) else {
        return;
    };
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4..].copy_from_slice(&checksum(salt, len, payload).to_le_bytes());
}

pub(super) fn parse(bytes: &[u8], salt: u32) -> Step<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Step::Unfinished;
    };
    let [a, b, c, d, crc @ ..] = *head;
    let len = u32::from_le_bytes([a, b, c, d]);
    let size = len as usize;
    if !(LEAST_LEN..=MAX_LEN).contains(&size) {
        return Step::Torn;
    }
    let Some(payload) = rest.get(..size) else {
        return Step::Unfinished;
    };
    if checksum(salt, len, payload) != u32::from_le_bytes(crc) {
        return Step::Torn;
    }
    let (version, kind) = (payload[0], payload[1]);
    let record = Record {
        version,
        kind: Kind::of(kind).filter(|_| (1..=VERSION).contains(&version)),
        body: &payload[LEAST_LEN..],
    };
    Step::Record(record, HEAD + size)
}

/// Where the next complete record begins after the torn one at 0.
pub(super) fn resume(bytes: &[u8], salt: u32) -> Option<usize> {
    (1..bytes.len()).find(|&at| matches!(parse(&bytes[at..], salt), Step::Record(..)))
}

/// The row of a record that `encode` made.
pub(super) fn decode(record: &[u8]) -> Option<LedgerRow<'_>> {
    fields::read(record.get(HEAD + LEAST_LEN..)?)
}

impl<'a> Record<'a> {
    /// `None`: this record does not contain a readable row.
    pub(super) fn row(&self) -> Option<LedgerRow<'a>> {
        match self.version {
            1 => fields::read_version_1(self.body),
            VERSION => fields::read(self.body),
            _ => None,
        }
    }

    /// The request and the time of its end, without the rest of the row; `None` as in [`Self::row`].
    pub(super) fn glance(&self) -> Option<(RequestId, i64)> {
        match self.version {
            VERSION => fields::glance(self.body),
            _ => self.row().map(|row| (row.request_id, row.finished_at)),
        }
    }

    /// The request that an `Abandoned` record is about.
    pub(super) fn abandoned(&self) -> Option<RequestId> {
        self.body.try_into().ok().map(RequestId::from_bytes)
    }
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Started => 1,
            Self::Final => 2,
            Self::Rejected => 3,
            Self::Abandoned => 4,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Started),
            2 => Some(Self::Final),
            3 => Some(Self::Rejected),
            4 => Some(Self::Abandoned),
            _ => None,
        }
    }
}

fn begin(buffer: &mut Vec<u8>, kind: Kind) {
    buffer.clear();
    buffer.extend_from_slice(&[0; HEAD]);
    buffer.extend_from_slice(&[VERSION, kind.byte()]);
}

fn checksum(salt: u32, len: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt, &len.to_le_bytes()), payload)
}

/// Lends a buffer that stays allocated with its thread.
pub(super) fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Empty while a thread ends, when receipts may still be dropped.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    let done = work(&mut buffer);
    let _ = BUFFER.try_with(|home| home.set(buffer));
    done
}

#[cfg(test)]
mod tests {
    use ostia_core::LedgerRow;
    use proptest::prelude::*;

    use super::super::tests::{answered, row};
    use super::{Kind, Step, VERSION, decode, encode, parse, resume, seal};

    const SALT: u32 = 0x0571_a0b1;

    fn sealed(kind: Kind, row: &LedgerRow<'_>) -> Vec<u8> {
        let mut record = Vec::new();
        encode(&mut record, kind, row);
        seal(&mut record, SALT);
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let row = answered(&row("ann", 5), 70);
        let record = sealed(Kind::Final, &row);
        let Step::Record(read, len) = parse(&record, SALT) else {
            panic!("no record");
        };
        assert_eq!((read.kind, len), (Some(Kind::Final), record.len()));
        assert_eq!(read.version, VERSION);
        assert_eq!(read.row(), Some(row.clone()));
        assert_eq!(decode(&record), Some(row));
        assert_eq!(parse(&record, SALT + 1), Step::Torn);
        for cut in 0..record.len() {
            assert_eq!(parse(&record[..cut], SALT), Step::Unfinished);
        }
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 0x10;
            assert!(
                !matches!(parse(&damaged, SALT), Step::Record(..)),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_record_of_a_newer_version_is_no_row() {
        let mut record = sealed(Kind::Final, &row("ann", 5));
        record[super::HEAD] = VERSION + 1;
        seal(&mut record, SALT);
        let Step::Record(read, _) = parse(&record, SALT) else {
            panic!("no record");
        };
        assert_eq!((read.version, read.kind), (VERSION + 1, None));
        assert_eq!(read.row(), None);
    }

    /// Text inside a torn record may look like a record, but whoever wrote it does not know the salt.
    #[test]
    fn a_forged_record_is_not_found() {
        let mut forged = sealed(Kind::Final, &row("mallory", 1_000));
        seal(&mut forged, 0);
        let real = sealed(Kind::Final, &row("ann", 1));
        let bytes = [&[9, 9, 9], &forged[..], &real].concat();
        assert_eq!(resume(&bytes, SALT), Some(3 + forged.len()));
        assert_eq!(resume(&bytes[..3 + forged.len()], SALT), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_next_record_is_found_behind_any_bytes(torn in prop::collection::vec(any::<u8>(), 1..400)) {
            let record = sealed(Kind::Final, &row("ann", 1));
            let bytes = [&torn[..], &record].concat();
            prop_assert_eq!(resume(&bytes, SALT), Some(torn.len()));
        }
    }
}
