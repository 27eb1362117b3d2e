//! The nouns every part of Ostia shares, and the traits that other crates implement.
//!
//! What comes in: nothing. What goes out: plain types. What must not be here: HTTP, SQL, configuration formats.

mod address;
mod clock;
mod identity;
mod ids;
mod ledger;
mod limiter;
mod percent;
mod receipt;
mod secret;
mod store;

pub use address::ip_text;
pub use clock::{Clock, ManualClock, SystemClock};
pub use identity::Identity;
pub use ids::RequestId;
pub use ledger::{LedgerRow, Outcome, Phase, Usage, UsageSource};
pub use limiter::{
    Ask, Claim, Cost, Denial, Grant, Hold, Level, Limiter, Measure, Reserving, Return, Scope,
    Standing, Subject, Taken,
};
pub use percent::percent_decode;
pub use receipt::{Facts, Journal, JournalFull, Observer, Opening, Receipt, Slot};
pub use secret::Secret;
pub use store::{ApiKey, NewApiKey, Store, StoreError, UsageQuery, UsageRow};

/// A boxed future, for the few calls that cross a trait object.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
