use std::borrow::Cow;

use crate::dialect::{Api, Dialect, PLAIN};

/// A path that leads nowhere, because a client's base URL is wrong in a way that many are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Astray {
    pub fault: &'static str,
    /// The path without the fault.
    pub meant: String,
}

/// A longer path was not made by a base URL.
const LONGEST: usize = 512;

const DOUBLED: &str = "the base URL holds `/v1` twice";
const SLASHES: &str = "the base URL ends with a slash, which makes `//`";
const TRAILING: &str = "the path ends with a slash";
const AZURE: &str = "the base URL ends with `/v1`, which Azure's form does not have";
const MISSING: &str = "the base URL does not end with `/v1`";
const CAPITALS: &str = "the path has capitals where the gateway's has none";
const APPENDED: &str = "the base URL is the URL of one route already, and the client adds another";
const PREFIXED: &str = "the base URL is not one of the gateway's";
const ENCODED: &str = "the base URL holds a blank, a quote or an encoded slash";
const WHOLE: &str = "the path holds a whole URL: the client adds the base URL to another";
const OLLAMA: &str = "this is a path of Ollama's API, and the gateway has OpenAI's and Anthropic's";

/// Paths of Ollama's own API, and where their like is.
const OLLAMAS: [(&str, &str); 8] = [
    ("/api/chat", "/chat/completions"),
    ("/api/generate", "/completions"),
    ("/api/embed", "/embeddings"),
    ("/api/embeddings", "/embeddings"),
    ("/api/tags", "/models"),
    ("/api/show", "/models"),
    ("/api/ps", "/models"),
    ("/api/version", "/models"),
];

/// The first fault of a path (without the gateway's own base path), and the path without any of them. `reads`: it was
/// asked for with GET. `leads`: whether a path leads anywhere.
pub(super) fn astray(path: &str, reads: bool, leads: &dyn Fn(&str) -> bool) -> Option<Astray> {
    if path.len() > LONGEST {
        return None;
    }
    if let Some(clean) = without_strays(path) {
        let meant = match leads(&clean) {
            true => clean,
            false => astray(&clean, reads, leads)?.meant,
        };
        let fault = ENCODED;
        return Some(Astray { fault, meant });
    }
    let (mut meant, tidied) = tidy(path)?;
    let found = of_whole_url(&meant)
        .map(|meant| (WHOLE, meant))
        .or_else(|| without_route(&meant, reads, leads).map(|meant| (APPENDED, meant)))
        .or_else(|| of_ollama(&meant).map(|meant| (OLLAMA, meant)))
        .or_else(|| based(&meant, leads));
    let mut fault = tidied;
    if let Some((other, better)) = found {
        // What a whole URL in the path looks like otherwise follows from it.
        let is_first = fault.is_none() || other == WHOLE;
        fault = if is_first { Some(other) } else { fault };
        meant = better;
    }
    let fault = fault.filter(|_| leads(&meant))?;
    Some(Astray { fault, meant })
}

/// The path without blanks and quotes, which get into a base URL from a file or a shell, and with its slashes as such.
/// `None`: it has none of them.
fn without_strays(path: &str) -> Option<String> {
    const STRAYS: [&str; 7] = ["%20", "%22", "%27", "%09", "%0a", "%0d", "%60"];
    const SLASHES: [(&str, &str); 2] =
        [("v1%2f", "v1/"), ("chat%2fcompletions", "chat/completions")];
    let lower = path.to_ascii_lowercase();
    if !lower.contains('%') {
        return None;
    }
    let mut clean = path.to_owned();
    for (stray, instead) in STRAYS.map(|stray| (stray, "")).into_iter().chain(SLASHES) {
        while let Some(at) = clean.to_ascii_lowercase().find(stray) {
            clean.replace_range(at..at + stray.len(), instead);
        }
    }
    (clean != path).then_some(clean)
}

/// The path behind a URL's scheme and host, which stand in it: `/http:/host/v1/models`.
fn of_whole_url(path: &str) -> Option<String> {
    let lower = path.to_ascii_lowercase();
    let schemes = ["/http:/", "/https:/"].into_iter();
    let host = schemes.filter_map(|scheme| Some(lower.rfind(scheme)? + scheme.len()));
    let host = path.get(host.max()?..)?;
    Some(host[host.find('/')?..].to_owned())
}

