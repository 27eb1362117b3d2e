//! In: validated clusters and endpoints, from `config`.
//! Out: an immutable snapshot that answers "which deployments stand behind this path and this name".
//! Not here: files, permissions, live state (that is `fleet`).

mod access;
mod deployment;
mod index;
mod target;

pub use access::Access;
pub use deployment::{AdapterName, Cluster, ClusterAdapterName, Deployment, Serving};
pub use index::{Catalog, Scope};
pub use target::{Origin, Proxy, Scheme, Target, Timeouts, Tls};
