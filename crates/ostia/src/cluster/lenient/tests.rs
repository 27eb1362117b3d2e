use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Listing, NotAnEntry, Shape, read};

const SHAPE: Shape = Shape {
    root: Some("jobs"),
    aside: &["errors"],
};
const BARE: Shape = Shape {
    root: None,
    aside: &[],
};

/// Every entry that is an object.
fn objects(page: &[u8], shape: &Shape) -> Option<Listing<Value>> {
    read(page, shape, |_, entry| match entry {
        Value::Object(_) => Ok(Some(entry.clone())),
        _ => Err(NotAnEntry),
    })
}

fn entries(page: impl AsRef<[u8]>) -> Listing<Value> {
    objects(page.as_ref(), &SHAPE).unwrap()
}

/// The value of `v` of a job that is written like this between two sound jobs.
fn between(written: impl AsRef<[u8]>) -> (Value, String) {
    let before: &[u8] = b"{\n \"jobs\": {\n  \"1\": {\"n\": 1},\n  \"2\": {\"v\": ";
    let after: &[u8] = b",\n    \"w\": {\"x\": \"y\"}, \"n\": 2},\n  \"3\": {\"n\": 3}\n }\n}\n";
    let listing = entries([before, written.as_ref(), after].concat());
    let numbers: Vec<_> = listing.entries.iter().map(|job| job["n"].clone()).collect();
    let shown = String::from_utf8_lossy(written.as_ref()).into_owned();
    assert_eq!(numbers, [json!(1), json!(2), json!(3)], "{shown}");
    assert_eq!(listing.entries[1]["w"], json!({"x": "y"}), "{shown}");
    assert!(!listing.lost, "{shown}");
    assert!(listing.faults.count() > 0, "{shown}");
    let fault = listing.faults.first().unwrap().to_owned();
    (listing.entries[1]["v"].clone(), fault)
}

