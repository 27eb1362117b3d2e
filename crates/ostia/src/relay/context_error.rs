use serde_json::Value;

use super::{RefusalText, Told};

/// A backend's refusal of a prompt that is too long, in Anthropic's wording, which tells Claude Code to compact the
/// conversation or to ask for fewer tokens. Other refusals stay as they are.
pub(super) fn in_anthropics_words(text: RefusalText) -> RefusalText {
    let said = match &text {
        RefusalText::Whole(body) => {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            body["error"]["message"].as_str().and_then(rewritten)
        }
        RefusalText::Told(told) => rewritten(&told.message),
        RefusalText::Withheld => None,
    };
    let told = said.map(|message| Told {
        message,
        code: None,
        param: None,
    });
    told.map_or(text, RefusalText::Told)
}

/// In front of a number of tokens, in the words of vLLM, SGLang, llama.cpp and TGI over the years.
const MAXIMUM: [&str; 10] = [
    "maximum context length is",
    "maximum context length of",
    "maximum model length of",
    "context length is only",
    "context length (",
    "context size (",
    "context window of",
    "maximum allowed length (",
    "`max_new_tokens` must be <=",
    "`inputs` must have less than",
];
const PROMPT_BEHIND: [&str; 4] = ["(length", "your request has", "you passed", "given:"];
const OUTPUT_BEHIND: [&str; 2] = ["is too large:", "`inputs` tokens and"];
const TOTAL_BEHIND: [&str; 2] = ["you requested a total of", "you requested"];
/// Behind one.
const PROMPT_BEFORE: [&str; 7] = [
    " in the messages",
    " in the prompt",
    " input tokens",
    " tokens from the input",
    " prompt tokens",
    " tokens) is longer",
    " tokens) exceeds",
];
const OUTPUT_BEFORE: [&str; 3] = [
    " in the completion",
    " output tokens",
    " tokens for the completion",
];

fn rewritten(message: &str) -> Option<String> {
    let text = message.to_ascii_lowercase();
    let behind = |phrases: &[&str]| {
        phrases
            .iter()
            .find_map(|phrase| number_behind(&text, phrase))
    };
    let before = |phrases: &[&str]| {
        phrases
            .iter()
            .find_map(|phrase| number_before(&text, phrase))
    };
    let maximum = behind(&MAXIMUM)?;
    let prompt = before(&PROMPT_BEFORE).or_else(|| behind(&PROMPT_BEHIND));
    let output = before(&OUTPUT_BEFORE).or_else(|| behind(&OUTPUT_BEHIND));
    match (prompt.or_else(|| behind(&TOTAL_BEHIND))?, output) {
        (prompt, _) if prompt > maximum => Some(format!(
            "prompt is too long: {prompt} tokens > {maximum} maximum"
        )),
        (prompt, Some(output)) if prompt.saturating_add(output) > maximum => Some(format!(
            "input length and `max_tokens` exceed context limit: {prompt} + {output} > {maximum}, decrease input length \
             or `max_tokens` and try again"
        )),
        _ => None,
    }
}

fn number_behind(text: &str, phrase: &str) -> Option<u64> {
    let rest = text[text.find(phrase)? + phrase.len()..].trim_start();
    let end = rest
        .find(|at: char| !at.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn number_before(text: &str, phrase: &str) -> Option<u64> {
    let before = &text[..text.find(phrase)?];
    let digits = before.trim_end_matches(|at: char| at.is_ascii_digit());
    before[digits.len()..].parse().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_engine_s_sentence_becomes_anthropic_s() {
        const LONG: &str = "prompt is too long: 9000 tokens > 8192 maximum";
        const BOTH: &str = "input length and `max_tokens` exceed context limit: 8000 + 1000 > 8192, decrease input \
                            length or `max_tokens` and try again";
        for (text, told) in [
            (
                "This model's maximum context length is 8192 tokens. However, you requested 10000 tokens (9000 in the messages, 1000 in the completion). Please reduce the length of the messages or completion.",
                LONG,
            ),
            (
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, 1000 in the completion).",
                BOTH,
            ),
            (
                "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens. Please reduce the length of the input messages.",
                LONG,
            ),
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 1000. This model's maximum context length is 8192 tokens and your request has 8000 input tokens (1000 > 8192 - 8000).",
                BOTH,
            ),
            (
                "You passed 8000 input tokens and requested 1000 output tokens. However, the model's context length is only 8192 tokens, resulting in a maximum input length of 7192 tokens.",
                BOTH,
            ),
            (
                "The decoder prompt (length 9000) is longer than the maximum model length of 8192. Make sure that `max_model_len` is no smaller.",
                LONG,
            ),
            (
                "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
                LONG,
            ),
            (
                "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of 9000 tokens: 8000 tokens from the input messages and 1000 tokens for the completion.",
                BOTH,
            ),
            (
                "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
                LONG,
            ),
            (
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
                LONG,
            ),
            (
                "Input length (9000 tokens) exceeds the maximum allowed length (8192 tokens). Use a shorter input or enable --allow-auto-truncate.",
                LONG,
            ),
            (
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 8000 `inputs` tokens and 1000 `max_new_tokens`",
                BOTH,
            ),
            (
                "Input validation error: `inputs` must have less than 8192 tokens. Given: 9000",
                LONG,
            ),
        ] {
            assert_eq!(rewritten(text).as_deref(), Some(told), "{text}");
        }
    }

    #[test]
    fn other_refusals_stay_as_they_are() {
        for text in [
            "",
            "max_tokens must be at least 1, got 0.",
            "This model's maximum context length is 8192 tokens.",
            "maximum context length is 99999999999999999999 and you passed 5 input tokens",
            "The maximum context length is 8192, your request has 12 input tokens",
        ] {
            assert_eq!(rewritten(text), None, "{text}");
        }
        let body = Bytes::from_static(br#"{"error":{"message":"no"}}"#);
        let whole = RefusalText::Whole(body);
        assert_eq!(in_anthropics_words(whole.clone()), whole);
    }
}
