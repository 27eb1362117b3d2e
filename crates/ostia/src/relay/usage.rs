use std::fmt;

use ostia_core::{Usage, UsageSource};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Larger counts are no counts: no model has seen so many tokens, and they must fit a database's integer.
const LARGEST: u64 = 1 << 53;

/// A usage object in any of the dialects:
/// OpenAI chat and completions (`prompt_tokens`), Responses and Anthropic Messages (`input_tokens`).
#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub(super) struct UsageShape {
    #[serde(default)]
    prompt_tokens: Count,
    #[serde(default)]
    completion_tokens: Count,
    #[serde(default)]
    total_tokens: Count,
    #[serde(default)]
    input_tokens: Count,
    #[serde(default)]
    output_tokens: Count,
    #[serde(default)]
    cache_read_input_tokens: Count,
    #[serde(default)]
    cache_creation_input_tokens: Count,
    #[serde(default)]
    prompt_tokens_details: Details,
    #[serde(default)]
    completion_tokens_details: Details,
    #[serde(default)]
    input_tokens_details: Details,
    #[serde(default)]
    output_tokens_details: Details,
}

#[derive(Debug, Default, Clone, Copy)]
struct Details {
    cached_tokens: Count,
    reasoning_tokens: Count,
}

/// A member that may be missing, null, or anything.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Count {
    #[default]
    Absent,
    Known(u64),
    Nonsense,
}

impl UsageShape {
    /// Reads a JSON object; `None` if it is none.
    pub(super) fn parse(json: &str) -> Option<Self> {
        // serde would take a list for the members in order.
        let is_object = json.trim_start().starts_with('{');
        is_object.then(|| serde_json::from_str(json).ok()).flatten()
    }

    /// What it says, on top of what was known before (Anthropic tells prompt and output in different events).
    /// `None` if any count in it is nonsense, or if it says nothing.
    pub(super) fn read(&self, before: Option<Usage>) -> Option<Usage> {
        let counts = [
            self.prompt_tokens,
            self.completion_tokens,
            self.total_tokens,
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
        ];
        if counts.contains(&Count::Nonsense) || counts.iter().all(|count| *count == Count::Absent) {
            return None;
        }
        let before = before.unwrap_or_default();
        let prompt = self
            .prompt_tokens
            .or(self.whole_input())
            .or(self.bare_total());
        let completion = self.completion_tokens.or(self.output_tokens);
        let prompt_tokens = prompt.known().unwrap_or(before.prompt_tokens);
        let completion_tokens = completion.known().unwrap_or(before.completion_tokens);
        let cached = self
            .prompt_tokens_details
            .cached_tokens
            .or(self.input_tokens_details.cached_tokens)
            .or(self.cache_read_input_tokens);
        let reasoning = self
            .completion_tokens_details
            .reasoning_tokens
            .or(self.output_tokens_details.reasoning_tokens);
        let sum = prompt_tokens + completion_tokens;
        Some(Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: self.total_tokens.known().unwrap_or(sum),
            cached_tokens: cached.known().unwrap_or(before.cached_tokens),
            reasoning_tokens: reasoning.known().unwrap_or(before.reasoning_tokens),
            source: UsageSource::Upstream,
        })
    }

    /// Rerankers and embedders that say nothing but `total_tokens` have read so many.
    fn bare_total(&self) -> Count {
        match self.completion_tokens.or(self.output_tokens) {
            Count::Absent => self.total_tokens,
            _ => Count::Absent,
        }
    }

    /// Anthropic's `input_tokens` leaves out what was read from or written to its cache.
    fn whole_input(&self) -> Count {
        let Some(input) = self.input_tokens.known() else {
            return Count::Absent;
        };
        let read = self.cache_read_input_tokens.known().unwrap_or(0);
        let written = self.cache_creation_input_tokens.known().unwrap_or(0);
        Count::Known(input + read + written)
    }
}

impl Count {
    fn known(self) -> Option<u64> {
        match self {
            Self::Known(count) => Some(count),
            Self::Absent | Self::Nonsense => None,
        }
    }

