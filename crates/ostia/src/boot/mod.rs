//! In: [`Parts`], or the files and what a site registers. Out: [`Running`], a gateway that listens.
//! Here: putting the parts together, background work, the stop.
//! Not here: anything that a request does.

mod builder;
mod duties;
mod parts;
mod running;

pub use builder::Builder;
pub use parts::{Parts, StartError};
pub use running::Running;
