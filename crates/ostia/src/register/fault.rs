use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::StoreError;

use crate::catalog::{AddressFault, UrlFault};

/// Why a lease was not given. The texts are for the caller.
#[derive(Debug, thiserror::Error)]
pub enum RegisterFault {
    #[error(
        "This needs a key with the role registrar (`ostia key create --role registrar --model SLUG --allow-ip CIDR`)."
    )]
    NoRegistrar,
    /// The same whether or not it exists, so that slugs of others are not revealed.
    #[error(
        "There is no endpoint '{0}' with \"register\": true that your key may register (`--model` of the key names its slug or its model)."
    )]
    NoEndpoint(String),
    #[error("'{0}' {1}.")]
    Value(&'static str, String),
    #[error("'url' {0}.")]
    Url(#[from] UrlFault),
    #[error("'url' names a host without an address: {0}.")]
    NoAddress(String),
    #[error("'url' leads to {0}, which {1}.")]
    Address(IpAddr, AddressFault),
    #[error("A tunnel from {0} is not taken: that {1}.")]
    From(IpAddr, AddressFault),
    #[error("This opens a tunnel: it needs HTTP/1.1 and 'Upgrade: ostia-tunnel'.")]
    NoTunnel,
    /// With the name of this replica.
    #[error("This replica of the gateway has a tunnel from there already.")]
    Held(Arc<str>),
    #[error("There is no such lease any more. Send 'url' without 'lease' for another one.")]
    Gone,
    #[error("Call {0} of this lease was heard already: 'sequence' has to grow.")]
    Stale(i64),
    #[error("Another key holds a lease on this URL.")]
    Taken,
    #[error("The endpoint has as many leases as it may have.")]
    TooMany,
    #[error("This key has asked too often.")]
    TooOften(Duration),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RegisterFault {
    /// The system has no randomness for an id at the moment.
    pub(super) const NO_RANDOMNESS: Self = Self::TooOften(Duration::from_secs(1));
}
