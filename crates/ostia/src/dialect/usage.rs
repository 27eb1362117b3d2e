use std::fmt;

use ostia_core::{Usage, UsageSource};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Larger values are ignored: no model has seen so many tokens, and counts must fit a database integer.
const LARGEST: u64 = 1 << 53;

/// The usage counters of all dialects: OpenAI's chat and completions (`prompt_tokens`), Responses and Anthropic's
/// Messages (`input_tokens`), DeepSeek's cache.
///
/// Several usage objects in one stream add up to one. Counters are running totals, so they never fall. A value that is
/// not a count is ignored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Counters {
    prompt_tokens: Count,
    completion_tokens: Count,
    total_tokens: Count,
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    prompt_cache_hit_tokens: Count,
    prompt_tokens_details: Details,
    completion_tokens_details: Details,
    input_tokens_details: Details,
    output_tokens_details: Details,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Details {
    cached_tokens: Count,
    reasoning_tokens: Count,
}

/// A member that may be missing, null, or anything.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count(Option<u64>);

impl Counters {
    /// Takes a usage object; anything else is ignored.
    pub(super) fn take(&mut self, usage: &RawValue) {
        // serde would accept a list as the members in order.
        if usage.get().starts_with('{')
            && let Ok(told) = serde_json::from_str::<Self>(usage.get())
        {
            self.raise(&told);
        }
    }

    /// The usage as reported, completed by the estimate if the prompt or the output is missing. `None` if nothing was
    /// reported.
    pub fn usage(&self, estimate: Usage) -> Option<Usage> {
        if *self == Self::default() {
            return None;
        }
        let (prompt, completion) = self.told();
        let missing = prompt.is_none() && estimate.prompt_tokens > 0
            || completion.is_none() && estimate.completion_tokens > 0;
        let prompt_tokens = prompt.unwrap_or(estimate.prompt_tokens);
        let completion_tokens = completion.unwrap_or(estimate.completion_tokens);
        let sum = prompt_tokens + completion_tokens;
        Some(Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: self.total_tokens.0.unwrap_or(sum).max(sum),
            cached_tokens: self.cached().unwrap_or_default(),
            reasoning_tokens: self.reasoning().unwrap_or_default(),
            source: match missing {
                true => UsageSource::Estimated,
                false => UsageSource::Upstream,
            },
        })
    }

    /// Whether it reports how much was generated.
    pub fn tells_output(&self) -> bool {
        self.told().1.is_some()
    }

    /// The tokens of prompt and output. If one is missing, it follows from the total. A total alone is the prompt's,
    /// because that is what rerankers and embedders mean.
    fn told(&self) -> (Option<u64>, Option<u64>) {
        let rest = |part: u64| Some(self.total_tokens.0?.saturating_sub(part));
        let prompt = self.prompt_tokens.0.or_else(|| self.whole_input());
        let completion = self.completion_tokens.0.or(self.output_tokens.0);
        match (prompt, completion) {
            (None, None) => (self.total_tokens.0, self.total_tokens.0.map(|_| 0)),
            (Some(prompt), None) => (Some(prompt), rest(prompt)),
            (None, Some(completion)) => (rest(completion), Some(completion)),
            both => both,
        }
    }

    /// Anthropic's `input_tokens` excludes what was read from or written to its cache.
    fn whole_input(&self) -> Option<u64> {
        let read = self.cache_read_input_tokens.0;
        let written = self.cache_creation_input_tokens.0;
        let parts = [self.input_tokens.0, read, written];
        parts.into_iter().flatten().reduce(|sum, part| sum + part)
    }

    fn cached(&self) -> Option<u64> {
        let details = self.prompt_tokens_details.cached_tokens.0;
        details
            .or(self.input_tokens_details.cached_tokens.0)
            .or(self.cache_read_input_tokens.0)
            .or(self.prompt_cache_hit_tokens.0)
    }

    fn reasoning(&self) -> Option<u64> {
        let details = self.completion_tokens_details.reasoning_tokens.0;
        details.or(self.output_tokens_details.reasoning_tokens.0)
    }

    fn raise(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.total_tokens, other.total_tokens),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (
                &mut self.cache_read_input_tokens,
                other.cache_read_input_tokens,
            ),
            (
                &mut self.cache_creation_input_tokens,
                other.cache_creation_input_tokens,
            ),
            (
                &mut self.prompt_cache_hit_tokens,
                other.prompt_cache_hit_tokens,
            ),
        ] {
            mine.raise(theirs);
        }
        for (mine, theirs) in [
            (&mut self.prompt_tokens_details, other.prompt_tokens_details),
            (
                &mut self.completion_tokens_details,
                other.completion_tokens_details,
            ),
            (&mut self.input_tokens_details, other.input_tokens_details),
            (&mut self.output_tokens_details, other.output_tokens_details),
        ] {
            mine.cached_tokens.raise(theirs.cached_tokens);
            mine.reasoning_tokens.raise(theirs.reasoning_tokens);
        }
    }
}