/// The path without what is wrong in its spelling, and the first thing that is.
fn tidy(path: &str) -> Option<(String, Option<&'static str>)> {
    let mut parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let mut first = None;
    let mut note = |fault, is_there| {
        if is_there {
            first.get_or_insert(fault);
        }
    };
    let ends_empty = parts.last().is_some_and(|part| part.is_empty());
    let count = parts.iter().filter(|part| part.is_empty()).count();
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        return None;
    }
    note(SLASHES, count > usize::from(ends_empty));
    let before = parts.len();
    parts.dedup_by(|next, last| {
        [next, last]
            .iter()
            .all(|part| part.eq_ignore_ascii_case("v1"))
    });
    note(DOUBLED, parts.len() < before);
    if let ["openai", "deployments", _, "v1", ..] = parts[..] {
        parts.remove(3);
        note(AZURE, true);
    }
    note(TRAILING, ends_empty);
    let written = format!("/{}", parts.join("/"));
    let lowered = in_small_letters(&written);
    note(CAPITALS, lowered != written);
    Some((lowered, first))
}

/// The path with `/v1` and the API behind it in small letters; names of clusters, frameworks and models stay.
fn in_small_letters(path: &str) -> String {
    let lower = path.to_ascii_lowercase();
    let version = match lower.find("/v1/") {
        Some(at) => at..at + "/v1/".len(),
        None => 0..0,
    };
    let api = tail(&lower).map_or(lower.len(), |(base, _)| base.len());
    let is_small = |at: usize| version.contains(&at) || at >= api;
    let letters = path.char_indices();
    letters
        .map(|(at, letter)| match is_small(at) {
            true => letter.to_ascii_lowercase(),
            false => letter,
        })
        .collect()
}

/// The path without the whole route that stands before another: `/v1/messages` before `/v1/models`.
pub(super) fn without_route(
    path: &str,
    reads: bool,
    leads: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let (outer, last) = tail(path)?;
    let before = outer.strip_suffix("/v1").unwrap_or(outer);
    let (base, first) = tail(before)?;
    // A model may have an API's name.
    let may_be_model = reads && before == outer && !last.contains('/') && last != MODELS;
    if first == MODELS && may_be_model {
        return None;
    }
    let base = base.strip_suffix("/v1").unwrap_or(base);
    let meant = match base.starts_with(AZURES) {
        true => format!("{base}/{last}"),
        false => format!("{base}/v1/{last}"),
    };
    let meant = without_route(&meant, reads, leads).unwrap_or(meant);
    leads(&meant).then_some(meant)
}

fn of_ollama(path: &str) -> Option<String> {
    let lower = path.to_ascii_lowercase();
    OLLAMAS.iter().find_map(|(theirs, ours)| {
        let base = path.get(..lower.strip_suffix(theirs)?.len())?;
        matches!(base.matches('/').count(), 0 | 2).then(|| format!("{base}/v1{ours}"))
    })
}

/// The path of an API or of a list, with the base that it needs.
fn based(path: &str, leads: &dyn Fn(&str) -> bool) -> Option<(&'static str, String)> {
    if leads(path) {
        return None;
    }
    let from = |part: &str| path.find(part).filter(|at| *at > 0);
    if let Some(at) = from(AZURES).or_else(|| from("/v1/models/")) {
        return Some((PREFIXED, path[at..].to_owned()));
    }
    let (base, last) = tail(path)?;
    let is_versioned = base.split('/').any(|part| part == "v1");
    let is_scope = matches!(base.matches('/').count(), 0 | 2) && !base.split('/').any(is_foreign);
    let inserted = format!("{base}/v1/{last}");
    match !is_versioned && is_scope && leads(&inserted) {
        true => Some((MISSING, inserted)),
        false => Some((PREFIXED, format!("/v1/{last}"))),
    }
}

/// Whether a part of a path is of other servers' base URLs rather than a cluster's or a framework's name.
fn is_foreign(part: &str) -> bool {
    let version = part.strip_prefix('v').unwrap_or_default();
    version.starts_with(|first: char| first.is_ascii_digit())
        || ["openai", "anthropic", "api", "openapi"].contains(&part)
}

