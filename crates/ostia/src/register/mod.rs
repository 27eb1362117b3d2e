//! In: what holders of leases say, and the store. Out: the replicas of endpoints that have no URL of their own.
//! Here: who may say where an engine is, which places are believed, and taking over what other replicas heard.
//! Not here: HTTP, how engines are called (`backend`) and whether they are well (`cluster`).

mod asked;
mod board;
mod calls;
mod fault;

pub use asked::Asked;
pub use board::{Board, Given, registrar};
pub use fault::RegisterFault;
