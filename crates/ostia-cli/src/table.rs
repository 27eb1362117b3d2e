use std::fmt::Write as _;

use crate::output::Look;

/// Columns of text for people. Cells are made safe for a terminal. To fit the width, first the optional columns are
/// left out, then the widest texts are cut in the middle.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

struct Column {
    heading: String,
    right: bool,
    spare: bool,
    state: bool,
}

#[derive(Default)]
struct Row {
    cells: Vec<String>,
    /// Shown below the cells, indented.
    note: String,
}

/// Texts are never cut shorter than this.
const SHORTEST: usize = 8;
const GAP: usize = 2;
const INDENT: &str = "  ";

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
/// Words of columns that show states.
const STATES: [(&str, &str); 12] = [
    ("active", GREEN),
    ("served", GREEN),
    ("allowed", GREEN),
    ("expired", YELLOW),
    ("on_no_route", YELLOW),
    ("maintenance", YELLOW),
    ("draining", YELLOW),
    ("not_ready", RED),
    ("failing", RED),
    ("revoked", RED),
    ("disabled", RED),
    ("adapter_unavailable", RED),
];

impl Table {
    /// Marks before a heading: `>` aligns the column to the right, `?` makes it optional (the first one is left out
    /// first), `!` says that it shows states.
    pub fn new<T: AsRef<str>>(headings: impl IntoIterator<Item = T>) -> Self {
        let columns = headings.into_iter().map(|heading| {
            let heading = heading.as_ref();
            let bare = heading.trim_start_matches(['>', '?', '!']);
            let marks = &heading[..heading.len() - bare.len()];
            Column {
                heading: bare.to_owned(),
                right: marks.contains('>'),
                spare: marks.contains('?'),
                state: marks.contains('!'),
            }
        });
        Self {
            columns: columns.collect(),
            rows: Vec::new(),
        }
    }

    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter().map(|cell| printable(cell.as_ref()));
        self.rows.push(Row {
            cells: cells.collect(),
            note: String::new(),
        });
    }

    /// Text below the last row.
    pub fn note(&mut self, text: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.note = printable(text);
        }
    }

    /// Two spaces between columns, and none at the end of a line.
    pub fn render(&self, look: Look) -> String {
        let widths = self.widths(look.width);
        let mut text = String::new();
        let headings = self.columns.iter().map(|column| &*column.heading);
        text.push_str(&self.line(headings, &widths, false));
        for row in &self.rows {
            let cells = row.cells.iter().map(String::as_str);
            text.push_str(&self.line(cells, &widths, look.colors));
            for line in wrapped(&row.note, look.width.saturating_sub(INDENT.len())) {
                let _ = writeln!(text, "{INDENT}{line}");
            }
        }
        text
    }

    /// A width for each column; 0 leaves it out.
    fn widths(&self, most: usize) -> Vec<usize> {
        let natural = |(at, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(at));
            let heading = column.heading.chars().count();
            cells
                .map(|cell| cell.chars().count())
                .fold(heading, usize::max)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        let whole = |widths: &[usize]| -> usize {
            let shown = widths.iter().filter(|width| **width > 0);
            shown.map(|width| width + GAP).sum::<usize>() - GAP
        };
        for (at, _) in self.columns.iter().enumerate().filter(|(_, one)| one.spare) {
            if whole(&widths) <= most {
                break;
            }
            widths[at] = 0;
        }
        while whole(&widths) > most {
            let texts = self.columns.iter().enumerate().filter(|(at, column)| {
                let least = SHORTEST.max(column.heading.chars().count());
                !column.right && !column.state && widths[*at] > least
            });
            let Some((widest, _)) = texts.max_by_key(|(at, _)| widths[*at]) else {
                break;
            };
            widths[widest] -= 1;
        }
        widths
    }

    fn line<'a>(
        &self,
        cells: impl Iterator<Item = &'a str>,
        widths: &[usize],
        colors: bool,
    ) -> String {
        let mut line = String::new();
        for ((cell, &width), column) in cells.zip(widths).zip(&self.columns) {
            if width == 0 {
                continue;
            }
            let cell = cut(cell, width);
            let color = STATES.iter().find(|(word, _)| *word == cell);
            let color = color.filter(|_| colors && column.state);
            let _ = match (color, column.right) {
                // Colour codes have no width, so they enclose the padding too.
                (Some((_, color)), _) => write!(line, "\u{1b}[{color}m{cell:<width$}\u{1b}[0m  "),
                (None, true) => write!(line, "{cell:>width$}  "),
                (None, false) => write!(line, "{cell:<width$}  "),
            };
        }
        let mut line = line.trim_end().to_owned();
        line.push('\n');
        line
    }
}

