//! In: sockets. Out: [`Inbound`], one for each request whose head is sound; its body is not read yet.
//! Here: the accept loop, TLS, caps, timers of head, body and write, framing and Host rules, request ids, drain.
//! Not here: who is calling, what the body means, what an error looks like ([`Handler::reject`] says that).

mod inbound;
mod wire;

pub use inbound::{BodyBroken, Handler, Inbound, Rejection};
pub use wire::Wire;
