//! In: a path. Out: [`Route`], what it stands for. Here: the one table of public routes.
//! Not here: what the routes do, who may use them.

use http::Method;

use crate::read::{Api, Dialect};
use crate::resolve::Address;

/// What a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    Health,
    Whoami,
    ListEndpoints,
    /// What runs, waits and stands still on a cluster.
    Jobs {
        cluster: &'a str,
    },
    /// A cluster's models with their details.
    ClusterModels {
        cluster: &'a str,
    },
    /// Inference on a cluster's framework, or on any deployment of the model.
    Inference(Address<'a>),
    /// An API that would mix users' data behind one key, or is not served yet.
    NotServed,
}

/// APIs that are never relayed, even if a cluster lists them.
const RESERVED: [&str; 8] = [
    "models",
    "batches",
    "files",
    "fine_tuning",
    "assistants",
    "threads",
    "vector_stores",
    "usage",
];

impl<'a> Route<'a> {
    /// Finds the route of a path, with or without the base path.
    pub fn find(path: &'a str, base_path: &str) -> Option<Self> {
        let bare = path
            .strip_prefix(base_path)
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(path);
        match bare {
            "/health" => Some(Self::Health),
            "/whoami" => Some(Self::Whoami),
            "/list-endpoints" => Some(Self::ListEndpoints),
            _ => Self::of_cluster(bare).or_else(|| Address::parse(bare).map(Self::of_address)),
        }
    }

    /// `/{cluster}/jobs` and `/{cluster}/models`. No cluster is called `v1`.
    fn of_cluster(path: &'a str) -> Option<Self> {
        let (cluster, list) = path.strip_prefix('/')?.split_once('/')?;
        let sound = !matches!(cluster, "" | "v1" | "." | "..") && !cluster.contains('%');
        match list {
            "jobs" if sound => Some(Self::Jobs { cluster }),
            "models" if sound => Some(Self::ClusterModels { cluster }),
            _ => None,
        }
    }

    fn of_address(address: Address<'a>) -> Self {
        let family = address.api.split('/').next().unwrap_or_default();
        let stored_response = address.api.starts_with("responses/");
        if RESERVED.contains(&family) || stored_response {
            Self::NotServed
        } else {
            Self::Inference(address)
        }
    }

    /// Open to everybody, without signing in.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Health)
    }

    /// The methods it answers, for `Allow`.
    pub fn allow(&self) -> &'static str {
        match self {
            Self::Inference(_) => "POST",
            Self::NotServed => "GET, POST, DELETE",
            _ => "GET, HEAD",
        }
    }

    pub fn answers(&self, method: &Method) -> bool {
        self.allow()
            .split(", ")
            .any(|allowed| allowed == method.as_str())
    }

    /// The dialect in which errors are told.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Inference(address) => Api::parse(address.api).dialect(),
            _ => Dialect::OpenAi,
        }
    }

    /// The name in logs and metrics: few, and none of a caller's making.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Whoami => "/whoami",
            Self::ListEndpoints => "/list-endpoints",
            Self::Jobs { .. } => "/{cluster}/jobs",
            Self::ClusterModels { .. } => "/{cluster}/models",
            Self::Inference(Address { scope: None, .. }) => "/v1/{api}",
            Self::Inference(_) => "/{cluster}/{framework}/v1/{api}",
            Self::NotServed => "not_served",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn every_route_is_there_with_and_without_the_base_path() {
        for path in [
            "/health",
            "/whoami",
            "/list-endpoints",
            "/v1/chat/completions",
            "/c/f/v1/embeddings",
            "/c/jobs",
            "/c/models",
        ] {
            let bare = Route::find(path, "/resource_server").unwrap();
            let prefixed = format!("/resource_server{path}");
            assert_eq!(
                Route::find(&prefixed, "/resource_server"),
                Some(bare),
                "{path}"
            );
        }
    }

    #[test]
    fn reserved_apis_are_never_inference() {
        for path in [
            "/v1/files",
            "/v1/batches/b1",
            "/v1/models",
            "/c/f/v1/files",
            "/v1/responses/r1",
            "/v1/threads/t/runs",
        ] {
            assert_eq!(Route::find(path, ""), Some(Route::NotServed), "{path}");
        }
        assert!(matches!(
            Route::find("/v1/responses", ""),
            Some(Route::Inference(_))
        ));
    }

    #[test]
    fn siblings_of_routes_are_nothing() {
        for path in [
            "//v1/models",
            "/health/",
            "/Health",
            "/resource_serverhealth",
            "/v1/../health",
            "/%68ealth",
            "/c/jobs/",
            "/%63/jobs",
            "/../jobs",
            "//jobs",
            "",
        ] {
            assert_eq!(Route::find(path, "/resource_server"), None, "{path}");
        }
    }
}
