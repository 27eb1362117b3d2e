/// What the GenAI conventions call an API's operation. Those that they do not know keep their own names.
pub(super) fn operation(api: &str) -> &str {
    match api {
        "chat/completions" | "messages" | "responses" => "chat",
        "completions" => "text_completion",
        other => other,
    }
}

/// Whose form of API it is, which is all that the gateway knows of a provider.
pub(super) fn provider(api: &str) -> &'static str {
    if api.starts_with("messages") {
        "anthropic"
    } else {
        "openai"
    }
}

/// What conventions tell apart: each kind has metrics of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inference,
    Embeddings,
    Other,
}

impl Kind {
    pub(super) fn of(api: &str) -> Self {
        match operation(api) {
            "chat" | "text_completion" => Self::Inference,
            "embeddings" => Self::Embeddings,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_have_the_conventions_names() {
        for (api, name, whose, kind) in [
            ("chat/completions", "chat", "openai", Kind::Inference),
            ("responses", "chat", "openai", Kind::Inference),
            ("messages", "chat", "anthropic", Kind::Inference),
            (
                "messages/count_tokens",
                "messages/count_tokens",
                "anthropic",
                Kind::Other,
            ),
            ("completions", "text_completion", "openai", Kind::Inference),
            ("embeddings", "embeddings", "openai", Kind::Embeddings),
            ("rerank", "rerank", "openai", Kind::Other),
        ] {
            assert_eq!(
                (operation(api), provider(api), Kind::of(api)),
                (name, whose, kind),
                "{api}"
            );
        }
    }
}
