/// The error and usage shapes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `chat/completions` and everything that has no shape of its own.
    OpenAi,
    /// `responses`
    Responses,
    /// `messages`
    Anthropic,
}

/// What is asked of a model: the path behind `/v1/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Api {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    Messages,
    MessagesCountTokens,
    Rerank,
    Score,
    Tokenize,
    Detokenize,
    AudioSpeech,
    AudioTranscriptions,
    AudioTranslations,
    ImagesGenerations,
    ImagesEdits,
    ImagesVariations,
    /// Anything else that a cluster lists: a JSON body with a `model`, passed on as it is.
    Other(Box<str>),
}

impl Api {
    /// Those that have a name of their own.
    pub const KNOWN: [Self; 16] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Messages,
        Self::MessagesCountTokens,
        Self::Rerank,
        Self::Score,
        Self::Tokenize,
        Self::Detokenize,
        Self::AudioSpeech,
        Self::AudioTranscriptions,
        Self::AudioTranslations,
        Self::ImagesGenerations,
        Self::ImagesEdits,
        Self::ImagesVariations,
    ];

    /// The api that a path behind `/v1/` names.
    pub fn parse(path: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|api| api.as_str() == path)
            .unwrap_or_else(|| Self::Other(path.into()))
    }

    /// The name in paths, in `openai_endpoints` and in the ledger.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            Self::ChatCompletions => "chat/completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::MessagesCountTokens => "messages/count_tokens",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
            Self::AudioSpeech => "audio/speech",
            Self::AudioTranscriptions => "audio/transcriptions",
            Self::AudioTranslations => "audio/translations",
            Self::ImagesGenerations => "images/generations",
            Self::ImagesEdits => "images/edits",
            Self::ImagesVariations => "images/variations",
        }
    }

    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Responses => Dialect::Responses,
            Self::Messages | Self::MessagesCountTokens => Dialect::Anthropic,
            _ => Dialect::OpenAi,
        }
    }

    /// Whether a model runs for it. Counting or splitting a text uses no tokens.
    pub const fn runs_a_model(&self) -> bool {
        !matches!(
            self,
            Self::MessagesCountTokens | Self::Tokenize | Self::Detokenize
        )
    }

    /// Its answer is text that the model makes, so output tokens can be estimated from what came.
    pub const fn generates_text(&self) -> bool {
        matches!(
            self,
            Self::ChatCompletions | Self::Completions | Self::Responses | Self::Messages
        )
    }

    /// Sounds and pictures go out as whatever they are, and their bytes say nothing of tokens.
    pub fn answers_with_media(&self) -> bool {
        self.takes_forms()
    }

    /// `multipart/form-data` is read on these only.
    pub fn takes_forms(&self) -> bool {
        let name = self.as_str();
        name.starts_with("audio/") || name.starts_with("images/")
    }
}
