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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use ostia_core::{LedgerRow, RequestId};
    use proptest::prelude::*;

    use super::super::tests::{answered, row};
    use super::{
        GROWTH, HEAD, Kind, MAX_LEN, Step, body, decode, encode, encode_final, parse, resume, seal,
    };

    const SALT: u32 = 0x0571_a0b1;

    fn sealed(kind: Kind, row: &LedgerRow<'_>) -> Vec<u8> {
        let mut record = Vec::new();
        encode(&mut record, kind, row).unwrap();
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
        assert_eq!(decode(read.body), Some(row));
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

    /// Files outlive the binary that wrote them. If this fails, `VERSION` must grow and the old layout still be read.
    #[test]
    fn the_layout_of_version_1_stands() {
        let mut row = answered(&row("ann", 5), 70);
        row.request_id = RequestId::from_bytes([7; 16]);
        row.ttft_ms = Some(300);
        let record = sealed(Kind::Final, &row);
        assert_eq!(super::VERSION, 1);
        let expected = "10070707070707070707070707070707070080c081d58abcb00680d2f5d68abcb00603616e6e0b616e6e406c61622e6f726708536f6d65204f6e65076170695f6b6579076c61622e6f7267076c61622e6f726700026b310006736f7068696104766c6c6d016d0d736f706869612d766c6c6d2d6d10636861742f636f6d706c6574696f6e7301c80100060005004600000001ac02d00f00ac0200c80101093139322e302e322e3701";
        assert_eq!(hex::encode(body(&record)), expected);
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        let mut row = row("ann", 5);
        row.error_code = Cow::Owned("\u{e9}".repeat(50) + "x");
        row.client_request_id = Cow::Owned("x".to_owned() + &*"\u{1f600}".repeat(50));
        let record = sealed(Kind::Rejected, &row);
        let read = decode(body(&record)).unwrap();
        assert_eq!(read.error_code, "\u{e9}".repeat(32));
        assert_eq!(
            read.client_request_id,
            "x".to_owned() + &*"\u{1f600}".repeat(31)
        );
    }

    /// A text of a torn record that looks like a record is none: its writer does not know the salt.
    #[test]
    fn a_forged_record_is_not_found() {
        let mut forged = sealed(Kind::Final, &row("mallory", 1_000));
        seal(&mut forged, 0);
        let real = sealed(Kind::Final, &row("ann", 1));
        let bytes = [&[9, 9, 9], &forged[..], &real].concat();
        assert_eq!(resume(&bytes, SALT), Some(3 + forged.len()));
        assert_eq!(resume(&bytes[..3 + forged.len()], SALT), None);
    }

    fn any_row() -> impl Strategy<Value = LedgerRow<'static>> {
        let text = (any::<char>(), 0..1_200_usize)
            .prop_map(|(one, times)| String::from(one).repeat(times));
        let texts = prop::collection::vec(text, 17);
        (texts, any::<[u64; 10]>(), any::<[i64; 2]>()).prop_map(|(texts, numbers, times)| {
            let text = |index: usize| Cow::Owned(texts[index].clone());
            let mut row = LedgerRow {
                client_request_id: text(0),
                user_id: text(1),
                username: text(2),
                name: text(3),
                auth_service: text(4),
                idp: text(5),
                domain: text(6),
                group_id: text(7),
                key_id: text(8),
                project: text(9),
                cluster: text(10),
                framework: text(11),
                model: text(12),
                endpoint_slug: text(13),
                api: text(14),
                error_code: text(15),
                origin_ip: text(16),
                ..row("", numbers[0])
            };
            row.started_at = times[0];
            row.finished_at = times[1];
            row.usage.prompt_tokens = numbers[1];
            row.usage.completion_tokens = numbers[2];
            row.usage.total_tokens = numbers[3];
            row.usage.cached_tokens = numbers[4];
            row.usage.reasoning_tokens = numbers[5];
            row.duration_ms = numbers[6];
            row.queue_ms = numbers[7];
            row.request_bytes = numbers[8];
            row.response_bytes = numbers[9];
            row
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What `started` reserves is enough for any final record; one that differs only where it may is not cut.
        #[test]
        fn a_final_record_fits_its_reserve(started in any_row(), other in any_row()) {
            let mut record = Vec::new();
            encode(&mut record, Kind::Started, &started).unwrap();
            prop_assert!(record.len() <= HEAD + MAX_LEN);
            let reserve = record.len() + GROWTH;

            encode_final(&mut record, &other, reserve).unwrap();
            prop_assert!(record.len() <= reserve);

            let expected = LedgerRow {
                cluster: other.cluster.clone(),
                framework: other.framework.clone(),
                endpoint_slug: other.endpoint_slug.clone(),
                error_code: other.error_code.clone(),
                finished_at: other.finished_at,
                usage: other.usage,
                duration_ms: other.duration_ms,
                queue_ms: other.queue_ms,
                response_bytes: other.response_bytes,
                ..started
            };
            let mut whole = Vec::new();
            encode(&mut whole, Kind::Final, &expected).unwrap();
            encode_final(&mut record, &expected, reserve).unwrap();
            prop_assert_eq!(whole, record);
        }

        #[test]
        fn the_next_record_is_found_behind_any_bytes(torn in prop::collection::vec(any::<u8>(), 1..400)) {
            let record = sealed(Kind::Final, &row("ann", 1));
            let bytes = [&torn[..], &record].concat();
            prop_assert_eq!(resume(&bytes, SALT), Some(torn.len()));
        }
    }
}
