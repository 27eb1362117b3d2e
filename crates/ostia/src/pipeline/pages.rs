//! What is answered without a backend: lists, pages, and what everybody may read.

use http::{Response, StatusCode};
use ostia_core::RequestId;
use serde_json::{Value, json};

use crate::authorize::{Denied, Notices as _, Wanted};
use crate::gateway::{Gateway, json_answer, page_answer};
use crate::identify::Principal;
use crate::listings::{Audience, Models, cluster_models, list_endpoints, status, whoami};
use crate::refusal::Refusal;
use crate::relay::ClientBody;
use crate::routes::Address;
use crate::routes::{self, Route};

impl Gateway {
    /// `GET /{cluster}/jobs`
    pub(super) async fn jobs(
        &self,
        name: &str,
        principal: &Principal,
        id: RequestId,
    ) -> Result<Response<ClientBody>, Refusal> {
        let snapshot = self.snapshot();
        let refuse = |denied| {
            let wanted = Wanted::Cluster(name);
            self.denials
                .note(denied, wanted, &snapshot.catalog, principal, id)
        };
        let cluster = snapshot.visible_cluster(name, principal).map_err(refuse)?;
        let deployments = snapshot.catalog.of_cluster(name);
        let audience = Audience::new(cluster, deployments, principal);
        if let Some(text) = snapshot.notices.notice(name) {
            return Ok(json_answer(
                StatusCode::OK,
                &audience.under_maintenance(&text),
            ));
        }
        let watch = snapshot
            .clusters
            .watch(name)
            .ok_or(Denied::ClusterNotFound)?;
        let reading = watch.current().await?;
        Ok(json_answer(
            StatusCode::OK,
            &audience.jobs(&reading.jobs, reading.stale),
        ))
    }

    /// `GET /{cluster}/models[?model_id=M]`
    pub(super) fn cluster_models(
        &self,
        name: &str,
        query: &str,
        principal: &Principal,
        id: RequestId,
    ) -> Result<Value, Denied> {
        let snapshot = self.snapshot();
        let wanted = form_urlencoded::parse(query.as_bytes())
            .find_map(|(name, value)| (name == "model_id").then_some(value));
        let refuse = |denied| {
            let wanted = Wanted::ModelOf(name, wanted.as_deref().unwrap_or_default());
            self.denials
                .note(denied, wanted, &snapshot.catalog, principal, id)
        };
        snapshot.visible_cluster(name, principal).map_err(refuse)?;
        let models = cluster_models(
            snapshot.catalog.of_cluster(name),
            principal,
            &snapshot.notices,
            wanted.as_deref(),
            &self.settings.catalog.model_details_keys,
        );
        if wanted.is_some() && models.is_empty() {
            return Err(refuse(Denied::ModelNotFound));
        }
        Ok(Value::Array(models))
    }

    /// What everybody may read.
    pub(super) fn serve_open(&self, route: &Route<'_>) -> Response<ClientBody> {
        let base_path = &self.settings.server.base_path;
        match route {
            Route::Docs => page_answer(routes::page(base_path)),
            Route::OpenApi => json_answer(StatusCode::OK, &routes::openapi(base_path)),
            Route::Status => {
                let snapshot = self.snapshot();
                json_answer(
                    StatusCode::OK,
                    &status(&snapshot.catalog, &snapshot.notices),
                )
            }
            _ => json_answer(StatusCode::OK, &json!({"status": "ok"})),
        }
    }

    /// What a caller may see of the catalog and of itself.
    pub(super) fn list(
        &self,
        route: &Route<'_>,
        principal: &Principal,
        id: RequestId,
    ) -> Result<Value, Denied> {
        let snapshot = self.snapshot();
        let refuse = |scope, name| {
            let wanted = Wanted::Model(scope_of(scope), name);
            let (denials, catalog) = (&self.denials, &snapshot.catalog);
            move |denied| denials.note(denied, wanted, catalog, principal, id)
        };
        let models = Models {
            catalog: &snapshot.catalog,
            notices: &snapshot.notices,
            identity: principal,
            created: self.started,
        };
        let base_path = &self.settings.server.base_path;
        Ok(match route {
            Route::ListEndpoints => list_endpoints(&snapshot.catalog, principal, base_path),
            Route::Models(scope) => models.list(scope_of(*scope)).map_err(refuse(*scope, ""))?,
            Route::Model(scope, name) => models
                .find(scope_of(*scope), name)
                .map_err(refuse(*scope, name))?,
            _ => whoami(principal),
        })
    }
}

fn scope_of(scope: routes::Scope<'_>) -> crate::catalog::Scope<'_> {
    Address {
        scope,
        api: "models",
    }
    .scope()
}