#[test]
fn what_programs_write_in_the_place_of_json() {
    for (written, meant) in [
        (r#""ab\,c""#, json!("ab,c")),
        (r#""it\'s""#, json!("it's")),
        (r#""MYDOMAIN\myuser""#, json!(r"MYDOMAIN\myuser")),
        (r#""DOMAIN\user""#, json!(r"DOMAIN\user")),
        (r#""a "quoted" word""#, json!(r#"a "quoted" word"#)),
        (r#""say "hi", please""#, json!(r#"say "hi", please"#)),
        (r#""{"a":"b"}""#, json!(r#"{"a":"b"}"#)),
        (r#""echo "${HOME}" end""#, json!(r#"echo "${HOME}" end"#)),
        (r#""ends in a quote"""#, json!(r#"ends in a quote""#)),
        (r#""ends in a backslash\""#, json!(r"ends in a backslash\")),
        (r#"["a "b" c", 005]"#, json!([r#"a "b" c"#, "005"])),
        ("005", json!("005")),
        ("-.5", json!("-.5")),
        ("1e999", json!("1e999")),
        ("0x1F", json!("0x1F")),
        ("2023-11-14 20:00", json!("2023-11-14 20:00")),
        ("NaN", json!(null)),
        ("-Infinity", json!(null)),
        ("None", json!(null)),
        ("True", json!(true)),
        ("", json!(null)),
        ("\"two\nlines\tand a tab\"", json!("two\nlines\tand a tab")),
        ("\"\u{1b}[1mbold\u{1b}[0m\"", json!("bold")),
        ("\"a\0b\"", json!("ab")),
        ("'it\\'s'", json!("it's")),
        ("'it's'", json!("it's")),
        (r#"'say "hi"'"#, json!(r#"say "hi""#)),
        ("// none\n 7", json!(7)),
        (r#""\ud83d alone \u12""#, json!("\u{fffd} alone \\u12")),
        (r#""\ud83d\ude00 \q""#, json!("\u{1f600} \\q")),
    ] {
        assert_eq!(between(written).0, meant, "{written}");
    }
    assert_eq!(between(b"\"M\xfcller\"").0, json!("M\u{fc}ller"));
}

#[test]
fn the_first_fault_is_told_with_its_place_and_without_the_text() {
    let (_, fault) = between(r#""secret\,value""#);
    assert_eq!(
        fault,
        "an escape that JSON does not have at line 4, column 21"
    );
    let (_, fault) = between("\"a \"secret\" b\"");
    assert_eq!(fault, "a quote that is not escaped at line 4, column 17");
}

#[test]
fn an_entry_of_the_wrong_kind_is_left_out() {
    for wrong in [
        "null",
        "\"text\"",
        "[1]",
        "7",
        "true",
        "NaN",
        "\"a \"b\" c\"",
    ] {
        let list = format!("{{\"jobs\": [{{\"n\": 1}}, {wrong}, {{\"n\": 2}}]}}");
        let object =
            format!("{{\"jobs\": {{\"a\": {{\"n\": 1}}, \"b\": {wrong}, \"c\": {{\"n\": 2}}}}}}");
        for page in [list, object] {
            let listing = entries(&page);
            assert_eq!(
                listing.entries,
                [json!({"n": 1}), json!({"n": 2})],
                "{page}"
            );
            assert!(listing.lost, "{page}");
            let fault = listing.faults.first().unwrap();
            assert!(fault.contains("line 1, column"), "{fault}");
        }
    }
}

#[test]
fn text_around_the_json() {
    let json = r#"{"jobs": [{"n": 1}], "errors": ["e"]}"#;
    for page in [
        format!("\u{feff}{json}"),
        format!("  \n\u{feff}{json}"),
        format!("squeue: warning: node[1-3] {{down}}\n[2024-01-01T00:00:00] hello\n{json}"),
        format!("Last login: today {json}"),
        format!("{json}\nslurm_load_node error: timeout {{x}}"),
        format!("{json}\0\0"),
        format!("{json}{json}"),
    ] {
        let listing = entries(&page);
        assert_eq!(listing.entries, [json!({"n": 1})], "{page}");
        assert_eq!(listing.aside["errors"], json!(["e"]), "{page}");
        assert!(listing.faults.count() > 0 && !listing.lost, "{page}");
    }
    let sound = entries(format!(" \r\n\t{json}\n"));
    assert_eq!(sound.faults.count(), 0);
}

#[test]
fn other_encodings_and_quotes() {
    let json = "{\"jobs\": [{\"n\": 1, \"v\": \"M\u{fc}ller\"}], \"errors\": []}";
    let units: Vec<u16> = json.encode_utf16().collect();
    let little = units.iter().flat_map(|unit| unit.to_le_bytes());
    let big = units.iter().flat_map(|unit| unit.to_be_bytes());
    let wide = json.chars().map(|letter| u32::from(letter).to_le_bytes());
    let wide = [0xff, 0xfe, 0, 0].into_iter().chain(wide.flatten());
    let pages = [
        little.clone().collect(),
        big.clone().collect(),
        wide.collect(),
        [0xff, 0xfe].into_iter().chain(little).collect(),
        [0xfe, 0xff].into_iter().chain(big).collect(),
        json.replace('"', "'").into_bytes(),
        json.replace('[', "\0[\0").into_bytes(),
        format!("\u{1b}[0;36m{json}\u{1b}[0m").into_bytes(),
        json.replace("\"n\"", "\u{1b}[1m\"n\"\u{1b}[m").into_bytes(),
    ];
    for page in pages {
        let listing = entries(&page);
        let job = json!({"n": 1, "v": "M\u{fc}ller"});
        assert_eq!(listing.entries, [job], "{page:?}");
        assert!(listing.faults.count() > 0 && !listing.lost, "{page:?}");
    }
    let python = "{'jobs': {'1': {'n': 1, 'up': True, 'who': None, 'why': 'it\\'s'}}}";
    let job = json!({"n": 1, "up": true, "who": null, "why": "it's"});
    assert_eq!(entries(python).entries, [job]);
    for odd in [
        "{\"jobs\": [{\"n\": 1},]}",
        "{\"jobs\": [{\"n\": 1} {\"n\": 2}]}",
    ] {
        assert_eq!(entries(odd).entries[0], json!({"n": 1}), "{odd}");
    }
}

#[test]
fn what_a_hand_writes_in_the_place_of_json() {
    for page in [
        "// the \"jobs\"\n{\"jobs\": [ /* it's [ */ {\"n\": 1}, // one\n {\"n\": 2}]} # end\n",
        "{jobs: [{n: 1}, {n : 2,}],}",
        "# a status\n{'jobs': {a: {'n': 1}, b: {\"n\": 2}}}",
        "{\"JOBS\": [{\"n\": 1} # first\n, {\"n\": 2}]}",
    ] {
        let listing = entries(page);
        assert_eq!(
            listing.entries,
            [json!({"n": 1}), json!({"n": 2})],
            "{page}"
        );
        assert!(!listing.lost && listing.faults.count() > 0, "{page}");
    }
    let listing = entries("{\"jobs\": [{\"n\": 1, \"v\": \"a\" // \"b\"\n}]}");
    assert_eq!(listing.entries, [json!({"n": 1, "v": "a"})]);
}

/// As PBS writes variables: each on a line of its own.
#[test]
fn json_in_a_variable_ends_with_its_line() {
    for inside in [
        r#"{"k": "v", "l": [1, "x"]}"#,
        r#"[{"k": "v"}, {"l": "x"}]"#,
        r#"["a", "b"]"#,
        r#"{ "a": "b" }, "c": "d"#,
    ] {
        let page = format!(
            "{{\n \"jobs\": {{\n  \"1\": {{\n   \"v\": \"{inside}\",\n   \"n\": 1,\n   \"w\": \"{inside}\"\n  }},\n  \"2\": {{\n   \"n\": 2\n  }}\n }}\n}}\n"
        );
        let listing = entries(&page);
        let first = json!({"v": inside, "n": 1, "w": inside});
        assert_eq!(listing.entries, [first, json!({"n": 2})], "{page}");
        assert!(!listing.lost, "{page}");
    }
}

/// `squeue -M all` and `qstat @a @b`: a document for each cluster, with other text between them.
#[test]
fn documents_behind_one_another_count_together() {
    let (a, b) = (
        "{\"jobs\": [{\"n\": 1}], \"errors\": [\"x\"]}",
        "{\n \"jobs\": [{\"n\": 2}], \"errors\": [\"y\"]\n}",
    );
    for page in [
        format!("{a}{b}"),
        format!("{a}\n{b}\n"),
        format!("CLUSTER: north\n{a}\nCLUSTER: south\n{b}\nbye {{x}}"),
        format!("{a}\n{a}\n{b}"),
    ] {
        let listing = entries(&page);
        assert_eq!(
            listing.entries,
            [json!({"n": 1}), json!({"n": 2})],
            "{page}"
        );
        assert_eq!(listing.aside["errors"], json!(["x", "y"]), "{page}");
        assert!(!listing.lost, "{page}");
    }
    let warned = "{\"warning\": \"old\"}\n{\"jobs\": [], \"errors\": []}\n{\"jobs\": [{\"n\": 1}]}";
    assert_eq!(entries(warned).entries, [json!({"n": 1})]);
    let many = "{\"jobs\": [{\"n\": 1}]}\n{\"jobs\": [{\"n\": 2}]}\n".repeat(1000);
    let listing = entries(many);
    assert!(listing.lost && listing.entries.len() < 1000);
}

/// After one bracket too many, jobs stand where nothing looks for them: those that are missing are not known to be over.
#[test]
fn what_stands_outside_of_the_list_is_not_known_to_be_missing() {
    for page in [
        "{\"jobs\": {\"1\": {\"v\": ${X}}, \"n\": 1}, \"2\": {\"n\": 2}}}",
        "{\"jobs\": [{\"n\": 1}}], {\"n\": 2}]}",
        "{\"jobs\": [{\"n\": 1}] , \"n\" {\"n\": 2}]}",
    ] {
        let listing = entries(page);
        assert!(listing.lost && listing.faults.count() > 0, "{page}");
    }
}

#[test]
fn a_cut_page_gives_what_came_whole() {
    let page = r#"{"errors": [], "jobs": [{"n": 1}, {"n": 2, "v": "abc"}, {"n": 3}]}"#;
    let (first, second) = (page.find("1}").unwrap() + 2, page.find("\"}").unwrap() + 2);
    for end in page.find("[{").unwrap() + 1..page.len() - 1 {
        let listing = entries(&page[..end]);
        let whole = 1 + usize::from(end >= second) + usize::from(end >= page.len() - 2);
        let whole = if end < first { 0 } else { whole };
        assert_eq!(listing.entries.len(), whole, "{}", &page[..end]);
        assert!(
            listing.lost && listing.faults.count() > 0,
            "{}",
            &page[..end]
        );
    }
}

#[test]
fn keys_that_stand_twice_lose_nothing() {
    let page = r#"{"jobs": {"a": {"n": 1}, "a": {"n": 2}}, "jobs": {"b": {"n": 3, "n": 4}}}"#;
    let listing = entries(page);
    assert_eq!(
        listing.entries,
        [json!({"n": 1}), json!({"n": 2}), json!({"n": 4})]
    );
}

#[test]
fn an_entry_that_swallows_the_rest_is_left_out_alone() {
    let page = "{\n \"jobs\": {\n  \"1\": {\n   \"n\": 1\n  },\n  \"2\": {\n   \"v\": [[[\n  },\n  \"3\": {\n   \"n\": 3\n  }\n }\n}\n";
    let listing = entries(page);
    assert_eq!(listing.entries, [json!({"n": 1}), json!({"n": 3})]);
    assert!(listing.lost);
}

/// Without this rule, the jobs after the broken one would seem to be parts of it.
#[test]
fn a_bracket_that_is_missing_costs_one_entry() {
    let job = |n: u64| json!({"n": n, "resources": {"nodes": [n, {"of": "many"}]}, "state": "R"});
    let object = json!({"jobs": {"1": job(1), "2": job(2), "3": job(3), "4": job(4)}});
    let list = json!({"jobs": [job(1), job(2), job(3), job(4)]});
    for page in [object, list] {
        let page = serde_json::to_string_pretty(&page).unwrap();
        let (begins, ends) = (
            page.find("\"n\": 2").unwrap(),
            page.find("\"n\": 3").unwrap(),
        );
        let brackets = page[begins..ends].match_indices(['}', ']']);
        for (at, bracket) in brackets {
            let mut broken = page.clone();
            broken.remove(begins + at);
            let listing = entries(&broken);
            let numbers: Vec<_> = listing.entries.iter().map(|job| &job["n"]).collect();
            for n in [1, 3, 4] {
                assert!(
                    numbers.contains(&&json!(n)),
                    "{bracket} at {at}: {numbers:?}"
                );
            }
            assert!(listing.faults.count() > 0, "{bracket} at {at}");
        }
    }
}

#[test]
fn a_page_of_another_shape_is_none() {
    for page in [
        "",
        "   ",
        "\u{feff}",
        "nothing",
        "[]",
        "{}",
        "3",
        "null",
        "\"jobs\"",
        "{\"jobs\": 3}",
        "{\"jobs\": null}",
        "<html><script>x = {\"a\": {\"b\": 1}}</script>",
        "{{{{{{{{{{{{{{{{{{{{{{",
    ] {
        assert!(objects(page.as_bytes(), &SHAPE).is_none(), "{page}");
    }
    for page in ["", "x", "3", "[1]", "{\"a\": 1}", "{\"a\":", "[", "\"{}\""] {
        assert!(objects(page.as_bytes(), &BARE).is_none(), "{page}");
    }
    for page in ["{}", "[]", " {} "] {
        assert!(objects(page.as_bytes(), &BARE).unwrap().entries.is_empty());
    }
}

/// Values that cost too much are left out; they neither end the process nor take for ever.
#[test]
fn hostile_pages_are_read_to_their_end() {
    const LONG: usize = 1 << 15;
    let repeated = |piece: &str| piece.repeat(LONG / piece.len());
    for piece in [
        "[",
        "{",
        "{\"a\":",
        "\"",
        "\\",
        "\\u",
        "\",\"",
        "\", \"aaaaaaaaaaaaaaaa",
        "\"}",
        "\"}\n",
        ":",
        "}",
        "]",
        ",",
        "x",
        "[{\"",
        "{\"a\":{\"b\" ",
        "\n  \"1\": {",
        "\n  {",
        "/*",
        "//",
        "#",
        "'",
        "',",
        "\u{1b}[",
        "a:",
        "{}",
        "-",
        "\u{fffd}",
        " ",
        "\0",
    ] {
        for before in [
            "{\"jobs\": [{\"n\": 1}, {\"v\": 005, \"x\": ",
            "{\"jobs\": {\"1\": {\"n\": 1},\n  \"2\": {\"v\": \"\\,",
        ] {
            let listing = entries(format!("{before}{}", repeated(piece)));
            assert_eq!(listing.entries[0], json!({"n": 1}), "{piece}");
        }
        assert!(
            objects(repeated(piece).as_bytes(), &SHAPE).is_none(),
            "{piece}"
        );
    }
    let zeros = "0,".repeat(1 << 20);
    let wide = format!("{{\"jobs\": [{{\"n\": 1}}, {{\"v\": [{zeros}0]}}, {{\"n\": 2}}]}}");
    let listing = entries(wide);
    assert_eq!(listing.entries, [json!({"n": 1}), json!({"n": 2})]);
    assert!(listing.faults.first().unwrap().contains("too long"));
    let deep = format!(
        "{{\"jobs\": [{{\"v\": {}{}}}, {{\"n\": 2}}]}}",
        "[".repeat(9999),
        "]".repeat(9999)
    );
    assert_eq!(entries(deep).entries, [json!({"n": 2})]);
    let many = format!("{{\"jobs\": [{}{{}}]}}", "{},".repeat(110_000));
    let listing = entries(many);
    assert!(listing.lost && listing.entries.len() < 110_000);
}

/// What looks like a comment after an escaped quote may be the rest of a string, which another quote then ends.
#[test]
fn an_escaped_quote_before_a_hash_ends_no_string() {
    for (written, meant) in [
        (r##""\"#""##, "\"#"),
        (r##""a \"//b""##, "a \"//b"),
        (r##""\", /* \" */""##, "\", /* \" */"),
        (r##""C:\dir\" # a path"##, "C:\\dir\\"),
        ("\"C:\\dir\\\"\n# the \"home\"", "C:\\dir\\"),
    ] {
        let page = format!("{{\"jobs\": [{{\n\"v\": {written}\n, \"x\": 005}}]}}");
        let listing = entries(&page);
        assert_eq!(
            listing.entries[0],
            json!({"v": meant, "x": "005"}),
            "{page}"
        );
    }
}

/// JSON of any kind.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\\\\",:{}\\[\\] a\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn sound_json_is_read_as_it_is(
        members in prop::collection::btree_map(any::<String>(), json_value(), 0..6),
        pretty in any::<bool>(),
    ) {
        let members: Map<String, Value> = members.into_iter().collect();
        let page = json!({"jobs": members, "other": members});
        let text = if pretty { format!("{page:#}") } else { page.to_string() };
        let listing = read(text.as_bytes(), &SHAPE, |key, value| {
            Ok(Some((key.unwrap_or_default().to_owned(), value.clone())))
        });
        let listing = listing.unwrap();
        prop_assert_eq!(listing.faults.count(), 0);
        let read: Map<String, Value> = listing.entries.into_iter().collect();
        prop_assert_eq!(read, members);
    }

    /// The scanner reads a text that serde_json refuses only for a mistake at its end like serde_json, up to that
    /// mistake.
    #[test]
    fn the_scanner_reads_sound_values_as_serde_json_does(value in json_value(), pretty in any::<bool>()) {
        let value = json!({"v": value, "w": 1});
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let broken = format!("{{\"jobs\": [{}, \"x\": 005}}]}}", text.trim_end().trim_end_matches('}'));
        let listing = entries(&broken);
        prop_assert_eq!(&listing.entries[0]["v"], &value["v"], "{}", broken);
        prop_assert_eq!(&listing.entries[0]["x"], &json!("005"));
    }

    #[test]
    fn no_bytes_end_the_process(bytes in prop::collection::vec(any::<u8>(), 0..200), pieces in "[\\\\\",:{}\\[\\] a1\n]{0,80}") {
        for page in [&bytes[..], pieces.as_bytes()] {
            let _ = objects(page, &BARE);
            let _ = objects(&[b"{\"jobs\":{\"a\":{\"b\":", page].concat(), &SHAPE);
        }
    }
}
