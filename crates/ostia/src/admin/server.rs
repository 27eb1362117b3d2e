use std::sync::Arc;

use form_urlencoded::parse;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;

use super::hosts::Hosts;
use super::metrics_text;
use super::ready::readiness;
use crate::dialect::PLAIN;
use crate::gateway::json_answer;
use crate::gateway::{Gateway, NO_ROUTE, begin_access, logged};
use crate::identify::{Principal, Sender};
use crate::listen::{self, Connections, Handler, Inbound, Listener, Rejection};
use crate::refusal::Refusal;
use crate::relay::ClientBody;

const MAX_CONNECTIONS: usize = 256;
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const ROUTES: [&str; 4] = ["/health/live", "/health/ready", "/metrics", "/admin/purge"];

struct Admin {
    gateway: Arc<Gateway>,
    public: Arc<Connections>,
    hosts: Hosts,
}

/// Serves until its task is stopped: it has to answer while the public side drains.
pub async fn serve(listener: Listener, gateway: Arc<Gateway>, public: Arc<Connections>) {
    let options = listen::Options {
        max_connections: MAX_CONNECTIONS,
        connections: Arc::default(),
        trusted_proxies: Vec::new(),
        ..listen::Options::new(&gateway.live().settings.server, None)
    };
    let clock = gateway.clock();
    let hosts = Hosts::of(&gateway.live().settings.server);
    let admin = Arc::new(Admin {
        gateway,
        public,
        hosts,
    });
    listen::serve(
        listener,
        options.swappable(),
        admin,
        listen::Drain::new(),
        clock,
    )
    .await;
}

impl Admin {
    async fn answer(&self, inbound: &Inbound) -> Result<Response<ClientBody>, Refusal> {
        if !self.hosts.hold(&inbound.head) {
            return Err(Refusal::client(
                StatusCode::FORBIDDEN,
                "invalid_host",
                "The admin listener does not answer to this Host: ask for localhost or its address, or list the name in server.admin_hosts.",
            ));
        }
        let path = inbound.head.uri.path();
        if path == "/admin/purge" {
            return self.purge(inbound).await;
        }
        if !matches!(inbound.head.method, Method::GET | Method::HEAD) {
            let known = matches!(path, "/health/live" | "/health/ready" | "/metrics");
            return Err(match known {
                true => Refusal::method_not_allowed("GET, HEAD"),
                false => Refusal::not_found(None),
            });
        }
        match path {
            "/health/live" => Ok(json_answer(StatusCode::OK, &json!({"status": "ok"}))),
            "/health/ready" => Ok(readiness(&self.gateway).await.answer(is_strict(inbound))),
            "/metrics" => Ok(self.metrics()),
            _ => Err(Refusal::not_found(None)),
        }
    }

    /// Forgets what providers said of callers, so that a right that was taken away is gone at once.
    async fn purge(&self, inbound: &Inbound) -> Result<Response<ClientBody>, Refusal> {
        if inbound.head.method != Method::POST {
            return Err(Refusal::method_not_allowed("POST"));
        }
        let administrator = self.administrator(inbound).await?;
        self.gateway.live().identify.purge();
        tracing::info!(
            target: "ostia::audit",
            kind = "purged",
            request_id = %inbound.id,
            username = &*administrator.username,
            "what is known of callers was forgotten"
        );
        Ok(json_answer(StatusCode::OK, &json!({"status": "ok"})))
    }

    /// Whoever shows a key that was made with `--admin`.
    async fn administrator(&self, inbound: &Inbound) -> Result<Principal, Refusal> {
        let sender = Sender::of(inbound);
        let identify = Arc::clone(&self.gateway.live().identify);
        let principal = identify.identify(&inbound.head, sender).await?;
        if principal.admin {
            return Ok(principal);
        }
        Err(Refusal::client(
            StatusCode::FORBIDDEN,
            "policy_denied",
            "This needs an admin key (`ostia key create --admin`).",
        ))
    }

    fn metrics(&self) -> Response<ClientBody> {
        let mut response =
            Response::new(ClientBody::whole(metrics_text(&self.gateway, &self.public)));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
        response
    }
}

/// Asked as `?strict`, with any value.
fn is_strict(inbound: &Inbound) -> bool {
    let query = inbound.head.uri.query().unwrap_or_default();
    parse(query.as_bytes()).any(|(name, _)| name == "strict")
}

impl Handler for Admin {
    type Body = ClientBody;

    async fn handle(self: Arc<Self>, inbound: Inbound) -> Response<ClientBody> {
        // What a caller made up is not logged.
        let path = inbound.head.uri.path();
        let route = ROUTES.into_iter().find(|route| *route == path);
        let access = begin_access(&inbound, route.unwrap_or(NO_ROUTE), &self.gateway.clock());
        let answered = self.answer(&inbound).await;
        let response = answered.unwrap_or_else(|refusal| refusal.into_response(PLAIN));
        logged(response, access)
    }

    fn reject(&self, inbound: Inbound, rejection: Rejection) -> Response<ClientBody> {
        let access = begin_access(&inbound, NO_ROUTE, &self.gateway.clock());
        logged(Refusal::from(rejection).into_response(PLAIN), access)
    }
}
