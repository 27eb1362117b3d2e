use std::borrow::Cow;

use super::Text;
use crate::RequestId;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Id,
    Text,
    /// Unix microseconds.
    Stamp,
    Flag,
    Number,
    /// A number, or no value.
    MaybeNumber,
    /// One of these words. The index of a word is its number in the journal.
    Word(&'static [&'static str]),
}

/// The value of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Id(RequestId),
    Text(&'a str),
    Stamp(i64),
    Flag(bool),
    Number(u64),
    Word { place: usize, text: &'static str },
    Absent,
}

impl Value<'_> {
    /// The word with this index; absent if it is a word of a newer ostia.
    pub fn word(words: &'static [&'static str], place: usize) -> Self {
        match words.get(place) {
            Some(text) => Self::Word { place, text },
            None => Self::Absent,
        }
    }
}

/// A Rust type that a column may have.
pub trait Held<'a>: Sized {
    /// The form for logs: a text, a number, or nothing.
    type Plain<'s>
    where
        Self: 's;

    const KIND: Kind;

    fn value(&self) -> Value<'_>;

    fn plain(&self) -> Self::Plain<'_>;

    fn of(value: Value<'a>) -> Option<Self>;
}

impl<'a> Held<'a> for RequestId {
    type Plain<'s> = String;

    const KIND: Kind = Kind::Id;

    fn value(&self) -> Value<'_> {
        Value::Id(*self)
    }

    fn plain(&self) -> String {
        self.to_string()
    }

    fn of(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Id(id) => Some(id),
            _ => None,
        }
    }
}

impl<'a> Held<'a> for Text<'a> {
    type Plain<'s>
        = &'s str
    where
        Self: 's;

    const KIND: Kind = Kind::Text;

    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }

    fn plain(&self) -> &str {
        self
    }

    fn of(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }
}

impl<'a> Held<'a> for Option<u64> {
    type Plain<'s> = Self;

    const KIND: Kind = Kind::MaybeNumber;

    fn value(&self) -> Value<'_> {
        self.map_or(Value::Absent, Value::Number)
    }

    fn plain(&self) -> Self {
        *self
    }

    fn of(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Number(number) => Some(Some(number)),
            Value::Absent => Some(None),
            _ => None,
        }
    }
}

macro_rules! hold {
    ($($held:ty => $kind:ident,)+) => {$(
        impl<'a> Held<'a> for $held {
            type Plain<'s> = Self;

            const KIND: Kind = Kind::$kind;

            fn value(&self) -> Value<'_> {
                Value::$kind((*self).into())
            }

            fn plain(&self) -> Self {
                *self
            }

            fn of(value: Value<'a>) -> Option<Self> {
                match value {
                    Value::$kind(held) => held.try_into().ok(),
                    _ => None,
                }
            }
        }
    )+};
}

hold! {
    bool => Flag,
    i64 => Stamp,
    u16 => Number,
    u32 => Number,
    u64 => Number,
}
