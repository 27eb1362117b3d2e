use super::super::block::{block, joined, turned_off, without};
use super::super::files::{AgentFile, Home};
use super::super::site::Site;
use super::Configuration;

/// Codex: `~/.codex/config.toml`.
pub(in super::super) struct Codex;

impl Configuration for Codex {
    fn name(&self) -> &'static str {
        "codex"
    }

    fn api(&self) -> &'static str {
        "responses"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile> {
        vec![AgentFile {
            path: home.of_agent("CODEX_HOME", ".codex", "config.toml"),
            render,
        }]
    }

    fn hint(&self) -> &'static str {
        "Start `codex` as usual."
    }
}

const KEYS: [&str; 4] = [
    "model",
    "model_provider",
    "model_context_window",
    "model_max_output_tokens",
];

/// Top-level keys must come before all tables; the provider's table may be anywhere.
fn render(before: Option<&str>, site: &Site) -> Result<String, String> {
    let theirs = without(before.unwrap_or_default());
    if theirs
        .lines()
        .any(|line| line.trim() == "[model_providers.ostia]")
    {
        return Err("has a provider `ostia` of its own, so it is left alone".to_owned());
    }
    let model = site.chosen();
    let mut top = format!(
        "model = {}\nmodel_provider = \"ostia\"\n",
        quoted(&model.id)
    );
    if let Some(window) = model.context_window {
        top.push_str(&format!("model_context_window = {window}\n"));
    }
    if let Some(output) = model.max_output_tokens {
        top.push_str(&format!("model_max_output_tokens = {output}\n"));
    }
    let provider = format!(
        "[model_providers.ostia]\nname = \"Ostia\"\nbase_url = {}\nwire_api = \"responses\"\nexperimental_bearer_token = {}\n\
         stream_idle_timeout_ms = 1200000\n",
        quoted(&site.v1()),
        quoted(site.key()),
    );
    let theirs = turned_off(&theirs, &KEYS, '=');
    let all = joined(&block(&top), &theirs);
    Ok(joined(&all, &block(&provider)))
}

/// A basic string: TOML has JSON's escapes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
