//! Dotenv files by the rules of python-dotenv, with which FIRST reads its `.env`.
//!
//! One `NAME=value` per line, with or without `export`, the name in single quotes or not; `# comments`; values bare (up
//! to ` #`), in single quotes (only `\\` and `\'` are escapes) or in double quotes (also `\n`, `\t`, ...), quoted ones
//! may span several lines; `${NAME}` and `${NAME:-default}` in any of them are taken from earlier lines, then from the
//! environment. A bare `$` is literal.

use std::collections::BTreeMap;

use super::problem::Report;
use super::source::Source;

/// Adds the file's variables. A line that cannot be read is reported and skipped.
pub(super) fn read(source: &Source, variables: &mut BTreeMap<String, String>, report: &Report) {
    let mut reader = Reader {
        text: &source.text,
        at: 0,
    };
    while let Some(line) = reader.next_binding() {
        match line {
            Ok(Some((name, value))) => {
                let value = expand(&value, variables);
                variables.insert(name, value);
            }
            Ok(None) => {}
            Err(fault) => {
                report.entry(source.place(fault.at), fault.text);
                reader.skip_line();
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

struct Fault {
    at: usize,
    text: &'static str,
}

type Binding = Option<(String, String)>;

impl Reader<'_> {
    /// The next non-empty line; `None` at the end.
    fn next_binding(&mut self) -> Option<Result<Binding, Fault>> {
        self.skip_while(char::is_whitespace);
        match self.peek()? {
            '#' => {
                self.skip_line();
                Some(Ok(None))
            }
            _ => Some(self.binding()),
        }
    }

    fn binding(&mut self) -> Result<Binding, Fault> {
        let start = self.at;
        let mut name = self.name()?;
        self.skip_blanks();
        if name == "export" && self.peek().is_some_and(|next| next != '=') {
            name = self.name()?;
            self.skip_blanks();
        }
        if self.peek() != Some('=') {
            if self.peek().is_none_or(is_line_end) {
                return Ok(None);
            }
            return Err(Fault {
                at: start,
                text: "expected NAME=value; the line is skipped",
            });
        }
        self.at += 1;
        let behind_sign = self.at;
        self.skip_blanks();
        let value = match self.peek() {
            Some(quote @ ('\'' | '"')) => {
                let value = self.quoted(quote)?;
                self.end_of_line()?;
                value
            }
            // A comment needs a blank before it: `A= # none` is empty, but `A=#1` is a value.
            Some('#') if self.at > behind_sign => {
                self.skip_line();
                String::new()
            }
            _ => self.bare(),
        };
        Ok(Some((name, value)))
    }

    fn name(&mut self) -> Result<String, Fault> {
        let start = self.at;
        let nameless = Fault {
            at: start,
            text: "expected the name of a variable; the line is skipped",
        };
        let quoted = self.peek() == Some('\'');
        if quoted {
            self.at += 1;
            self.skip_while(|next| next != '\'' && !is_line_end(next));
        } else {
            self.skip_while(|next| {
                !next.is_whitespace() && !matches!(next, '=' | '#' | '\'' | '"')
            });
        }
        let name = self.text.get(start + usize::from(quoted)..self.at);
        let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
        if quoted && self.bump() != Some('\'') {
            self.at = start;
            return Err(nameless);
        }
        name.ok_or(nameless)
    }

    fn bare(&mut self) -> String {
        let start = self.at;
        self.skip_while(|next| !is_line_end(next));
        let line = self.text.get(start..self.at).unwrap_or("");
        let comment = line
            .match_indices('#')
            .map(|(at, _)| at)
            .find(|at| line[..*at].ends_with(char::is_whitespace));
        line[..comment.unwrap_or(line.len())].trim_end().to_owned()
    }

    fn quoted(&mut self, quote: char) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        while let Some(next) = self.bump() {
            if next == quote {
                return Ok(value);
            }
            if next != '\\' {
                value.push(next);
                continue;
            }
            let Some(escaped) = self.bump() else { break };
            match unescape(escaped, quote) {
                Some(plain) => value.push(plain),
                None => value.extend(['\\', escaped]),
            }
        }
        self.at = start;
        Err(Fault {
            at: start,
            text: "this quote is never closed; the line is skipped",
        })
    }

    fn end_of_line(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        match self.peek() {
            None | Some('#') => {
                self.skip_line();
                Ok(())
            }
            Some(next) if is_line_end(next) => Ok(()),
            Some(_) => Err(Fault {
                at: self.at,
                text: "text after the closing quote; the line is skipped (put the whole value in quotes)",
            }),
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
    }

    fn skip_blanks(&mut self) {
        self.skip_while(|next| next.is_whitespace() && !is_line_end(next));
    }

    fn skip_line(&mut self) {
        self.skip_while(|next| !is_line_end(next));
    }
}

const fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r')
}

const fn unescape(escaped: char, quote: char) -> Option<char> {
    Some(match escaped {
        '\\' | '\'' => escaped,
        _ if quote == '\'' => return None,
        '"' => '"',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        _ => return None,
    })
}

fn expand(value: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inside, behind)) = after.split_once('}') else {
            break;
        };
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        expanded.push_str(before);
        expanded.push_str(variables.get(name).map_or(default, String::as_str));
        rest = behind;
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::problem::Report;
    use super::super::source::Source;

    fn read(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
        let report = Report::default();
        let source =
            Source::from_bytes(".env".into(), Path::new(".env"), text.into(), &report).unwrap();
        let mut variables = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        super::read(&source, &mut variables, &report);
        let problems = report.into_problems();
        (
            variables,
            problems.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn what_sites_write() {
        let text = "# c\nA=1\nexport B = two words # c\nC=\"x\ny\"  # c\nD='it\\'s \\n'\nE=\nF=a#b\nG=pa$$word\r\n\
                    H=\"a\\tb\\\\\"\nI=${A}-${NOPE:-def}-${HOME}-${open\nexport=x\nJ\n  K=\"{\\\"a\\\": 1}\"\nL= # c\nM=#1#2 # c\nHOME=/h\n'N'=v\nexport 'O P' = \"w\" # c\n'Q'";
        let (variables, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new());
        for (name, value) in [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x\ny"),
            ("D", "it's \\n"),
            ("E", ""),
            ("F", "a#b"),
            ("G", "pa$$word"),
            ("H", "a\tb\\"),
            ("I", "1-def-/root-${open"),
            ("export", "x"),
            ("K", "{\"a\": 1}"),
            ("L", ""),
            ("M", "#1#2"),
            ("HOME", "/h"),
            ("N", "v"),
            ("O P", "w"),
        ] {
            assert_eq!(
                variables.get(name).map(String::as_str),
                Some(value),
                "{name}"
            );
        }
        assert_eq!(variables.get("J"), None);
    }

    #[test]
    fn mistakes_have_a_place_and_hide_the_value() {
        let (variables, problems) = read("A=1\nhunter2 is here\nB='hunter2\nC=3\n");
        assert_eq!(
            problems,
            [
                ".env:2:1: error: expected NAME=value; the line is skipped",
                ".env:3:3: error: this quote is never closed; the line is skipped",
            ]
        );
        assert_eq!(variables.get("C").map(String::as_str), Some("3"));
        let (_, problems) = read("A='hunter2' x\n=hunter2\n");
        assert!(problems[0].starts_with(".env:1:13:"), "{problems:?}");
        assert!(problems[1].starts_with(".env:2:1:"), "{problems:?}");
        assert!(!problems.concat().contains("hunter2"));
        let (variables, problems) = read("'hunter2=1\n''=hunter2\n'B'x=hunter2\nC=3");
        let places: Vec<&str> = problems.iter().filter_map(|line| line.get(..9)).collect();
        assert_eq!(places, [".env:1:1:", ".env:2:1:", ".env:3:1:"]);
        assert!(!problems.concat().contains("hunter2"));
        assert_eq!(variables.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            read(&text);
        }
    }
}
