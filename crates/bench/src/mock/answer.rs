//! What the mock says, and what it looks for in a request.

use bytes::Bytes;
use memchr::memmem;

pub const PROMPT_TOKENS: u64 = 64;
pub const COMPLETION_TOKENS: u64 = 64;
/// The plain answer is this long, to the byte.
pub const PLAIN_BYTES: usize = 512;
pub const MODELS: &[u8] =
    br#"{"object":"list","data":[{"id":"bench-model","object":"model","owned_by":"bench"}]}"#;

/// What a request wants, found without parsing its body: a parser would make the mock the dearer half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    pub stream: bool,
    pub usage: bool,
}

impl Asked {
    /// Quotes inside a prompt are escaped, so a key with plain quotes is a real key.
    pub fn find(body: &[u8]) -> Self {
        Self {
            stream: is_true(body, br#""stream""#),
            usage: is_true(body, br#""include_usage""#),
        }
    }

    pub fn or(self, other: Self) -> Self {
        Self {
            stream: self.stream || other.stream,
            usage: self.usage || other.usage,
        }
    }
}

fn is_true(body: &[u8], key: &[u8]) -> bool {
    let Some(at) = memmem::find(body, key) else {
        return false;
    };
    let Some(value) = body[at + key.len()..].trim_ascii_start().strip_prefix(b":") else {
        return false;
    };
    value.trim_ascii_start().starts_with(b"true")
}

pub fn plain() -> Bytes {
    let answer = |text: &str| {
        format!(
            r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench-model","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{COMPLETION_TOKENS},"total_tokens":{}}}}}"#,
            PROMPT_TOKENS + COMPLETION_TOKENS
        )
    };
    let room = PLAIN_BYTES.saturating_sub(answer("").len());
    Bytes::from(answer(&"word ".repeat(room / 5 + 1)[..room]))
}

pub fn embedding() -> Bytes {
    let values = vec!["0.0123"; 64].join(",");
    Bytes::from(format!(
        r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding":[{values}]}}],"model":"bench-model","usage":{{"prompt_tokens":{PROMPT_TOKENS},"total_tokens":{PROMPT_TOKENS}}}}}"#
    ))
}

/// One numbered chunk; the load generator checks the numbers.
pub fn chunk(number: u64, last: bool) -> Bytes {
    let reason = if last { r#""stop""# } else { "null" };
    Bytes::from(format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench-model\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"t{number} \"}},\"finish_reason\":{reason}}}]}}\n\n"
    ))
}

pub fn usage(chunks: u64) -> Bytes {
    Bytes::from(format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench-model\",\"choices\":[],\"usage\":{{\"prompt_tokens\":{PROMPT_TOKENS},\"completion_tokens\":{chunks},\"total_tokens\":{}}}}}\n\n",
        PROMPT_TOKENS + chunks
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_answer_is_json_of_the_promised_length() {
        assert_eq!(plain().len(), PLAIN_BYTES);
        let value: serde_json::Value = serde_json::from_slice(&plain()).unwrap();
        assert_eq!(
            value["usage"]["total_tokens"],
            PROMPT_TOKENS + COMPLETION_TOKENS
        );
    }

    #[test]
    fn every_event_is_json() {
        for event in [chunk(0, false), chunk(63, true), usage(64)] {
            let json = event.strip_prefix(b"data: ").unwrap();
            assert!(json.ends_with(b"\n\n"));
            serde_json::from_slice::<serde_json::Value>(json).unwrap();
        }
        serde_json::from_slice::<serde_json::Value>(&embedding()).unwrap();
        serde_json::from_slice::<serde_json::Value>(MODELS).unwrap();
    }

    #[test]
    fn flags_are_found_with_any_spacing_and_not_inside_a_prompt() {
        let asked = |body: &str| Asked::find(body.as_bytes());
        assert_eq!(
            asked(r#"{"stream":true}"#),
            Asked {
                stream: true,
                usage: false
            }
        );
        assert!(asked(r#"{"stream" : true,"stream_options":{"include_usage": true}}"#).usage);
        assert!(!asked(r#"{"stream":false,"stream_options":{}}"#).stream);
        assert!(!asked(r#"{"content":"say \"stream\":true"}"#).stream);
    }
}
