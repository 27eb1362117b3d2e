//! In: an `Admission`, a `Receipt` and an [`crate::endpoint::Outgoing`].
//! Out: [`Answer`] (head and byte stream) or [`Failure`] (how far it came, whether another try is safe).
//! Here: connections, pools, DNS, TLS, proxies, timeouts. Not here: limits, permissions, what the bytes mean.

mod answer;

pub use answer::{Answer, BodyError, Failure, FailureKind};
