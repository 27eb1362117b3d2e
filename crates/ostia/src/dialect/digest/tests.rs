use super::{DEEPEST, Digest, LONGEST, LONGEST_STRING};
use proptest::prelude::*;
use serde_json::{Value, json};

fn digest(pieces: &[&[u8]]) -> Vec<u8> {
    let mut digest = Digest::default();
    for piece in pieces {
        digest.push(piece);
    }
    digest.json().to_vec()
}

/// The expected result, computed on a parsed tree.
fn reference(value: &Value, depth: usize) -> Value {
    match value {
        Value::String(text) if serde_json::to_string(text).unwrap().len() - 2 > LONGEST_STRING => {
            json!("")
        }
        Value::Array(elements) if elements.is_empty() => json!([]),
        Value::Array(_) => json!([0]),
        Value::Object(_) if depth == DEEPEST => json!({}),
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| (key.clone(), reference(member, depth + 1)))
            .collect(),
        other => other.clone(),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~é]{0,8}",
        Just("\"}\\{[]:,\n".to_owned()),
        Just("\\\"".repeat(LONGEST_STRING / 4)),
        Just("x".repeat(LONGEST_STRING)),
        Just("x".repeat(LONGEST_STRING + 1)),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 60, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z\"\\\\{\\[]{0,3}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn cuts_change_nothing(members in prop::collection::hash_map("[a-z]{1,4}", value(), 0..4),
                           cuts in prop::collection::vec(0.0..1.0, 0..8), pretty: bool) {
        let whole: Value = members.into_iter().collect();
        let text = if pretty { serde_json::to_vec_pretty(&whole) } else { serde_json::to_vec(&whole) }.unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| (cut * text.len() as f64) as usize).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let small: Value = serde_json::from_slice(&digest(&pieces)).unwrap();
        prop_assert_eq!(small, reference(&whole, 0));
    }

    #[test]
    fn anything_is_survived(text in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ 1a\n".to_vec()), 0..60)) {
        digest(&[&text]);
    }
}

#[test]
fn every_cut_gives_the_same() {
    let text = br#" {"a" : "\"\\", "b":[ "]", {"x":[1]} ], "c":[ ], "d":{"e":{"f":{"g":{"h":"}"},"i":1}}}} "#;
    let small = br#"{"a":"\"\\","b":[0],"c":[],"d":{"e":{"f":{"g":{},"i":1}}}}"#;
    for cut in 0..text.len() {
        assert_eq!(digest(&[&text[..cut], &text[cut..]]), small, "{cut}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(digest(&bytes), small);
}

#[test]
fn it_stays_small() {
    let long = "x".repeat(1_000_000);
    let text = json!({"a": long, "b": [long, {"c": long}], "d": 1}).to_string();
    assert_eq!(digest(&[text.as_bytes()]), br#"{"a":"","b":[0],"d":1}"#);
    let many: Value = (0..100_000).map(|at| (at.to_string(), json!(1))).collect();
    assert!(digest(&[many.to_string().as_bytes()]).len() <= LONGEST + 1);
    for none in ["ID3\u{4}", "<html>", "[1]", "7", "\"{\"", ""] {
        assert!(digest(&[none.as_bytes()]).is_empty(), "{none}");
    }
}