impl Count {
    fn raise(&mut self, other: Self) {
        self.0 = self.0.max(other.0);
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
        Ok(Count((value <= LARGEST).then_some(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Count, E> {
        let value = u64::try_from(value).ok();
        Ok(Count(value.filter(|value| *value <= LARGEST)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Count, E> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a whole number between 0 and 2^53 is exact in both types"
        )]
        let whole = (value.fract() == 0.0 && (0.0..=LARGEST as f64).contains(&value))
            .then_some(value as u64);
        Ok(Count(whole))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count::default())
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count::default())
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DetailsVisitor)
    }
}

/// Takes the counts of an object; ignores anything else.
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
    use super::Counters;
    use ostia_core::{Usage, UsageSource};
    use serde_json::value::RawValue;

    /// The combined counters of several usage objects of one response.
    fn told(objects: &[&str]) -> Counters {
        let mut counters = Counters::default();
        for json in objects {
            counters.take(&RawValue::from_string((*json).to_owned()).unwrap());
        }
        counters
    }

    fn read(json: &str) -> Option<Usage> {
        told(&[json]).usage(Usage::default())
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
                r#"{"prompt_tokens":5,"completion_tokens":7,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":1}"#,
                usage(5, 7, 12, 4, 0),
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
            r#"{"prompt_tokens":-1}"#,
            "null",
            "[]",
            "[1,2,3]",
            "\"5\"",
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn a_bad_number_drops_only_itself() {
        for bad in [
            "-1",
            "9223372036854775808",
            "99999999999999999999999",
            "\"5\"",
            "[1]",
            "{\"a\":1}",
            "1.5",
        ] {
            let json = format!(r#"{{"prompt_tokens":{bad},"completion_tokens":7}}"#);
            assert_eq!(read(&json), usage(0, 7, 7, 0, 0), "{json}");
        }
        let whole = r#"{"prompt_tokens":11.0,"completion_tokens":7e0,"total_tokens":18}"#;
        assert_eq!(read(whole), usage(11, 7, 18, 0, 0));
    }

    #[test]
    fn what_is_not_told_is_the_total_s_rest_or_estimated() {
        let estimate = Usage {
            prompt_tokens: 30,
            completion_tokens: 40,
            total_tokens: 70,
            source: UsageSource::Estimated,
            ..Usage::default()
        };
        let estimated = |json| told(&[json]).usage(estimate).unwrap();
        let found = estimated(r#"{"prompt_tokens":-1,"completion_tokens":7}"#);
        assert_eq!((found.prompt_tokens, found.total_tokens), (30, 37));
        assert_eq!(found.source, UsageSource::Estimated);
        let found = estimated(r#"{"prompt_tokens":5}"#);
        assert_eq!((found.completion_tokens, found.total_tokens), (40, 45));
        assert_eq!(found.source, UsageSource::Estimated);
        let rest = estimated(r#"{"prompt_tokens":5,"total_tokens":12}"#);
        assert_eq!(Some(rest), usage(5, 7, 12, 0, 0));
        assert_eq!(told(&[]).usage(estimate), None);
    }

    #[test]
    fn counters_never_fall() {
        let counters = told(&[
            r#"{"input_tokens":25,"output_tokens":1}"#,
            r#"{"input_tokens":0,"output_tokens":9,"cache_read_input_tokens":100}"#,
            r#"{"output_tokens":0,"cache_creation_input_tokens":-4}"#,
        ]);
        assert_eq!(counters.usage(Usage::default()), usage(125, 9, 134, 100, 0));
        let zeros = told(&[
            r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}"#,
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
        ]);
        assert_eq!(zeros.usage(Usage::default()), usage(3, 4, 7, 0, 0));
    }
}
