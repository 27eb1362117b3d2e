use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, USER_AGENT,
};
use ostia_core::{Identity, RequestId};

use super::DIRECT_API;
use super::context::Caller;
use super::seal::Seal;
use crate::catalog::Deployment;
use crate::read::{Call, Changes};
use crate::upstream::Outgoing;

/// The client's headers that every backend gets. `content-type` and an endpoint's `forward_headers` are added to them.
const PASSED: [HeaderName; 7] = [
    ACCEPT,
    USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("openai-beta"),
];
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is the same for every request to an endpoint.
pub(super) struct Constants {
    authorization: Option<HeaderValue>,
    /// The client's headers that this backend gets, without duplicates.
    passed: Vec<HeaderName>,
    seal: Option<Seal>,
}

impl Constants {
    pub(super) fn of(deployment: &Deployment) -> Self {
        let authorization = deployment.target.key.as_ref().and_then(|key| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let mut passed = PASSED.to_vec();
        for name in &deployment.target.forward_headers {
            if ![CONTENT_TYPE, X_REQUEST_ID].contains(name) && !passed.contains(name) {
                passed.push(name.clone());
            }
        }
        Self {
            authorization,
            passed,
            seal: Seal::of(deployment),
        }
    }

    /// What the backend gets as `cache_salt`.
    pub(super) fn cache_salt(
        &self,
        deployment: &Deployment,
        caller: &Identity,
        call: &Call,
    ) -> Option<String> {
        let seal = self.seal.as_ref()?;
        seal.cache_salt(&deployment.model, caller, call)
    }

    /// The direct API's request: the client's body with as few changes as possible, the allowed headers, the endpoint's
    /// own key.
    pub(super) fn prepare(
        &self,
        deployment: &Deployment,
        caller: Caller<'_>,
        call: &Call,
        cache_salt: Option<&str>,
    ) -> Outgoing {
        let target = &deployment.target;
        let changes = Changes {
            model: Some(&deployment.upstream_model),
            inject_usage: target.inject_usage,
            cache_salt,
            strip_billing_header: deployment.agents.strip_billing_header,
        };
        Outgoing {
            method: call.method(),
            origin: None,
            path_and_query: target.path_and_query(&call.path()),
            headers: self.headers(deployment, caller, call),
            body: match call.stored {
                None => call.pieces(changes),
                Some(_) => Vec::new(),
            },
            timeouts: target.timeouts,
            stream: call.stream,
        }
    }

    fn headers(&self, deployment: &Deployment, caller: Caller<'_>, call: &Call) -> HeaderMap {
        let (id, client): (RequestId, _) = (caller.id, caller.headers);
        let mut headers = HeaderMap::with_capacity(12);
        if call.stored.is_none() {
            headers.insert(CONTENT_TYPE, call.content_type.clone());
        }
        let hops = named_in_connection(client);
        for name in &self.passed {
            if hops.contains(name) {
                continue;
            }
            for value in client.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut buffer = [0; 36];
        if let Ok(value) = HeaderValue::from_str(id.encode(&mut buffer)) {
            headers.insert(X_REQUEST_ID, value);
        }
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let seal = self.seal.as_ref();
        let affinity =
            seal.and_then(|seal| seal.affinity(&deployment.model, caller.principal, call));
        if let Some((name, value)) = affinity {
            headers.insert(name, value);
        }
        headers
    }
}

/// Headers that the client meant for us alone (RFC 9110 section 7.6.1).
fn named_in_connection(client: &HeaderMap) -> Vec<HeaderName> {
    client
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|option| !option.eq_ignore_ascii_case("keep-alive"))
        .filter_map(|option| option.parse().ok())
        .collect()
}

/// Whether this call is sent with `stream_options.include_usage` although the client did not ask for it.
pub fn injects_usage(deployment: &Deployment, call: &Call) -> bool {
    deployment.target.inject_usage && call.injects_usage()
}

/// Whether whatever answers will be an event stream. Hooks, and backends of a site's own, may turn it off.
pub fn streams_surely(deployments: &[Arc<Deployment>], call: &Call) -> bool {
    let is_plain = |one: &Arc<Deployment>| one.hooks.is_none() && *one.kind == *DIRECT_API;
    call.stream && call.api.generates_text() && deployments.iter().all(is_plain)
}
