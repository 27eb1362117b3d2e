use ostia_core::{Column, Kind};

use super::{code, head, table};

const INTRODUCTION: &str = "\
The table `ledger` has one row for each inference request that passed sign-in, refused ones included, from the moment when
the user is known. The log's event `ostia::usage` has the same fields in the same order; a column without a value is left
out there. Times are Unix microseconds. Texts that are not known are empty. A longer text than a column takes is cut.
";

pub(super) fn page() -> String {
    let rows: Vec<Vec<String>> = Column::LEDGER.iter().map(row).collect();
    let table = table(&["column", "type", "meaning"], &rows);
    format!("{}{table}", head("The ledger", INTRODUCTION))
}

fn row(column: &Column) -> Vec<String> {
    let (kind, words) = match column.kind {
        Kind::Id => ("text".to_owned(), None),
        Kind::Text => (format!("text, {} bytes", column.most), None),
        Kind::Stamp => ("time".to_owned(), None),
        Kind::Flag => ("0 or 1".to_owned(), None),
        Kind::Number => ("number".to_owned(), None),
        Kind::MaybeNumber => ("number or NULL".to_owned(), None),
        Kind::Word(words) => ("word".to_owned(), Some(words)),
    };
    let words = words.map(|words| {
        let words: Vec<String> = words.iter().map(|word| code(word)).collect();
        format!(" One of {}.", words.join(", "))
    });
    let meaning = format!("{}{}", column.meaning, words.unwrap_or_default());
    vec![code(column.name), kind, meaning]
}
