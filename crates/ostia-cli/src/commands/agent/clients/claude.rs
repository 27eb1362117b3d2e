use super::super::files::{AgentFile, Home};
use super::super::site::Site;
use super::Configuration;
use super::json::{object, set, text};

/// Claude Code: `~/.claude/settings.json`.
pub(in super::super) struct Claude;

impl Configuration for Claude {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn api(&self) -> &'static str {
        "messages"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile> {
        vec![AgentFile {
            path: home.of_agent("CLAUDE_CONFIG_DIR", ".claude", "settings.json"),
            render,
        }]
    }

    fn hint(&self) -> &'static str {
        "Start `claude` as usual. An ANTHROPIC_API_KEY in the environment would win over this."
    }
}

fn render(before: Option<&str>, site: &Site) -> Result<String, String> {
    let mut settings = object(before)?;
    let model = site.chosen();
    let window = model.window().to_string();
    let output = model.output().min(32_000).to_string();
    for (name, value) in [
        ("ANTHROPIC_BASE_URL", site.base.as_str()),
        ("ANTHROPIC_AUTH_TOKEN", site.key()),
        ("ANTHROPIC_MODEL", &model.id),
        // Used for titles, summaries and sub-agents.
        ("ANTHROPIC_DEFAULT_HAIKU_MODEL", &model.id),
        ("ANTHROPIC_DEFAULT_SONNET_MODEL", &model.id),
        ("ANTHROPIC_DEFAULT_OPUS_MODEL", &model.id),
        ("ANTHROPIC_SMALL_FAST_MODEL", &model.id),
        ("CLAUDE_CODE_SUBAGENT_MODEL", &model.id),
        ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", &output),
        ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", &window),
        // Engines need more time for long prompts than the default allows.
        ("API_TIMEOUT_MS", "1200000"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ] {
        set(&mut settings, &["env", name], value);
    }
    Ok(text(&settings))
}
