//! Requests that are answered without a backend: lists, pages, and what is open to everybody.

use http::{Response, StatusCode};
use ostia_core::RequestId;
use serde_json::{Value, json};

use crate::authorize::{Denied, Explained, NoticeLookup, Wanted, may_use};
use crate::catalog::Scope;
use crate::cluster::ask_engines;
use crate::gateway::{Gateway, json_answer, page_answer};
use crate::identify::{Principal, SignInError};
use crate::listen::Inbound;
use crate::listings::{
    Audience, Models, Paging, cluster_models, list_endpoints, me, status, whoami,
};
use crate::live::Live;
use crate::people::{Actor, DeskError, key_json};
use crate::read::ReadError;
use crate::refusal::Refusal;
use crate::relay::ClientBody;
use crate::routes::{self, Route};

/// Answers a signed-in caller's request for a route that is not inference.
pub(super) async fn answer(
    gateway: &Gateway,
    live: &Live,
    inbound: &Inbound,
    principal: &Principal,
    route: &Route<'_>,
) -> Result<Response<ClientBody>, Refusal> {
    let id = inbound.id;
    ask_engines_of(gateway, live, principal, route).await;
    let query = inbound.head.uri.query().unwrap_or("");
    let is_anthropic = inbound.head.headers.contains_key("anthropic-version");
    let list = match route {
        Route::NotServed { .. } => return Err(Refusal::not_implemented()),
        Route::Jobs(cluster) => return jobs(gateway, live, cluster, principal, id).await,
        Route::Models(scope) if is_anthropic => {
            let paging = Paging::of(query).map_err(ReadError::from)?;
            let page = models(gateway, live, principal).page(*scope, &paging);
            let page = page.map_err(unseen(gateway, live, principal, *scope, "", id))?;
            page.map_err(ReadError::from)?
        }
        Route::Model(scope, name) if is_anthropic => {
            let model = models(gateway, live, principal).find_as_anthropic(*scope, name);
            model.map_err(unseen(gateway, live, principal, *scope, name, id))?
        }
        Route::ClusterModels(cluster) => {
            models_of_cluster(gateway, live, cluster, query, principal, id)?
        }
        Route::Limits => gateway.limits_of(live, principal).await,
        Route::Me => me_of(gateway, live, principal).await?,
        Route::Usage => {
            let query = inbound.head.uri.query().unwrap_or("");
            gateway
                .usage(query, Some(principal.reported_name()))
                .await?
        }
        route => list(gateway, live, route, principal, id)?,
    };
    Ok(json_answer(StatusCode::OK, &list))
}

/// `GET /{cluster}/jobs`
async fn jobs(
    gateway: &Gateway,
    live: &Live,
    name: &str,
    principal: &Principal,
    id: RequestId,
) -> Result<Response<ClientBody>, Refusal> {
    let refuse = |denied| {
        let wanted = Wanted::Cluster(name);
        gateway
            .denials
            .note(denied, wanted, &live.catalog, principal, id)
    };
    let cluster = live.visible_cluster(name, principal).map_err(refuse)?;
    let deployments = live.catalog.of_cluster(name);
    let audience = Audience::new(cluster, deployments, principal);
    if let Some(text) = live.notices.notice(name) {
        return Ok(json_answer(
            StatusCode::OK,
            &audience.under_maintenance(&text),
        ));
    }
    let watch = live.clusters.watch(name).ok_or(Denied::ClusterNotFound)?;
    let reading = watch.current().await?;
    Ok(json_answer(
        StatusCode::OK,
        &audience.jobs(&reading.jobs, reading.stale),
    ))
}

/// `GET /{cluster}/models[?model_id=M]`
fn models_of_cluster(
    gateway: &Gateway,
    live: &Live,
    name: &str,
    query: &str,
    principal: &Principal,
    id: RequestId,
) -> Result<Value, Explained> {
    let wanted = form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "model_id").then_some(value));
    let refuse = |denied| {
        let wanted = Wanted::ModelOf(name, wanted.as_deref().unwrap_or_default());
        gateway
            .denials
            .note(denied, wanted, &live.catalog, principal, id)
    };
    live.visible_cluster(name, principal).map_err(refuse)?;
    let models = cluster_models(
        live.catalog.of_cluster(name),
        principal,
        &live.notices,
        wanted.as_deref(),
        &live.settings.catalog.model_details_keys,
    );
    if wanted.is_some() && models.is_empty() {
        return Err(refuse(Denied::ModelNotFound));
    }
    Ok(Value::Array(models))
}

