use http::Method;

/// One public route.
#[derive(Debug, Clone, Copy)]
pub struct RouteEntry {
    pub methods: &'static [&'static str],
    /// Without the base path, under which the route is served too. `{name}` is one segment, `{*name}` the rest of the
    /// path, `{id}` a stored object's, `{reserved}` one of the APIs that are never relayed, `{model}` a percent-encoded model name.
    pub pattern: &'static str,
    pub kind: RouteKind,
    /// Served without signing in.
    pub open: bool,
    pub summary: &'static str,
}

/// What an entry leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    Home,
    Health,
    Status,
    OpenApi,
    Docs,
    Whoami,
    Limits,
    Me,
    Usage,
    ListEndpoints,
    Models,
    Model,
    Jobs,
    ClusterModels,
    /// A lease on an endpoint whose engines say where they are.
    Register,
    Inference,
    /// A response that a backend stores.
    Stored,
    /// `like`: the API whose clients ask for it, so that they are told in its dialect.
    NotServed {
        like: &'static str,
    },
}

/// APIs that are never relayed, even if a cluster lists them: a backend would keep all users' data under its one key.
pub(super) const RESERVED: [&str; 8] = [
    "models",
    "batches",
    "files",
    "fine_tuning",
    "assistants",
    "threads",
    "vector_stores",
    "usage",
];

const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];
const ANY: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Every public route, in the order in which they are tried.
pub const ROUTES: &[RouteEntry] = &[
    open(
        "/",
        RouteKind::Home,
        "What this is, and where its pages are",
    ),
    open("/health", RouteKind::Health, "Whether the gateway responds"),
    open(
        "/status",
        RouteKind::Status,
        "Which of the public clusters accept requests",
    ),
    open(
        "/openapi.json",
        RouteKind::OpenApi,
        "This API as a document",
    ),
    open("/docs", RouteKind::Docs, "This API as a page"),
    listing("/whoami", RouteKind::Whoami, "Who you are to the gateway"),
    listing(
        "/v1/limits",
        RouteKind::Limits,
        "Your limits: what is used, owed and left",
    ),
    listing(
        "/v1/me",
        RouteKind::Me,
        "You: identity, groups, projects, roles, keys and limits",
    ),
    listing(
        "/v1/usage",
        RouteKind::Usage,
        "Your requests and tokens: `?since=7d&by=model,day`",
    ),
    listing(
        "/list-endpoints",
        RouteKind::ListEndpoints,
        "The clusters, frameworks and models that you may use",
    ),
    listing(
        "/v1/models",
        RouteKind::Models,
        "The models that you may use",
    ),
    listing("/v1/models/{*id}", RouteKind::Model, "One model"),
    listing(
        "/models",
        RouteKind::Models,
        "The same, for clients whose base URL lacks `/v1`",
    ),
    listing("/models/{*id}", RouteKind::Model, "One of them"),
    listing(
        "/{cluster}/{framework}/v1/models",
        RouteKind::Models,
        "The models of one framework that you may use",
    ),
    listing(
        "/{cluster}/{framework}/v1/models/{*id}",
        RouteKind::Model,
        "One model of one framework",
    ),
    listing(
        "/{cluster}/jobs",
        RouteKind::Jobs,
        "Which models of a cluster are running, queued or stopped",
    ),
    listing(
        "/{cluster}/models",
        RouteKind::ClusterModels,
        "The models of a cluster with their details and limits",
    ),
    RouteEntry {
        methods: &["GET", "PUT", "DELETE"],
        pattern: "/v1/register/{id}",
        kind: RouteKind::Register,
        open: false,
        summary: "Says where an engine of this endpoint is, for a while (PUT), or that it is there no longer (DELETE); GET opens a tunnel",
    },
    not_served("/v1/{reserved}"),
    not_served("/v1/{reserved}/{*rest}"),
    not_served("/{cluster}/{framework}/v1/{reserved}"),
    not_served("/{cluster}/{framework}/v1/{reserved}/{*rest}"),
    not_served("/openai/deployments/{model}/{reserved}"),
    not_served("/openai/deployments/{model}/{reserved}/{*rest}"),
    not_served("/data/{*rest}"),
    RouteEntry {
        methods: POST,
        pattern: "/v1/{*api}",
        kind: RouteKind::Inference,
        open: false,
        summary: "On any deployment of the model that you may use",
    },
    RouteEntry {
        methods: POST,
        pattern: "/{cluster}/{framework}/v1/{*api}",
        kind: RouteKind::Inference,
        open: false,
        summary: "On that cluster and framework",
    },
    RouteEntry {
        methods: POST,
        pattern: "/openai/deployments/{model}/{*api}",
        kind: RouteKind::Inference,
        open: false,
        summary: "Azure's form: on any deployment of that model",
    },
    stored("/v1/responses/{id}"),
    stored("/{cluster}/{framework}/v1/responses/{id}"),
    // What is not an API under these names is something stored, or made of many requests.
    not_served("/v1/responses/{*id}"),
    not_served("/{cluster}/{framework}/v1/responses/{*id}"),
    not_served("/openai/deployments/{model}/responses/{*id}"),
    not_served_like("messages", "/v1/messages/{*rest}"),
    not_served_like("messages", "/{cluster}/{framework}/v1/messages/{*rest}"),
    // FIRST's services beside the OpenAI API.
    not_served("/{cluster}/sam3service/{*rest}"),
    not_served("/{cluster}/dinoserver/{*rest}"),
    not_served("/{cluster}/triton/{*rest}"),
];

impl RouteEntry {
    pub fn answers(&self, method: &Method) -> bool {
        self.methods.contains(&method.as_str())
    }

    /// Whether the path names the model.
    pub fn names_model(&self) -> bool {
        self.pattern.contains("{model}")
    }
}

const fn open(pattern: &'static str, kind: RouteKind, summary: &'static str) -> RouteEntry {
    RouteEntry {
        methods: GET,
        pattern,
        kind,
        open: true,
        summary,
    }
}

const fn listing(pattern: &'static str, kind: RouteKind, summary: &'static str) -> RouteEntry {
    RouteEntry {
        methods: GET,
        pattern,
        kind,
        open: false,
        summary,
    }
}

const fn stored(pattern: &'static str) -> RouteEntry {
    RouteEntry {
        methods: &["GET", "DELETE"],
        pattern,
        kind: RouteKind::Stored,
        open: false,
        summary: "A response that you made, where its backend stores it",
    }
}

const fn not_served(pattern: &'static str) -> RouteEntry {
    not_served_like("", pattern)
}

const fn not_served_like(like: &'static str, pattern: &'static str) -> RouteEntry {
    RouteEntry {
        methods: ANY,
        pattern,
        kind: RouteKind::NotServed { like },
        open: false,
        summary: "Not served: 501 after sign-in",
    }
}
