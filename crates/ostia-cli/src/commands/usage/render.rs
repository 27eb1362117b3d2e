use ostia_core::UsageRow;
use serde_json::{Map, Value};

use crate::table::Table;

const COUNTS: [&str; 6] = [
    "requests",
    "ok",
    "errors",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
];

pub(super) fn table(by: &[&str], rows: &[UsageRow]) -> String {
    let counts = COUNTS.map(|name| format!(">{name}"));
    let headings: Vec<String> = by
        .iter()
        .copied()
        .chain(counts.iter().map(String::as_str))
        .map(str::to_uppercase)
        .collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        let keys = row.keys.iter().map(|key| match key.as_str() {
            "" => "-".to_owned(),
            key => key.to_owned(),
        });
        table.row(keys.chain(counts_of(row).map(|count| count.to_string())));
    }
    table.render()
}

/// RFC 4180, with line feeds alone.
pub(super) fn csv(by: &[&str], rows: &[UsageRow]) -> String {
    let headings: Vec<&str> = by.iter().copied().chain(COUNTS).collect();
    let mut text = headings.join(",");
    text.push('\n');
    for row in rows {
        let keys = row.keys.iter().map(|key| csv_field(key));
        let fields: Vec<String> = keys
            .chain(counts_of(row).map(|count| count.to_string()))
            .collect();
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

pub(super) fn json(by: &[&str], rows: &[UsageRow]) -> String {
    let object = |row: &UsageRow| {
        let keys = row.keys.iter().map(|key| Value::from(key.as_str()));
        let values = keys.chain(counts_of(row).map(Value::from));
        let names = by.iter().copied().chain(COUNTS).map(str::to_owned);
        Value::Object(names.zip(values).collect::<Map<_, _>>())
    };
    let rows: Vec<Value> = rows.iter().map(object).collect();
    format!("{:#}\n", Value::from(rows))
}

fn counts_of(row: &UsageRow) -> impl Iterator<Item = u64> {
    [
        row.requests,
        row.ok,
        row.errors,
        row.prompt_tokens,
        row.completion_tokens,
        row.total_tokens,
    ]
    .into_iter()
}

/// Spreadsheets run a field that begins like a formula, and users choose their names: an apostrophe before it makes it
/// text (OWASP, "CSV injection").
fn csv_field(text: &str) -> String {
    const FORMULAS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    let apostrophe = if text.starts_with(FORMULAS) { "'" } else { "" };
    if !text.contains(['"', ',', '\n', '\r']) {
        return format!("{apostrophe}{text}");
    }
    format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use ostia_core::UsageRow;
    use serde_json::{Value, json as value};

    use super::{csv, csv_field, json, table};

    const BY: [&str; 2] = ["user", "model"];

    fn rows() -> Vec<UsageRow> {
        let row = |user: &str, model: &str, requests| UsageRow {
            keys: vec![user.to_owned(), model.to_owned()],
            requests,
            ok: 1,
            errors: 0,
            prompt_tokens: 30,
            completion_tokens: 12,
            total_tokens: 42,
        };
        vec![
            row("ann@lab.org", "a, \"b\"\nc", 10),
            row("bo@lab.org", "", 2),
        ]
    }

    #[test]
    fn csv_fields_with_marks_are_quoted() {
        let expected = "\
user,model,requests,ok,errors,prompt_tokens,completion_tokens,total_tokens
ann@lab.org,\"a, \"\"b\"\"\nc\",10,1,0,30,12,42
bo@lab.org,,2,1,0,30,12,42
";
        assert_eq!(csv(&BY, &rows()), expected);
    }

    #[test]
    fn a_name_that_begins_like_a_formula_is_text() {
        for (name, field) in [
            ("=1+2", "'=1+2"),
            (
                "=HYPERLINK(\"http://x\")",
                "\"'=HYPERLINK(\"\"http://x\"\")\"",
            ),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(csv_field(name), field);
        }
    }

    #[test]
    fn json_is_an_array_of_objects() {
        let parsed: Value = serde_json::from_str(&json(&BY, &rows())).unwrap();
        let expected = value!({
            "user": "ann@lab.org", "model": "a, \"b\"\nc", "requests": 10, "ok": 1, "errors": 0,
            "prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42,
        });
        assert_eq!(parsed[0], expected);
        assert_eq!(json(&BY, &[]), "[]\n");
    }

    #[test]
    fn the_table_is_aligned() {
        let expected = "\
USER         MODEL      REQUESTS  OK  ERRORS  PROMPT_TOKENS  COMPLETION_TOKENS  TOTAL_TOKENS
ann@lab.org  a, \"b\"\\nc        10   1       0             30                 12            42
bo@lab.org   -                 2   1       0             30                 12            42
";
        assert_eq!(table(&BY, &rows()), expected);
    }
}
