use serde_json::{Value, json};

use crate::Api;

/// Token counts as an answer reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    pub prompt: u64,
    pub completion: u64,
    pub cached: u64,
    pub reasoning: u64,
}

/// How answers report usage.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum UsageShape {
    /// As OpenAI's API does: a stream only if `stream_options.include_usage` asks for it.
    #[default]
    AsAsked,
    /// In a chunk of its own, whether or not it was asked for.
    Always,
    Absent,
    /// In two chunks, of which the second is true.
    Twice,
    /// In every chunk, with growing numbers.
    EveryChunk,
    /// In the chunk with `finish_reason`.
    WithFinish,
    /// After `[DONE]`.
    AfterDone,
    /// This value in place of the usage object: `null`, a text, negative counts, ...
    Odd(Value),
}

impl Tokens {
    pub const fn new(prompt: u64, completion: u64) -> Self {
        Self {
            prompt,
            completion,
            cached: 0,
            reasoning: 0,
        }
    }

    pub const fn total(&self) -> u64 {
        self.prompt + self.completion
    }

    /// The usage object of an API.
    pub(crate) fn json(self, api: Api) -> Value {
        let (prompt, completion, total) = (self.prompt, self.completion, self.total());
        let (cached, reasoning) = (self.cached, self.reasoning);
        match api {
            // Anthropic counts cached tokens separately.
            Api::Messages | Api::CountTokens => json!({
                "input_tokens": prompt - cached, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": cached, "output_tokens": completion,
            }),
            Api::Responses => json!({
                "input_tokens": prompt, "input_tokens_details": {"cached_tokens": cached},
                "output_tokens": completion, "output_tokens_details": {"reasoning_tokens": reasoning},
                "total_tokens": total,
            }),
            Api::Embeddings => json!({"prompt_tokens": prompt, "total_tokens": total}),
            Api::Chat | Api::Completions => json!({
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
                "prompt_tokens_details": {"cached_tokens": cached},
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            }),
        }
    }
}
