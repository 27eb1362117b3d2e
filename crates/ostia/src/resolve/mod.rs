//! In: an [`Address`] (what a path says) and the name of a model. Out: [`Pool`]: what stands behind both, permitted or not.
//! Here: parsing of inference paths, catalog lookup. Not here: permissions; a pool that names nothing is no error yet,
//! because who may not see a cluster must not learn what else is wrong.

mod address;
mod pool;

pub use address::Address;
pub(crate) use pool::Place;
pub use pool::{Pool, resolve};
