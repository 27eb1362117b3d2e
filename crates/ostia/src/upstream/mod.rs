//! In: an [`Outgoing`].
//! Out: [`UpstreamResponse`] (head and byte stream) or [`UpstreamFailure`] (how far it came, whether a retry is safe).
//! Here: connections, pools, DNS, TLS, proxies, timeouts. Not here: limits, permissions, what the bytes mean.

mod answer;
mod ask;
mod body;
mod call;
mod certificate;
mod client;
mod clients;
mod connect;
mod fetch;
mod http2;
mod link;
mod message;
mod outgoing;
mod pool;
mod proxy;
mod resolver;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod tls_words;
mod trouble;
mod tunnel;
mod verifier;

pub use answer::{BodyError, FailureKind, UpstreamFailure, UpstreamResponse};
pub use ask::{Ask, AskError, Http, Question, REPLY_LIMIT, Reach, Reply};
pub use body::UpstreamBody;
pub use certificate::certificate_fault;
pub(crate) use client::within;
pub use client::{Client, ClientError};
pub use clients::Clients;
pub use fetch::FetchError;
pub use outgoing::{Outgoing, Promise};
pub use pool::Stats;
pub use proxy::ProxyError;
pub use tls::TlsError;
pub use tunnel::{OpenTunnel, Tunnel, TunnelFault};
