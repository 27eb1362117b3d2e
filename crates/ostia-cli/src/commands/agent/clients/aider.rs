use serde_json::{Value, json};

use super::super::block::{block, joined, turned_off, without};
use super::super::files::{AgentFile, Home};
use super::super::site::Site;
use super::Configuration;
use super::json::{object, set, text};

/// aider: `~/.aider.conf.yml`, and the sizes of models in `~/.aider.model.metadata.json`.
pub(in super::super) struct Aider;

impl Configuration for Aider {
    fn name(&self) -> &'static str {
        "aider"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile> {
        vec![
            AgentFile {
                path: home.file(".aider.conf.yml"),
                render: render_settings,
            },
            AgentFile {
                path: home.file(".aider.model.metadata.json"),
                render: render_sizes,
            },
        ]
    }

    fn hint(&self) -> &'static str {
        "Start `aider` as usual."
    }
}

fn render_settings(before: Option<&str>, site: &Site) -> Result<String, String> {
    const KEYS: [&str; 5] = [
        "model",
        "weak-model",
        "editor-model",
        "openai-api-base",
        "openai-api-key",
    ];
    let theirs = turned_off(&without(before.unwrap_or_default()), &KEYS, ':');
    let model = Value::from(name(&site.chosen().id));
    let (base, key) = (Value::from(site.v1()), Value::from(site.key()));
    let ours = format!(
        "model: {model}\nweak-model: {model}\neditor-model: {model}\nopenai-api-base: {base}\nopenai-api-key: {key}\n"
    );
    Ok(joined(&theirs, &block(&ours)))
}

fn render_sizes(before: Option<&str>, site: &Site) -> Result<String, String> {
    let mut all = object(before)?;
    for model in site.models() {
        let sizes = json!({
            "max_input_tokens": model.window(), "max_output_tokens": model.output(),
            "input_cost_per_token": 0, "output_cost_per_token": 0,
            "litellm_provider": "openai", "mode": "chat",
        });
        set(&mut all, &[&name(&model.id)], sizes);
    }
    Ok(text(&all))
}

/// The first part of the name tells aider how to call the model.
fn name(model: &str) -> String {
    format!("openai/{model}")
}
