use std::borrow::Cow;

use super::Scope;
use super::table::RESERVED;
use crate::config::RESERVED_CLUSTERS;

/// What a path has in the places that a pattern leaves open; empty where it leaves none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Captures<'a> {
    pub(super) cluster: &'a str,
    pub(super) framework: &'a str,
    /// `{*name}`: all that is left, at least one character, as it was written.
    pub(super) rest: &'a str,
}

impl<'a> Captures<'a> {
    /// `None`: the path does not fit. Nothing is normalised: an empty segment, `.`, `..` and `%` fit nothing but
    /// `{*name}`.
    pub(super) fn of(pattern: &str, path: &'a str) -> Option<Self> {
        let mut captures = Self::default();
        let mut rest = Some(path.strip_prefix('/')?);
        for part in pattern.strip_prefix('/')?.split('/') {
            let left = rest?;
            if part.starts_with("{*") {
                captures.rest = left;
                return (!left.is_empty()).then_some(captures);
            }
            let (segment, after) = match left.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (left, None),
            };
            if !captures.take(part, segment) {
                return None;
            }
            rest = after;
        }
        rest.is_none().then_some(captures)
    }

    pub(super) fn scope(&self) -> Scope<'a> {
        (!self.cluster.is_empty()).then_some((self.cluster, self.framework))
    }

    fn take(&mut self, part: &str, segment: &'a str) -> bool {
        match part {
            "{cluster}" => {
                self.cluster = segment;
                sound(segment) && !RESERVED_CLUSTERS.contains(&segment)
            }
            "{framework}" => {
                self.framework = segment;
                sound(segment)
            }
            "{reserved}" => RESERVED.contains(&segment),
            literal => literal == segment,
        }
    }
}

fn sound(segment: &str) -> bool {
    !segment.is_empty() && segment != "." && segment != ".." && !segment.contains('%')
}

/// Undoes percent-encoding, once (RFC 3986, section 2.1). `None` for what is no UTF-8, or no encoding.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        // from_str_radix would take a sign.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail.get(2..)?;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::{Captures, decode};

    #[test]
    fn segments_and_the_rest() {
        let of = |pattern, path| {
            Captures::of(pattern, path).map(|found| (found.cluster, found.framework, found.rest))
        };
        let scoped = "/{cluster}/{framework}/v1/models/{*id}";
        assert_eq!(of(scoped, "/c/f/v1/models/a/b"), Some(("c", "f", "a/b")));
        assert_eq!(of("/v1/models", "/v1/models"), Some(("", "", "")));
        for path in [
            "/c/f/v1/models",
            "/c/f/v1/models/",
            "/v1/f/v1/models/a",
            "/c/../v1/models/a",
            "/c//v1/models/a",
            "/%63/f/v1/models/a",
            "c/f/v1/models/a",
        ] {
            assert_eq!(of(scoped, path), None, "{path}");
        }
        assert_eq!(of("/v1/{reserved}", "/v1/files"), Some(("", "", "")));
        assert_eq!(of("/v1/{reserved}", "/v1/embeddings"), None);
    }

    #[test]
    fn encoded_names_are_decoded_once() {
        for (text, decoded) in [
            ("plain/name", Some("plain/name")),
            ("meta-llama%2FLlama", Some("meta-llama/Llama")),
            ("a%252Fb", Some("a%2Fb")),
            ("caf%C3%A9", Some("café")),
            ("%FF", None),
            ("%", None),
            ("%2", None),
            ("%+1", None),
            ("%zz", None),
        ] {
            assert_eq!(decode(text).as_deref(), decoded, "{text}");
        }
    }
}
