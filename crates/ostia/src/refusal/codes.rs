//! Every error code of the gateway, what it means and what to do about it. The page docs/reference/errors.md is made
//! from it, and in debug builds a refusal whose code or status is not listed here panics, so that a test finds it.

/// One error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode {
    pub code: &'static str,
    /// The statuses that it comes with; empty if an adapter or a backend chooses.
    pub statuses: &'static [u16],
    /// What happened.
    pub meaning: &'static str,
    /// What the caller can do about it.
    pub caller: &'static str,
    /// What the operator should look at; "" if there is nothing to see.
    pub operator: &'static str,
}

impl ErrorCode {
    /// OpenAI's `error.type` for the first status.
    pub fn kind(&self) -> &'static str {
        let status = self.statuses.first().copied().unwrap_or(500);
        super::refusal::kind_of(status)
    }
}

/// The code as the table has it; `None` where an adapter made it up.
pub fn known_code(code: &str) -> Option<&'static str> {
    let known = ERROR_CODES.iter().find(|known| known.code == code)?;
    Some(known.code)
}

/// Whether the table has this code with this status.
pub(super) fn is_known(code: &str, status: u16) -> bool {
    ERROR_CODES.iter().any(|known| {
        known.code == code && (known.statuses.is_empty() || known.statuses.contains(&status))
    })
}

const fn code(
    code: &'static str,
    statuses: &'static [u16],
    meaning: &'static str,
    caller: &'static str,
    operator: &'static str,
) -> ErrorCode {
    ErrorCode {
        code,
        statuses,
        meaning,
        caller,
        operator,
    }
}

