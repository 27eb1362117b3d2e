use serde_json::Value;

use super::super::block::{block, joined, without};
use super::super::files::{AgentFile, Home};
use super::super::site::{Model, Site};
use super::Configuration;

/// Continue and its `cn`: `~/.continue/config.yaml`.
pub(in super::super) struct Continue;

impl Configuration for Continue {
    fn name(&self) -> &'static str {
        "continue"
    }

    fn files(&self, home: &Home) -> Vec<AgentFile> {
        vec![AgentFile {
            path: home.of_agent("CONTINUE_GLOBAL_DIR", ".continue", "config.yaml"),
            render,
        }]
    }

    fn hint(&self) -> &'static str {
        "Start `cn`, or choose the model in the editor."
    }
}

/// Continue starts with the first model, so ours are put at the head of the list.
fn render(before: Option<&str>, site: &Site) -> Result<String, String> {
    let theirs = without(before.unwrap_or_default());
    let models: String = site
        .models()
        .iter()
        .map(|model| entry(model, site))
        .collect();
    let ours = block(&models);
    let list = theirs.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, *at, line))
    });
    let mut lists = list.filter(|(_, _, line)| line.starts_with("models:"));
    match lists.next() {
        Some((_, behind, "models:\n")) => {
            let (head, rest) = theirs.split_at(behind);
            Ok(format!("{head}{ours}{rest}"))
        }
        Some(_) => Err("has a list of models on one line, so it is left alone".to_owned()),
        None if theirs.trim().is_empty() => Ok(format!(
            "name: Ostia\nversion: 1.0.0\nschema: v1\nmodels:\n{ours}"
        )),
        None => Ok(joined(&theirs, &format!("models:\n{ours}"))),
    }
}

fn entry(model: &Model, site: &Site) -> String {
    let text = |text: &str| Value::from(text).to_string();
    let mut capabilities = vec!["tool_use"];
    if model.takes_images {
        capabilities.push("image_input");
    }
    let (window, output) = (model.window(), model.output());
    format!(
        "  - name: {}\n    provider: openai\n    model: {}\n    apiBase: {}\n    apiKey: {}\n    roles: [chat, edit, apply]\n    \
         capabilities: [{}]\n    defaultCompletionOptions:\n      contextLength: {window}\n      maxTokens: {output}\n",
        text(&model.name),
        text(&model.id),
        text(&site.v1()),
        text(site.key()),
        capabilities.join(", "),
    )
}
