//! In: sockets. Out: [`Inbound`], one for each request whose head is sound; its body is not read yet.
//! Here: the accept loop, TLS, caps, timers of head, body and write, framing and Host rules, request ids, drain.
//! Not here: who is calling, what the body means, what an error looks like ([`Handler::reject`] says that).
//!
//! One task a connection, started in `accept`; HTTP/2 streams run in it (`http2`). Dropping the task drops its requests,
//! so a client that goes away takes them along. Known gap: hyper does not read while bytes of a next, pipelined request
//! wait in its buffer, so from such a client a hang-up is noticed only when something is written to it. And an answer to
//! HTTP/1.0 without a length ends with the connection: there a cut cannot be told from an end.

mod accept;
mod answer;
mod connection;
mod drain;
mod exchange;
mod framing;
mod head;
mod http2;
mod inbound;
mod options;
mod origin;
mod socket;
mod stall;
#[cfg(test)]
mod tests;
mod tls;
mod traffic;
mod transport;
mod wire;

pub use accept::{Listener, serve};
pub use drain::{Drain, Stage};
pub use inbound::{BodyBroken, Handler, Inbound, Rejection};
pub use options::{Connections, Options};
pub use origin::origin_ip;
pub use tls::{Tls, TlsError};
pub use wire::Wire;
