//! In: an `Admission` and a `Call`. Out: [`Outgoing`], the request as the backend will get it, or a refusal.
//! Here: the trait that sites implement, the direct API, header rules, splices.
//! Not here: limits, permissions, sockets.

mod outgoing;

pub use outgoing::Outgoing;
