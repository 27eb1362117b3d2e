//! Compares the scan with one made by serde_json: slow, recursive, and short enough to be trusted.

mod bodies;
mod oracle;

use std::sync::Arc;

use futures_util::FutureExt;
use proptest::prelude::*;

use self::bodies::{json_value, mutate, object_of};
use self::oracle::reference_scan;
use super::fields::Fields;
use super::keys::{FieldKey, Keys};
use super::link::MediaHosts;
use super::spot::Spot;
use super::watch::Watch;
use super::{BLOCK, MAX_DEPTH, ScanError, ScanErrorKind};

const MODEL: FieldKey = FieldKey::new("model");
const N: FieldKey = FieldKey::new("n");

static COUNTS: Keys = Keys::of(&[&[N, FieldKey::options("options", || &COUNTS)]]);
static KEYS: Keys = Keys::of(&[
    &[
        MODEL,
        N,
        FieldKey::new("stream"),
        FieldKey::new("max_tokens"),
    ],
    &[
        FieldKey::holding("stream_options", "include_usage"),
        FieldKey::options("options", || &COUNTS),
        FieldKey::prompt("messages"),
        FieldKey::prompt("prompt"),
        FieldKey::prompt("input").at(Spot::Items),
        FieldKey::tensors("prompt_embeds"),
        FieldKey::counted("system"),
        FieldKey::noted("cache_salt"),
        FieldKey::counted("tools").at(Spot::Tools),
        FieldKey::watched("container", Spot::Container),
    ],
]);

fn watch() -> Watch {
    let mut watch = Watch::default();
    watch.deny("rid");
    watch.deny("n");
    watch.hosts(&Arc::new(MediaHosts::Public));
    watch.hosts(&Arc::new(MediaHosts::Listed(Vec::new())));
    watch
}

/// Runs a scan of a small body, which never pauses.
fn scan(body: &[u8]) -> Result<Fields<'_>, ScanError> {
    super::scan(body, &KEYS, &watch()).now_or_never().unwrap()
}

/// Runs a scan to its end, and counts its pauses.
fn scan_long(body: &[u8]) -> (Result<Fields<'_>, ScanError>, usize) {
    let watch = watch();
    let mut scan = std::pin::pin!(super::scan(body, &KEYS, &watch));
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    let mut pauses = 0;
    loop {
        match scan.as_mut().poll(&mut task) {
            std::task::Poll::Ready(found) => return (found, pauses),
            std::task::Poll::Pending => pauses += 1,
        }
    }
}

fn agree(body: &[u8]) -> Result<(), TestCaseError> {
    let found = scan(body);
    if let Err(error) = found {
        prop_assert!(error.offset <= body.len());
    }
    prop_assert_eq!(
        found.ok(),
        reference_scan(body),
        "{}",
        String::from_utf8_lossy(body)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_on_whole_objects(body in object_of(json_value())) {
        agree(body.as_bytes())?;
    }

    #[test]
    fn agrees_on_mutated_objects(
        body in object_of(json_value()),
        cuts in prop::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 1..4),
    ) {
        agree(&mutate(&body, &cuts))?;
    }

    #[test]
    fn agrees_on_strings(text in prop::collection::vec(any::<u8>(), 0..90)) {
        agree(&[b"{\"input\":\"".as_slice(), &text, b"\"}"].concat())?;
    }

    #[test]
    fn agrees_on_numbers(text in "[-+0-9.eE]{1,8}") {
        agree(format!("{{\"n\":{text}}}").as_bytes())?;
    }

    #[test]
    fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        agree(&body)?;
    }
}

#[test]
fn control_characters_and_quotes_are_found_at_every_position() {
    for length in 0..80 {
        for (special, fine) in [(0x1f, false), (0, false), (b'\\', false), (0x7f, true)] {
            for at in 0..length {
                let mut text = vec![b'x'; length];
                text[at] = special;
                let body = [b"{\"a\":\"".as_slice(), &text, b"\"}"].concat();
                assert_eq!(
                    scan(&body).is_ok(),
                    fine,
                    "{special:#x} at {at} of {length}"
                );
            }
        }
    }
}