/// In order of status.
pub const ERROR_CODES: &[ErrorCode] = &[
    code(
        "invalid_json",
        &[400],
        "The body is not a JSON object, is nested deeper than 256, or begins with a byte order mark.",
        "Send the JSON as it is: with curl, check the quotes around `-d`.",
        "",
    ),
    code(
        "missing_model",
        &[400],
        "`model` is missing, empty or not a text.",
        "Name a model; `GET /v1/models` lists those that you may use.",
        "",
    ),
    code(
        "missing_required_parameter",
        &[400],
        "`messages`, `prompt` or `input` is missing.",
        "Add what `param` names.",
        "",
    ),
    code(
        "invalid_value",
        &[400, 409, 422],
        "A value that the gateway must understand has the wrong type, a control key occurs twice, a field that only the gateway may set is there (`cache_salt`; on MinervaEndpoint 422), `responses` refers to a stored conversation or item, or a backend refused the request without saying why.",
        "Fix what `param` and the message name.",
        "If the row's `upstream_status` is set, the backend refused: its own log says why.",
    ),
    code(
        "invalid_encoding",
        &[400],
        "The body is not what its `Content-Encoding` says: cut off, damaged, with bytes behind its end, or with a window above 8 MiB.",
        "Send it again, or plain.",
        "A proxy that decompresses bodies and leaves the header.",
    ),
    code(
        "previous_response_not_found",
        &[400],
        "`previous_response_id` belongs to another user or endpoint, or is too old.",
        "Send the whole conversation as `input`.",
        "",
    ),
    code(
        "unsupported_framework",
        &[400],
        "The cluster does not list the framework in the path.",
        "`GET /list-endpoints` shows which exist.",
        "`frameworks` of the cluster.",
    ),
    code(
        "unsupported_endpoint",
        &[400],
        "The cluster does not list the API in the path, or no cluster of the model does.",
        "`GET /list-endpoints` shows which exist.",
        "`openai_endpoints` of the cluster.",
    ),
    code(
        "invalid_request",
        &[400],
        "More than one credential was sent.",
        "Send one `Authorization` header.",
        "A proxy that adds its own `Authorization`.",
    ),
    code(
        "incomplete_body",
        &[400],
        "The body ended before its length, or its framing broke.",
        "Send it again.",
        "A proxy in front that cuts requests.",
    ),
    code(
        "invalid_host",
        &[400, 403],
        "The `Host` header is missing, repeated or malformed; 403: the admin listener does not answer to this name.",
        "Use a client that speaks HTTP/1.1.",
        "`proxy_set_header Host` in the proxy in front; `server.admin_hosts`.",
    ),
    code(
        "invalid_target",
        &[400],
        "The request target is not a path.",
        "Send a path that begins with `/`.",
        "",
    ),
    code(
        "invalid_framing",
        &[400],
        "Content-Length and Transfer-Encoding conflict or are malformed.",
        "Use a client that speaks HTTP/1.1.",
        "Someone may be trying to smuggle requests: see the access log.",
    ),
    code(
        "missing_credentials",
        &[401],
        "The request has no key or token.",
        "Send `Authorization: Bearer ...`; SDKs take it as `api_key`.",
        "A proxy that removes `Authorization`.",
    ),
    code(
        "invalid_api_key",
        &[401],
        "The key or token is unknown, revoked, malformed, or not for this service.",
        "Ask for a new key, or sign in again (`ostia login`).",
        "`ostia key list`; `auth.providers`; events of target `ostia::audit`.",
    ),
    code(
        "token_expired",
        &[401],
        "The key or token has expired.",
        "Ask for a new key, or use `ostia token`.",
        "`ostia key list`, `ostia key rotate`.",
    ),
    code(
        "reauthentication_required",
        &[401],
        "A policy requires a newer or stronger sign-in, or the owner of a key has not signed in for too long.",
        "Sign in again, as the message says.",
        "`auth.globus.policies`; `required_acr`; `keys.owner_ttl`, `ostia user show U`.",
    ),
    code(
        "policy_denied",
        &[403],
        "Signed in, but not admitted to the gateway.",
        "The message says which domain or group is needed.",
        "`auth.admit`; `domains`, `required_groups`, `groups_per_domain` of the provider; a key's `--allow-ip`; members of a project (`ostia project show`); with provider `none`, a request that is not local.",
    ),
    code(
        "account_disabled",
        &[403],
        "The operators have disabled this user, or blocked this user, key, project or group.",
        "Ask the operators.",
        "`ostia user show U`, `ostia user enable U`; `blocked = true` in `[limits.user.\"NAME\"]` and its like.",
    ),
    code(
        "model_access_denied",
        &[403],
        "The model exists, and a rule on groups or domains keeps the caller out. Only where the entry has an `access_hint`, which is the message; without one it is `model_not_found`.",
        "Do what the message says.",
        "`access_hint` of the endpoint; `ostia explain --user U --model M` names the rule.",
    ),
    code(
        "not_found",
        &[404],
        "There is nothing at this path.",
        "The base URL ends in `/v1`, or `/CLUSTER/FRAMEWORK/v1`; `/docs` lists the paths.",
        "",
    ),
    code(
        "lease_gone",
        &[410],
        "The lease on an endpoint is over, or the key never held it.",
        "Register again: `PUT /v1/register/{slug}` with `url` and without `lease`.",
        "Renewals came later than the lease's `ttl`: the job's network, or its clock.",
    ),
    code(
        "conflict",
        &[409],
        "It would contradict what is there: a name that is taken, a limit of keys, two users of one name.",
        "The message says what is in the way.",
        "Routes of the admin listener, and `GET /v1/usage` of somebody for whose name two providers answer: `ostia user link`, or `claims.user` of the provider.",
    ),
    code(
        "cluster_not_found",
        &[404],
        "The cluster does not exist, or the caller may not use it: the two look the same.",
        "`GET /list-endpoints` shows which you may use.",
        "`ostia explain --user U --model M` names the rule.",
    ),
    code(
        "model_not_found",
        &[404],
        "The model does not exist, or the caller may not use it: the two look the same. With `upstream_status` in the row, the backend does not know it.",
        "`GET /v1/models` lists those that you may use; names are exact.",
        "`ostia explain --user U --model M`; `upstream_model`; `catalog.match`.",
    ),
    code(
        "method_not_allowed",
        &[405],
        "The path supports other methods, which `Allow` lists.",
        "Inference is POST, lists are GET.",
        "A proxy or redirect that turned POST into GET.",
    ),
    code(
        "request_timeout",
        &[408],
        "The body arrived too slowly.",
        "Send it again.",
        "`server.body_idle_timeout`.",
    ),
    code(
        "upgrade_failed",
        &[409, 500],
        "No other process took over, and this one serves on.",
        "",
        "The new process's lines in the log say why it did not start.",
    ),
    code(
        "reload_refused",
        &[409, 422],
        "The files cannot be served, so what was served before stays; or the gateway was not started from files.",
        "",
        "`error.info` lists every fault; `ostia check` shows them too.",
    ),
    code(
        "request_too_large",
        &[413],
        "The body is larger than the gateway or the backend accepts.",
        "Send less.",
        "`server.max_body_bytes`; `client_max_body_size` of nginx.",
    ),
    code("uri_too_long", &[414], "The path is too long.", "", ""),
    code(
        "unsupported_media_type",
        &[415],
        "The body has a type that is not supported, or a `Content-Encoding` other than zstd, br, gzip and deflate.",
        "Send `Content-Type: application/json`, and no other `Content-Encoding` than `Accept-Encoding` lists.",
        "",
    ),
    code(
        "websocket_not_supported",
        &[426],
        "A client asks for a WebSocket.",
        "Send the request with POST; clients that can do both go on by themselves.",
        "",
    ),
    code(
        "upstream_refused",
        &[],
        "The backend refused the request with a 4xx of its own choice, without a code.",
        "The message is the backend's.",
        "The backend's log.",
    ),
    code(
        "expectation_failed",
        &[417],
        "An `Expect` header other than `100-continue`.",
        "Remove it.",
        "",
    ),
    code(
        "requests",
        &[429],
        "More requests per second than allowed.",
        "Wait as long as `Retry-After` says; SDKs do.",
        "`limits.requests_per_second_per_user`, `limits.queue_timeout`.",
    ),
    code(
        "tokens",
        &[429],
        "The minute's tokens of the model or of the user are used, reserved or owed, and do not come back in time.",
        "Wait as long as `Retry-After` says; without it, as long as the message says.",
        "`tpm_model`, `tpm_user` of the endpoint; `limits.queue_timeout`, `limits.reserve_output`; `error.info` and `x-ratelimit-*` say how much is used.",
    ),
    code(
        "concurrency",
        &[429],
        "As many requests in flight as allowed, of one user or one address, or as much memory for their bodies.",
        "Wait for one to end.",
        "`limits.max_in_flight_per_user`, `limits.in_flight_per_model`, `limits.queue_timeout`; `server.connections_per_address`, `server.trusted_proxies`; `server.max_buffered_bytes`, of which one user may hold a quarter.",
    ),
    code(
        "refused_bytes",
        &[429],
        "Bodies of this user that were refused came faster than allowed.",
        "Look at the earlier errors, mend the requests, and wait as long as `Retry-After` says.",
        "`limits.refused_bytes_per_second_per_user`; a client that repeats large requests without looking at the answer.",
    ),
    code(
        "too_many_failed_sign_ins",
        &[429],
        "30 bad credentials came from this address within a minute, to all replicas together that share their limits.",
        "Use a valid key, after `Retry-After`.",
        "`trusted_proxies`: without it, everyone behind a proxy has one address. `ostia_sign_ins_failed_total`.",
    ),
    code(
        "rate_limit_exceeded",
        &[429],
        "The backend has too many requests, and its own message cannot be shown.",
        "Wait as long as `Retry-After` says.",
        "The limits of the backend's own key.",
    ),
    code(
        "internal_error",
        &[500],
        "The gateway itself failed.",
        "Tell the operators the `x-request-id`.",
        "The log line with that request id, and the one before it, which says where in the code; please report it.",
    ),
    code(
        "adapter_error",
        &[500],
        "The endpoint's adapter failed, took too long, or asked for a URL that it may not call.",
        "Tell the operators the `x-request-id`.",
        "The log line with that request id.",
    ),
    code(
        "failed_to_get_cluster_jobs",
        &[],
        "`/{cluster}/jobs`: the cluster's source failed, and no earlier state is known. 500, or 504 if it took too long, or what an adapter says.",
        "Try again in a minute; inference goes on.",
        "The log; `status_url`, the scheduler's command.",
    ),
    code(
        "adapter_refused",
        &[],
        "An adapter of the site refused the request; most give a code of their own.",
        "The message is the site's.",
        "The adapter.",
    ),
    code(
        "not_implemented",
        &[501],
        "The API is not served: batches, files and whatever would mix users' data behind one key.",
        "",
        "",
    ),
    code(
        "upstream_unreachable",
        &[502],
        "The backend cannot be reached, its TLS fails, or it closed the connection without a response.",
        "Try again; then tell the operators.",
        "The log line with the request id says what failed; `curl` the URL that `ostia check` prints, from the gateway's machine. `ca_cert_path`, `trust_env`.",
    ),
    code(
        "upstream_auth",
        &[502],
        "The backend refused the gateway's own key.",
        "Tell the operators.",
        "The variable that `api_key_env_name` names: changed, expired, or for another service.",
    ),
    code(
        "upstream_invalid",
        &[502],
        "The backend's response is not HTTP, is empty, is not what was asked for, or is a redirect or server error.",
        "Try again; then tell the operators.",
        "`upstream_status` in the ledger and the log line: a 3xx or 404 often means a wrong `api_url`.",
    ),
    code(
        "upstream_closed",
        &[502],
        "The backend closed the connection before the response was complete; in a stream, sent as its last event.",
        "Send the request again.",
        "The backend's log: it was stopped, or ran out of memory.",
    ),
    code(
        "truncated",
        &[502],
        "The backend ended a stream as if it were complete before the response was; in a stream, sent as its last event.",
        "Send the request again.",
        "The backend's log: it may have died. If its streams end without `[DONE]` or a `finish_reason`: `\"done_marker\": false`.",
    ),
    code(
        "no_healthy_backend",
        &[503, 529],
        "No deployment of the model accepts requests, or the backend said 503 or 529 (503 outside `messages`).",
        "Wait as long as `Retry-After` says.",
        "`ostia_requests_total` by outcome. After five failures in a row a deployment is tried only after its peers, and one request probes it every ten seconds.",
    ),
    code(
        "model_not_running",
        &[503],
        "The cluster says that the model is starting, queued or stopped.",
        "`GET /{cluster}/jobs` shows what is running; `Retry-After` is the expected start, if known.",
        "`require_running`, `readiness_url`; `/{cluster}/jobs`.",
    ),
    code(
        "queue_full",
        &[503],
        "Every deployment of the model has as many requests in flight as it may.",
        "Wait as long as `Retry-After` says.",
        "`max_in_flight` of the endpoints; more replicas.",
    ),
    code(
        "cluster_under_maintenance",
        &[503],
        "The cluster is under maintenance; the message is the operators'.",
        "Use another cluster, or wait.",
        "`ostia maintenance clear CLUSTER`, `[maintenance]`, `[maintenance.source.*]`.",
    ),
    code(
        "endpoint_disabled",
        &[503],
        "The endpoint's entry has a mistake.",
        "Tell the operators.",
        "`ostia check` names it; often the variable of `api_key_env_name` is not set.",
    ),
    code(
        "adapter_unavailable",
        &[503],
        "The endpoint uses an adapter that this gateway does not serve.",
        "",
        "`ostia check`; adapters.md.",
    ),
    code(
        "gateway_busy",
        &[503],
        "The request bodies in flight fill the memory reserved for them, or no further connection can be opened.",
        "Wait as long as `Retry-After` says.",
        "`server.max_buffered_bytes`, `ostia_request_body_bytes`; the limit of open files (`LimitNOFILE=`), `server.max_connections`.",
    ),
    code(
        "store_unavailable",
        &[503],
        "The database or the journal's disk does not respond, or the journal is full.",
        "Wait as long as `Retry-After` says.",
        "`store.url`; the disk of `state_dir`; `ostia_ledger_pending_bytes`.",
    ),
    code(
        "identity_unavailable",
        &[503],
        "The identity provider does not respond.",
        "Wait as long as `Retry-After` says; a valid key is not at fault.",
        "Whether the gateway's machine can reach the provider; its client secret (logged as an error).",
    ),
    code(
        "shutting_down",
        &[503],
        "The gateway is being stopped.",
        "Send the request again.",
        "`server.drain_timeout`.",
    ),
    code(
        "upstream_timeout",
        &[504],
        "The backend did not respond, fell silent, or took longer than allowed.",
        "Ask for less, or stream.",
        "`api_request_timeout` of the endpoint; `[upstream]`; the backend's queue.",
    ),
];
