//! In: validated clusters and endpoints, from `config`.
//! Out: an immutable snapshot that answers which deployments serve a path and a name.
//! Not here: files, permissions, live state (`fleet` has it).

mod access;
mod deployment;
mod index;
mod isolation;
mod policy;
mod profile;
mod register;
mod scheduler;
mod site;
mod slug;
mod target;
mod url;

pub use access::Access;
pub use deployment::{
    Cluster, ClusterAdapterName, Deployment, HealthAsk, HealthCheck, HooksName, Places, Serving,
    StatusSource,
};
pub use index::{Catalog, Scope};
pub use isolation::{CacheSalt, Isolation};
pub use policy::{BodyPolicy, DENIED_FIELDS, NotTaken};
pub use profile::{AgentOptions, Profile};
pub use register::{AddressFault, Register};
pub use scheduler::Scheduler;
pub use site::is_of_the_site;
pub use slug::slug;
pub(crate) use slug::slugify;
pub use target::{
    Origin, Proxy, Replica, Scheme, Target, Timeouts, Tls, TlsVersion, is_link_local,
};
pub use url::{ApiUrl, HttpUrl, UrlFault};
