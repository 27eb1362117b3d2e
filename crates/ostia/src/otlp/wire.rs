//! Protobuf, as far as OTLP needs it: scalars by their Rust types, messages, lists. <https://protobuf.dev/programming-guides/encoding>

/// A message: fields with numbers.
pub trait Message: Default {
    fn write(&self, out: &mut Vec<u8>);

    /// Takes a field as it was read; unknown ones are left out. `None`: it cannot be this field.
    fn set(&mut self, number: u32, raw: Raw<'_>) -> Option<()>;

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// `None`: these bytes are no such message.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut message = Self::default();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let number = u32::try_from(key >> 3).ok()?;
            message.set(number, Raw::take(key & 7, &mut bytes)?)?;
        }
        Some(message)
    }
}

/// What stands behind a field's number.
#[derive(Debug, Clone, Copy)]
pub enum Raw<'a> {
    Varint(u64),
    Eight([u8; 8]),
    Bytes(&'a [u8]),
    Four([u8; 4]),
}

/// A field by its type. What has its type's default value is not written.
pub(super) trait Field {
    fn put(&self, number: u32, out: &mut Vec<u8>);

    fn read(&mut self, raw: Raw<'_>) -> Option<()>;
}

impl<'a> Raw<'a> {
    fn take(kind: u64, bytes: &mut &'a [u8]) -> Option<Self> {
        Some(match kind {
            0 => Self::Varint(varint(bytes)?),
            1 => Self::Eight(fixed(bytes)?),
            2 => {
                let length = usize::try_from(varint(bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                *bytes = rest;
                Self::Bytes(value)
            }
            5 => Self::Four(fixed(bytes)?),
            _ => return None,
        })
    }

    const fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*value)
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(number: u32, kind: u64, out: &mut Vec<u8>) {
    put_varint((u64::from(number) << 3) | kind, out);
}

fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_key(number, 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

impl Field for String {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_bytes(number, self.as_bytes(), out);
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        *self = String::from_utf8(raw.bytes()?.to_vec()).ok()?;
        Some(())
    }
}

impl Field for Vec<u8> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_bytes(number, self, out);
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        *self = raw.bytes()?.to_vec();
        Some(())
    }
}

/// `int64`, and `enum` where it is one.
impl Field for i64 {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if *self != 0 {
            put_key(number, 0, out);
            put_varint(self.cast_unsigned(), out);
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let Raw::Varint(value) = raw else { return None };
        *self = value.cast_signed();
        Some(())
    }
}

/// `fixed64`
impl Field for u64 {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if *self != 0 {
            put_key(number, 1, out);
            out.extend(self.to_le_bytes());
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let Raw::Eight(value) = raw else { return None };
        *self = Self::from_le_bytes(value);
        Some(())
    }
}

/// `fixed32`
impl Field for u32 {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if *self != 0 {
            put_key(number, 5, out);
            out.extend(self.to_le_bytes());
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let Raw::Four(value) = raw else { return None };
        *self = Self::from_le_bytes(value);
        Some(())
    }
}

/// `optional double`, and a member of a `oneof`: written even if it is 0.
impl Field for Option<f64> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(value) = self {
            put_key(number, 1, out);
            out.extend(value.to_le_bytes());
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let Raw::Eight(value) = raw else { return None };
        *self = Some(f64::from_le_bytes(value));
        Some(())
    }
}

/// The same of `int64`.
impl Field for Option<i64> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(value) = self {
            put_key(number, 0, out);
            put_varint(value.cast_unsigned(), out);
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let mut value = 0_i64;
        value.read(raw)?;
        *self = Some(value);
        Some(())
    }
}

/// The same of `bool`.
impl Field for Option<bool> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        self.map(i64::from).put(number, out);
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let mut value = 0_i64;
        value.read(raw)?;
        *self = Some(value != 0);
        Some(())
    }
}

