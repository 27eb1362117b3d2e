//! In: a [`crate::routes::Address`] (what a path says) and a model's name. Out: their [`Pool`], permitted or not.
//! Here: catalog lookup. Not here: permissions. An empty pool is not an error yet, because a caller who may not see a
//! cluster must not learn what else is wrong.

mod pool;

pub(crate) use pool::ResolvedScope;
pub use pool::{Pool, Reach, resolve};
