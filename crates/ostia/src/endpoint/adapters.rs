use std::sync::Arc;

use http::HeaderMap;
use ostia_core::RequestId;

use super::prepare::Constants;
use super::{AdapterError, EndpointAdapter, Outgoing, RequestContext};
use crate::admit::Admission;
use crate::catalog::Catalog;
use crate::identify::Principal;
use crate::read::Call;

/// The adapters of one catalog, by the deployments' index.
#[derive(Default)]
pub struct Adapters {
    entries: Vec<Entry>,
}

struct Entry {
    constants: Constants,
    /// `None`: the direct API, which changes nothing.
    custom: Option<Arc<dyn EndpointAdapter>>,
}

impl Adapters {
    pub fn build(catalog: &Catalog) -> Self {
        let entry = |deployment: &Arc<crate::catalog::Deployment>| Entry {
            constants: Constants::of(deployment),
            custom: None,
        };
        Self {
            entries: catalog.deployments().iter().map(entry).collect(),
        }
    }
}

/// Makes the request that the leased endpoint will get.
pub async fn adapt(
    adapters: &Adapters,
    admission: &Admission,
    principal: &Principal,
    call: &Call,
    id: RequestId,
    client_headers: &HeaderMap,
) -> Result<Outgoing, AdapterError> {
    let deployment = admission.deployment();
    let entry = adapters
        .entries
        .get(deployment.index)
        .ok_or_else(|| AdapterError::Failed("the deployment is not of this catalog".to_owned()))?;
    let outgoing = entry
        .constants
        .prepare(deployment, call, id, client_headers);
    let Some(adapter) = &entry.custom else {
        return Ok(outgoing);
    };
    let mut context = RequestContext {
        principal,
        deployment,
        call,
        outgoing,
    };
    if call.stream {
        adapter.on_stream_request(&mut context).await?;
    } else {
        adapter.on_request(&mut context).await?;
    }
    Ok(context.outgoing)
}
