//! Bodies to scan, valid and mutated.

use proptest::prelude::*;

fn string_token() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-z ]{0,12}",
        1 => "[a-z]{20,80}",
        1 => Just("é\u{1f980}".to_owned()),
        1 => Just("\\n".to_owned()),
        1 => Just("\\\"".to_owned()),
        1 => Just("\\\\".to_owned()),
        1 => Just("\\ud800".to_owned()),
        1 => Just("\\u0065".to_owned()),
        1 => Just("data:image/png;base64,AAAA".to_owned()),
        1 => Just("https://example.org/a".to_owned()),
        1 => Just("http:\\/\\/10.0.0.1/".to_owned()),
        1 => Just("item_reference".to_owned()),
        2 => Just("image".to_owned()),
    ];
    prop::collection::vec(piece, 0..3).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn scalar_token() -> impl Strategy<Value = String> {
    prop_oneof![
        string_token(),
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12",
            "-7",
            "1e400",
            "1.5",
            "2E+3",
            "18446744073709551615",
            "99999999999999999999",
        ])
        .prop_map(str::to_owned),
    ]
}

fn key_token() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "model", "stream", "stream_options", "max_tokens", "n", "best_of", "messages",
            "prompt", "prompt_embeds", "input", "previous_response_id", "conversation", "include_usage", "system",
            "data", "content", "temperature", "options", "tools", "container", "type", "id", "role", "ID",
            "Content", "source", "image_url", "url", "file_id", "File_\\u0049d", "audio", "path", "text", "rid", "RID", "Include_Usage", "mod\\u0065l", "\\u0069nclude_usage", "Model", "\u{17f}tream",
            "\\u004d\\u006fdel", "max_to\u{212a}ens", "\u{17f}ystem", "n\u{e9}",
        ])
        .prop_map(|key| format!("\"{key}\"")),
        1 => string_token(),
    ]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n\t"])
}

pub(super) fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((key_token(), value, space()), 0..6).prop_map(|members| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(key, value, space)| format!("{space}{key}{space}:{space}{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

pub(super) fn json_value() -> impl Strategy<Value = String> {
    scalar_token().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), space())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            object_of(inner),
        ]
    })
}

pub(super) fn mutate(text: &str, cuts: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (index, action, byte) in cuts {
        let at = index.index(bytes.len().max(1));
        match action % 4 {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 => bytes.insert(at.min(bytes.len()), *byte),
            2 if at < bytes.len() => bytes[at] = *byte,
            3 => bytes.insert(
                at.min(bytes.len()),
                b"{}[]\",:\\ 0-.eu\n\x01"[*byte as usize % 16],
            ),
            _ => {}
        }
    }
    bytes
}
