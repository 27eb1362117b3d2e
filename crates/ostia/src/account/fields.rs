//! The body of a record: a row as `key | value`, field by field.
//!
//! A key is the column's number, shifted left by one; its last bit tells a text (`length | bytes`) from a number. Keys,
//! lengths and numbers are varints (LEB128). A value that equals an empty row's is left out, so a missing field reads
//! as that. A reader skips fields that it does not know, which belong to newer columns.

use ostia_core::{Column, ColumnSink, Kind, LedgerRow, RequestId, Value};

/// To fit, a final record has its texts cut to this length. Then it always fits: see `GROWTH`.
pub(super) const TIGHT: usize = 24;
/// How much larger a final record may be than its `started` record: texts that may grow, and numbers at their widest.
/// At least the size of a whole row with its texts cut to `TIGHT`.
pub(super) const GROWTH: usize = {
    let (growth, tight) = (size(usize::MAX, true), size(TIGHT, false));
    if growth > tight { growth } else { tight }
};
/// The largest body, which is bounded because texts are.
pub(super) const LARGEST: usize = size(usize::MAX, false);

/// Numbers of columns that are looked for.
const REQUEST_ID: u64 = 1;
const FINISHED_AT: u64 = 4;

/// The columns of a record of version 1, which has all of them in this order, without keys.
const VERSION_1: std::ops::RangeInclusive<u64> = 1..=38;

/// Appends the row's fields, its texts cut to their bounds and to `most` bytes.
pub(super) fn write(out: &mut Vec<u8>, row: &LedgerRow<'_>, most: usize) {
    row.put_into(&mut Writer { out, most });
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    most: usize,
}

impl ColumnSink for Writer<'_> {
    #[inline(always)]
    fn put(&mut self, column: &'static Column, value: Value<'_>) {
        match value {
            Value::Id(id) => write_bytes(self.out, column, id.as_bytes()),
            Value::Text("") | Value::Stamp(0) | Value::Flag(false) | Value::Absent => {}
            Value::Number(0) if column.kind == Kind::Number => {}
            Value::Text(text) => {
                let end = text.floor_char_boundary(column.most.min(self.most));
                write_bytes(self.out, column, &text.as_bytes()[..end]);
            }
            Value::Stamp(micros) => write_number(self.out, column, micros.cast_unsigned()),
            Value::Flag(true) => write_number(self.out, column, 1),
            Value::Number(number) => write_number(self.out, column, number),
            Value::Word { place, .. } => write_number(self.out, column, place as u64),
        }
    }
}

/// `None`: the bytes are damaged.
pub(super) fn read(mut body: &[u8]) -> Option<LedgerRow<'_>> {
    let mut row = LedgerRow::default();
    while !body.is_empty() {
        let key = take_number(&mut body)?;
        let has_text = key & 1 == 1;
        match Column::numbered(key >> 1) {
            Some(column) if has_text == is_text(column.kind) => {
                let value = take_value(column.kind, &mut body)?;
                if !row.set(column.number, value) {
                    return None;
                }
            }
            Some(_) => return None,
            None if has_text => drop(take_bytes(&mut body)?),
            None => drop(take_number(&mut body)?),
        }
    }
    has_id(&row).then_some(row)
}

/// The request and the time of its end, if the bytes are not damaged: all that is wanted of most `started` records.
pub(super) fn glance(mut body: &[u8]) -> Option<(RequestId, i64)> {
    let (mut request_id, mut finished_at) = (RequestId::default(), 0);
    while !body.is_empty() {
        let key = take_number(&mut body)?;
        let has_text = key & 1 == 1;
        let column = Column::numbered(key >> 1);
        if column.is_some_and(|column| has_text != is_text(column.kind)) {
            return None;
        }
        match (key >> 1, has_text) {
            (REQUEST_ID, true) => request_id = id(take_bytes(&mut body)?)?,
            (FINISHED_AT, false) => finished_at = take_number(&mut body)?.cast_signed(),
            (_, true) => drop(take_bytes(&mut body)?),
            (_, false) => drop(take_number(&mut body)?),
        }
    }
    (request_id != RequestId::default()).then_some((request_id, finished_at))
}

