use super::Invalid;

/// `; name=value; name="value"` (RFC 9110, section 5.6.6). Ends at the first error.
pub(in super::super) struct Parameters<'a> {
    rest: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Parameter<'a> {
    pub(in super::super) name: &'a [u8],
    pub(in super::super) value: &'a [u8],
}

/// A header's value from its first semicolon on.
pub(super) fn behind_essence(value: &[u8]) -> &[u8] {
    let essence = memchr::memchr(b';', value).unwrap_or(value.len());
    &value[essence..]
}

impl<'a> Parameters<'a> {
    pub(super) fn of(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// Those of a whole header.
    pub(in super::super) fn of_header(value: &'a [u8]) -> Self {
        Self::of(behind_essence(value))
    }

    fn read(&mut self) -> Option<Parameter<'a>> {
        let text = self.rest.strip_prefix(b";")?.trim_ascii_start();
        let equals = memchr::memchr(b'=', text)?;
        let (name, value) = (&text[..equals], &text[equals + 1..]);
        if name.is_empty() || !name.iter().all(is_token) {
            return None;
        }
        let (value, rest) = match value.strip_prefix(b"\"") {
            Some(quoted) => read_quoted(quoted)?,
            None => read_token(value)?,
        };
        self.rest = rest.trim_ascii_start();
        Some(Parameter { name, value })
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        // A semicolon at the very end is common and harmless.
        if self.rest.is_empty() || self.rest.trim_ascii() == b";" {
            return None;
        }
        let parameter = self.read();
        if parameter.is_none() {
            self.rest = b"";
        }
        Some(parameter.ok_or_else(|| Invalid::form("a header's parameters are malformed")))
    }
}

fn read_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = memchr::memchr(b';', text).unwrap_or(text.len());
    let (token, rest) = text.split_at(length);
    let token = token.trim_ascii_end();
    let sound = !token.is_empty()
        && token
            .iter()
            .all(|byte| is_token(byte) || *byte == b'/' || *byte == b':');
    sound.then_some((token, rest))
}

/// From after the opening quote. A quote after a backslash ends the value to some programs and not to others, so it is a
/// fault; any other backslash is left as it is.
fn read_quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'"', text)?;
    let (value, rest) = (&text[..end], &text[end + 1..]);
    (!value.ends_with(b"\\")).then_some((value, rest))
}

pub(super) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Parameters::of(text.as_bytes())
            .map(|parameter| {
                let parameter = parameter.ok()?;
                Some((text_of(parameter.name), text_of(parameter.value)))
            })
            .collect()
    }

    #[test]
    fn tokens_and_quoted_strings() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("; name=\"a;b\" ;x=y; z=\"q\\r\\ \";"),
            Some(vec![
                pair("name", "a;b"),
                pair("x", "y"),
                pair("z", "q\\r\\ ")
            ])
        );
        assert_eq!(read("; name=\"\""), Some(vec![pair("name", "")]));
        assert_eq!(read(""), Some(vec![]));
    }

    #[test]
    fn faults() {
        for text in [
            "; name",
            "; =x",
            "; name=",
            "; name=\"x",
            "; name=\"x\\",
            "; name=\"x\\\"",
            "; name=\"x\\\"; y=\\\"z\"",
            "; name=\"x\\\\\"",
            "; name=\"x\"y",
            "; na me=x",
            "; name=a b",
            "; name=x\"y",
            ";; name=x",
            "; name =x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
