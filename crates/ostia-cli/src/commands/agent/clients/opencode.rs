use serde_json::{Map, Value, json};

use super::super::files::{AgentFile, Home};
use super::super::site::{Model, Site};
use super::Configuration;
use super::json::{object, set, text};

/// OpenCode: `~/.config/opencode/opencode.json`.
pub(in super::super) struct Opencode;

impl Configuration for Opencode {
    fn name(&self) -> &'static str {
        "opencode"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile> {
        vec![AgentFile {
            path: home.config("opencode/opencode.json"),
            render,
        }]
    }

    fn hint(&self) -> &'static str {
        "Start `opencode` as usual."
    }
}

fn render(before: Option<&str>, site: &Site) -> Result<String, String> {
    let mut settings = object(before)?;
    let models: Map<String, Value> = site
        .models()
        .iter()
        .map(|model| (model.id.clone(), entry(model)))
        .collect();
    let provider = json!({
        "npm": "@ai-sdk/openai-compatible",
        "name": "Ostia",
        "options": {"baseURL": site.v1(), "apiKey": site.key(), "timeout": 1_200_000},
        "models": models,
    });
    let chosen = format!("ostia/{}", site.chosen().id);
    set(
        &mut settings,
        &["$schema"],
        "https://opencode.ai/config.json",
    );
    set(&mut settings, &["provider", "ostia"], provider);
    set(&mut settings, &["model"], chosen.as_str());
    set(&mut settings, &["small_model"], chosen.as_str());
    Ok(text(&settings))
}

fn entry(model: &Model) -> Value {
    let mut input = vec!["text"];
    if model.takes_images {
        input.push("image");
    }
    json!({
        "name": model.name,
        "limit": {"context": model.window(), "output": model.output()},
        "tool_call": model.calls_tools,
        "reasoning": model.reasons,
        "attachment": model.takes_images,
        "modalities": {"input": input, "output": ["text"]},
    })
}
