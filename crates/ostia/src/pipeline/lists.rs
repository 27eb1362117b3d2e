//! What is answered without a backend: lists, pages, and what everyone may read.

use http::{Response, StatusCode};
use ostia_core::RequestId;
use serde_json::{Value, json};

use crate::authorize::{Denied, Explained, NoticeLookup as _, Wanted, may_use};
use crate::gateway::{Gateway, json_answer, page_answer};
use crate::identify::Principal;
use crate::listen::Inbound;
use crate::listings::{Audience, Models, cluster_models, limits, list_endpoints, status, whoami};
use crate::live::Live;
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
    let list = match route {
        Route::NotServed => return Err(Refusal::not_implemented()),
        Route::Jobs(cluster) => return jobs(gateway, live, cluster, principal, id).await,
        Route::ClusterModels(cluster) => {
            let query = inbound.head.uri.query().unwrap_or("");
            models_of_cluster(gateway, live, cluster, query, principal, id)?
        }
        Route::Limits => limits_of(gateway, live, principal).await,
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

/// `GET /v1/limits`
async fn limits_of(gateway: &Gateway, live: &Live, principal: &Principal) -> Value {
    let all = live.catalog.deployments().iter();
    let usable: Vec<_> = all.filter(|one| may_use(one, principal)).cloned().collect();
    let admitter = gateway.admitter();
    let standings = admitter
        .standing(principal.identity(), &live.settings.limits, &usable)
        .await;
    let named: Vec<_> = standings
        .into_iter()
        .map(|(endpoint, standing)| (endpoint.map_or("", |one| &*one.model), standing))
        .collect();
    limits(&named, "model", admitter.waiting_of(&principal.user_id))
}

/// What everyone may read.
pub(super) fn open(live: &Live, route: &Route<'_>) -> Response<ClientBody> {
    let base_path = &live.settings.server.base_path;
    match route {
        Route::Docs => page_answer(routes::page(base_path)),
        Route::OpenApi => json_answer(StatusCode::OK, &routes::openapi(base_path)),
        Route::Status => json_answer(StatusCode::OK, &status(&live.catalog, &live.notices)),
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
    let refuse = |scope, name| {
        let wanted = Wanted::Model(scope, name, "");
        let (denials, catalog) = (&gateway.denials, &live.catalog);
        move |denied| denials.note(denied, wanted, catalog, principal, id)
    };
    let models = Models {
        catalog: &live.catalog,
        notices: &live.notices,
        identity: principal,
        created: gateway.started,
    };
    let base_path = &live.settings.server.base_path;
    Ok(match route {
        Route::ListEndpoints => list_endpoints(&live.catalog, principal, base_path),
        Route::Models(scope) => models.list(*scope).map_err(refuse(*scope, ""))?,
        Route::Model(scope, name) => models.find(*scope, name).map_err(refuse(*scope, name))?,
        _ => whoami(principal),
    })
}
