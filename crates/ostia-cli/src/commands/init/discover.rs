use clap::Args;
use ostia::catalog::{ApiUrl, HttpUrl};
use ostia_core::Secret;
use serde_json::Value;

use crate::arguments::Setup;
use crate::commands::load::variable;
use crate::commands::web::{Answer, Page};
use crate::failure::Failure;

/// Engines, as named by `owned_by` in their lists of models.
const ENGINES: [&str; 3] = ["vllm", "sglang", "llamacpp"];
/// The framework for all others.
const UNKNOWN_ENGINE: &str = "api";

/// Which backends to ask, and with which key.
#[derive(Debug, Args)]
pub struct Backends {
    /// The base URL of a backend, such as http://127.0.0.1:8080/v1; repeatable
    #[arg(long = "backend", value_name = "URL", value_parser = url)]
    pub urls: Vec<String>,
    /// The variable that holds the backends' key, in the environment or in --env-file
    #[arg(long, value_name = "NAME", requires = "urls")]
    pub key_env: Option<String>,
}

/// What a backend reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub api_url: String,
    pub framework: &'static str,
    pub models: Vec<String>,
    pub key_env: Option<String>,
}

impl Backends {
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }

    /// Asks each backend for its models. Fails if one cannot be asked, because a file without it would be wrong.
    pub async fn ask(&self, setup: &Setup) -> Result<Vec<Found>, Failure> {
        let key = match &self.key_env {
            Some(name) => Some(variable(setup, name)?),
            None => None,
        };
        let mut all = Vec::new();
        for url in &self.urls {
            let found = ask(url, key.as_ref()).await?;
            all.push(Found {
                key_env: self.key_env.clone(),
                ..found
            });
        }
        Ok(all)
    }
}

impl Found {
    /// The example in the file if no backend is named.
    pub fn example() -> Self {
        Self {
            api_url: "http://127.0.0.1:8080/v1".to_owned(),
            framework: UNKNOWN_ENGINE,
            models: vec!["my-model".to_owned()],
            key_env: None,
        }
    }
}

async fn ask(url: &str, key: Option<&Secret<String>>) -> Result<Found, Failure> {
    let parsed =
        ApiUrl::parse(url).map_err(|fault| Failure::usage(format!("--backend {fault}")))?;
    let origin = HttpUrl {
        origin: parsed.origin,
        path: "".into(),
        query: None,
        userinfo: false,
    };
    let given = format!("{}{}", origin.base(), parsed.base_path);
    // The list is what people try first in a browser.
    let given = match given.strip_suffix("/models") {
        Some(base) => base.to_owned(),
        None => given,
    };
    // The base URL with its /v1 is what clients of OpenAI take; many people leave it out.
    let with_version = format!("{given}/v1");
    let bases = match given.ends_with("/v1") {
        true => vec![given],
        false => vec![with_version, given],
    };
    let mut last = None;
    for base in bases {
        let address = HttpUrl::parse(&format!("{base}/models"))
            .map_err(|fault| Failure::usage(format!("--backend {fault}")))?;
        let page = Page {
            bearer: key.cloned(),
            ..Page::default()
        };
        match models(&page.get(&address).await?, &base) {
            Ok((framework, models)) => {
                return Ok(Found {
                    api_url: base,
                    framework,
                    models,
                    key_env: None,
                });
            }
            Err(failure) => last = last.or(Some(failure)),
        }
    }
    Err(last.unwrap_or_else(|| Failure::other(format!("{url} has no models"))))
}

/// The engine and the models of an OpenAI list. Skips entries that are not models.
fn models(answer: &Answer, base: &str) -> Result<(&'static str, Vec<String>), Failure> {
    match answer.status.as_u16() {
        200 => {}
        status @ (401 | 403) => {
            return Err(Failure::other(format!(
                "{base}/models answers {status}: name the variable with the backend's key by --key-env"
            )));
        }
        status => {
            return Err(Failure::other(format!(
                "{base}/models answers {status}: is that the base URL of an OpenAI-compatible API?"
            )));
        }
    }
    let list = answer.json();
    let entries = list.as_ref().and_then(|list| list["data"].as_array());
    let entries = entries.ok_or_else(|| {
        Failure::other(format!(
            "{base}/models is not a list of models, as OpenAI-compatible backends have it"
        ))
    })?;
    let mut names: Vec<String> = Vec::new();
    for name in entries.iter().filter_map(|entry| entry["id"].as_str()) {
        let sound = !name.is_empty() && !name.contains(char::is_control);
        if sound && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        return Err(Failure::other(format!("{base}/models lists no model")));
    }
    Ok((engine(entries), names))
}

fn engine(entries: &[Value]) -> &'static str {
    let mut owners = entries
        .iter()
        .filter_map(|entry| entry["owned_by"].as_str());
    owners
        .find_map(|owner| ENGINES.into_iter().find(|engine| *engine == owner))
        .unwrap_or(UNKNOWN_ENGINE)
}

fn url(text: &str) -> Result<String, String> {
    ApiUrl::parse(text)
        .map(|_| text.to_owned())
        .map_err(|fault| format!("it {fault}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn of(status: u16, body: &'static str) -> Result<(&'static str, Vec<String>), String> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        };
        models(&answer, "http://b/v1").map_err(|failure| failure.text().to_owned())
    }

    #[test]
    fn lists_are_read_entry_by_entry() {
        let list = r#"{"data": [{"id": "a", "owned_by": "vllm"}, {"id": 7}, null, {"id": "a"}, {"id": "b\u001b"}, {"id": "c/d"}]}"#;
        let names = vec!["a".to_owned(), "c/d".to_owned()];
        assert_eq!(of(200, list), Ok(("vllm", names)));
        let owned = r#"{"data": [{"id": "a", "owned_by": "me"}]}"#;
        assert_eq!(of(200, owned), Ok(("api", vec!["a".to_owned()])));
    }

    #[test]
    fn what_is_no_list_says_what_to_do() {
        for (status, body, said) in [
            (401, "{}", "--key-env"),
            (404, "<html>", "base URL"),
            (200, "<html>", "not a list"),
            (200, r#"{"data": {}}"#, "not a list"),
            (200, r#"{"data": []}"#, "no model"),
        ] {
            let fault = of(status, body).unwrap_err();
            assert!(fault.contains(said), "{fault}");
        }
    }
}
