use std::os::fd::OwnedFd;
use std::sync::Arc;

use ostia_core::{Clock, Limiter, Store};

use super::Predecessor;
use crate::account::{Disk, LedgerError};
use crate::admit::SharedError;
use crate::catalog::Catalog;
use crate::fleet::Fleet;
use crate::live::{Files, Unusable};
use crate::settings::Settings;

/// What a gateway is started from. The binary picks the concrete parts.
pub struct Parts {
    pub settings: Settings,
    pub catalog: Catalog,
    /// The fleet that `catalog` was read with.
    pub fleet: Arc<Fleet>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// `None`: limits are counted in this process. `limits.shared` takes precedence.
    pub limiter: Option<Arc<dyn Limiter>>,
    /// The disk for the journal; `None`: the machine's.
    pub disk: Option<Arc<dyn Disk>>,
    /// The files that all this was read from; `None`: a reload is impossible.
    pub files: Option<Files>,
    pub sockets: Sockets,
}

/// Where the listening sockets come from.
#[derive(Default)]
pub enum Sockets {
    /// Bound to the configured addresses.
    #[default]
    Bind,
    /// Made by another program, such as systemd: the public one, then the admin one, if there are two.
    Given(Vec<OwnedFd>),
    /// A running process, from which this one takes over.
    Inherited(Predecessor),
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error("the token for commands cannot be written to server.state_dir: {0}")]
    Token(std::io::Error),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Shared(#[from] SharedError),
    #[error(transparent)]
    Unusable(#[from] Unusable),
}
