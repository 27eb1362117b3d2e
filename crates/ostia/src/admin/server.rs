use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::asked::Asked;
use super::hosts::Hosts;
use super::metrics_text;
use super::ready::readiness;
use super::status::status;
use super::token::Token;
use super::{
    clusters, configuration, drain, endpoints, limits, maintenance, now, people, reload, upgrade,
};
use crate::dialect::PLAIN;
use crate::gateway::{Gateway, NO_ROUTE, begin_access, json_answer, logged};
use crate::listen::{self, Connections, Handler, Inbound, Listener, Rejection};
use crate::people::Desk;
use crate::refusal::Refusal;
use crate::relay::ClientBody;
use crate::routes::{AdminKind, AdminLost, AdminRoute, openapi};
use crate::runtime::spawn_blocking;

const MAX_CONNECTIONS: usize = 256;
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub struct Admin {
    pub(super) gateway: Arc<Gateway>,
    pub(super) token: Token,
    public: Arc<Connections>,
}

/// Serves until `drain` begins. That is later than on the public side, because this listener has to answer while the
/// public side drains. `front` wraps the handler.
pub async fn serve<H: Handler>(
    listener: Listener,
    gateway: Arc<Gateway>,
    public: Arc<Connections>,
    token: Token,
    drain: listen::Drain,
    front: impl FnOnce(Arc<Admin>) -> H,
) {
    let options = listen::Options {
        max_connections: MAX_CONNECTIONS,
        connections: Arc::default(),
        trusted_proxies: Vec::new(),
        ..listen::Options::new(&gateway.live().settings.server, None)
    };
    let clock = gateway.clock();
    let admin = Arc::new(Admin {
        gateway,
        public,
        token,
    });
    let front = Arc::new(front(admin));
    listen::serve(listener, options.swappable(), front, drain, clock).await;
}