/// `GET /v1/me`. A user of a front end sees no keys.
async fn me_of(gateway: &Gateway, live: &Live, principal: &Principal) -> Result<Value, Refusal> {
    let desk = gateway.desk(live, Actor::default());
    let keys = match principal.front {
        None => desk.keys_of(&principal.user_id).await.map_err(unanswered)?,
        Some(_) => Vec::new(),
    };
    let now = gateway.clock().unix_micros();
    let keys: Vec<Value> = keys.iter().map(|key| key_json(key, now)).collect();
    let projects = gateway.directory().projects_of(principal);
    let limits = gateway.limits_of(live, principal).await;
    Ok(me(principal, &projects, &keys, &limits))
}

fn unanswered(error: DeskError) -> Refusal {
    tracing::warn!(%error, "the database does not say which keys there are");
    SignInError::StoreUnavailable.into()
}

/// What is open to everybody.
pub(super) fn open(live: &Live, route: &Route<'_>) -> Response<ClientBody> {
    let base_path = &live.settings.server.base_path;
    match route {
        Route::Docs => page_answer(routes::page(base_path)),
        Route::OpenApi => json_answer(StatusCode::OK, &routes::openapi(base_path)),
        Route::Status => json_answer(StatusCode::OK, &status(&live.catalog, &live.notices)),
        Route::Home => json_answer(
            StatusCode::OK,
            &json!({
                "name": "ostia", "status": "ok", "docs": format!("{base_path}/docs"),
                "openapi": format!("{base_path}/openapi.json"),
            }),
        ),
        _ => json_answer(StatusCode::OK, &json!({"status": "ok"})),
    }
}

/// Answers with what the caller may see of the catalog, or with who the caller is.
fn list(
    gateway: &Gateway,
    live: &Live,
    route: &Route<'_>,
    principal: &Principal,
    id: RequestId,
) -> Result<Value, Explained> {
    let models = models(gateway, live, principal);
    let refuse = |scope, name| unseen(gateway, live, principal, scope, name, id);
    let base_path = &live.settings.server.base_path;
    Ok(match route {
        Route::ListEndpoints => list_endpoints(&live.catalog, principal, base_path),
        Route::Models(scope) => models.list(*scope).map_err(refuse(*scope, ""))?,
        Route::Model(scope, name) => models.find(*scope, name).map_err(refuse(*scope, name))?,
        _ => whoami(principal),
    })
}

fn models<'a>(
    gateway: &Gateway,
    live: &'a Live,
    principal: &'a Principal,
) -> Models<'a, impl NoticeLookup> {
    Models {
        catalog: &live.catalog,
        notices: &live.notices,
        identity: principal,
        created: gateway.started,
    }
}

/// Why a list or one of its models is not shown.
fn unseen<'a>(
    gateway: &'a Gateway,
    live: &'a Live,
    principal: &'a Principal,
    scope: Scope<'a>,
    name: &'a str,
    id: RequestId,
) -> impl FnOnce(Denied) -> Explained + 'a {
    let wanted = Wanted::Model(scope, name, "");
    move |denied| {
        let denials = &gateway.denials;
        denials.note(denied, wanted, &live.catalog, principal, id)
    }
}

/// Asks engines for their context windows before models are listed.
async fn ask_engines_of(gateway: &Gateway, live: &Live, principal: &Principal, route: &Route<'_>) {
    let catalog = &live.catalog;
    let all: Vec<_> = match route {
        Route::Models(scope) => {
            let models = catalog.models(*scope);
            models.flat_map(|(_, deployments)| deployments).collect()
        }
        Route::Model(scope, name) => {
            let model = catalog.lookup(*scope, name).into_iter();
            model.flat_map(|(_, deployments)| deployments).collect()
        }
        Route::ClusterModels(cluster) => catalog.of_cluster(cluster).iter().collect(),
        _ => return,
    };
    let usable = all.into_iter().filter(|one| may_use(one, principal));
    let usable: Vec<_> = usable.cloned().collect();
    ask_engines(&usable, &live.backends, &*gateway.clock).await;
}
