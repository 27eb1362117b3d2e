use crate::dialect::{Api, Dialect, PLAIN, url_tail};

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

/// The first fault of a path (without the gateway's own base path), and the path without any of them.
pub(super) fn astray(path: &str) -> Option<Astray> {
    let mut parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    if path.len() > LONGEST {
        return None;
    }
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
    parts.dedup_by(|next, last| next == last && *last == "v1");
    note(DOUBLED, parts.len() < before);
    if let ["openai", "deployments", _, "v1", ..] = parts[..] {
        parts.remove(3);
        note(AZURE, true);
    }
    note(TRAILING, ends_empty);
    let mut meant = format!("/{}", parts.join("/"));
    if let Some((base, api)) = url_tail(&meant)
        && matches!(parts.len() - api.split('/').count(), 0 | 2)
        && !parts.contains(&"v1")
    {
        meant = format!("{base}/v1/{api}");
        note(MISSING, true);
    }
    let fault = first?;
    Some(Astray { fault, meant })
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
            ("/v1/chat/completions/", TRAILING, "/v1/chat/completions"),
            ("/chat/completions", MISSING, "/v1/chat/completions"),
            ("/c/f/messages", MISSING, "/c/f/v1/messages"),
            (
                "/openai/deployments/m/v1/chat/completions",
                AZURE,
                "/openai/deployments/m/chat/completions",
            ),
        ] {
            let found = astray(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((found.fault, &*found.meant), (fault, meant), "{path}");
        }
        let long = format!("/{}//v1", "x".repeat(LONGEST));
        for path in ["", "*", "/", "/nothing", "/v1/chat", "/a/messages", &long] {
            assert_eq!(astray(path), None, "{path}");
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