/// Keeps both ends of a text, because names begin alike and models differ at the end.
pub fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let tail = kept / 2;
    let mut shown: String = text.chars().take(kept - tail).collect();
    shown.push('\u{2026}');
    shown.extend(text.chars().skip(length - tail));
    shown
}

/// Lines of at most `width`, broken after spaces and commas.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in text.split_inclusive([' ', ',']) {
        let piece = cut(piece, width);
        let length = piece.trim_end().chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + length <= width => line.push_str(&piece),
            _ => lines.push(piece),
        }
    }
    lines
        .into_iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// Escapes control characters, and those that change the direction of text.
pub fn printable(cell: &str) -> String {
    let mut shown = String::with_capacity(cell.len());
    for character in cell.chars() {
        match character {
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                shown.extend(character.escape_unicode());
            }
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{Table, cut, wrapped};
    use crate::output::Look;

    const PLAIN: Look = Look {
        width: 80,
        colors: false,
    };

    #[test]
    fn columns_are_aligned_and_cells_harmless() {
        let mut table = Table::new(["NAME", ">COUNT", "NOTE"]);
        table.row(["é", "12", ""]);
        table.row(["line\n\u{1b}[31m", "3", "x"]);
        let expected = "\
NAME              COUNT  NOTE
é                    12
line\\n\\u{1b}[31m      3  x
";
        assert_eq!(table.render(PLAIN), expected);
    }

    #[test]
    fn what_is_too_wide_gives_way_in_order() {
        let mut table = Table::new(["USER", "MODEL", "?>OK", ">?SEEN", ">TOTAL"]);
        table.row([
            "ann@lab.org",
            "org/A-Model-Of-Seventy-Billion",
            "1",
            "22",
            "333",
        ]);
        let at = |width| {
            let look = Look { width, ..PLAIN };
            let text = table.render(look);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest.unwrap() <= width, "{width}: {text}");
            text.lines().nth(1).unwrap().to_owned()
        };
        assert!(at(80).ends_with("   1    22    333"));
        assert!(at(56).ends_with("Billion    22    333"));
        assert!(at(50).ends_with("Billion    333"));
        assert_eq!(at(36), "ann@lab.org  org/A-Mo\u{2026}Billion    333");
        assert_eq!(at(26), "ann@\u{2026}.org  org/\u{2026}ion    333");
    }

    #[test]
    fn only_states_have_colours_and_only_where_they_are_wanted() {
        let mut table = Table::new(["NAME", "!STATE", "NOTE"]);
        table.row(["active", "active", "x"]);
        table.row(["b", "revoked", "y"]);
        assert!(!table.render(PLAIN).contains('\u{1b}'));
        let colors = Look {
            colors: true,
            ..PLAIN
        };
        let expected = "\
NAME    STATE    NOTE
active  \u{1b}[32mactive \u{1b}[0m  x
b       \u{1b}[31mrevoked\u{1b}[0m  y
";
        assert_eq!(table.render(colors), expected);
    }

    #[test]
    fn texts_are_cut_in_the_middle_and_wrapped_at_gaps() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc\u{2026}fg");
        assert_eq!(cut("éééé", 3), "é\u{2026}é");
        assert_eq!(
            wrapped("groups a,bb,c; label d", 10),
            ["groups a,", "bb,c;", "label d"]
        );
        assert_eq!(wrapped("", 10), Vec::<String>::new());
    }
}
