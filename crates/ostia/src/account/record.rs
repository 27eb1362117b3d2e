//! One record: `len u32 | crc32c u32 | version u8 | kind u8 | body`, little endian; `len` counts what follows the checksum.
//!
//! The checksum starts from the segment's own random salt: a reader that looks for the next record behind a torn one cannot
//! be led astray by a text that was made to look like a record.

use std::borrow::Cow;
use std::cell::Cell;

use ostia_core::{LedgerRow, RequestId};

pub(super) const HEAD: usize = 8;
/// `LedgerRow` in postcard, in the order of its fields. Any change of it needs a new version here and a reader for the old one.
pub(super) const VERSION: u8 = 1;
/// No record is larger: the texts are bounded below.
pub(super) const MAX_LEN: usize = 8 * 1024;
/// What a final record may be larger than its `started`: cluster, framework and slug after a retry, the error code, and
/// numbers at their widest.
pub(super) const GROWTH: usize = CLUSTER + FRAMEWORK + SLUG + ERROR_CODE + 160;

const CLUSTER: usize = 128;
const FRAMEWORK: usize = 128;
const SLUG: usize = 768;
const ERROR_CODE: usize = 64;
/// Texts of a final record that would not fit otherwise: 17 of them and the numbers stay below `GROWTH`.
const TIGHT: usize = 24;
const LEAST_LEN: usize = 2;

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
    /// `None`: a version or kind that this binary does not know.
    pub(super) kind: Option<Kind>,
    pub(super) body: &'a [u8],
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A whole record, and its length with the head.
    Record(Record<'a>, usize),
    /// The beginning of a record, if what is missing still comes.
    Unfinished,
    /// No record.
    Torn,
}

/// Replaces `buffer` with a record that still lacks its head.
pub(super) fn encode(
    buffer: &mut Vec<u8>,
    kind: Kind,
    row: &LedgerRow<'_>,
) -> Result<(), postcard::Error> {
    begin(buffer, kind);
    *buffer = postcard::to_extend(&bounded(row, usize::MAX), std::mem::take(buffer))?;
    Ok(())
}

/// Like `encode`, and no longer than `most`, which is at least `GROWTH`.
pub(super) fn encode_final(
    buffer: &mut Vec<u8>,
    row: &LedgerRow<'_>,
    most: usize,
) -> Result<(), postcard::Error> {
    encode(buffer, Kind::Final, row)?;
    if buffer.len() > most {
        begin(buffer, Kind::Final);
        *buffer = postcard::to_extend(&bounded(row, TIGHT), std::mem::take(buffer))?;
    }
    Ok(())
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
    let record = Record {
        kind: Kind::of(payload[0], payload[1]),
        body: &payload[LEAST_LEN..],
    };
    Step::Record(record, HEAD + size)
}

/// Where the next whole record begins behind the torn one at 0.
pub(super) fn resume(bytes: &[u8], salt: u32) -> Option<usize> {
    (1..bytes.len()).find(|&at| matches!(parse(&bytes[at..], salt), Step::Record(..)))
}

/// The body of a record that `encode` made.
pub(super) fn body(record: &[u8]) -> &[u8] {
    record.get(HEAD + LEAST_LEN..).unwrap_or_default()
}

pub(super) fn decode(body: &[u8]) -> Option<LedgerRow<'_>> {
    postcard::from_bytes(body).ok()
}

pub(super) fn decode_abandoned(body: &[u8]) -> Option<RequestId> {
    body.try_into().ok().map(RequestId::from_bytes)
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

    const fn of(version: u8, kind: u8) -> Option<Self> {
        match (version, kind) {
            (VERSION, 1) => Some(Self::Started),
            (VERSION, 2) => Some(Self::Final),
            (VERSION, 3) => Some(Self::Rejected),
            (VERSION, 4) => Some(Self::Abandoned),
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

/// The row with its texts cut at a character's boundary, to at most `most` bytes each.
fn bounded<'r>(row: &'r LedgerRow<'r>, most: usize) -> LedgerRow<'r> {
    let cut = |text: &'r str, bound: usize| {
        let end = text.floor_char_boundary(bound.min(most));
        Cow::Borrowed(&text[..end])
    };
    LedgerRow {
        client_request_id: cut(&row.client_request_id, 128),
        user_id: cut(&row.user_id, 1024),
        username: cut(&row.username, 320),
        name: cut(&row.name, 256),
        auth_service: cut(&row.auth_service, 64),
        idp: cut(&row.idp, 256),
        domain: cut(&row.domain, 256),
        group_id: cut(&row.group_id, 256),
        key_id: cut(&row.key_id, 128),
        project: cut(&row.project, 128),
        cluster: cut(&row.cluster, CLUSTER),
        framework: cut(&row.framework, FRAMEWORK),
        model: cut(&row.model, 512),
        endpoint_slug: cut(&row.endpoint_slug, SLUG),
        api: cut(&row.api, 128),
        error_code: cut(&row.error_code, ERROR_CODE),
        origin_ip: cut(&row.origin_ip, 64),
        ..*row
    }
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
