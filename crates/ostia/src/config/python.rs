//! Python literals as `repr` writes them: what FIRST's `config` columns hold. Nothing is evaluated.

use serde_json::Number;

use super::tree::{At, Fault, Member, Node, Value};

/// Deeper nesting than this is refused, so that hostile text cannot exhaust the stack.
pub(super) const MAX_DEPTH: usize = 32;
/// Longer texts are refused.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// Reads a dict, list, tuple, text, number, `True`, `False` or `None`. Tuples become lists.
/// `base`: where the text stands.
pub(super) fn parse(text: &str, base: &At) -> Result<Node, Fault> {
    let mut parser = Parser { text, base, at: 0 };
    if text.len() > MAX_BYTES {
        return Err(parser.fault("longer than 64 KiB"));
    }
    let value = parser.value(MAX_DEPTH)?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.fault("text after the end of the value")),
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
        let at = self.base.inside(self.at);
        let value = match self.peek() {
            Some('{') => self.dict(self.deeper(depth)?),
            Some('[') => self.list(self.deeper(depth)?),
            Some('(') => self.tuple(self.deeper(depth)?),
            Some('\'' | '"') => self.strings().map(Value::Text),
            Some('-' | '+' | '.' | '0'..='9') => self.number(),
            Some(next) if next.is_alphabetic() || next == '_' => self.word(),
            Some(_) => Err(self.fault("expected a value")),
            None => Err(self.fault("the text ends where a value is expected")),
        };
        Ok(Node::new(at, value?))
    }

    fn deeper(&self, depth: usize) -> Result<usize, Fault> {
        depth
            .checked_sub(1)
            .ok_or_else(|| self.fault("nested deeper than 32 levels"))
    }

    fn dict(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut members = Vec::new();
        self.at += 1;
        while !self.closes('}', !members.is_empty())? {
            self.skip_space();
            if !matches!(self.peek(), Some('\'' | '"' | 'u' | 'U')) {
                return Err(self.fault("expected a key in quotes"));
            }
            let Node {
                at: key_at,
                value: Value::Text(key),
            } = self.value(depth)?
            else {
                return Err(self.fault("keys must be texts"));
            };
            self.skip_space();
            if self.peek() != Some(':') {
                return Err(self.fault("expected `:` (sets are not read)"));
            }
            self.at += 1;
            let node = self.value(depth)?;
            members.push(Member { key, key_at, node });
        }
        Ok(Value::Map(members))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        self.at += 1;
        while !self.closes(']', !items.is_empty())? {
            items.push(self.value(depth)?);
        }
        Ok(Value::List(items))
    }

    /// `()`, `(a,)` and `(a, b)` are tuples; `(a)` is just `a`.
    fn tuple(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        self.at += 1;
        let mut comma = false;
        while !self.closes(')', !items.is_empty())? {
            items.push(self.value(depth)?);
            self.skip_space();
            comma |= self.peek() == Some(',');
        }
        match items.pop() {
            Some(only) if items.is_empty() && !comma => Ok(only.value),
            last => {
                items.extend(last);
                Ok(Value::List(items))
            }
        }
    }

    /// Skips the separator between two items, or a trailing comma; `true` at the closing bracket.
    fn closes(&mut self, bracket: char, after_item: bool) -> Result<bool, Fault> {
        self.skip_space();
        if after_item && self.peek() == Some(',') {
            self.at += 1;
            self.skip_space();
        } else if after_item && self.peek().is_some_and(|next| next != bracket) {
            return Err(self.fault("expected a comma or a closing bracket"));
        }
        match self.peek() {
            Some(next) if next == bracket => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => Err(self.fault("a bracket is never closed")),
        }
    }

    /// One string literal, or several adjacent ones, which Python joins.
    fn strings(&mut self) -> Result<String, Fault> {
        let mut joined = String::new();
        while let Some(quote @ ('\'' | '"')) = self.peek() {
            self.string(quote, &mut joined)?;
            self.skip_space();
        }
        Ok(joined)
    }

    fn string(&mut self, quote: char, into: &mut String) -> Result<(), Fault> {
        let start = self.at;
        let triple = [quote; 3].iter().collect::<String>();
        if self.rest().starts_with(&triple) {
            return Err(self.fault("triple quotes are not read"));
        }
        self.at += 1;
        while let Some(next) = self.bump() {
            match next {
                '\\' => self.escape(into)?,
                '\n' | '\r' => break,
                _ if next == quote => return Ok(()),
                _ => into.push(next),
            }
        }
        Err(Fault {
            at: start,
            text: "this quote is never closed".to_owned(),
        })
    }

    fn escape(&mut self, into: &mut String) -> Result<(), Fault> {
        let Some(next) = self.bump() else {
            return Err(self.fault("a quote is never closed"));
        };
        let plain = match next {
            '\\' | '\'' | '"' => next,
            '\n' => return Ok(()),
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            '0'..='7' => {
                self.at -= 1;
                self.octal()?
            }
            'N' => return Err(self.fault("names of characters (\\N{...}) are not read")),
            // Python keeps an escape that it does not know.
            _ => {
                into.push('\\');
                next
            }
        };
        into.push(plain);
        Ok(())
    }

    fn code(&mut self, digits: usize) -> Result<char, Fault> {
        let mut code = self.hex(digits)?;
        if (0xd800..0xdc00).contains(&code) && self.rest().starts_with("\\u") {
            self.at += 2;
            let low = self.hex(4)?;
            code = match low {
                0xdc00..0xe000 => 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00),
                _ => code,
            };
        }
        char::from_u32(code).ok_or_else(|| self.fault("an escape that stands for no character"))
    }

    fn hex(&mut self, digits: usize) -> Result<u32, Fault> {
        let code = self
            .rest()
            .get(..digits)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|text| u32::from_str_radix(text, 16).ok());
        let code = code.ok_or_else(|| self.fault("an escape with too few hexadecimal digits"))?;
        self.at += digits;
        Ok(code)
    }

    fn octal(&mut self) -> Result<char, Fault> {
        let mut code = 0;
        for _ in 0..3 {
            let Some(digit) = self.peek().and_then(|next| next.to_digit(8)) else {
                break;
            };
            code = code * 8 + digit;
            self.at += 1;
        }
        char::from_u32(code).ok_or_else(|| self.fault("an escape that stands for no character"))
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        self.skip_while(|next| {
            next.is_ascii_alphanumeric() || matches!(next, '.' | '_' | '+' | '-')
        });
        let token = self.text.get(start..self.at).unwrap_or("");
        read_number(token).map(Value::Number).ok_or_else(|| Fault {
            at: start,
            text: "not a number that is read here (no sums, no complex numbers, no infinity)"
                .to_owned(),
        })
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        self.skip_while(|next| next.is_alphanumeric() || next == '_');
        match self.text.get(start..self.at).unwrap_or("") {
            "True" | "true" => Ok(Value::Bool(true)),
            "False" | "false" => Ok(Value::Bool(false)),
            "None" | "null" => Ok(Value::Null),
            "u" | "U" if matches!(self.peek(), Some('\'' | '"')) => {
                self.strings().map(Value::Text)
            }
            _ => Err(Fault {
                at: start,
                text: "a name or call: only texts, numbers, True, False, None, dicts, lists and tuples are read"
                    .to_owned(),
            }),
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
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

    fn skip_space(&mut self) {
        let is_space = |next| matches!(next, ' ' | '\t' | '\n' | '\r' | '\x0c');
        self.skip_while(is_space);
        while self.peek() == Some('#') {
            self.skip_while(|next| next != '\n');
            self.skip_while(is_space);
        }
    }

    fn fault(&self, text: &str) -> Fault {
        Fault {
            at: self.at,
            text: text.to_owned(),
        }
    }
}

/// Whole numbers beyond 64 bits become floating ones, as serde_json reads them.
fn read_number(token: &str) -> Option<Number> {
    let misplaced = token.starts_with('_') || token.ends_with('_') || token.contains("__");
    let plain = token.replace('_', "");
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole && digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0');
    let foreign = |byte: u8| !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    if misplaced || leading_zero || digits.is_empty() || digits.bytes().any(foreign) {
        return None;
    }
    if whole && plain.starts_with('-') {
        if let Ok(number) = plain.parse::<i64>() {
            return Some(number.into());
        }
    } else if whole && let Ok(number) = digits.parse::<u64>() {
        return Some(number.into());
    }
    Number::from_f64(plain.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::json;
    use super::super::json::tests::anywhere;
    use super::super::tree::Fault;

    fn parse(text: &str) -> Result<Value, Fault> {
        super::parse(text, &anywhere()).map(|node| node.to_value())
    }

    #[test]
    fn what_python_writes() {
        for (text, value) in [
            ("{}", json!({})),
            (
                "{'a': 'b', \"c\": True, 'd': None,}",
                json!({"a": "b", "c": true, "d": null}),
            ),
            (
                "[1, -2, 3.5, 1e3, 1_000, .5, 5.]",
                json!([1, -2, 3.5, 1000.0, 1000, 0.5, 5.0]),
            ),
            ("(1, 2)", json!([1, 2])),
            ("(1,)", json!([1])),
            ("(1)", json!(1)),
            ("()", json!([])),
            ("('a', ('b',))", json!(["a", ["b"]])),
            (
                "'it\\'s \\x41\\u00e9\\U0001f600\\101\\n\\q'",
                json!("it's Aé😀A\n\\q"),
            ),
            ("'\\ud83d\\ude00'", json!("😀")),
            ("'a' \"b\"\n'c'", json!("abc")),
            ("u'x'", json!("x")),
            ("{u'k': u'v'}", json!({"k": "v"})),
            ("{'a': 1, 'a': 2}", json!({"a": 2})),
            ("''", json!("")),
            (" \n[\n]\n ", json!([])),
            ("0", json!(0)),
            ("00", json!(0)),
            ("+1", json!(1)),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_read() {
        for (text, at, piece) in [
            ("", 0, "ends where"),
            ("{'a': }", 6, "expected a value"),
            ("{'a' 1}", 5, "expected `:`"),
            ("{1, 2}", 1, "key in quotes"),
            ("{'a', 'b'}", 4, "expected `:`"),
            ("[1 2]", 3, "comma"),
            ("[1,,2]", 3, "expected a value"),
            ("[,]", 1, "expected a value"),
            ("[1", 2, "never closed"),
            ("'abc", 0, "never closed"),
            ("'a\nb'", 0, "never closed"),
            ("'''a'''", 0, "triple"),
            ("b'x'", 0, "name or call"),
            ("__import__('os').system('id')", 0, "name or call"),
            ("os.environ", 0, "name or call"),
            ("[x for x in y]", 1, "name or call"),
            ("1+2", 0, "number"),
            ("2**9", 1, "after the end"),
            ("1j", 0, "number"),
            ("0x10", 0, "number"),
            ("012", 0, "number"),
            ("1e999", 0, "number"),
            ("inf", 0, "name or call"),
            ("'\\ud800'", 7, "no character"),
            ("'\\xg1'", 3, "hexadecimal"),
            ("{} {}", 3, "after the end"),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.at, at, "{text}: {}", fault.text);
            assert!(fault.text.contains(piece), "{text}: {}", fault.text);
        }
    }

    #[test]
    fn bounds() {
        let nested = |depth| "[".repeat(depth) + &*"]".repeat(depth);
        assert!(parse(&nested(32)).is_ok());
        assert!(parse(&nested(33)).unwrap_err().text.contains("32 levels"));
        assert!(parse(&"(".repeat(60_000)).is_err());
        let long = |bytes: usize| format!("'{}'", "a".repeat(bytes - 2));
        assert!(parse(&long(64 << 10)).is_ok());
        assert!(
            parse(&long((64 << 10) + 1))
                .unwrap_err()
                .text
                .contains("64 KiB")
        );
    }

    /// `repr` of the value, with a choice of quotes, tuples and trailing commas.
    fn repr(value: &Value, style: u8, into: &mut String) {
        match value {
            Value::Null => into.push_str("None"),
            Value::Bool(flag) => into.push_str(if *flag { "True" } else { "False" }),
            Value::Number(number) => write!(into, "{number}").unwrap(),
            Value::String(text) => quote(text, style, into),
            Value::Array(items) => {
                let tuple = style & 2 != 0;
                into.push(if tuple { '(' } else { '[' });
                for (index, item) in items.iter().enumerate() {
                    into.push_str(if index == 0 { "" } else { ", " });
                    repr(item, style, into);
                }
                if tuple && items.len() == 1 || style & 4 != 0 && !items.is_empty() {
                    into.push(',');
                }
                into.push(if tuple { ')' } else { ']' });
            }
            Value::Object(members) => {
                into.push('{');
                for (key, value) in members {
                    quote(key, style, into);
                    into.push_str(": ");
                    repr(value, style, into);
                    into.push_str(", ");
                }
                into.push('}');
            }
        }
    }

    fn quote(text: &str, style: u8, into: &mut String) {
        let quote = if style & 1 == 0 { '\'' } else { '"' };
        into.push(quote);
        for character in text.chars() {
            match character {
                '\\' => into.push_str("\\\\"),
                '\n' => into.push_str("\\n"),
                '\r' => into.push_str("\\r"),
                _ if character == quote => into.extend(['\\', character]),
                _ if character.is_control() => write!(into, "\\x{:02x}", character as u32).unwrap(),
                _ => into.push(character),
            }
        }
        into.push(quote);
    }

    proptest! {
        #[test]
        fn agrees_with_json(value in json::tests::any_value(), style in 0u8..8) {
            let mut text = String::new();
            repr(&value, style, &mut text);
            prop_assert_eq!(parse(&text).unwrap(), value, "{}", text);
        }

        #[test]
        fn reads_all_json(value in json::tests::any_value()) {
            prop_assert_eq!(parse(&value.to_string()).unwrap(), value);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = String::from_utf8_lossy(&bytes);
            if let Err(fault) = parse(&text) {
                prop_assert!(fault.at <= text.len());
            }
        }

        #[test]
        fn arbitrary_literals_never_panic(text in r#"[\[\](){}:,'"\\uxNT0-9a-f.eé \n-]{0,40}"#) {
            if let Err(fault) = parse(&text) {
                prop_assert!(fault.at <= text.len() && text.is_char_boundary(fault.at));
            }
        }
    }
}