/// The body of a record of version 1: every value at its position.
pub(super) fn read_version_1(mut body: &[u8]) -> Option<LedgerRow<'_>> {
    let mut row = LedgerRow::default();
    for column in VERSION_1.filter_map(Column::numbered) {
        let value = match column.kind {
            // Signed numbers were zigzag encoded.
            Kind::Stamp => {
                let bits = take_number(&mut body)?;
                Value::Stamp((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
            }
            Kind::MaybeNumber if take_number(&mut body)? == 0 => Value::Absent,
            kind => take_value(kind, &mut body)?,
        };
        if !row.set(column.number, value) {
            return None;
        }
    }
    (body.is_empty() && has_id(&row)).then_some(row)
}

fn has_id(row: &LedgerRow<'_>) -> bool {
    row.request_id != RequestId::default()
}

const fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Id | Kind::Text)
}

fn take_value<'a>(kind: Kind, from: &mut &'a [u8]) -> Option<Value<'a>> {
    Some(match kind {
        Kind::Id => Value::Id(id(take_bytes(from)?)?),
        Kind::Text => Value::Text(std::str::from_utf8(take_bytes(from)?).ok()?),
        Kind::Stamp => Value::Stamp(take_number(from)?.cast_signed()),
        Kind::Flag => Value::Flag(take_number(from)? != 0),
        Kind::Number | Kind::MaybeNumber => Value::Number(take_number(from)?),
        Kind::Word(words) => Value::word(words, usize::try_from(take_number(from)?).ok()?),
    })
}

fn id(bytes: &[u8]) -> Option<RequestId> {
    bytes.try_into().ok().map(RequestId::from_bytes)
}

fn write_bytes(out: &mut Vec<u8>, column: &Column, bytes: &[u8]) {
    write_pair(out, u64::from(column.number) << 1 | 1, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_number(out: &mut Vec<u8>, column: &Column, number: u64) {
    write_pair(out, u64::from(column.number) << 1, number);
}

/// Two varints. Most are of one byte.
fn write_pair(out: &mut Vec<u8>, key: u64, value: u64) {
    if key < 0x80 && value < 0x80 {
        return out.extend_from_slice(&[key as u8, value as u8]);
    }
    for mut number in [key, value] {
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }
}

#[inline]
fn take_number(from: &mut &[u8]) -> Option<u64> {
    match from.split_first()? {
        (&byte, rest) if byte < 0x80 => {
            *from = rest;
            Some(byte.into())
        }
        _ => take_long_number(from),
    }
}

fn take_long_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (place, &byte) in from.iter().take(width(u64::MAX)).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            *from = &from[place + 1..];
            // The tenth byte has room for one bit.
            return (place < 9 || byte == 1).then_some(number);
        }
    }
    None
}

#[inline]
fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(from)?).ok()?;
    from.split_off(..length)
}

/// Bytes of a number as a varint.
const fn width(number: u64) -> usize {
    let bits = u64::BITS - number.leading_zeros();
    if bits == 0 {
        1
    } else {
        bits.div_ceil(7) as usize
    }
}

