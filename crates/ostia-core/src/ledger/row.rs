use super::columns::Column;
use super::value::{Held, Value};
use super::{Class, Location, Outcome, Phase, Text, UsageSource};
use crate::RequestId;

/// Makes the row type, and the table as data, from the lines in `columns.rs`.
macro_rules! make_row {
    (ledger { $($ledger:tt)+ } beside { $($beside:tt)+ }) => {
        make_row! { count $($ledger)+ }
        make_row! { all $($ledger)+ $($beside)+ }
    };
    (count $($number:literal $name:ident: $held:ty $([$($bound:tt)+])?, $meaning:literal;)+) => {
        pub(super) const IN_LEDGER: usize = [$($number),+].len();
    };
    (all $($number:literal $name:ident: $held:ty $([$($bound:tt)+])?, $meaning:literal;)+) => {
        const KEPT: usize = [$($number),+].len();
        pub(super) const COLUMNS: [Column; KEPT] = LedgerRow::TABLE;

        /// One row of the ledger, and what the journal keeps besides.
        ///
        /// `default` is a row about which nothing is known. Columns that an older journal lacks have its values.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct LedgerRow<'a> {
            $(#[doc = $meaning] pub $name: $held,)+
        }

        impl<'a> LedgerRow<'a> {
            const TABLE: [Column; KEPT] = [$(Column {
                number: $number,
                name: stringify!($name),
                kind: <$held as Held<'a>>::KIND,
                most: bound!($($($bound)+)?).0,
                late: bound!($($($bound)+)?).1,
                meaning: $meaning,
            }),+];

            /// The row's values, in the order of `Column::ALL`.
            pub fn values(&self) -> [Value<'_>; KEPT] {
                [$(self.$name.value()),+]
            }

            /// The same, one by one, without a loop or a branch on the column's type, because every request does this.
            #[inline]
            pub fn put_into(&self, sink: &mut impl ColumnSink) {
                $(sink.put(const { &Self::column($number) }, self.$name.value());)+
            }

            const fn column(number: u16) -> Column {
                let mut index = 0;
                while Self::TABLE[index].number != number { index += 1; }
                Self::TABLE[index]
            }

            /// Sets the column with that number. `false`: there is no such column, or the value does not fit its type.
            pub fn set(&mut self, number: u16, value: Value<'a>) -> bool {
                match number {
                    $($number => Held::of(value).map(|held| self.$name = held).is_some(),)+
                    _ => false,
                }
            }
        }
    };
}

macro_rules! bound {
    () => {
        (0, false)
    };
    ($most:literal) => {
        ($most, false)
    };
    ($most:literal late) => {
        ($most, true)
    };
}

/// Takes a row's columns one by one.
pub trait ColumnSink {
    fn put(&mut self, column: &'static Column, value: Value<'_>);
}

crate::ledger_columns!(make_row);

/// Token counts of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
    pub cached_tokens: u64,
    pub reasoning_tokens: u64,
    pub source: UsageSource,
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Value};
    use super::{Column, LedgerRow};
    use crate::RequestId;

    /// A value that differs from those of all other columns.
    fn sample(column: &Column) -> Value<'static> {
        let number = column.number;
        match column.kind {
            Kind::Id => Value::Id(RequestId::from_bytes([7; 16])),
            Kind::Text => Value::Text(column.name),
            Kind::Stamp => Value::Stamp(number.into()),
            Kind::Flag => Value::Flag(true),
            Kind::Number | Kind::MaybeNumber => Value::Number(number.into()),
            Kind::Word(words) => Value::word(words, 1),
        }
    }

    #[test]
    fn each_value_goes_where_it_comes_from() {
        let mut row = LedgerRow::default();
        for column in Column::ALL {
            assert!(row.set(column.number, sample(column)), "{}", column.name);
        }
        for (column, value) in Column::ALL.iter().zip(row.values()) {
            assert_eq!(value, sample(column), "{}", column.name);
        }
        assert_eq!((&*row.model, row.http_status), ("model", 20));
    }

    #[test]
    fn a_value_of_another_kind_is_not_taken() {
        let mut row = LedgerRow::default();
        assert!(!row.set(16, Value::Number(1)));
        assert!(
            !row.set(20, Value::Number(65_536)),
            "too large for a status"
        );
        assert!(!row.set(20, Value::Absent));
        assert!(!row.set(0, Value::Number(1)));
        assert!(row.set(30, Value::Absent));
        assert_eq!(row, LedgerRow::default());
    }
}
