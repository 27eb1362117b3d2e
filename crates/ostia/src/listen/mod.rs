//! In: sockets. Out: [`Inbound`], one for each request whose head is valid; its body has not been read yet.
//! Here: the accept loop, TLS, caps, timers of head, body and write, framing and Host rules, request ids, drain.
//! Not here: who is calling, what the body means, what an error looks like ([`Handler::reject`] decides that).
//!
//! Each connection is one task, started in `accept`; HTTP/2 streams run inside it (`http2`). Dropping the task drops
//! its requests, so a client that goes away takes them along.
//!
//! Known gaps: hyper does not read while bytes of a pipelined request wait in its buffer, so it notices that such a
//! client has hung up only when it writes to it. And a response to HTTP/1.0 without a length ends with the connection,
//! so the client cannot tell a cut from a normal end.

mod accept;
mod answer;
mod connection;
mod drain;
mod exchange;
mod frames;
mod framing;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod guests;
mod head;
mod heads;
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
mod tunnelled;
mod wire;

pub use accept::{Listener, serve};
pub use drain::{Drain, Stage};
pub(crate) use frames::{Flood, Frames, Work};
pub use guests::{Guest, network};
pub use inbound::{BodyBroken, Handler, Inbound, Rejection};
pub use options::{Abuse, Connections, Options};
pub use origin::origin_ip;
pub use tls::{Tls, TlsError};
pub use tunnelled::{LOOK_AGAIN, REPLICA, TUNNEL, Tunnelled, Turning};
pub use wire::Wire;
