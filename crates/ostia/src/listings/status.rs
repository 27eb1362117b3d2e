use serde_json::{Map, Value};

use crate::authorize::NoticeLookup;
use crate::catalog::Catalog;

/// `GET /status`: whether each cluster that is open to all accepts requests. It does not reveal that the others exist.
pub fn status(catalog: &Catalog, notices: &impl NoticeLookup) -> Value {
    let clusters: Map<String, Value> = catalog
        .clusters()
        .iter()
        .filter(|cluster| cluster.access.is_open())
        .map(|cluster| {
            let up = notices.notice(&cluster.name).is_none();
            (cluster.name.to_string(), up.into())
        })
        .collect();
    Value::Object(clusters)
}
