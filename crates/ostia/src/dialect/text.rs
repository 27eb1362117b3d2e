use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Counts the bytes of strings in generated output: the values of members, not their names. For responses without
/// usage.
#[derive(Debug, Default)]
struct TextLength(u64);

/// Looks for one member of an object.
struct Within<'a>(&'a str);

/// Estimated output tokens of a complete JSON response: a quarter of the bytes of text in this member.
pub(super) fn count_tokens(answer: &[u8], member: &str) -> u64 {
    let mut json = serde_json::Deserializer::from_slice(answer);
    let length = json.deserialize_map(Within(member)).unwrap_or_default();
    length.div_ceil(4)
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let mut length = 0;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match *name == *self.0 {
                true => length = map.next_value::<TextLength>()?.0,
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(length)
    }
}

impl<'de> Deserialize<'de> for TextLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = TextLength;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<TextLength, E> {
        Ok(TextLength(text.len() as u64))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TextLength, A::Error> {
        let mut sum = 0;
        while let Some(TextLength(length)) = seq.next_element()? {
            sum += length;
        }
        Ok(TextLength(sum))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextLength, A::Error> {
        let mut sum = 0;
        while map.next_key::<serde::de::IgnoredAny>()?.is_some() {
            sum += map.next_value::<TextLength>()?.0;
        }
        Ok(TextLength(sum))
    }

    fn visit_u64<E>(self, _: u64) -> Result<TextLength, E> {
        Ok(TextLength::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<TextLength, E> {
        Ok(TextLength::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<TextLength, E> {
        Ok(TextLength::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<TextLength, E> {
        Ok(TextLength::default())
    }

    fn visit_unit<E>(self) -> Result<TextLength, E> {
        Ok(TextLength::default())
    }
}

#[cfg(test)]
mod tests {
    use super::count_tokens;

    #[test]
    fn text_counts_in_every_dialect_and_nothing_else_does() {
        let text = "x".repeat(400);
        for (member, answer, least) in [
            (
                "choices",
                format!(
                    r#"{{"id":"{text}","choices":[{{"index":0,"message":{{"content":"{text}","x":null}}}}]}}"#
                ),
                100,
            ),
            (
                "choices",
                format!(r#"{{"choices":[{{"text":"{text}","logprobs":[1,-2,0.5,true]}}]}}"#),
                100,
            ),
            (
                "output",
                format!(r#"{{"output":[{{"content":[{{"text":"{text}"}}]}}]}}"#),
                100,
            ),
            (
                "content",
                format!(r#"{{"type":"message","content":[{{"text":"{text}"}}]}}"#),
                100,
            ),
            ("choices", r#"{"data":["text"]}"#.to_owned(), 0),
            ("choices", "<html>".to_owned(), 0),
            ("choices", "[]".to_owned(), 0),
        ] {
            assert_eq!(count_tokens(answer.as_bytes(), member), least, "{answer}");
        }
    }
}
