//! In: nothing. Out: [`LedgerRow`], and the table of its columns that everything else is made from.
//! Here: names, types, bounds and meanings of the columns, and the words that some of them hold.
//! Not here: how a value looks in the journal (the gateway's `account` room) or in a database (`ostia-store`).

mod columns;
mod row;
mod value;
mod words;

pub use columns::Column;
pub use row::{ColumnSink, LedgerRow, Usage};
pub use value::{Held, Kind, Value};
pub use words::{Class, Location, Outcome, Phase, UsageSource};

/// A text of a row. Rows that are read from the journal borrow theirs.
type Text<'a> = std::borrow::Cow<'a, str>;