/// Bytes of a row at its widest, its texts cut to `most` bytes; `growth`: of what may grow, and only of that.
const fn size(most: usize, growth: bool) -> usize {
    let mut size = 0;
    let mut index = 0;
    while index < Column::ALL.len() {
        let column = &Column::ALL[index];
        let key = width((column.number as u64) << 1 | 1);
        let text = if column.most < most {
            column.most
        } else {
            most
        };
        size += match column.kind {
            Kind::Id | Kind::Text if growth && !column.late => 0,
            Kind::Id => key + 1 + 16,
            Kind::Text => key + width(text as u64) + text,
            Kind::Flag | Kind::Word(_) => key + 1,
            Kind::Stamp | Kind::Number | Kind::MaybeNumber => key + width(u64::MAX),
        };
        index += 1;
    }
    size
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use ostia_core::{Column, Kind, LedgerRow, Outcome, RequestId, Value};
    use proptest::prelude::*;

    use super::super::record::{self, encode, encode_final};
    use super::super::tests::{answered, row};
    use super::{GROWTH, LARGEST, TIGHT, glance, read, read_version_1, write};

    fn body(row: &LedgerRow<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        write(&mut body, row, usize::MAX);
        body
    }

    fn known() -> LedgerRow<'static> {
        LedgerRow {
            request_id: RequestId::from_bytes([7; 16]),
            ttft_ms: Some(300),
            ..answered(&row("ann", 5), 70)
        }
    }

    /// Files outlive the binary that wrote them. If this fails, `VERSION` must grow and this layout still be read.
    #[test]
    fn the_layout_of_version_2_stands() {
        assert_eq!(record::VERSION, 2);
        let expected = "0310070707070707070707070707070707070680e0c0aa859e98030880e9baab859e98030b03616e6e0d0b616e6e406c61622e6f726711076170695f6b657913076c61622e6f726715076c61622e6f726719026b311d06736f706869611f04766c6c6d21016d230d736f706869612d766c6c6d2d6d2510636861742f636f6d706c6574696f6e73260128c8012a002c06300534463a003cac023ed00f42ac0246c80148014b093139322e302e322e374e0050004c010f08536f6d65204f6e65";
        assert_eq!(hex::encode(body(&known())), expected);
    }

    /// As it was before `class`, `location` and `served_model`.
    #[test]
    fn a_record_without_later_columns_reads_with_their_defaults() {
        let now = hex::encode(body(&known()));
        let before = now.replace("4e0050004c01", "4c01");
        assert_ne!(before, now);
        assert_eq!(read(&hex::decode(before).unwrap()), Some(known()));
    }

    #[test]
    fn the_layout_of_version_1_is_read() {
        let body = "10070707070707070707070707070707070080c081d58abcb00680d2f5d68abcb00603616e6e0b616e6e406c61622e6f726708536f6d65204f6e65076170695f6b6579076c61622e6f7267076c61622e6f726700026b310006736f7068696104766c6c6d016d0d736f706869612d766c6c6d2d6d10636861742f636f6d706c6574696f6e7301c80100060005004600000001ac02d00f00ac0200c80101093139322e302e322e3701";
        let body = hex::decode(body).unwrap();
        assert_eq!(read_version_1(&body), Some(known()));
        for cut in 0..body.len() {
            assert_eq!(read_version_1(&body[..cut]), None, "{cut} bytes");
        }
        assert_eq!(read_version_1(&[&body[..], &[0]].concat()), None);
    }

    #[test]
    fn what_a_record_does_not_say_is_as_in_an_empty_row() {
        let lone = LedgerRow {
            request_id: RequestId::from_bytes([7; 16]),
            ..LedgerRow::default()
        };
        let mut fields = vec![1 << 1 | 1, 16];
        fields.extend([7; 16]);
        assert_eq!(read(&fields), Some(lone));
        assert_eq!(read(&[]), None, "a row without an id");
        assert_eq!(glance(&[]), None, "a row without an id");
    }

    #[test]
    fn fields_of_later_columns_are_skipped() {
        let mut fields = vec![0xd1, 0x0f, 3, 0xff, 0xfe, 0xfd];
        fields.extend(body(&known()));
        fields.extend([0xd0, 0x0f, 0x85, 0x01]);
        fields.extend([0xff; 9]);
        fields.extend([0x01, 0x00]);
        assert_eq!(read(&fields), Some(known()));
        let expected = (known().request_id, known().finished_at);
        assert_eq!(glance(&fields), Some(expected));
    }

    #[test]
    fn a_word_of_a_later_list_is_not_known() {
        let mut fields = body(&known());
        fields.extend([21 << 1, 99]);
        let expected = LedgerRow {
            outcome: Outcome::Interrupted,
            ..known()
        };
        assert_eq!(read(&fields), Some(expected));
    }

    #[test]
    fn damage_is_told() {
        let sound = body(&known());
        for damage in [
            &[0x80][..],
            &[16 << 1 | 1, 5, b'm'],
            &[16 << 1 | 1, 1, 0xff],
            &[16 << 1, 1],
            &[20 << 1 | 1, 0],
            &[20 << 1, 0xff, 0xff, 0xff, 1],
            &[
                24 << 1,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                2,
            ],
            &[
                24 << 1,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0xff,
                0x81,
                0,
            ],
        ] {
            assert_eq!(read(&[&sound, damage].concat()), None, "{damage:x?}");
        }
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        let mut row = row("ann", 5);
        row.error_code = Cow::Owned("\u{e9}".repeat(50) + "x");
        row.client_request_id = Cow::Owned("x".to_owned() + &*"\u{1f600}".repeat(50));
        let fields = body(&row);
        let read = read(&fields).unwrap();
        assert_eq!(read.error_code, "\u{e9}".repeat(32));
        assert_eq!(
            read.client_request_id,
            "x".to_owned() + &*"\u{1f600}".repeat(31)
        );
    }

    /// For each column a text and a number.
    fn seeds() -> impl Strategy<Value = Vec<(String, u64)>> {
        let text = (any::<char>(), 0..1_200_usize)
            .prop_map(|(one, times)| String::from(one).repeat(times));
        let number = prop_oneof![any::<u64>(), 0..3_u64];
        prop::collection::vec((text, number), Column::ALL.len())
    }

    fn row_of(seeds: &[(String, u64)]) -> LedgerRow<'_> {
        let mut row = LedgerRow::default();
        for (column, (text, number)) in Column::ALL.iter().zip(seeds) {
            let value = match column.kind {
                Kind::Id => Value::Id(RequestId::from_bytes([7; 16])),
                Kind::Text => Value::Text(text),
                Kind::Stamp => Value::Stamp(number.cast_signed()),
                Kind::Flag => Value::Flag(number % 2 == 1),
                Kind::Number | Kind::MaybeNumber => Value::Number(*number),
                Kind::Word(words) => Value::word(words, *number as usize % words.len()),
            };
            if !row.set(column.number, value) {
                assert!(row.set(column.number, Value::Number(number >> 48)));
            }
        }
        row
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_row_is_read_as_it_was_written(seeds in seeds()) {
            let row = row_of(&seeds);
            let fields = body(&row);
            prop_assert!(fields.len() <= LARGEST);
            let read = read(&fields).unwrap();
            prop_assert_eq!(glance(&fields), Some((read.request_id, read.finished_at)));
            for (column, (read, written)) in Column::ALL.iter().zip(read.values().into_iter().zip(row.values())) {
                match (read, written) {
                    (Value::Text(read), Value::Text(written)) => {
                        prop_assert_eq!(read, &written[..written.floor_char_boundary(column.most)]);
                    }
                    _ => prop_assert_eq!(read, written),
                }
            }
        }

        /// The room that `started` reserves is enough for any final record, and a final record that differs only where
        /// it may is not cut.
        #[test]
        fn a_final_record_fits_its_reserve(seeds in [seeds(), seeds()]) {
            let [mut started, other] = seeds.each_ref().map(|seeds| row_of(seeds));
            let mut record = Vec::new();
            encode(&mut record, record::Kind::Started, &started);
            let reserve = record.len() + GROWTH;

            encode_final(&mut record, &other, reserve);
            prop_assert!(record.len() <= reserve);

            for (column, value) in Column::ALL.iter().zip(other.values()) {
                if column.late || !matches!(column.kind, Kind::Text | Kind::Id) {
                    prop_assert!(started.set(column.number, value));
                }
            }
            let mut whole = Vec::new();
            encode(&mut whole, record::Kind::Final, &started);
            encode_final(&mut record, &started, reserve);
            prop_assert_eq!(whole, record);
        }
    }

    #[test]
    fn a_row_with_tight_texts_always_fits() {
        let text = "x".repeat(2_000);
        let seeds = vec![(text, u64::MAX); Column::ALL.len()];
        let mut fields = Vec::new();
        write(&mut fields, &row_of(&seeds), TIGHT);
        assert!(fields.len() <= GROWTH);
    }
}