#[test]
fn the_scan_pauses_after_each_block_whatever_the_body_holds() {
    let size = 3 * BLOCK;
    let filled = |piece: &str| piece.repeat(size / piece.len() + 1);
    for (before, piece, after) in [
        ("{\"input\":[", "{},", "{}]}"),
        ("{\"input\":[", "[],", "[]]}"),
        ("{\"input\":[", "1,", "1]}"),
        ("{\"x\":[", "\"a\",", "1]}"),
        ("{", "\"system\":\"x\",", "\"n\":1}"),
        ("{", "\"rid\":1,", "\"n\":1}"),
        ("{\"options\":{", "\"x\":1,", "\"n\":1}}"),
        ("{\"stream_options\":{", "\"x\":1,", "\"n\":1}}"),
        ("{\"input\":\"", "x", "\"}"),
        ("{\"input\":\"", "\\n", "\"}"),
        ("{\"input\":\"", "\u{1f980}", "\"}"),
        ("{\"", "x", "\":1}"),
        ("{\"", "\\u0041", "\":1}"),
        ("{\"n\":", " ", "1}"),
        ("", "\n", "{}"),
        ("{}", " ", ""),
    ] {
        let body = [before, &filled(piece), after].concat();
        let (found, pauses) = scan_long(body.as_bytes());
        assert!(found.is_ok(), "{before}{piece}: {found:?}");
        assert!(pauses >= size / BLOCK, "{before}{piece}: {pauses}");
        // Broken UTF-8 is found wherever it stands.
        for at in [
            body.len() - after.len(),
            before.len() + BLOCK - 1,
            before.len() + BLOCK,
        ] {
            let mut broken = body.clone().into_bytes();
            broken[at.min(body.len() - 1)] = 0xff;
            assert!(scan_long(&broken).0.is_err(), "{before}{piece} at {at}");
        }
    }
}

#[test]
fn a_character_may_stand_across_two_blocks() {
    for shift in 0..8 {
        let text = ["x".repeat(shift), "\u{1f980}\\u0041".repeat(BLOCK / 8)].concat();
        let body = format!("{{\"system\":\"{text}\"}}");
        let (found, _) = scan_long(body.as_bytes());
        assert_eq!(found.unwrap().prompt.text_bytes, text.len() as u64);
    }
}

#[test]
fn depth_is_counted_with_the_body_itself() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(scan(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
    let error = scan(nested(MAX_DEPTH).as_bytes()).unwrap_err();
    assert_eq!(error.fault, ScanErrorKind::TooDeep);
    assert_eq!(error.offset, 5 + MAX_DEPTH - 1);
    let objects = format!("{{\"a\":{}", "{\"a\":".repeat(10_000));
    assert_eq!(
        scan(objects.as_bytes()).unwrap_err().fault,
        ScanErrorKind::TooDeep
    );
}

#[test]
fn faults_say_where() {
    let fault = |body: &[u8]| {
        let error = scan(body).unwrap_err();
        (error.fault, error.offset)
    };
    assert_eq!(fault(b"\xef\xbb\xbf{}"), (ScanErrorKind::ByteOrderMark, 0));
    assert_eq!(fault(b"{\"a\":\"\xff\"}"), (ScanErrorKind::NotUtf8, 6));
    assert_eq!(fault(b""), (ScanErrorKind::NotAnObject, 0));
    assert_eq!(fault(b" []"), (ScanErrorKind::NotAnObject, 1));
    assert_eq!(
        fault(b"{\"a\":NaN}"),
        (ScanErrorKind::Expected("a value"), 5)
    );
    assert_eq!(fault(b"{\"a\":1} x").1, 8);
    assert_eq!(
        fault(b"{\"model\":\"a\",\"mod\\u0065l\":\"b\"}"),
        (ScanErrorKind::Repeated(MODEL), 13)
    );
    assert_eq!(
        fault(b"{\"model\":\"a\",\"MODEL\":\"b\"}"),
        (ScanErrorKind::OtherLetters(MODEL), 13)
    );
    assert_eq!(
        fault(b"{\"n\":1,\"x\":2,\"n\":1}"),
        (ScanErrorKind::Repeated(N), 13)
    );
}

#[test]
fn keys_fold_as_go_folds_them() {
    for key in [
        "MODEL",
        "mode\\u004c",
        "\u{17f}tream",
        "\\u017fTREAM",
        "\\u017Ftream",
        "max_to\u{212a}ens",
        "max_to\\u212aens",
        "N",
    ] {
        let body = format!("{{\"{key}\":1}}");
        let found = scan(body.as_bytes()).map_err(|error| error.fault);
        assert!(
            matches!(found, Err(ScanErrorKind::OtherLetters(_))),
            "{key}"
        );
    }
    // Nobody takes any of these for a key.
    for key in [
        "m\u{f6}del",
        "\u{131}nput",
        "mode\\u006",
        "\\ud800n",
        "modelſ",
    ] {
        let body = format!("{{\"{key}\":1}}");
        let found = scan(body.as_bytes()).map_err(|error| error.fault);
        assert!(
            !matches!(found, Err(ScanErrorKind::OtherLetters(_))),
            "{key}"
        );
    }
}

#[test]
fn what_the_gateway_does_not_act_on_passes() {
    for body in [
        "{\"options\":{\"x\":1,\"x\":2}}",
        "{\"a\":1e400}",
        "{\"a\":\"\\ud800\"}",
        "{\"mod\\ud800el\":1}",
        "{\"a\":1,\"a\":2}",
        "{\"Temperature\":1}",
        "{\"system\":1,\"system\":2,\"SYSTEM\":3}",
        " {} ",
    ] {
        assert!(scan(body.as_bytes()).is_ok(), "{body}");
    }
}
