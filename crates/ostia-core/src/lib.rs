//! The types that every part of Ostia shares, and the traits that other crates implement.
//!
//! In: nothing. Out: plain types. Not here: HTTP, SQL, configuration formats.

mod address;
mod books;
mod clock;
mod identity;
mod ids;
mod lease;
mod ledger;
mod limiter;
mod people;
mod private;
mod secret;
mod sessions;
mod store;

pub use address::{ip_text, is_loopback};
pub use books::{
    Arrival, Books, HeadSent, JournalFull, Observer, Opening, Outlasting, Place, Receipt, Recorder,
    Sending, Slot,
};
pub use clock::{Clock, ManualClock, SystemClock, millis};
pub use identity::Identity;
pub use ids::RequestId;
pub use lease::{Held as LeaseHeld, Holding, Lease, LeaseState, Leases};
pub use ledger::{
    Class, Column, ColumnSink, Held, Kind, LedgerRow, Location, Outcome, Phase, Usage, UsageSource,
    Value,
};
pub use limiter::{
    Ask, Claim, Cost, Denial, Grant, Hold, Level, Limiter, Measure, Reserving, Return, Scope,
    Standing, Subject, Taken, Turn,
};
pub use people::{
    ApiKey, AuditEvent, AuditQuery, AuditRow, Change, KeyChange, KeyChanges, KeyRights, Login,
    NewApiKey, OwnName, Owner, People, Person, PersonState, Project, Role, Roles, Roster,
    broken_link, names_somebody, owners,
};
pub use private::{new_private_file, private_file};
pub use secret::Secret;
pub use sessions::{Session, Sessions};
pub use store::{
    Blocked, KeyFilter, MadeResponse, Notice, NoticeScope, Pruned, Retention, RowFilter, RowPlace,
    RowsQuery, Store, StoreError, UsageQuery, UsageRow,
};

/// A boxed future, for the few calls through a trait object.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
