//! In: calls of lease holders, and the store. Out: the replicas of endpoints that have no URL of their own.
//! Here: who may register an engine and may still, which addresses are accepted, and taking over other replicas' leases.
//! Not here: HTTP, how engines are called (`backend`) and checked (`cluster`).

mod asked;
mod board;
mod calls;
mod fault;
mod review;
mod tunnels;

pub use asked::Asked;
pub use board::{Board, Given, registrar};
pub use fault::RegisterFault;
pub use tunnels::TunnelAsked;
