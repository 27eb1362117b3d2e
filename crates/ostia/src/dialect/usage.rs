use std::borrow::Cow;
use std::fmt;

use ostia_core::{Usage, UsageSource};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Larger values are ignored: no model has seen so many tokens, and counts must fit a database integer.
const LARGEST: u64 = 1 << 53;

/// The usage counters of all dialects: OpenAI's chat and completions (`prompt_tokens`), Responses and Anthropic's
/// Messages (`input_tokens`), DeepSeek's cache.
///
/// Several usage objects in one stream add up to one. Counters are running totals, so they never fall. A value that is
/// not a count is ignored, whatever it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    prompt_tokens: Count,
    completion_tokens: Count,
    total_tokens: Count,
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    prompt_cache_hit_tokens: Count,
    /// As some servers have them, outside of any details.
    beside: Details,
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

/// A count that may never have been told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count(Option<u64>);

impl Counters {
    /// Takes a usage object; anything else is ignored.
    pub(super) fn take(&mut self, usage: &RawValue) {
        each_member(usage, |name, value| {
            let count = match name {
                "prompt_tokens" => &mut self.prompt_tokens,
                "completion_tokens" => &mut self.completion_tokens,
                "total_tokens" => &mut self.total_tokens,
                "input_tokens" => &mut self.input_tokens,
                "output_tokens" => &mut self.output_tokens,
                "cache_read_input_tokens" => &mut self.cache_read_input_tokens,
                "cache_creation_input_tokens" => &mut self.cache_creation_input_tokens,
                "prompt_cache_hit_tokens" => &mut self.prompt_cache_hit_tokens,
                "cached_tokens" => &mut self.beside.cached_tokens,
                "reasoning_tokens" => &mut self.beside.reasoning_tokens,
                // Cohere's: what was counted, beside what is billed.
                "tokens" => return self.take(value),
                "prompt_tokens_details" => return self.prompt_tokens_details.take(value),
                "completion_tokens_details" => return self.completion_tokens_details.take(value),
                "input_tokens_details" => return self.input_tokens_details.take(value),
                "output_tokens_details" => return self.output_tokens_details.take(value),
                _ => return,
            };
            count.take(value);
        });
    }

    /// The usage as reported, completed by the estimate if the prompt or the output is missing. `None` if nothing was
    /// reported; zeros alone report nothing, because every prompt has tokens.
    pub fn usage(&self, estimate: Usage) -> Option<Usage> {
        let (prompt, completion) = self.told();
        if prompt.unwrap_or(0) == 0 && completion.unwrap_or(0) == 0 {
            return None;
        }
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
        let (prompt, completion) = self.told();
        completion.is_some_and(|completion| completion > 0 || prompt.unwrap_or(0) > 0)
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
            .or(self.beside.cached_tokens.0)
    }

    fn reasoning(&self) -> Option<u64> {
        let details = self.completion_tokens_details.reasoning_tokens.0;
        details
            .or(self.output_tokens_details.reasoning_tokens.0)
            .or(self.beside.reasoning_tokens.0)
    }
}

impl Details {
    fn take(&mut self, details: &RawValue) {
        each_member(details, |name, value| match name {
            "cached_tokens" => self.cached_tokens.take(value),
            "reasoning_tokens" => self.reasoning_tokens.take(value),
            _ => {}
        });
    }
}

impl Count {
    fn take(&mut self, value: &RawValue) {
        self.0 = self.0.max(count_of(value.get()));
    }
}

/// A whole number, also as `11.0` or, as some gateways write it, in quotes.
fn count_of(json: &str) -> Option<u64> {
    let inside = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'));
    let json = inside.unwrap_or(json);
    if let Ok(count) = json.parse::<u64>() {
        return (count <= LARGEST).then_some(count);
    }
    // `true`, `null` and the rest are not numbers.
    let number = json.parse::<f64>().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a whole number between 0 and 2^53 is exact in both types"
    )]
    (number.fract() == 0.0 && (0.0..=LARGEST as f64).contains(&number)).then_some(number as u64)
}

/// Reads the members of an object up to the first mistake. Each value is read by itself, so that one that is out of
/// range spoils no other.
fn each_member(object: &RawValue, take: impl FnMut(&str, &RawValue)) {
    let mut json = serde_json::Deserializer::from_str(object.get());
    // Anything but an object has no members.
    let _ = json.deserialize_map(Members(take));
}

struct Members<F>(F);

impl<'de, F: FnMut(&str, &RawValue)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            (self.0)(&name, map.next_value()?);
        }
        Ok(())
    }
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
                r#"{"prompt_tokens":5,"completion_tokens":7,"cached_tokens":4,"reasoning_tokens":3}"#,
                usage(5, 7, 12, 4, 3),
            ),
            (
                r#"{"billed_units":{"input_tokens":4,"output_tokens":6},"tokens":{"input_tokens":5,"output_tokens":7}}"#,
                usage(5, 7, 12, 0, 0),
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
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
            r#"{"input_tokens":0,"output_tokens":0,"cache_read_input_tokens":0}"#,
            r#"{"cached_tokens":4}"#,
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
            "\"five\"",
            "\"\"",
            "\"inf\"",
            "[1]",
            "{\"a\":1}",
            "1.5",
            "1e999",
            "null",
            "true",
        ] {
            let json = format!(r#"{{"prompt_tokens":{bad},"completion_tokens":7}}"#);
            assert_eq!(read(&json), usage(0, 7, 7, 0, 0), "{json}");
        }
        for whole in [
            r#"{"prompt_tokens":11.0,"completion_tokens":7e0,"total_tokens":18}"#,
            r#"{"prompt_tokens":"11","completion_tokens":"7.0"}"#,
        ] {
            assert_eq!(read(whole), usage(11, 7, 18, 0, 0), "{whole}");
        }
    }

    #[test]
    fn bad_details_and_repeated_members_spoil_nothing() {
        let details = r#"{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4,"audio":1e999}}"#;
        assert_eq!(read(details), usage(5, 7, 12, 4, 0));
        let repeated = r#"{"prompt_tokens":5,"prompt_tokens":6,"completion_tokens":7}"#;
        assert_eq!(read(repeated), usage(6, 7, 13, 0, 0));
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
