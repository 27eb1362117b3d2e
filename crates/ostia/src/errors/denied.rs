use http::StatusCode;

use crate::authorize::{Denied, Explained, Nearest};
use crate::refusal::{LONGEST_WAIT, Refusal};

/// Entra's groups overage, for the user.
const UNLISTED: &str = " Your token does not say which groups you are in, because they are too many (groups overage), so \
                        nothing that is for certain groups is open to you; please tell the operators of this gateway.";
/// A longer name is cut in the message.
const LONGEST_NAME: usize = 128;

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let nameless = Explained {
            denied,
            asked: String::new(),
            nearest: Nearest::default(),
            groups_unlisted: false,
        };
        nameless.into()
    }
}

impl From<Explained> for Refusal {
    fn from(explained: Explained) -> Self {
        let asked = named(&explained.asked);
        let instead = instead(&explained.nearest);
        let note = if explained.groups_unlisted {
            UNLISTED
        } else {
            ""
        };
        match explained.denied {
            // Not named: an absent cluster and a forbidden one give the same bytes.
            Denied::ClusterNotFound => Self::client(
                StatusCode::NOT_FOUND,
                "cluster_not_found",
                format!(
                    "The cluster does not exist or you do not have access to it. `GET /list-endpoints` lists those that \
                     you may use.{note}"
                ),
            ),
            Denied::Maintenance(text) => Self::gateway(
                StatusCode::SERVICE_UNAVAILABLE,
                "cluster_under_maintenance",
                text.to_string(),
            )
            .with_retry_after(LONGEST_WAIT),
            Denied::UnsupportedFramework => Self::client(
                StatusCode::BAD_REQUEST,
                "unsupported_framework",
                format!("The cluster does not serve the framework{asked}{instead} `GET /list-endpoints` lists what you may use."),
            ),
            Denied::UnsupportedApi => Self::client(
                StatusCode::BAD_REQUEST,
                "unsupported_endpoint",
                format!(
                    "The API{asked} is not served for this model or cluster{instead} `GET /list-endpoints` lists what is, \
                     `GET /v1/models` the models that you may use."
                ),
            ),
            Denied::ModelAccess(hint) => Self::client(
                StatusCode::FORBIDDEN,
                "model_access_denied",
                hint.to_string(),
            )
            .with_param("model"),
            Denied::ModelNotFound => Self::client(
                StatusCode::NOT_FOUND,
                "model_not_found",
                format!(
                    "The model{asked} does not exist or you do not have access to it{instead} `GET /v1/models` lists the \
                     models that you may use.{note}"
                ),
            )
            .with_param("model"),
        }
    }
}

fn named(name: &str) -> String {
    let shown: String = name
        .chars()
        .take(LONGEST_NAME)
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    match (name.is_empty(), shown.len() < name.len()) {
        (true, _) => String::new(),
        (false, false) => format!(" `{shown}`"),
        (false, true) => format!(" `{shown}...`"),
    }
}

/// The end of a sentence, with the names that may have been meant.
fn instead(nearest: &Nearest) -> String {
    let quoted: Vec<String> = nearest
        .names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    let list = match quoted.split_last() {
        None => return ".".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    };
    match nearest.alike {
        true => format!("; did you mean {list}?"),
        false => format!("; you may use {list}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(denied: Denied, asked: &str, names: &[&str], alike: bool) -> String {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let asked = asked.to_owned();
        let nearest = Nearest { names, alike };
        let refusal = Refusal::from(Explained {
            denied,
            asked,
            nearest,
            groups_unlisted: false,
        });
        refusal.message.into_owned()
    }

    #[test]
    fn what_was_asked_for_is_named_with_what_may_have_been_meant() {
        assert_eq!(
            said(Denied::ModelNotFound, "dmo", &["demo"], true),
            "The model `dmo` does not exist or you do not have access to it; did you mean `demo`? `GET /v1/models` lists \
             the models that you may use."
        );
        let other = said(Denied::ModelNotFound, "gpt", &["a", "b", "c"], false);
        assert!(
            other.contains("; you may use `a`, `b` or `c`. `GET"),
            "{other}"
        );
        let none = said(Denied::ModelNotFound, "gpt", &[], false);
        assert!(none.contains("access to it. `GET"), "{none}");
        let api = said(Denied::UnsupportedApi, "chat", &["chat/completions"], true);
        assert!(api.starts_with("The API `chat` is not served"), "{api}");
        assert!(api.contains("did you mean `chat/completions`?"), "{api}");
        let framework = said(Denied::UnsupportedFramework, "vlm", &["vllm"], true);
        assert!(
            framework.contains("`vlm`; did you mean `vllm`?"),
            "{framework}"
        );
    }

    #[test]
    fn groups_that_did_not_fit_into_the_token_are_told() {
        for denied in [Denied::ModelNotFound, Denied::ClusterNotFound] {
            let refusal = Refusal::from(Explained {
                denied,
                asked: "m".to_owned(),
                nearest: Nearest::default(),
                groups_unlisted: true,
            });
            assert!(
                refusal.message.contains("groups overage"),
                "{}",
                refusal.message
            );
        }
    }

    #[test]
    fn a_hint_is_the_whole_message() {
        let hint: std::sync::Arc<str> = "Ask ada@lab.org for the group `vision`.".into();
        let refusal = Refusal::from(Explained {
            denied: Denied::ModelAccess(std::sync::Arc::clone(&hint)),
            asked: "m".to_owned(),
            nearest: Nearest::default(),
            groups_unlisted: true,
        });
        assert_eq!(refusal.status, StatusCode::FORBIDDEN);
        assert_eq!(
            (&*refusal.code, refusal.kind),
            ("model_access_denied", "permission_error")
        );
        assert_eq!(*refusal.message, *hint);
    }

    #[test]
    fn a_hostile_name_is_cut_and_harmless() {
        let name = format!("a\n\u{1b}[31m{}", "x".repeat(1_000));
        let text = said(Denied::ModelNotFound, &name, &[], false);
        assert!(
            !text.contains(char::is_control) && text.contains("...`"),
            "{text}"
        );
    }

    #[test]
    fn clusters_are_never_named() {
        assert_eq!(
            said(Denied::ClusterNotFound, "secret", &["other"], true),
            said(Denied::ClusterNotFound, "", &[], false)
        );
    }
}
