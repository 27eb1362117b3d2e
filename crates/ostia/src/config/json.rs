//! JSON (RFC 8259) as a tree in which every value knows its place, with messages for common mistakes.

use super::tree::{At, Fault, Member, Node, Value};

const MAX_DEPTH: usize = 128;

/// `base`: where the text stands.
pub(super) fn parse(text: &str, base: &At) -> Result<Node, Fault> {
    let mut parser = Parser { text, base, at: 0 };
    let node = parser.value(MAX_DEPTH)?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(node),
        Some(']' | '}') => Err(parser.fault("one closing bracket too many")),
        Some(',') => {
            Err(parser.fault("text after the end: is the opening `[` of the list missing?"))
        }
        Some(_) => Err(parser.fault("text after the end of the JSON value")),
    }
}

struct Parser<'a> {
    text: &'a str,
    base: &'a At,
    at: usize,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        self.skip_space();
        let at = self.at;
        if depth == 0 {
            return Err(self.fault("nested deeper than 128 levels"));
        }
        let value = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.string()?),
            Some('-' | '+' | '.' | '0'..='9') => self.number()?,
            Some(next) if next.is_alphabetic() => self.word()?,
            other => return Err(self.no_value(other)),
        };
        Ok(Node::new(self.base.inside(at), value))
    }

    fn no_value(&self, next: Option<char>) -> Fault {
        match next {
            None if self.text.trim().is_empty() => self.fault("the file is empty: write at least `[]`"),
            None => self.fault("the text ends where a value is expected"),
            Some('\'') => self.fault("texts need double quotes: \"...\", not '...'"),
            Some('/' | '#') => self.fault("JSON has no comments: remove this"),
            Some('}' | ']' | ',' | ':') => self.fault("a value is missing before this"),
            Some(_) => self.fault("expected a value: a text in double quotes, a number, true, false, null, `[` or `{`"),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let opened = self.at;
        let mut items = Vec::new();
        self.at += 1;
        while !self.closes(']', opened, !items.is_empty())? {
            items.push(self.value(depth - 1)?);
        }
        Ok(Value::List(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        let opened = self.at;
        let mut members = Vec::new();
        self.at += 1;
        while !self.closes('}', opened, !members.is_empty())? {
            members.push(self.member(depth)?);
        }
        Ok(Value::Map(members))
    }

    fn member(&mut self, depth: usize) -> Result<Member, Fault> {
        self.skip_space();
        let key_at = self.base.inside(self.at);
        match self.peek() {
            Some('"') => {}
            Some('\'') => return Err(self.fault("keys need double quotes: \"...\", not '...'")),
            Some('/' | '#') => return Err(self.fault("JSON has no comments: remove this")),
            _ => return Err(self.fault("expected a key in double quotes")),
        }
        let key = self.string()?;
        let end = self.at;
        self.skip_space();
        if self.peek() != Some(':') {
            return Err(Fault {
                at: end,
                text: "a colon `:` is missing after this key".to_owned(),
            });
        }
        self.at += 1;
        let node = self.value(depth - 1)?;
        Ok(Member { key, key_at, node })
    }

    /// Skips the separator between two items; `true` at the closing bracket.
    fn closes(&mut self, bracket: char, opened: usize, after_item: bool) -> Result<bool, Fault> {
        let end_of_item = self.at;
        self.skip_space();
        match self.peek() {
            Some(next) if next == bracket => {
                self.at += 1;
                Ok(true)
            }
            None => Err(Fault {
                at: opened,
                text: format!("this bracket is never closed: a `{bracket}` is missing"),
            }),
            Some(']' | '}') => Err(self.fault(&format!(
                "expected `{bracket}` here: the brackets do not match"
            ))),
            Some(',') if after_item => {
                let comma = self.at;
                self.at += 1;
                self.skip_space();
                match self.peek() {
                    Some(']' | '}') => Err(Fault {
                        at: comma,
                        text: "a comma after the last entry: JSON does not allow it, remove it"
                            .to_owned(),
                    }),
                    Some(',') => Err(self.fault("two commas in a row: remove one")),
                    _ => Ok(false),
                }
            }
            Some('/' | '#') => Err(self.fault("JSON has no comments: remove this")),
            Some(_) if after_item => Err(Fault {
                at: end_of_item,
                text: "a comma `,` is missing here, between two entries".to_owned(),
            }),
            Some(_) => Ok(false),
        }
    }

    fn string(&mut self) -> Result<String, Fault> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(b'\n' | b'\r') | None => {
                    return Err(Fault {
                        at: start,
                        text: "this text is not closed on its line: a `\"` is missing (a line break in it is written `\\n`)"
                            .to_owned(),
                    });
                }
                Some(0..=0x1f) => {
                    return Err(
                        self.fault("a control character in a text: write it as `\\t` or `\\u00..`")
                    );
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let quoted = self.text.get(start..self.at).unwrap_or("");
        serde_json::from_str(quoted).map_err(|error| Fault {
            // The column counts bytes, and points after the mistake.
            at: start + error.column().saturating_sub(1).min(quoted.len()),
            text: "an escape that JSON does not have; a backslash itself is written `\\\\`"
                .to_owned(),
        })
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        self.skip_while(|next| {
            next.is_ascii_alphanumeric() || matches!(next, '+' | '-' | '.' | '_')
        });
        let token = self.text.get(start..self.at).unwrap_or("");
        serde_json::from_str(token).map(Value::Number).map_err(|_| Fault {
            at: start,
            text: "not a number as JSON writes it (no leading zeros, `+` or `_`; digits on both sides of the point)"
                .to_owned(),
        })
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        self.skip_while(|next| next.is_alphanumeric() || next == '_');
        let text = match self.text.get(start..self.at).unwrap_or("") {
            "null" => return Ok(Value::Null),
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "True" => "JSON writes `true`, not `True`",
            "False" => "JSON writes `false`, not `False`",
            "None" => "JSON writes `null`, not `None`",
            "NaN" | "Infinity" => "JSON has no NaN and no Infinity",
            _ => "expected a value; texts need double quotes",
        };
        Err(Fault {
            at: start,
            text: text.to_owned(),
        })
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while let Some(next) = self.peek().filter(|next| wanted(*next)) {
            self.at += next.len_utf8();
        }
    }

    fn skip_space(&mut self) {
        self.skip_while(|next| matches!(next, ' ' | '\t' | '\n' | '\r'));
    }

    fn fault(&self, text: &str) -> Fault {
        Fault {
            at: self.at,
            text: text.to_owned(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use std::path::PathBuf;
    use std::sync::Arc;

    use super::super::source::Source;
    use super::super::tree::{At, Fault, Node};

    pub(in super::super) fn anywhere() -> At {
        At::whole(Arc::new(Source::new(
            "f".into(),
            PathBuf::new(),
            String::new(),
        )))
    }

    fn parse(text: &str) -> Result<Node, Fault> {
        super::parse(text, &anywhere())
    }

    #[test]
    fn slips_are_named_where_they_are() {
        for (text, at, piece) in [
            ("", 0, "empty"),
            ("  \n", 3, "empty"),
            ("[1 2]", 2, "comma `,` is missing"),
            ("[1,]", 2, "after the last entry"),
            ("{\"a\":1,}", 6, "after the last entry"),
            ("[1,,2]", 3, "two commas"),
            ("[,1]", 1, "value is missing"),
            ("{\"a\" 1}", 4, "colon"),
            ("{\"a\":}", 5, "value is missing"),
            ("{a:1}", 1, "key in double quotes"),
            ("{'a':1}", 1, "double quotes"),
            ("['a']", 1, "double quotes"),
            ("[1", 0, "never closed"),
            ("{\"a\":[1}", 7, "do not match"),
            ("[1]]", 3, "too many"),
            ("{},{}", 2, "opening `[`"),
            ("[1] x", 4, "after the end"),
            ("[\"a\n\"]", 1, "not closed on its line"),
            ("[\"a\tb\"]", 3, "control character"),
            ("[\"a\\d\"]", 4, "escape"),
            ("[\"\\ud800\"]", 8, "escape"),
            ("[01]", 1, "number"),
            ("[+1]", 1, "number"),
            ("[.5]", 1, "number"),
            ("[1_000]", 1, "number"),
            ("[True]", 1, "`true`"),
            ("[None]", 1, "`null`"),
            ("[NaN]", 1, "NaN"),
            ("[foo]", 1, "double quotes"),
            ("[1 // c\n]", 3, "comments"),
            ("[@]", 1, "expected a value"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.at, at, "{text:?}: {}", fault.text);
            assert!(fault.text.contains(piece), "{text:?}: {}", fault.text);
        }
        assert!(
            parse(&"[".repeat(100_000))
                .unwrap_err()
                .text
                .contains("128")
        );
    }

    pub(in super::super) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9f64..1e9).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(".{0,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(value in any_value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let reference: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(parse(&text).unwrap().to_value(), reference);
            }
        }

        #[test]
        fn accepts_and_refuses_what_serde_json_does(text in r#"[\[\]{}:,"\\a1.0eE+ntrufals -]{0,24}"#) {
            let reference = serde_json::from_str::<Value>(&text);
            match (parse(&text), reference) {
                (Ok(node), Ok(value)) => prop_assert_eq!(node.to_value(), value),
                (Err(fault), Err(_)) => prop_assert!(fault.at <= text.len()),
                (ours, theirs) => prop_assert!(false, "{:?}: {:?} and {:?}", text, ours, theirs),
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            if let Err(fault) = parse(&text) {
                prop_assert!(fault.at <= text.len());
            }
        }
    }
}
