use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use ostia_core::Clock;
use serde_json::Value;

use crate::backend::{Backends, DIRECT_API};
use crate::catalog::{Deployment, Serving};
use crate::upstream::Http;

/// How long a request for the list of models waits for engines that do not answer. Claude Code gives up after three
/// seconds.
const PATIENCE: Duration = Duration::from_millis(1500);
const AT_ONCE: usize = 32;
/// The longest list of models that is read.
const LONGEST: usize = 1 << 20;

/// Asks engines for their context window, if their entries do not state it, and records the answers.
pub async fn ask_engines(deployments: &[Arc<Deployment>], backends: &Backends, clock: &dyn Clock) {
    let now = clock.unix_micros();
    let unknown = |deployment: &&Arc<Deployment>| {
        deployment.serving == Serving::Yes
            && *deployment.kind == *DIRECT_API
            && deployment.profile.context_window.is_none()
            && deployment.state.engine().begin_asking(now)
    };
    let asked: Vec<Arc<Deployment>> = deployments.iter().filter(unknown).cloned().collect();
    let asking = stream::iter(asked).for_each_concurrent(AT_ONCE, |deployment| async move {
        let http = Http::new(backends.client(&deployment), &deployment.target, PATIENCE);
        let http = http.with_key().up_to(LONGEST);
        let url = deployment.target.path_and_query("models");
        let Ok(reply) = http.get(&url).await else {
            return;
        };
        if let Some(list) = reply
            .status
            .is_success()
            .then(|| reply.json().ok())
            .flatten()
        {
            let size = context_window(&list, &deployment.upstream_model);
            deployment.state.engine().told(size, now);
        }
    });
    // Engines that have not answered by then are asked again in a minute.
    let _ = tokio::time::timeout(PATIENCE, asking).await;
}

/// The context window in an engine's list of models, under the name that vLLM and SGLang, OpenRouter, Mistral or
/// llama.cpp uses for it.
fn context_window(list: &Value, model: &str) -> Option<u64> {
    const NAMES: [&str; 6] = [
        "/max_model_len",
        "/context_window",
        "/context_length",
        "/max_context_length",
        "/meta/n_ctx",
        "/meta/n_ctx_train",
    ];
    let models = list["data"].as_array()?;
    let named = models.iter().find(|one| one["id"] == model);
    let one = match models.as_slice() {
        [only] => named.unwrap_or(only),
        _ => named?,
    };
    let sizes = NAMES.iter().filter_map(|name| one.pointer(name)?.as_u64());
    sizes.into_iter().find(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn engines_say_it_in_their_own_words() {
        for one in [
            json!({"id": "m", "max_model_len": 8192}),
            json!({"id": "m", "max_model_len": null, "context_length": 8192}),
            json!({"id": "m", "meta": {"n_ctx_train": 131072, "n_ctx": 8192}}),
            json!({"id": "m", "context_window": 0, "max_context_length": 8192}),
        ] {
            let others = json!({"id": "n", "max_model_len": 1});
            assert_eq!(
                context_window(&json!({"data": [others, one]}), "m"),
                Some(8192),
                "{one}"
            );
            assert_eq!(
                context_window(&json!({"data": [one]}), "an/alias"),
                Some(8192),
                "{one}"
            );
            assert_eq!(context_window(&json!({"data": [others, one]}), "x"), None);
        }
        for list in [
            json!({}),
            json!([]),
            json!({"data": [{"id": "m", "max_model_len": "8k"}]}),
        ] {
            assert_eq!(context_window(&list, "m"), None);
        }
    }
}
