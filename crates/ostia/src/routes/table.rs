use http::Method;

/// One public route.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub methods: &'static [&'static str],
    /// Without the base path, under which it is there too. `{name}` is one segment, `{*name}` all that is left;
    /// `{reserved}` is one of the APIs that are never relayed, `{model}` a model's name, percent-encoded.
    pub pattern: &'static str,
    pub kind: Kind,
    /// Answered without signing in.
    pub open: bool,
    pub summary: &'static str,
}

/// What stands behind an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Health,
    Status,
    OpenApi,
    Docs,
    Whoami,
    ListEndpoints,
    Models,
    Model,
    Jobs,
    ClusterModels,
    Inference,
    NotServed,
}

/// APIs that are never relayed, even if a cluster lists them: they would mix users' data behind one backend key.
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
pub const ROUTES: [Entry; 28] = [
    open("/health", Kind::Health, "Whether the gateway answers"),
    open(
        "/status",
        Kind::Status,
        "Which of the clusters that are open to all take requests",
    ),
    open("/openapi.json", Kind::OpenApi, "This API as a document"),
    open("/docs", Kind::Docs, "This API as a page"),
    listing("/whoami", Kind::Whoami, "Who you are to the gateway"),
    listing(
        "/list-endpoints",
        Kind::ListEndpoints,
        "The clusters, frameworks and models that you may use",
    ),
    listing("/v1/models", Kind::Models, "The models that you may use"),
    listing("/v1/models/{*id}", Kind::Model, "One model"),
    listing(
        "/{cluster}/{framework}/v1/models",
        Kind::Models,
        "The models of one framework that you may use",
    ),
    listing(
        "/{cluster}/{framework}/v1/models/{*id}",
        Kind::Model,
        "One model of one framework",
    ),
    listing(
        "/{cluster}/jobs",
        Kind::Jobs,
        "Which models of a cluster run, wait or are stopped",
    ),
    listing(
        "/{cluster}/models",
        Kind::ClusterModels,
        "The models of a cluster with their details and limits",
    ),
    not_served("/v1/{reserved}"),
    not_served("/v1/{reserved}/{*rest}"),
    not_served("/v1/responses/{*id}"),
    not_served("/{cluster}/{framework}/v1/{reserved}"),
    not_served("/{cluster}/{framework}/v1/{reserved}/{*rest}"),
    not_served("/{cluster}/{framework}/v1/responses/{*id}"),
    not_served("/openai/deployments/{model}/{reserved}"),
    not_served("/openai/deployments/{model}/{reserved}/{*rest}"),
    not_served("/openai/deployments/{model}/responses/{*id}"),
    not_served("/data/{*rest}"),
    Entry {
        methods: POST,
        pattern: "/v1/{*api}",
        kind: Kind::Inference,
        open: false,
        summary: "On any deployment of the model that you may use",
    },
    Entry {
        methods: POST,
        pattern: "/{cluster}/{framework}/v1/{*api}",
        kind: Kind::Inference,
        open: false,
        summary: "On that cluster and framework",
    },
    Entry {
        methods: POST,
        pattern: "/openai/deployments/{model}/{*api}",
        kind: Kind::Inference,
        open: false,
        summary: "Azure's form: on any deployment of that model",
    },
    // FIRST's services beside the OpenAI API.
    not_served("/{cluster}/sam3service/{*rest}"),
    not_served("/{cluster}/dinoserver/{*rest}"),
    not_served("/{cluster}/triton/{*rest}"),
];

impl Entry {
    pub fn answers(&self, method: &Method) -> bool {
        self.methods.contains(&method.as_str())
    }

    /// Whether the path names the model.
    pub fn names_model(&self) -> bool {
        self.pattern.contains("{model}")
    }
}

const fn open(pattern: &'static str, kind: Kind, summary: &'static str) -> Entry {
    Entry {
        methods: GET,
        pattern,
        kind,
        open: true,
        summary,
    }
}

const fn listing(pattern: &'static str, kind: Kind, summary: &'static str) -> Entry {
    Entry {
        methods: GET,
        pattern,
        kind,
        open: false,
        summary,
    }
}

const fn not_served(pattern: &'static str) -> Entry {
    Entry {
        methods: ANY,
        pattern,
        kind: Kind::NotServed,
        open: false,
        summary: "Not served: 501 after sign-in",
    }
}
