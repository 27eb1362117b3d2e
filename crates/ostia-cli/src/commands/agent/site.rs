use ostia_core::Secret;
use serde_json::Value;

use crate::commands::web::{Page, parse_private};
use crate::commands::{login, test};
use crate::failure::Failure;

/// What an agent needs to know about a gateway.
pub(super) struct Site {
    /// Without `/v1`.
    pub base: String,
    pub key: Secret<String>,
    /// The models that an agent can use; it starts with the first.
    models: Vec<Model>,
}

/// A model of a gateway's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub id: String,
    pub name: String,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub takes_images: bool,
    pub reasons: bool,
    pub calls_tools: bool,
}

/// The context window that agents are told if the gateway does not know it: small enough for most engines.
const USUAL_WINDOW: u64 = 32_768;

impl Model {
    pub fn window(&self) -> u64 {
        self.context_window.unwrap_or(USUAL_WINDOW)
    }

    /// How long an answer may be: what the gateway says, or else a quarter of the window.
    pub fn output(&self) -> u64 {
        self.max_output_tokens.unwrap_or(self.window() / 4).max(1)
    }
}

impl Site {
    /// Asks a gateway for its models. `api`: the API that the agent calls; models that do not serve it are left out.
    pub async fn ask(url: Option<&str>, model: Option<&str>, api: &str) -> Result<Self, Failure> {
        let url = match url {
            Some(url) => url.to_owned(),
            None => login::saved_url().ok_or_else(|| {
                Failure::usage("--url is needed: where the gateway is, such as https://host/v1")
            })?,
        };
        let base = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        let list = parse_private(&format!("{base}/v1/models"))?;
        let key = test::key().await?;
        let page = Page {
            bearer: Some(key.clone()),
            ..Page::default()
        };
        let answer = page.get(&list).await?;
        let listed = answer.json().unwrap_or_default();
        if !answer.status.is_success() || !listed["data"].is_array() {
            let said = test::said(&answer);
            let status = answer.status.as_u16();
            return Err(Failure::other(format!(
                "{base}/v1/models answers {status}: {said}"
            )));
        }
        Self::of(base, key, &listed, model, api)
    }

    pub(super) fn of(
        base: String,
        key: Secret<String>,
        listed: &Value,
        wanted: Option<&str>,
        api: &str,
    ) -> Result<Self, Failure> {
        let all = listed["data"].as_array().into_iter().flatten();
        let mut models: Vec<(bool, Model)> = all
            .filter(|one| serves(one, api))
            .filter_map(|one| Some((one["state"] == "running", read(one)?)))
            .collect();
        // Running models come first, otherwise in the gateway's order.
        models.sort_by_key(|(runs, _)| !runs);
        let mut models: Vec<Model> = models.into_iter().map(|(_, model)| model).collect();
        if let Some(wanted) = wanted {
            let at = models.iter().position(|model| model.id == wanted);
            let at = at.ok_or_else(|| {
                let ids: Vec<&str> = models.iter().map(|model| &*model.id).collect();
                let known = ids.join(", ");
                Failure::usage(format!(
                    "{wanted} is not served by `{api}` there; these are: {known}"
                ))
            })?;
            models[..=at].rotate_right(1);
        }
        match models.is_empty() {
            true => Err(Failure::other(format!(
                "the gateway lists no model that you may use by `{api}`, which this agent calls"
            ))),
            false => Ok(Self { base, key, models }),
        }
    }

    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model to start with.
    pub fn chosen(&self) -> &Model {
        &self.models[0]
    }

    pub fn key(&self) -> &str {
        self.key.expose()
    }

    /// The base URL for OpenAI's clients.
    pub fn v1(&self) -> String {
        format!("{}/v1", self.base)
    }
}

/// Whether a model's clusters serve an API. If the list does not say, they do.
fn serves(model: &Value, api: &str) -> bool {
    match model["capabilities"]["api_protocols"].as_array() {
        Some(apis) => apis.iter().any(|one| *one == api.replace('/', "_")),
        None => true,
    }
}

fn read(model: &Value) -> Option<Model> {
    let id = model["id"].as_str()?.to_owned();
    let modalities = model["input_modalities"].as_array();
    Some(Model {
        name: model["display_name"].as_str().unwrap_or(&id).to_owned(),
        context_window: model["context_window"].as_u64(),
        max_output_tokens: model["max_output_tokens"].as_u64(),
        takes_images: modalities.is_some_and(|kinds| kinds.iter().any(|kind| kind == "image")),
        reasons: model["capabilities"]["reasoning"]["supported"] == true,
        calls_tools: model["capabilities"]["tool_calling"]["supported"] != false,
        id,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// Two running models, one that is not running, and one for embeddings.
    pub(in super::super) fn site(wanted: Option<&str>) -> Result<Site, Failure> {
        let both = json!(["chat_completions", "messages", "responses"]);
        let list = json!({"data": [
            {"id": "asleep", "state": "stopped", "capabilities": {"api_protocols": both}},
            {"id": "org/big", "state": "running", "display_name": "Big \"8B\"", "context_window": 200_000,
             "max_output_tokens": 16_000, "input_modalities": ["text", "image"],
             "capabilities": {"api_protocols": both, "reasoning": {"supported": true}}},
            {"id": "small", "state": "running", "capabilities": {"api_protocols": both}},
            {"id": "vectors", "state": "running", "capabilities": {"api_protocols": ["embeddings"]}},
        ]});
        let key = Secret::new("sk-ostia-canary".to_owned());
        Site::of(
            "http://127.0.0.1:8000".to_owned(),
            key,
            &list,
            wanted,
            "messages",
        )
    }

    #[test]
    fn models_that_run_come_first_and_others_are_left_out() {
        let ids = |wanted| -> Vec<String> {
            let site = site(wanted).unwrap();
            site.models().iter().map(|model| model.id.clone()).collect()
        };
        assert_eq!(ids(None), ["org/big", "small", "asleep"]);
        assert_eq!(ids(Some("asleep")), ["asleep", "org/big", "small"]);
        assert!(site(Some("vectors")).is_err());
        let site = site(None).unwrap();
        let sizes = |model: &Model| (model.window(), model.output());
        assert_eq!(sizes(&site.models()[0]), (200_000, 16_000));
        assert_eq!(sizes(&site.models()[1]), (USUAL_WINDOW, USUAL_WINDOW / 4));
    }
}