    fn or(self, other: Self) -> Self {
        if self == Self::Absent { other } else { self }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Count, E> {
        Ok(if value <= LARGEST {
            Count::Known(value)
        } else {
            Count::Nonsense
        })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Count, E> {
        Ok(u64::try_from(value).map_or(Count::Nonsense, Count::Known))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Count, E> {
        Ok(Count::Nonsense)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count::Nonsense)
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count::Nonsense)
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count::Nonsense)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count::Nonsense)
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DetailsVisitor)
    }
}

/// Takes an object's counts; of anything else, nothing.
struct DetailsVisitor;

impl<'de> Visitor<'de> for DetailsVisitor {
    type Value = Details;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Details, A::Error> {
        let mut details = Details::default();
        while let Some(name) = map.next_key::<Member>()? {
            match name {
                Member::CachedTokens => details.cached_tokens = map.next_value()?,
                Member::ReasoningTokens => details.reasoning_tokens = map.next_value()?,
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(details)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Details, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Details::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Details, E> {
        Ok(Details::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Details, E> {
        Ok(Details::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Details, E> {
        Ok(Details::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Details, E> {
        Ok(Details::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Details, E> {
        Ok(Details::default())
    }

    fn visit_unit<E>(self) -> Result<Details, E> {
        Ok(Details::default())
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    CachedTokens,
    ReasoningTokens,
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::UsageShape;
    use ostia_core::{Usage, UsageSource};

    fn read(json: &str) -> Option<Usage> {
        serde_json::from_str::<UsageShape>(json).ok()?.read(None)
    }

    fn usage(
        prompt: u64,
        completion: u64,
        total: u64,
        cached: u64,
        reasoning: u64,
    ) -> Option<Usage> {
        Some(Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: total,
            cached_tokens: cached,
            reasoning_tokens: reasoning,
            source: UsageSource::Upstream,
        })
    }

    #[test]
    fn every_dialect_is_read() {
        let cases = [
            (
                r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}"#,
                usage(5, 7, 12, 0, 0),
            ),
            (r#"{"total_tokens":9}"#, usage(9, 0, 9, 0, 0)),
            (
                r#"{"type":"tokens","input_tokens":14,"input_token_details":{"audio_tokens":10},"output_tokens":45,"total_tokens":59}"#,
                usage(14, 45, 59, 0, 0),
            ),
            (
                r#"{"prompt_tokens":5,"total_tokens":5}"#,
                usage(5, 0, 5, 0, 0),
            ),
            (
                r#"{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3,"x":[1]}}"#,
                usage(5, 7, 12, 4, 3),
            ),
            (
                r#"{"input_tokens":5,"output_tokens":7,"total_tokens":12,"input_tokens_details":{"cached_tokens":4},"output_tokens_details":{"reasoning_tokens":3}}"#,
                usage(5, 7, 12, 4, 3),
            ),
            (
                r#"{"input_tokens":5,"cache_read_input_tokens":100,"cache_creation_input_tokens":10,"output_tokens":7}"#,
                usage(115, 7, 122, 100, 0),
            ),
            (
                r#"{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":null,"completion_tokens_details":"x"}"#,
                usage(5, 7, 12, 0, 0),
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(read(json), expected, "{json}");
        }
    }

    #[test]
    fn nonsense_is_no_usage() {
        for json in [
            "{}",
            r#"{"type":"duration","seconds":3}"#,
            r#"{"prompt_tokens":null}"#,
            r#"{"prompt_tokens":-1,"completion_tokens":7}"#,
            r#"{"prompt_tokens":9223372036854775808,"completion_tokens":7}"#,
            r#"{"prompt_tokens":99999999999999999999999,"completion_tokens":7}"#,
            r#"{"prompt_tokens":"5","completion_tokens":7}"#,
            r#"{"prompt_tokens":[1],"completion_tokens":7}"#,
            r#"{"prompt_tokens":{"a":1},"completion_tokens":7}"#,
            r#"{"prompt_tokens":1.5,"completion_tokens":7}"#,
            "null",
            "[]",
            "\"5\"",
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