/// The same of `string`.
impl Field for Option<String> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(text) = self {
            put_bytes(number, text.as_bytes(), out);
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let mut text = String::new();
        text.read(raw)?;
        *self = Some(text);
        Some(())
    }
}

/// `repeated fixed64`, packed.
impl Field for Vec<u64> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        let packed: Vec<u8> = self.iter().flat_map(|value| value.to_le_bytes()).collect();
        packed.put(number, out);
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let (values, []) = raw.bytes()?.as_chunks() else {
            return None;
        };
        self.extend(values.iter().copied().map(u64::from_le_bytes));
        Some(())
    }
}

/// `repeated double`, packed.
impl Field for Vec<f64> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        let bits: Vec<u64> = self.iter().map(|value| value.to_bits()).collect();
        bits.put(number, out);
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        let mut bits = Vec::<u64>::new();
        bits.read(raw)?;
        self.extend(bits.into_iter().map(f64::from_bits));
        Some(())
    }
}

impl<M: Message> Field for Option<M> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(message) = self {
            put_bytes(number, &message.encode(), out);
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        *self = Some(M::decode(raw.bytes()?)?);
        Some(())
    }
}

impl<M: Message> Field for Vec<M> {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        for message in self {
            put_bytes(number, &message.encode(), out);
        }
    }

    fn read(&mut self, raw: Raw<'_>) -> Option<()> {
        self.push(M::decode(raw.bytes()?)?);
        Some(())
    }
}

/// A message as a `.proto` file has it: number, name, type.
macro_rules! message {
    ($(#[$of:meta])* $name:ident { $($(#[$of_field:meta])* $number:literal $field:ident: $kind:ty,)* }) => {
        $(#[$of])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name { $($(#[$of_field])* pub $field: $kind,)* }

        impl $crate::otlp::wire::Message for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::otlp::wire::Field::put(&self.$field, $number, out);)*
            }

            fn set(&mut self, number: u32, raw: $crate::otlp::wire::Raw<'_>) -> Option<()> {
                match number {
                    $($number => $crate::otlp::wire::Field::read(&mut self.$field, raw),)*
                    _ => Some(()),
                }
            }
        }
    };
}

pub(super) use message;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    message! { Inner { 1 text: String, } }
    message! {
        Outer {
            1 number: i64,
            2 time: u64,
            3 flags: u32,
            4 sum: Option<f64>,
            5 counts: Vec<u64>,
            6 bounds: Vec<f64>,
            7 one: Option<Inner>,
            200 many: Vec<Inner>,
        }
    }

    fn inner() -> impl Strategy<Value = Inner> {
        ".{0,40}".prop_map(|text| Inner { text })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number in any::<i64>(),
            time in any::<u64>(),
            flags in any::<u32>(),
            sum in proptest::option::of(-1e9..1e9),
            counts in proptest::collection::vec(any::<u64>(), 0..5),
            bounds in proptest::collection::vec(-1e9..1e9, 0..5),
            one in proptest::option::of(inner()),
            many in proptest::collection::vec(inner(), 0..3),
        ) {
            let outer = Outer { number, time, flags, sum, counts, bounds, one, many };
            prop_assert_eq!(Outer::decode(&outer.encode()), Some(outer));
        }

        #[test]
        fn foreign_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(outer) = Outer::decode(&bytes) {
                prop_assert_eq!(Outer::decode(&outer.encode()).is_some(), true);
            }
        }
    }

    #[test]
    fn unknown_fields_are_left_out_and_broken_ones_refused() {
        // Field 9: a number; field 1: 5.
        assert_eq!(
            Outer::decode(&[0x48, 1, 0x08, 5]).map(|outer| outer.number),
            Some(5)
        );
        for broken in [
            &[0x08][..],
            &[0x0a, 1, 0],
            &[0x3a, 200, 1],
            &[0x0b],
            &[0x2a, 3, 0, 0, 0],
            &[0xff; 11],
        ] {
            assert_eq!(Outer::decode(broken), None, "{broken:?}");
        }
    }
}
