use serde_json::{Value, json};

use super::super::block::{block, joined, turned_off, without};
use super::super::files::{AgentFile, Home};
use super::super::site::Site;
use super::Configuration;
use super::json::{object, set, text};

/// goose: a provider in `~/.config/goose/custom_providers/ostia.json`, chosen in `config.yaml`, its key in `secrets.yaml`.
pub(in super::super) struct Goose;

impl Configuration for Goose {
    fn name(&self) -> &'static str {
        "goose"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile> {
        vec![
            AgentFile {
                path: home.config("goose/custom_providers/ostia.json"),
                render: render_provider,
            },
            AgentFile {
                path: home.config("goose/config.yaml"),
                render: render_settings,
            },
            AgentFile {
                path: home.config("goose/secrets.yaml"),
                render: render_key,
            },
        ]
    }

    fn hint(&self) -> &'static str {
        "Start `goose` with GOOSE_DISABLE_KEYRING=1, so that it reads the key from its file, or with OSTIA_API_KEY set."
    }
}

fn render_provider(before: Option<&str>, site: &Site) -> Result<String, String> {
    let mut provider = object(before)?;
    let models: Vec<Value> = site
        .models()
        .iter()
        .map(|model| json!({"name": model.id, "context_limit": model.window()}))
        .collect();
    for (key, value) in [
        ("name", json!("ostia")),
        ("engine", json!("openai")),
        ("display_name", json!("Ostia")),
        ("description", json!("An inference gateway")),
        ("api_key_env", json!("OSTIA_API_KEY")),
        ("base_url", json!(format!("{}/chat/completions", site.v1()))),
        ("models", json!(models)),
        ("timeout_seconds", json!(1200)),
        ("supports_streaming", json!(true)),
    ] {
        set(&mut provider, &[key], value);
    }
    Ok(text(&provider))
}

fn render_settings(before: Option<&str>, site: &Site) -> Result<String, String> {
    const KEYS: [&str; 2] = ["GOOSE_PROVIDER", "GOOSE_MODEL"];
    let theirs = turned_off(&without(before.unwrap_or_default()), &KEYS, ':');
    let model = Value::from(&*site.chosen().id);
    let ours = format!("GOOSE_PROVIDER: \"ostia\"\nGOOSE_MODEL: {model}\n");
    Ok(joined(&theirs, &block(&ours)))
}

fn render_key(before: Option<&str>, site: &Site) -> Result<String, String> {
    let theirs = without(before.unwrap_or_default());
    let theirs = turned_off(&theirs, &["OSTIA_API_KEY"], ':');
    let key = Value::from(site.key());
    Ok(joined(&theirs, &block(&format!("OSTIA_API_KEY: {key}"))))
}
