use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// Bytes of the strings in what a model made: members' values, not their names. For answers that say nothing of usage.
#[derive(Debug, Default)]
pub(super) struct TextLength(u64);

/// Where the dialects put what the model made.
#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    choices: TextLength,
    #[serde(default)]
    output: TextLength,
    #[serde(default)]
    content: TextLength,
}

/// Output tokens of a whole JSON answer: a quarter of its text's bytes.
pub(super) fn count_tokens(answer: &[u8]) -> u64 {
    serde_json::from_slice::<Made>(answer)
        .map(|made| (made.choices.0 + made.output.0 + made.content.0).div_ceil(4))
        .unwrap_or_default()
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
        for (answer, least) in [
            (
                format!(
                    r#"{{"id":"{text}","choices":[{{"index":0,"message":{{"content":"{text}","x":null}}}}]}}"#
                ),
                100,
            ),
            (
                format!(r#"{{"choices":[{{"text":"{text}","logprobs":[1,-2,0.5,true]}}]}}"#),
                100,
            ),
            (
                format!(r#"{{"output":[{{"content":[{{"text":"{text}"}}]}}]}}"#),
                100,
            ),
            (
                format!(r#"{{"type":"message","content":[{{"text":"{text}"}}]}}"#),
                100,
            ),
            (r#"{"data":[{"embedding":[0.5]}]}"#.to_owned(), 0),
            ("<html>".to_owned(), 0),
        ] {
            assert_eq!(count_tokens(answer.as_bytes()), least, "{answer}");
        }
    }
}
