use serde_json::{Value, json};

use super::super::files::{AgentFile, Home};
use super::super::site::Site;
use super::Configuration;
use super::json::{object, set, text};

/// Qwen Code: `~/.qwen/settings.json`.
pub(in super::super) struct Qwen;

impl Configuration for Qwen {
    fn name(&self) -> &'static str {
        "qwen"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile> {
        vec![AgentFile {
            path: home.file(".qwen/settings.json"),
            render,
        }]
    }

    fn hint(&self) -> &'static str {
        "Start `qwen` as usual. An OPENAI_BASE_URL in the environment would win over this."
    }
}

fn render(before: Option<&str>, site: &Site) -> Result<String, String> {
    const VARIABLE: &str = "OSTIA_API_KEY";
    let mut settings = object(before)?;
    let models: Vec<Value> = site
        .models()
        .iter()
        .map(|model| {
            json!({
                "id": model.id, "name": model.name, "baseUrl": site.v1(), "envKey": VARIABLE,
                "generationConfig": {"contextWindowSize": model.window(), "timeout": 1_200_000},
            })
        })
        .collect();
    set(&mut settings, &["env", VARIABLE], site.key());
    set(&mut settings, &["modelProviders", "openai"], models);
    set(
        &mut settings,
        &["security", "auth", "selectedType"],
        "openai",
    );
    set(&mut settings, &["security", "auth", "baseUrl"], site.v1());
    set(&mut settings, &["security", "auth", "apiKey"], site.key());
    set(&mut settings, &["model", "name"], site.chosen().id.as_str());
    Ok(text(&settings))
}
