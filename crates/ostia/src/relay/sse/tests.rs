use super::{LONGEST_EVENT, Piece, Splitter};
use bytes::Bytes;
use proptest::prelude::*;

/// Splits events exactly as the specification says: byte by byte, slowly, over the whole text.
fn reference(text: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut events = Vec::new();
    let mut event = Vec::new();
    let mut line_empty = true;
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        event.push(byte);
        at += 1;
        if byte != b'\n' && byte != b'\r' {
            line_empty = false;
            continue;
        }
        if byte == b'\r' && text.get(at) == Some(&b'\n') {
            event.push(b'\n');
            at += 1;
        }
        if line_empty {
            events.push(std::mem::take(&mut event));
        }
        line_empty = true;
    }
    (events, event)
}

fn split(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut splitter = Splitter::default();
    let mut events: Vec<Vec<u8>> = Vec::new();
    for piece in pieces {
        splitter.push(Bytes::copy_from_slice(piece), |piece| match piece {
            Piece::Event(event) | Piece::LastPart(event) => events.push(event.to_vec()),
            Piece::Part(part) => panic!("{part:?}"),
            Piece::Comments(comments) => {
                let (whole, rest) = reference(&comments);
                assert!(rest.is_empty() && whole.len() > 1);
                events.extend(whole);
            }
            Piece::Blank(ends) => {
                let begun = ends[0] == b'\n' && events.last().is_some_and(|it| it.ends_with(b"\r"));
                if begun {
                    events.last_mut().unwrap().push(b'\n');
                }
                events.extend(reference(&ends[usize::from(begun)..]).0);
            }
        });
    }
    (events, splitter.take_tail().to_vec())
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("data: {\"a\":1}".to_owned()),
        Just("data:x".to_owned()),
        Just(": ping".to_owned()),
        Just(":\n\n".to_owned()),
        Just(":\r\n\r\n".to_owned()),
        Just("id: 7".to_owned()),
        Just("é".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("\r\n\r\n".to_owned()),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #[test]
    fn whole_texts_split_as_the_reference_says(text in text()) {
        prop_assert_eq!(split(&[&text]), reference(&text));
    }

    #[test]
    fn cuts_change_nothing(text in text(), cuts in prop::collection::vec(0usize..400, 0..20)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.push(0);
        cuts.push(text.len());
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        prop_assert_eq!(split(&pieces), reference(&text));
    }
}

#[test]
fn a_cut_between_cr_and_lf_is_no_boundary_and_behind_them_is_one() {
    let mut splitter = Splitter::default();
    let mut count = 0;
    splitter.push(Bytes::from_static(b"data: 1\r\n\r"), |_| count += 1);
    assert_eq!(count, 1);
    assert!(!splitter.at_boundary());
    splitter.push(Bytes::from_static(b"\n"), |piece| {
        assert_eq!(piece, Piece::Blank(Bytes::from_static(b"\n")));
    });
    assert!(splitter.at_boundary());
    splitter.push(Bytes::from_static(b"data: 2\n\n"), |_| count += 1);
    assert_eq!(count, 2);
    assert!(splitter.at_boundary());
}

#[test]
fn a_long_event_passes_in_parts() {
    let mut splitter = Splitter::default();
    let mut parts = Vec::new();
    let long = vec![b'x'; LONGEST_EVENT];
    let mut total = 0;
    for piece in [
        b"data: ".as_slice(),
        &long,
        &long,
        b"y\n",
        b"\n",
        b"data: 1\n\n",
    ] {
        total += piece.len();
        splitter.push(Bytes::copy_from_slice(piece), |piece| parts.push(piece));
    }
    let bytes: usize = parts
        .iter()
        .map(|piece| match piece {
            Piece::Event(bytes)
            | Piece::Part(bytes)
            | Piece::LastPart(bytes)
            | Piece::Comments(bytes)
            | Piece::Blank(bytes) => bytes.len(),
        })
        .sum();
    assert_eq!(bytes, total);
    assert_eq!(
        parts.last(),
        Some(&Piece::Event(Bytes::from_static(b"data: 1\n\n")))
    );
    let whole = parts
        .iter()
        .filter(|piece| matches!(piece, Piece::Event(_)));
    assert_eq!(whole.count(), 1);
    let last = parts
        .iter()
        .filter(|piece| matches!(piece, Piece::LastPart(_)));
    assert_eq!(last.count(), 1);
}

#[test]
fn line_ends_are_one_piece_however_many_there_are() {
    let mut splitter = Splitter::default();
    let mut pieces = Vec::new();
    for text in ["data: 1\n\n\n\r\n\r", "\n\n\n", "\n", "data: 2\n", "\n\n"] {
        splitter.push(Bytes::from_static(text.as_bytes()), |piece| {
            pieces.push(piece)
        });
    }
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(
        pieces,
        [
            Piece::Event(bytes("data: 1\n\n")),
            Piece::Blank(bytes("\n\r\n\r")),
            Piece::Blank(bytes("\n\n\n")),
            Piece::Blank(bytes("\n")),
            Piece::Event(bytes("data: 2\n\n")),
            Piece::Blank(bytes("\n")),
        ]
    );
    assert!(splitter.at_boundary());
}

#[test]
fn comments_in_a_row_are_one_piece() {
    let mut splitter = Splitter::default();
    let mut pieces = Vec::new();
    for text in [
        ":\n\n: a\n: b\n\n:c\r\n\r\n\n: d\ndata: 1\n\n: e\n\n",
        ":\r\r:\r",
        "\n\n:\n\n",
    ] {
        splitter.push(Bytes::from_static(text.as_bytes()), |piece| {
            pieces.push(piece)
        });
    }
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(
        pieces,
        [
            Piece::Comments(bytes(":\n\n: a\n: b\n\n:c\r\n\r\n\n")),
            Piece::Event(bytes(": d\ndata: 1\n\n")),
            Piece::Event(bytes(": e\n\n")),
            Piece::Event(bytes(":\r\r")),
            Piece::Event(bytes(":\r\n\n")),
            Piece::Event(bytes(":\n\n")),
        ]
    );
    assert!(splitter.at_boundary());
}
