//! `ostia test`: calls a model and shows what came back. Without --url, this process makes the whole way from a client
//! to the backend, from the configuration; with it, the command calls a running gateway.

mod call;
mod here;
mod reading;

use clap::Args;
use ostia_core::Secret;
use serde_json::{Value, json};

use crate::arguments::{Setup, person};
use crate::commands::login;
use crate::commands::web::{Page, parse_private};
use crate::failure::Failure;
use crate::output::{note, print};
use crate::runtime;
pub use call::said;
use call::{Call, Seen};
use here::Here;

/// The API to call unless the cluster lists others.
const USUAL_API: &str = "chat/completions";
/// Variables with a key for `--url`, in order.
const KEYS: [&str; 2] = ["OSTIA_API_KEY", "OPENAI_API_KEY"];

#[derive(Debug, Args)]
#[command(
    after_help = "Each API is called twice, once for a whole answer and once for a stream, where it has streams. Nothing is \
                  written to the ledger of the configuration: without --url, a temporary gateway is started on a free port, \
                  with a key that meets the endpoint's rules. The key for --url is in OSTIA_API_KEY or OPENAI_API_KEY, or \
                  is the token of `ostia login`."
)]
pub struct Test {
    /// A name or an alias, as in a request [default: the first model that is served]
    model: Option<String>,
    /// The API to call [default: the first of chat/completions, messages, responses, completions, embeddings that is
    /// served]
    #[arg(long, value_name = "API")]
    api: Option<String>,
    /// Call a running gateway at this base URL instead
    #[arg(long, value_name = "URL", conflicts_with_all = ["user", "groups"])]
    url: Option<String>,
    /// Call as this user [default: one that meets the endpoint's rules]
    #[arg(long, value_name = "NAME@DOMAIN", value_parser = person)]
    user: Option<String>,
    /// A group that the user is in; repeatable
    #[arg(long = "group", value_name = "ID", requires = "user")]
    groups: Vec<String>,
    /// Print one object
    #[arg(long)]
    json: bool,
}

impl Test {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        runtime::run(async {
            let (what, seen) = match &self.url {
                Some(url) => self.there(url).await?,
                None => self.here(setup).await?,
            };
            self.tell(&what, &seen)?;
            match seen.iter().all(Seen::is_good) {
                true => Ok(()),
                false => Err(Failure::other(
                    "the model did not answer as it should: docs/reference/errors.md says what each code means",
                )),
            }
        })
    }

    async fn here(&self, setup: &Setup) -> Result<(What, Vec<Seen>), Failure> {
        let here = Here::start(self, setup).await?;
        let base = here.base();
        let call = Call {
            base: &base,
            key: &here.trial.key,
            model: &here.model,
            api: &here.api,
        };
        let seen = call.both().await;
        let what = What {
            model: here.model.clone(),
            api: here.api.clone(),
            way: here.way(),
        };
        here.stop().await;
        Ok((what, seen?))
    }

    async fn there(&self, url: &str) -> Result<(What, Vec<Seen>), Failure> {
        let base = url.trim_end_matches('/').trim_end_matches("/v1");
        let base = format!("{base}/v1");
        parse_private(&base)?;
        let key = key().await?;
        let model = match &self.model {
            Some(model) => model.clone(),
            None => first_model(&base, &key).await?,
        };
        let api = self.api.clone().unwrap_or_else(|| USUAL_API.to_owned());
        let call = Call {
            base: &base,
            key: &key,
            model: &model,
            api: &api,
        };
        let seen = call.both().await?;
        let way = format!("by the gateway at {base}");
        Ok((What { model, api, way }, seen))
    }

    fn tell(&self, what: &What, seen: &[Seen]) -> Result<(), Failure> {
        let What { model, api, way } = what;
        if self.json {
            let calls: Vec<Value> = seen.iter().map(Seen::as_json).collect();
            let all = json!({"model": model, "api": api, "way": way, "calls": calls});
            return print(&format!("{all:#}\n"));
        }
        let mut text = format!("{model}, {way}\n");
        for one in seen {
            text.push_str(&one.as_text(api));
        }
        print(&text)
    }
}

/// What was called, for the report.
struct What {
    model: String,
    api: String,
    way: String,
}

/// The key for a gateway.
pub async fn key() -> Result<Secret<String>, Failure> {
    for name in KEYS {
        if let Ok(key) = std::env::var(name)
            && !key.is_empty()
        {
            return Ok(Secret::new(key));
        }
    }
    login::saved_token().await.map_err(|_| {
        let names = KEYS.join(" or ");
        Failure::usage(format!(
            "a key is needed in {names}, or a sign-in by `ostia login`"
        ))
    })
}

async fn first_model(base: &str, key: &Secret<String>) -> Result<String, Failure> {
    let page = Page {
        bearer: Some(key.clone()),
        ..Page::default()
    };
    let answer = page.get(&parse_private(&format!("{base}/models"))?).await?;
    let list = answer.json().unwrap_or_default();
    let models: Vec<&str> = list["data"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|model| model["id"].as_str())
        .collect();
    match models.split_first() {
        Some((first, rest)) => {
            others(rest);
            Ok((*first).to_owned())
        }
        None => Err(Failure::other(format!(
            "{base}/models answers {}: {}",
            answer.status.as_u16(),
            call::said(&answer)
        ))),
    }
}

/// Names the models that were not called.
fn others(models: &[&str]) {
    if !models.is_empty() {
        let models = models.join(", ");
        note(&format!("Other models: {models}"));
    }
}
