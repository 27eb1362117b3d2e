use serde_json::{Value, json};

use super::described::Described;

/// What Codex tells a model that brings no instructions of its own.
const INSTRUCTIONS: &str = "You are a coding agent in a terminal. Work on the user's task with the tools that you are given \
    until it is done: read before you change, make the smallest change that does what was asked, and check it by running \
    it. Do not invent files, commands or results. Ask before you do anything that cannot be undone. At the end, say in a \
    few sentences what you did and what is left.";

/// An entry of the list `models`, with every member that Codex demands: it drops the whole list if one is missing. The
/// first in the list is its default.
pub(super) fn entry(model: &Described, place: usize) -> Value {
    // Codex knows no other kinds of input.
    let modalities: Vec<&str> = model
        .input_modalities
        .iter()
        .map(|kind| &**kind)
        .filter(|kind| matches!(*kind, "text" | "image"))
        .collect();
    let efforts: Vec<Value> = match model.reasoning {
        Some(true) => ["low", "medium", "high"]
            .map(|effort| json!({"effort": effort, "description": format!("{effort} effort")}))
            .into(),
        _ => Vec::new(),
    };
    let mut entry = json!({
        "slug": model.name,
        "display_name": model.display_name,
        "description": format!("Served by {}", model.owner),
        "supported_reasoning_levels": efforts,
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": true,
        "priority": place,
        "upgrade": null,
        "base_instructions": INSTRUCTIONS,
        "supports_reasoning_summaries": false,
        "support_verbosity": false,
        "default_verbosity": null,
        "apply_patch_tool_type": null,
        "truncation_policy": {"mode": "bytes", "limit": 10_000},
        "supports_parallel_tool_calls": false,
        "experimental_supported_tools": [],
        "input_modalities": if modalities.is_empty() { vec!["text"] } else { modalities },
    });
    if let Some(window) = model.context_window {
        entry["context_window"] = window.into();
    }
    entry
}
