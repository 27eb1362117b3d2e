//! In: [`Parts`], or the files and what a site registers. Out: [`Running`], a gateway that listens.
//! Here: putting the parts together, background work, shutting down.
//! Not here: anything that a request does.

mod builder;
mod duties;
mod handover;
mod parts;
mod running;
mod sockets;

pub use builder::Builder;
pub use handover::{HandoverError, Predecessor, Successor, VARIABLE as HANDOVER_VARIABLE};
pub use parts::{Parts, Sockets, StartError};
pub use running::Running;
