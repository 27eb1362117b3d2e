//! In: a [`crate::routes::Address`] (what a path says) and the name of a model. Out: [`Pool`]: what stands behind both, permitted or not.
//! Here: catalog lookup. Not here: permissions; a pool that names nothing is no error yet,
//! because who may not see a cluster must not learn what else is wrong.

mod pool;

pub(crate) use pool::ResolvedScope;
pub use pool::{Pool, resolve};
