use serde_json::{Value, json};

use super::super::files::{AgentFile, Home};
use super::super::site::{Model, Site};
use super::Configuration;
use super::json::{object, set, text};

/// pi: `~/.pi/agent/models.json` and `settings.json`.
pub(in super::super) struct Pi;

const VARIABLE: &str = "PI_CODING_AGENT_DIR";
const FOLDER: &str = ".pi/agent";

impl Configuration for Pi {
    fn name(&self) -> &'static str {
        "pi"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile> {
        vec![
            AgentFile {
                path: home.of_agent(VARIABLE, FOLDER, "models.json"),
                render: render_models,
            },
            AgentFile {
                path: home.of_agent(VARIABLE, FOLDER, "settings.json"),
                render: render_settings,
            },
        ]
    }

    fn hint(&self) -> &'static str {
        "Start `pi` as usual."
    }
}

fn render_models(before: Option<&str>, site: &Site) -> Result<String, String> {
    let mut all = object(before)?;
    let models: Vec<Value> = site.models().iter().map(entry).collect();
    let provider = json!({
        "baseUrl": site.v1(), "api": "openai-completions", "apiKey": site.key(), "models": models,
    });
    set(&mut all, &["providers", "ostia"], provider);
    Ok(text(&all))
}

fn render_settings(before: Option<&str>, site: &Site) -> Result<String, String> {
    let mut settings = object(before)?;
    set(&mut settings, &["defaultProvider"], "ostia");
    set(&mut settings, &["defaultModel"], site.chosen().id.as_str());
    Ok(text(&settings))
}

fn entry(model: &Model) -> Value {
    let mut input = vec!["text"];
    if model.takes_images {
        input.push("image");
    }
    json!({
        "id": model.id, "name": model.name, "reasoning": model.reasons, "input": input,
        "contextWindow": model.window(), "maxTokens": model.output(),
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
    })
}
