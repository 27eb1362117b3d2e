/// An endpoint entry's description of its model, for people and programs that choose one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    pub display_name: Option<Box<str>>,
    /// Tokens of prompt and answer together.
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// `text`, `image`, ...; empty: not known.
    pub input_modalities: Vec<Box<str>>,
    pub tool_calling: Option<bool>,
    pub reasoning: Option<bool>,
}

/// An endpoint's adjustments for coding agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentOptions {
    /// Leave out the block of `system` in which Claude Code counts its requests: it differs each time, so that no
    /// engine could reuse its cache of the rest.
    pub strip_billing_header: bool,
    /// Say "the prompt is too long" as Anthropic does, which makes Claude Code compact the conversation.
    pub rewrite_context_error: bool,
}