const AZURES: &str = "/openai/deployments/";
const MODELS: &str = "models";

/// The API or the list under `/v1` that a path ends with, and the path before it.
fn tail(path: &str) -> Option<(&str, &'static str)> {
    let names = Api::known().filter_map(|api| match api.name() {
        Cow::Borrowed(name) => Some(name),
        Cow::Owned(_) => None,
    });
    names
        .chain([MODELS, "limits", "usage", "me"])
        .filter_map(|name| Some((path.strip_suffix(name)?.strip_suffix('/')?, name)))
        .max_by_key(|(_, name)| name.len())
}

/// The dialect of the API that a path ends with.
pub(super) fn dialect_of(path: &str) -> &'static dyn Dialect {
    let path = path.trim_end_matches('/');
    let is_tail = |api: &Api| {
        let before = path.strip_suffix(api.as_str());
        before.is_some_and(|before| before.ends_with('/'))
    };
    Api::known()
        .filter(is_tail)
        .max_by_key(|api| api.as_str().len())
        .map_or(PLAIN, |api| api.dialect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, fault: &str, meant: &str) {
        let found = astray(path, true, &super::super::leads_somewhere);
        let found = found.unwrap_or_else(|| panic!("{path}"));
        assert_eq!((found.fault, &*found.meant), (fault, meant), "{path}");
    }

    #[test]
    fn common_mistakes_in_base_urls_are_recognised() {
        for (path, fault, meant) in [
            ("/v1/v1/chat/completions", DOUBLED, "/v1/chat/completions"),
            ("/v1/v1/v1/models", DOUBLED, "/v1/models"),
            ("/c/f/v1/v1/messages", DOUBLED, "/c/f/v1/messages"),
            ("/v1//v1/messages", SLASHES, "/v1/messages"),
            ("//v1/chat/completions", SLASHES, "/v1/chat/completions"),
            ("/v1//embeddings", SLASHES, "/v1/embeddings"),
            ("//v1/embeddings/", SLASHES, "/v1/embeddings"),
            ("//api/tags", SLASHES, "/v1/models"),
            ("/v1/chat/completions/", TRAILING, "/v1/chat/completions"),
            ("/chat/completions", MISSING, "/v1/chat/completions"),
            ("/c/f/messages", MISSING, "/c/f/v1/messages"),
            ("/c/f/models", MISSING, "/c/f/v1/models"),
            ("/usage", MISSING, "/v1/usage"),
            (
                "/openai/deployments/m/v1/chat/completions",
                AZURE,
                "/openai/deployments/m/chat/completions",
            ),
        ] {
            check(path, fault, meant);
        }
        let long = format!("/{}//v1", "x".repeat(LONGEST));
        for path in ["", "*", "/", "/nothing", "/v1/chat", "/a/nothing", &long] {
            let found = astray(path, true, &super::super::leads_somewhere);
            assert_eq!(found, None, "{path}");
        }
    }

    #[test]
    fn a_route_behind_another_is_told() {
        for (path, meant) in [
            ("/v1/messages/v1/messages", "/v1/messages"),
            ("/v1/models/v1/models", "/v1/models"),
            ("/v1/models/models", "/v1/models"),
            ("/v1/models/chat/completions", "/v1/chat/completions"),
            ("/v1/chat/completions/models", "/v1/models"),
            (
                "/v1/chat/completions/chat/completions",
                "/v1/chat/completions",
            ),
            (
                "/v1/chat/completions/v1/chat/completions/v1/chat/completions",
                "/v1/chat/completions",
            ),
            ("/v1/chat/completions/completions", "/v1/completions"),
            (
                "/v1/messages/v1/messages/count_tokens",
                "/v1/messages/count_tokens",
            ),
            ("/v1/messages/count_tokens/messages", "/v1/messages"),
            ("/c/f/v1/responses/v1/models", "/c/f/v1/models"),
            ("/v1/responses/responses", "/v1/responses"),
            ("/v1/limits/v1/limits", "/v1/limits"),
            (
                "/openai/deployments/m/chat/completions/chat/completions",
                "/openai/deployments/m/chat/completions",
            ),
        ] {
            check(path, APPENDED, meant);
        }
        let found = |path, reads| without_route(path, reads, &super::super::leads_somewhere);
        // A model may have an API's name, but nobody posts to one.
        assert_eq!(found("/v1/models/rerank", true), None);
        let meant = Some("/v1/rerank".to_owned());
        assert_eq!(found("/v1/models/rerank", false), meant);
        for path in [
            "/v1/models/models/gemma",
            "/v1/chat/completions",
            "/v1/messages/count_tokens",
            "/v1/responses/compact",
            "/v1/chat/completions/render",
            "/c/embeddings/v1/messages",
        ] {
            assert_eq!(found(path, false), None, "{path}");
        }
    }

    #[test]
    fn paths_of_other_servers_are_told() {
        for (path, fault, meant) in [
            ("/V1/chat/completions", CAPITALS, "/v1/chat/completions"),
            ("/V1/Models", CAPITALS, "/v1/models"),
            (
                "/v1beta/openai/chat/completions",
                PREFIXED,
                "/v1/chat/completions",
            ),
            ("/api/v2/messages", PREFIXED, "/v1/messages"),
            ("/http://host:8000/v1/models", WHOLE, "/v1/models"),
            ("/c/f/https:/host/v1/messages", WHOLE, "/v1/messages"),
            ("/v1%20/chat/completions", ENCODED, "/v1/chat/completions"),
            ("/v1/chat/completions%0A", ENCODED, "/v1/chat/completions"),
            ("/%22v1/v1/models%22", ENCODED, "/v1/models"),
            ("/v1%2Fchat/completions", ENCODED, "/v1/chat/completions"),
            ("/v1/chat%2fcompletions", ENCODED, "/v1/chat/completions"),
            ("/C/F/V1/Messages", CAPITALS, "/C/F/v1/messages"),
            ("/V1/models/Meta-Llama", CAPITALS, "/v1/models/Meta-Llama"),
            ("/V1/v1/messages", DOUBLED, "/v1/messages"),
            ("/api/v1/chat/completions", PREFIXED, "/v1/chat/completions"),
            ("/openai/v1/responses", PREFIXED, "/v1/responses"),
            ("/main/v1/messages", PREFIXED, "/v1/messages"),
            ("/main/v1/models", PREFIXED, "/v1/models"),
            ("/main/v1/models/a%2Fb", PREFIXED, "/v1/models/a%2Fb"),
            ("/a/b/c/v1/embeddings", PREFIXED, "/v1/embeddings"),
            ("/api/openai/v1/completions", PREFIXED, "/v1/completions"),
            ("/api/chat/completions", PREFIXED, "/v1/chat/completions"),
            ("/api/v0/chat/completions", PREFIXED, "/v1/chat/completions"),
            ("/v2/rerank", PREFIXED, "/v1/rerank"),
            ("/api/models", PREFIXED, "/v1/models"),
            ("/a/messages", PREFIXED, "/v1/messages"),
            (
                "/x/openai/deployments/m/embeddings",
                PREFIXED,
                "/openai/deployments/m/embeddings",
            ),
            ("/api/chat", OLLAMA, "/v1/chat/completions"),
            ("/api/generate", OLLAMA, "/v1/completions"),
            ("/api/tags", OLLAMA, "/v1/models"),
            ("/API/Tags", OLLAMA, "/v1/models"),
            ("/api/embeddings", OLLAMA, "/v1/embeddings"),
            ("/c/f/api/chat", OLLAMA, "/c/f/v1/chat/completions"),
        ] {
            check(path, fault, meant);
        }
    }

    #[test]
    fn a_lost_path_speaks_the_dialect_that_it_ends_with() {
        let anthropic = Api::parse("messages").dialect();
        for path in [
            "//v1/messages",
            "/v1/v1/messages",
            "/v1/v1/messages/count_tokens",
            "/x/messages/",
        ] {
            let dialect = dialect_of(path);
            assert_eq!(format!("{dialect:?}"), format!("{anthropic:?}"), "{path}");
        }
        for path in ["/v1/v1/xmessages", "/", ""] {
            assert_eq!(
                format!("{:?}", dialect_of(path)),
                format!("{PLAIN:?}"),
                "{path}"
            );
        }
    }
}
