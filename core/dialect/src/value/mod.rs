//! Everything a client can say that JSON cannot, and its bridge to serde.
//!
//! Embedders never see [`Value`] unless they want to: `#[derive(Serialize, Deserialize)]` structs
//! may hold [`Date`], [`BigInt`], [`Bytes`], [`Object`], [`Stub`], [`Reader`], [`Writer`] and
//! [`Value`] as fields. Under a plain dialect serde goes straight between the struct and JSON bytes
//! (dates become ISO text, stubs an error). Under a rich one those types hand themselves over
//! through a thread-local slot, filled and emptied within one call of `serialize` or `deserialize`.
//!
//! Inside `#[serde(flatten)]` and untagged enums they are refused, because serde buffers those.
mod carried;
mod de;
mod misfit;
mod scalar;
mod ser;
mod textual;

pub use carried::{BigInt, Bytes, Date};
pub use de::{FromValueDeserializer, Misfit, from_value};
pub(crate) use misfit::misfit;
pub(crate) use scalar::{read_scalars, read_text, write_scalar};
pub use ser::{is_undefined, to_raw, to_value};
pub use textual::{base64, from_base64, from_iso, iso};

use crate::{CallError, Object, Reader, Stub, Writer};

/// Any value of any dialect.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// JavaScript's `undefined`, Rust's `()`.
    #[default]
    Undefined,
    /// Null, or `None`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number without a fraction that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    String(Box<str>),
    /// A list.
    Array(Vec<Self>),
    /// An object's fields in their order.
    Map(Vec<(Box<str>, Self)>),
    /// The JavaScript array type that bytes came in (empty: `Uint8Array`), and the bytes.
    Bytes(Box<str>, Vec<u8>),
    /// A big integer as decimal text.
    BigInt(Box<str>),
    /// Milliseconds since 1970; NaN is an invalid date.
    Date(f64),
    /// An error as a value.
    Error(Box<CallError>),
    /// An address.
    Url(Box<str>),
    /// Header fields.
    Headers(Vec<(Box<str>, Box<str>)>),
    /// One of ours, on its way out.
    Object(Object),
    /// Something callable on its way in (or passed on).
    Stub(Stub),
    /// A stream that the client sends.
    Reader(Reader),
    /// A stream that the client receives.
    Writer(Writer),
    /// A hole that a session fills before anybody else sees the value.
    #[doc(hidden)]
    Pending(u64),
    /// A stream we send, by the session's own number.
    #[doc(hidden)]
    Readable(i64),
}

impl Value {
    /// Bytes as a `Uint8Array`.
    #[must_use]
    pub fn bytes(data: Vec<u8>) -> Self {
        Self::Bytes("".into(), data)
    }

    /// A field of a map.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(fields) => {
                fields.iter().find(|(known, _)| &**known == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// As a template or an error message shows it: strings unquoted, all else JSON, what has none
    /// as nothing.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) => text.to_string(),
            other => sonic_rs::to_string(other).unwrap_or_default(),
        }
    }

    /// Whether dropping it may run an embedder's code.
    #[must_use]
    pub fn holds_objects(&self) -> bool {
        match self {
            Self::Object(_) | Self::Stub(_) | Self::Reader(_) | Self::Writer(_) => true,
            Self::Array(items) => items.iter().any(Self::holds_objects),
            Self::Map(fields) => fields.iter().any(|(_, value)| value.holds_objects()),
            Self::Error(error) => {
                error.fields.iter().any(|(_, value)| value.holds_objects())
                    || error.thrown.as_ref().is_some_and(|value| value.holds_objects())
            }
            _ => false,
        }
    }
}

macro_rules! from {
    ($($source:ty => $make:expr),* $(,)?) => { $(
        impl From<$source> for Value {
            fn from(source: $source) -> Self {
                ($make)(source)
            }
        }
    )* };
}

from! {
    &str => |text: &str| Value::String(text.into()),
    String => |text: String| Value::String(text.into()),
    i32 => |number| Value::Int(i64::from(number)),
    u32 => |number| Value::Int(i64::from(number)),
    i64 => Value::Int,
    f64 => Value::Float,
    bool => Value::Bool,
    Vec<Value> => Value::Array,
    () => |()| Value::Undefined,
    Object => Value::Object,
    Stub => Value::Stub,
}
