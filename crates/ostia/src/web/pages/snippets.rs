use maud::{Markup, html};

use crate::fleet::ModelState;
use crate::listings::offers;
use crate::web::site::Case;
use crate::web::visitor::Visitor;

/// Lines for one client.
struct Snippet {
    name: &'static str,
    about: &'static str,
    text: String,
}

/// A model that answers chats now, or the first that does at all.
pub(super) fn a_model(case: &Case<'_>, visitor: &Visitor) -> Option<String> {
    let offers = offers(&case.live.catalog, &case.live.notices, &visitor.principal);
    let chats = || {
        offers.iter().filter(|offer| {
            offer.hint.is_none() && offer.apis.iter().any(|api| **api == *"chat/completions")
        })
    };
    let is_live = |state| matches!(state, ModelState::Running);
    let first = chats().find(|offer| offer.notice.is_none() && is_live(offer.state));
    first
        .or_else(|| chats().next())
        .map(|offer| offer.name.to_string())
}

/// The lines for each client, with this site's URL, a key, and a model.
pub(super) fn snippets(case: &Case<'_>, visitor: &Visitor, key: &str) -> Markup {
    let model = a_model(case, visitor).unwrap_or_else(|| "MODEL".to_owned());
    let url = case.public_url();
    let all = all(&url, key, &model);
    html! {
        div.snippets {
            @for (at, snippet) in all.iter().enumerate() {
                details open[at == 0] {
                    summary { (snippet.name) }
                    @if !snippet.about.is_empty() { p.small { (snippet.about) } }
                    @let id = format!("snippet-{at}");
                    div.copyable {
                        pre tabindex="0" { code id=(id) { (snippet.text) } }
                        button.plain.slim type="button" data-copy=(id) aria-label=(format!("Copy the lines for {}", snippet.name)) { "Copy" }
                    }
                }
            }
        }
    }
}

fn all(url: &str, key: &str, model: &str) -> Vec<Snippet> {
    let snippet = |name, about, text| Snippet { name, about, text };
    let chat =
        serde_json::json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]});
    let (quoted_key, quoted_model) = (in_shell(key), in_shell(model));
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let (json_key, json_model, json_url) = (json(key), json(model), json(&format!("{url}/v1")));
    let agent = |client: &str| {
        format!("OSTIA_API_KEY={quoted_key} ostia agent configure {client} --url {url}")
    };
    vec![
        snippet(
            "curl",
            "",
            format!(
                "curl {url}/v1/chat/completions \\\n  -H {} \\\n  -H 'Content-Type: application/json' \\\n  -d {}",
                in_shell(&format!("Authorization: Bearer {key}")),
                in_shell(&chat.to_string())
            ),
        ),
        snippet(
            "Python (openai)",
            "pip install openai",
            format!(
                "from openai import OpenAI\n\nclient = OpenAI(base_url={json_url}, api_key={json_key})\nanswer = client.chat.completions.create(\n    model={json_model},\n    messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}],\n)\nprint(answer.choices[0].message.content)"
            ),
        ),
        snippet(
            "Node (openai)",
            "npm install openai",
            format!(
                "import OpenAI from \"openai\";\n\nconst client = new OpenAI({{ baseURL: {json_url}, apiKey: {json_key} }});\nconst answer = await client.chat.completions.create({{\n  model: {json_model},\n  messages: [{{ role: \"user\", content: \"Hello\" }}],\n}});\nconsole.log(answer.choices[0].message.content);"
            ),
        ),
        snippet(
            "Claude Code",
            "Or in one line, if ostia is installed: ostia agent configure claude",
            format!(
                "export ANTHROPIC_BASE_URL={url}\nexport ANTHROPIC_AUTH_TOKEN={quoted_key}\nexport ANTHROPIC_MODEL={quoted_model}\nexport ANTHROPIC_SMALL_FAST_MODEL={quoted_model}\nclaude"
            ),
        ),
        snippet(
            "Codex",
            "Writes ~/.codex/config.toml; --undo takes it back.",
            agent("codex"),
        ),
        snippet(
            "OpenCode",
            "Writes opencode.json; --undo takes it back.",
            agent("opencode"),
        ),
        snippet(
            "Open WebUI",
            "Admin Panel, Settings, Connections, or these variables.",
            format!("OPENAI_API_BASE_URL={url}/v1\nOPENAI_API_KEY={quoted_key}"),
        ),
        snippet(
            "VS Code (Continue)",
            "In ~/.continue/config.yaml; or: ostia agent configure continue",
            format!(
                "models:\n  - name: Ostia\n    provider: openai\n    model: {json_model}\n    apiBase: {json_url}\n    apiKey: {json_key}"
            ),
        ),
        snippet(
            "LangChain",
            "pip install langchain-openai",
            format!(
                "from langchain_openai import ChatOpenAI\n\nmodel = ChatOpenAI(base_url={json_url}, api_key={json_key}, model={json_model})\nprint(model.invoke(\"Hello\").content)"
            ),
        ),
    ]
}

/// One word of a shell.
fn in_shell(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_the_url_and_most_the_model() {
        let all = all("https://ai.lab.org", "sk-ostia-x", "it's \"a\"");
        assert_eq!(all.len(), 9);
        for snippet in &all {
            assert!(
                snippet.text.contains("https://ai.lab.org"),
                "{}",
                snippet.name
            );
            assert!(snippet.text.contains("sk-ostia-x"), "{}", snippet.name);
        }
        // What a shell or a program reads is one word.
        assert!(all[0].text.contains(r#"it'\''s \"a\""#), "{}", all[0].text);
        assert!(
            all[1].text.contains(r#"model="it's \"a\"","#),
            "{}",
            all[1].text
        );
    }
}
