//! Values that JSON cannot say, as fields of embedders' structs.
//!
//! Each serialises as a newtype struct of a reserved name around a [`Plain`]. A serializer that
//! does not know the name (JSON) sees plain text, or an error; ours takes the value itself through
//! a thread-local slot. The copy is made only when it is wanted.
use std::{cell::Cell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
    ser::{self, Serialize, Serializer},
};

use super::{Value, base64, from_base64, from_iso, iso, ser::Probe};
use crate::{Object, Reader, Stub, Writer};

/// A point in time, in milliseconds since 1970; ISO text in JSON. NaN is an invalid date.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Date(pub f64);

/// A big integer as decimal text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigInt(pub Box<str>);

/// Bytes; base64 text in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// The reserved name.
pub(super) const CARRIED: &str = "$fulmar::carried";

thread_local! {
    static SLOT: Cell<Option<Value>> = const { Cell::new(None) };
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Hands a value to the visitor that is called next.
pub(super) fn put(value: Value) {
    SLOT.set(Some(value));
}

/// Takes what was handed over, or clears what nobody took.
pub(super) fn take() -> Option<Value> {
    SLOT.take()
}

/// The value inside a newtype struct named [`CARRIED`].
pub(super) fn wanted<T: Serialize + ?Sized>(inner: &T) -> Option<Value> {
    WANTED.set(true);
    // Plain answers by filling the slot; what the probe says of it does not matter.
    let _ = inner.serialize(Probe);
    WANTED.set(false);
    SLOT.take()
}

/// What is inside the newtype struct: how to say it plainly, and how to copy it.
pub(super) enum Plain<'a> {
    Date(f64),
    BigInt(&'a str),
    Bytes(&'a [u8]),
    Object(&'a Object),
    Stub(&'a Stub),
    Reader(&'a Reader),
    Writer(&'a Writer),
    Value(&'a Value),
}

impl Plain<'_> {
    fn value(&self) -> Value {
        match *self {
            Self::Date(milliseconds) => Value::Date(milliseconds),
            Self::BigInt(digits) => Value::BigInt(digits.into()),
            Self::Bytes(bytes) => Value::bytes(bytes.to_vec()),
            Self::Object(object) => Value::Object(object.clone()),
            Self::Stub(stub) => Value::Stub(stub.clone()),
            Self::Reader(reader) => Value::Reader(reader.clone()),
            Self::Writer(writer) => Value::Writer(writer.clone()),
            Self::Value(value) => value.clone(),
        }
    }
}

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if WANTED.replace(false) {
            SLOT.set(Some(self.value()));
            return serializer.serialize_unit();
        }
        let unsayable =
            |what| Err(ser::Error::custom(format_args!("{what} cannot travel over this protocol")));
        match *self {
            Self::Date(milliseconds) | Self::Value(&Value::Date(milliseconds)) => {
                serializer.serialize_str(&iso(milliseconds))
            }
            Self::BigInt(digits) => serializer.serialize_str(digits),
            Self::Value(Value::BigInt(text) | Value::Url(text)) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_str(&base64(bytes, true)),
            Self::Value(Value::Bytes(_, bytes)) => serializer.serialize_str(&base64(bytes, true)),
            Self::Value(Value::Error(error)) => serializer.serialize_str(&error.message),
            Self::Value(Value::Headers(_)) => unsayable("a list of headers"),
            Self::Object(_) | Self::Value(Value::Object(_)) => unsayable("an object"),
            Self::Stub(_) | Self::Value(Value::Stub(_)) => unsayable("a stub"),
            Self::Reader(_) | Self::Writer(_) | Self::Value(_) => unsayable("a stream"),
        }
    }
}

/// Serialises as a value that may be carried over.
pub(super) fn carry<S: Serializer>(plain: &Plain<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_newtype_struct(CARRIED, plain)
}

struct Carried(&'static str);

impl<'de> Visitor<'de> for Carried {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    /// A plain deserializer: whatever text there is.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    /// Ours: the value is in the slot.
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        take().ok_or_else(|| E::custom(format_args!("expected {}", self.0)))
    }
}

macro_rules! carried {
    ($($name:ident, $what:literal, $plain:expr, { $($pattern:pat => $get:expr),+ $(,)? })*) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let plain: for<'a> fn(&'a $name) -> Plain<'a> = $plain;
                carry(&plain(self), serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let misfit = || de::Error::custom(concat!("expected ", $what));
                match from.deserialize_newtype_struct(CARRIED, Carried($what))? {
                    $($pattern => $get.ok_or_else(misfit),)+
                    _ => Err(misfit()),
                }
            }
        }
    )* };
}

carried! {
    Date, "a date", |date| Plain::Date(date.0), {
        Value::Date(milliseconds) => Some(Self(milliseconds)),
        Value::String(text) => from_iso(&text).map(Self),
    }
    BigInt, "a big integer", |number| Plain::BigInt(&number.0), {
        Value::BigInt(digits) => Some(Self(digits)),
        Value::String(text) => is_integer(&text).then_some(Self(text)),
        Value::Int(number) => Some(Self(number.to_string().into())),
    }
    Bytes, "bytes", |bytes| Plain::Bytes(&bytes.0), {
        Value::Bytes(_, bytes) => Some(Self(bytes)),
        Value::String(text) => from_base64(&text).map(Self),
    }
    Object, "an object of ours", |object| Plain::Object(object), {
        Value::Object(object) => Some(object),
    }
    Stub, "a function or object", |stub| Plain::Stub(stub), {
        Value::Stub(stub) => Some(stub),
    }
    Reader, "a stream", |reader| Plain::Reader(reader), {
        Value::Reader(reader) => Some(reader),
    }
    Writer, "a writable stream", |writer| Plain::Writer(writer), {
        Value::Writer(writer) => Some(writer),
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}
