use super::proto::{KeyValue, Resource, Scope};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who sends. `instance`: an id of this process, so that the sums of replicas are told apart.
pub(super) fn resource(instance: &str) -> Resource {
    Resource {
        attributes: vec![
            KeyValue::new("service.name", "ostia"),
            KeyValue::new("service.version", VERSION),
            KeyValue::new("service.instance.id", instance),
        ],
    }
}

pub(super) fn scope() -> Scope {
    Scope {
        name: "ostia".to_owned(),
        version: VERSION.to_owned(),
    }
}
