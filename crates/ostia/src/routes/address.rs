use crate::catalog::Scope;

/// An inference path, taken apart: `/v1/{api}` or `/{cluster}/{framework}/v1/{api}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address<'a> {
    pub scope: Option<(&'a str, &'a str)>,
    /// What stands behind `/v1/`: `chat/completions`, `audio/speech`, ...
    pub api: &'a str,
}

impl<'a> Address<'a> {
    /// Takes a path without base path. Nothing is decoded or normalised: a path with an empty segment, `.`, `..` or
    /// `%` names nothing.
    pub fn parse(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        let (scope, api) = match rest.strip_prefix("v1/") {
            Some(api) => (None, api),
            None => {
                let (cluster, rest) = rest.split_once('/')?;
                let (framework, rest) = rest.split_once('/')?;
                (Some((cluster, framework)), rest.strip_prefix("v1/")?)
            }
        };
        let sound = |segment: &str| {
            !segment.is_empty() && segment != "." && segment != ".." && !segment.contains('%')
        };
        let names = scope
            .into_iter()
            .flat_map(|(cluster, framework)| [cluster, framework]);
        names
            .chain(api.split('/'))
            .all(sound)
            .then_some(Self { scope, api })
    }

    pub fn scope(&self) -> Scope<'a> {
        match self.scope {
            None => Scope::Everywhere,
            Some((cluster, framework)) => Scope::Framework { cluster, framework },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn paths_name_a_scope_and_an_api() {
        let address = Address::parse("/v1/chat/completions").unwrap();
        assert_eq!((address.scope, address.api), (None, "chat/completions"));
        let address = Address::parse("/sophia/vllm/v1/embeddings").unwrap();
        assert_eq!(address.scope, Some(("sophia", "vllm")));
        assert_eq!(address.api, "embeddings");
    }

    #[test]
    fn odd_paths_name_nothing() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "//v1/chat/completions",
            "/v1//chat/completions",
            "/v1/../admin",
            "/v1/./chat",
            "/v1/chat%2fcompletions",
            "/v1/chat/completions/",
            "/a/v1/chat/completions",
            "/a//v1/chat/completions",
            "/a/b/c/v1/chat/completions",
        ] {
            assert_eq!(Address::parse(path), None, "{path}");
        }
    }
}
