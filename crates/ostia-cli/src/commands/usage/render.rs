use ostia_core::UsageRow;
use serde_json::{Map, Value};

use super::report::{COUNTS, Count, Report};
use crate::output::Look;
use crate::table::Table;

/// A table rounds numbers from here on.
const LONG: u64 = 10_000_000;

/// A table's columns; those with a question mark are left out if names need the room.
const COLUMNS: [(&str, Count); 7] = [
    (">REQUESTS", |row| row.requests),
    (">?OK", |row| row.ok),
    (">REFUSED", |row| row.refused),
    (">FAILED", |row| row.failed),
    (">?PROMPT", |row| row.prompt_tokens),
    (">?OUTPUT", |row| row.completion_tokens),
    (">TOKENS", |row| row.total_tokens),
];

pub(super) fn table(report: &Report, look: Look) -> String {
    let by = report.by.iter().map(|name| name.to_uppercase());
    let counts = COLUMNS.iter().map(|(heading, _)| (*heading).to_owned());
    let mut table = Table::new(by.chain(counts));
    let mut line = |keys: &mut dyn Iterator<Item = String>, row: &UsageRow| {
        let counts = COLUMNS.iter().map(|(_, count)| short(count(row)));
        table.row(keys.chain(counts));
    };
    for row in &report.rows {
        let mut keys = row.keys.iter().map(|key| match key.as_str() {
            "" => "-".to_owned(),
            key => key.to_owned(),
        });
        line(&mut keys, row);
    }
    let titled = |title: String| {
        let blank = (1..report.by.len()).map(|_| String::new());
        std::iter::once(title).chain(blank)
    };
    if let Some((lines, rest)) = &report.rest {
        line(&mut titled(format!("({lines} more)")), rest);
    }
    line(&mut titled("total".to_owned()), &report.total);
    table.render(look)
}

/// RFC 4180, but with line feeds only.
pub(super) fn csv(report: &Report) -> String {
    let names = COUNTS.iter().map(|(name, _)| *name);
    let headings: Vec<&str> = report.by.iter().map(String::as_str).chain(names).collect();
    let mut text = headings.join(",");
    text.push('\n');
    for row in &report.rows {
        let keys = row.keys.iter().map(|key| csv_field(key));
        let counts = COUNTS.iter().map(|(_, count)| count(row).to_string());
        let fields: Vec<String> = keys.chain(counts).collect();
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

pub(super) fn json(report: &Report) -> String {
    let object = |row: &UsageRow| {
        let keys = row.keys.iter().map(|key| Value::from(key.as_str()));
        let keys = report.by.iter().cloned().zip(keys);
        let counts = COUNTS
            .iter()
            .map(|(name, count)| ((*name).to_owned(), Value::from(count(row))));
        Value::Object(keys.chain(counts).collect::<Map<_, _>>())
    };
    let rows: Vec<Value> = report.rows.iter().map(object).collect();
    format!("{:#}\n", Value::from(rows))
}

/// Exact up to seven digits, then four digits and a unit.
fn short(count: u64) -> String {
    if count < LONG {
        return count.to_string();
    }
    let mut unit = 1_000_000_u64;
    let mut units = ["M", "G", "T", "P", "E"].into_iter();
    let mut name = units.next().unwrap_or_default();
    while count / unit >= 1_000
        && let Some(next) = units.next()
    {
        unit *= 1_000;
        name = next;
    }
    let whole = count / unit;
    let thousandths = count % unit / (unit / 1_000);
    let decimals = 4_usize.saturating_sub(whole.to_string().len());
    let fraction: String = format!("{thousandths:03}").chars().take(decimals).collect();
    format!("{whole}.{fraction}{name}")
}

/// Spreadsheets execute fields that look like formulas, and users choose their names. An apostrophe in front makes a
/// field text (OWASP, "CSV injection").
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
    use std::num::NonZeroUsize;

    use ostia_core::UsageRow;
    use serde_json::{Value, json as value};

    use super::super::report::{Order, Report};
    use super::{csv, csv_field, json, short, table};
    use crate::output::Look;

    const LOOK: Look = Look {
        width: 80,
        colors: false,
    };

    fn row(user: &str, model: &str, requests: u64) -> UsageRow {
        UsageRow {
            keys: vec![user.to_owned(), model.to_owned()],
            requests,
            ok: 1,
            refused: 2,
            failed: 1,
            prompt_tokens: 30,
            completion_tokens: 12,
            total_tokens: 42,
        }
    }

    fn report(rows: Vec<UsageRow>, top: usize) -> Report {
        let by = vec!["user".to_owned(), "model".to_owned()];
        Report::new(by, rows, Order::Keys, NonZeroUsize::new(top))
    }

    fn two() -> Report {
        let rows = vec![
            row("ann@lab.org", "a, \"b\"\nc", 10),
            row("bo@lab.org", "", 2),
        ];
        report(rows, 9)
    }

    #[test]
    fn csv_fields_with_marks_are_quoted() {
        let expected = "\
user,model,requests,ok,errors,prompt_tokens,completion_tokens,total_tokens,refused,failed
ann@lab.org,\"a, \"\"b\"\"\nc\",10,1,3,30,12,42,2,1
bo@lab.org,,2,1,3,30,12,42,2,1
";
        assert_eq!(csv(&two()), expected);
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
        let parsed: Value = serde_json::from_str(&json(&two())).unwrap();
        let expected = value!({
            "user": "ann@lab.org", "model": "a, \"b\"\nc", "requests": 10, "ok": 1, "errors": 3,
            "prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42, "refused": 2, "failed": 1,
        });
        assert_eq!(parsed[0], expected);
        assert_eq!(json(&report(Vec::new(), 1)), "[]\n");
    }

    #[test]
    fn the_table_is_aligned_and_has_a_total() {
        let expected = "\
USER         MODEL      REQUESTS  OK  REFUSED  FAILED  PROMPT  OUTPUT  TOKENS
ann@lab.org  a, \"b\"\\nc        10   1        2       1      30      12      42
bo@lab.org   -                 2   1        2       1      30      12      42
total                         12   2        4       2      60      24      84
";
        assert_eq!(table(&two(), LOOK), expected);
        let rows = vec![row("ann", "m", 10), row("bo", "m", 2), row("cid", "m", 1)];
        let cut = table(&report(rows, 1), LOOK);
        let requests = |line: usize, title: &str| {
            let rest = cut.lines().nth(line).unwrap().strip_prefix(title).unwrap();
            rest.split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!(requests(2, "(2 more)"), "3");
        assert_eq!(requests(3, "total"), "13");
    }

    #[test]
    fn it_fits_eighty_columns_whatever_is_in_it() {
        let most = u64::MAX;
        let mut largest = row(&"u".repeat(200), &"m".repeat(200), most);
        for count in [
            &mut largest.ok,
            &mut largest.refused,
            &mut largest.failed,
            &mut largest.prompt_tokens,
            &mut largest.completion_tokens,
            &mut largest.total_tokens,
        ] {
            *count = most;
        }
        let text = table(&report(vec![largest], 1), LOOK);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= 80, "{text}");
        assert!(text.contains("TOKENS"), "{text}");
    }

    #[test]
    fn large_numbers_are_rounded_in_tables() {
        for (count, shown) in [
            (0, "0"),
            (9_999_999, "9999999"),
            (10_000_000, "10.00M"),
            (123_456_789, "123.4M"),
            (1_234_567_890, "1.234G"),
            (u64::MAX, "18.44E"),
        ] {
            assert_eq!(short(count), shown);
        }
    }
}
