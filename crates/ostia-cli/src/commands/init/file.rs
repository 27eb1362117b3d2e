use std::collections::HashSet;

use ostia::catalog::slug;
use serde_json::Value;

use super::Found;

const CLUSTER: &str = "main";

const HEAD: &str = "\
# Written by `ostia init`. docs/reference/config.md has every key, `ostia check` finds mistakes.
# A cluster is a group of backends with the same rules; an endpoint is one model on one backend.

[[clusters]]
";

const APIS: &str = "\
# What users may call. Add \"responses\" or \"messages\" if your backends serve them.
openai_endpoints = [\"chat/completions\", \"completions\", \"embeddings\"]
";

/// An `ostia.toml` that serves everything that was found.
pub fn render(found: &[Found]) -> String {
    let mut frameworks: Vec<&str> = Vec::new();
    for backend in found {
        if !frameworks.contains(&backend.framework) {
            frameworks.push(backend.framework);
        }
    }
    let list = Value::from(frameworks);
    let mut text = format!("{HEAD}cluster_name = \"{CLUSTER}\"\nframeworks = {list}\n{APIS}");
    let mut slugs = HashSet::new();
    for backend in found {
        for model in &backend.models {
            text.push_str(&endpoint(backend, model, &mut slugs));
        }
    }
    text
}

fn endpoint(backend: &Found, model: &str, slugs: &mut HashSet<String>) -> String {
    let framework = backend.framework;
    let own = slug(CLUSTER, framework, model);
    // A second backend of the same model is a replica, which needs a name of its own.
    let unique = (1..).map(|nth| match nth {
        1 => own.clone(),
        nth => format!("{own}-{nth}"),
    });
    let unique = unique.into_iter().find(|slug| slugs.insert(slug.clone()));
    let mut text =
        format!("\n[[endpoints]]\ncluster = \"{CLUSTER}\"\nframework = \"{framework}\"\n");
    if let Some(slug) = unique.filter(|slug| *slug != own) {
        text.push_str(&format!("endpoint_slug = {}\n", quoted(&slug)));
    }
    text.push_str(&format!("model = {}\n", quoted(model)));
    text.push_str(&format!("api_url = {}\n", quoted(&backend.api_url)));
    if let Some(name) = &backend.key_env {
        text.push_str(&format!("api_key_env_name = {}\n", quoted(name)));
    }
    text
}

/// A TOML basic string: it has JSON's escapes, and model names have no control characters.
fn quoted(text: &str) -> Value {
    Value::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_have_names_of_their_own() {
        let found = |port: u16, models: &[&str], key_env: Option<&str>| Found {
            api_url: format!("http://127.0.0.1:{port}/v1"),
            framework: "vllm",
            models: models.iter().map(|&model| model.to_owned()).collect(),
            key_env: key_env.map(str::to_owned),
        };
        let text = render(&[
            found(1, &["org/A", "org/a \"b\""], None),
            found(2, &["org/A"], Some("KEY")),
        ]);
        assert!(text.contains("frameworks = [\"vllm\"]"), "{text}");
        assert!(text.contains(r#"model = "org/a \"b\"""#), "{text}");
        let last = "\n[[endpoints]]\ncluster = \"main\"\nframework = \"vllm\"\nendpoint_slug = \"main-vllm-orga-2\"\n\
                    model = \"org/A\"\napi_url = \"http://127.0.0.1:2/v1\"\napi_key_env_name = \"KEY\"\n";
        assert!(text.ends_with(last), "{text}");
    }
}