impl Admin {
    async fn answer(
        &self,
        inbound: Inbound,
        found: Result<(&'static AdminRoute, Vec<String>), AdminLost>,
    ) -> Result<Response<ClientBody>, Refusal> {
        let hosts = Hosts::of(&self.gateway.live().settings.server);
        if !hosts.hold(&inbound.head) {
            return Err(Refusal::client(
                StatusCode::FORBIDDEN,
                "invalid_host",
                "The admin listener does not answer to this Host: ask for localhost or its address, or list the name in server.admin_hosts.",
            ));
        }
        let (route, captures) = found.map_err(|lost| match lost {
            AdminLost::NoPath => Refusal::not_an_admin_path(),
            AdminLost::NoMethod(allow) => Refusal::method_not_allowed(&allow),
        })?;
        let caller = self.admit(&inbound, route.who, &captures).await?;
        let id = inbound.id;
        let desk = self
            .gateway
            .desk(&self.gateway.live(), caller.actor(&inbound));
        let asked = Asked::new(inbound, captures);
        let answered = self.perform(route.kind, &desk, asked).await;
        if route.method != Method::GET.as_str() {
            let refused = answered.as_ref().err();
            tracing::info!(
                target: "ostia::audit",
                kind = "administered",
                request_id = %id,
                username = caller.name,
                action = route.pattern,
                refused = refused.map(|refusal| &*refusal.code),
                "somebody changed the running gateway"
            );
            if answered.is_ok() && !route.kind.is_of_people() {
                note(&desk, route.pattern).await;
            }
        }
        answered
    }

    async fn perform(
        &self,
        kind: AdminKind,
        desk: &Desk,
        mut asked: Asked,
    ) -> Result<Response<ClientBody>, Refusal> {
        let gateway = &self.gateway;
        let value = match kind {
            AdminKind::Live => json!({"status": "ok"}),
            AdminKind::Ready => {
                return Ok(readiness(gateway).await.answer(asked.says("strict")));
            }
            AdminKind::Metrics => return self.metrics().await,
            AdminKind::Document => openapi(&gateway.live().settings.server.base_path),
            AdminKind::Purge => self.purge(),
            AdminKind::Reload => reload::reload(gateway, asked.says("dry_run")).await?,
            AdminKind::Upgrade => upgrade::upgrade(gateway).await?,
            AdminKind::Drain => return Ok(drain::end(gateway)),
            AdminKind::Notices => maintenance::list(gateway).await?,
            AdminKind::SetNotice => maintenance::set(gateway, asked).await?,
            AdminKind::ClearNotice => maintenance::clear(gateway, asked.capture()).await?,
            AdminKind::Status => status(gateway, &self.public).await,
            AdminKind::Now => now::now(gateway, &asked)?,
            AdminKind::Endpoints => endpoints::page(gateway, &asked)?,
            AdminKind::Endpoint => endpoints::one(gateway, asked.capture())?,
            AdminKind::DrainEndpoint => drain::endpoint(gateway, asked.capture(), true)?,
            AdminKind::UndrainEndpoint => drain::endpoint(gateway, asked.capture(), false)?,
            AdminKind::Clusters => clusters::page(gateway, &asked)?,
            AdminKind::Limits => limits::standing(gateway, &asked).await,
            AdminKind::Waiting => limits::waiting(gateway, &asked),
            AdminKind::Config => configuration::configuration(gateway),
            AdminKind::Usage => people::usage(gateway, desk, &asked).await?,
            AdminKind::UsageRows => people::usage_rows(gateway, desk, &asked).await?,
            AdminKind::Requests => people::requests(gateway, desk, &asked).await?,
            AdminKind::Users => people::users(desk).await?,
            AdminKind::User => people::user(desk, asked.capture()).await?,
            AdminKind::PutUsers => people::put_users(desk, asked.json().await?).await?,
            AdminKind::DisableUser => people::set_state(desk, &asked, false).await?,
            AdminKind::EnableUser => people::set_state(desk, &asked, true).await?,
            AdminKind::RevokeKeysOf => people::revoke_keys_of(desk, asked.capture()).await?,
            AdminKind::Keys => people::keys(desk, &asked).await?,
            AdminKind::RevokeKey => people::revoke_key(desk, asked.capture()).await?,
            AdminKind::Projects => people::projects(desk).await?,
            AdminKind::Project => people::project(desk, asked.capture()).await?,
            AdminKind::PutProject => return people::put_project(desk, &mut asked).await,
            AdminKind::AddMembers => people::add_members(desk, &mut asked).await?,
            AdminKind::Audit => people::audit(desk, &asked).await?,
        };
        Ok(json_answer(StatusCode::OK, &value))
    }

    fn purge(&self) -> Value {
        self.gateway.live().identify.purge();
        json!({"status": "ok"})
    }

    /// Made on a blocking thread: with many endpoints it takes longer than other requests may be held up.
    async fn metrics(&self) -> Result<Response<ClientBody>, Refusal> {
        let (gateway, public) = (Arc::clone(&self.gateway), Arc::clone(&self.public));
        let text = spawn_blocking(move || metrics_text(&gateway, &public)).await;
        // A panic; it was logged where it happened.
        let text = text.map_err(|_| {
            let text = "The metrics could not be made; the log says why.";
            Refusal::client(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", text)
        })?;
        let mut response = Response::new(ClientBody::whole(text));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
        Ok(response)
    }
}

/// How long an answer waits for its audit event to be written. The log has the event in any case.
const NOTED: Duration = Duration::from_secs(2);

/// Records in the audit log what was done to the gateway itself.
async fn note(desk: &Desk, action: &str) {
    let noting = desk.note("gateway.administer", action, &Value::Null);
    match tokio::time::timeout(NOTED, noting).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, action, "an event is in the log alone"),
        Err(_) => tracing::warn!(action, "an event is in the log alone: the database is slow"),
    }
}

impl Handler for Admin {
    type Body = ClientBody;

    async fn handle(self: Arc<Self>, inbound: Inbound) -> Response<ClientBody> {
        let found = AdminRoute::find(&inbound.head.method, inbound.head.uri.path());
        // Paths that match no route are not logged, because the caller made them up.
        let route = found.as_ref().map_or(NO_ROUTE, |(route, _)| route.pattern);
        let mut access = begin_access(&inbound, route, &self.gateway.clock());
        let answered = self.answer(inbound, found).await;
        let response = answered.unwrap_or_else(|refusal| {
            access.refused(&refusal);
            refusal.into_response(PLAIN)
        });
        logged(response, access)
    }

    fn reject(&self, inbound: Inbound, rejection: Rejection) -> Response<ClientBody> {
        let mut access = begin_access(&inbound, NO_ROUTE, &self.gateway.clock());
        let refusal = Refusal::from(rejection);
        access.refused(&refusal);
        logged(refusal.into_response(PLAIN), access)
    }
}
