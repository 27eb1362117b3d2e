use std::fmt::Write as _;

/// Columns of text for people. Cells are made harmless for a terminal.
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// Columns whose heading begins with `>` are aligned to the right.
    pub fn new(headings: &[&str]) -> Self {
        let bare = headings
            .iter()
            .map(|heading| heading.trim_start_matches('>').to_owned());
        Self {
            right: headings
                .iter()
                .map(|heading| heading.starts_with('>'))
                .collect(),
            rows: vec![bare.collect()],
        }
    }

    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter().map(|cell| printable(cell.as_ref()));
        self.rows.push(cells.collect());
    }

    /// Two spaces between columns, none at the end of a line.
    pub fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let _ = match right {
                    true => write!(line, "{cell:>width$}  "),
                    false => write!(line, "{cell:<width$}  "),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Control characters and those that turn the direction of text are shown as escapes.
fn printable(cell: &str) -> String {
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
    use super::Table;

    #[test]
    fn columns_are_aligned_and_cells_harmless() {
        let mut table = Table::new(&["NAME", ">COUNT", "NOTE"]);
        table.row(["é", "12", ""]);
        table.row(["line\n\u{1b}[31m", "3", "x"]);
        let expected = "\
NAME              COUNT  NOTE
é                    12
line\\n\\u{1b}[31m      3  x
";
        assert_eq!(table.render(), expected);
    }
}
