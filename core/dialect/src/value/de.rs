//! From values to types: `Deserialize` for [`Value`], and a `Deserializer` over one.
use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, IntoDeserializer, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any, ser,
};

use super::{
    Value,
    carried::{self, CARRIED},
};
use crate::CallError;

/// A typed value from a tree.
///
/// # Errors
///
/// Code 400 if it does not fit.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, CallError> {
    let result = T::deserialize(FromValueDeserializer(value));
    // A type that fails before it takes what was carried must not leave it to the next one.
    drop(carried::take());
    result.map_err(|misfit| CallError::bad_arguments(misfit.0))
}

/// Why a value does not fit a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit(pub String);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl ser::Error for Misfit {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

/// Deserializes a [`Value`].
#[derive(Debug)]
pub struct FromValueDeserializer(Value);

impl FromValueDeserializer {
    /// Of this value.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self(value)
    }
}

impl IntoDeserializer<'_, Misfit> for Value {
    type Deserializer = FromValueDeserializer;

    fn into_deserializer(self) -> FromValueDeserializer {
        FromValueDeserializer(self)
    }
}

impl<'de> Deserializer<'de> for FromValueDeserializer {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            Value::Bool(truth) => visitor.visit_bool(truth),
            Value::Int(number) if number >= 0 => visitor.visit_u64(number.unsigned_abs()),
            Value::Int(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::String(text) => visitor.visit_string(text.into()),
            Value::Array(items) => {
                let mut items = SeqDeserializer::<_, Misfit>::new(items.into_iter());
                let list = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(list)
            }
            Value::Map(fields) => visitor.visit_map(entries(fields)),
            other => {
                carried::put(other);
                let result = visitor.visit_unit();
                drop(carried::take());
                result
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null | Value::Undefined => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if name == CARRIED {
            carried::put(self.0);
            return visitor.visit_unit();
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(String::from(text).into_deserializer()),
            Value::Map(fields) => visitor.visit_enum(MapAccessDeserializer::new(entries(fields))),
            _ => Err(Misfit("expected a variant".to_owned())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

type Entries<'de> = MapDeserializer<'de, std::vec::IntoIter<(BoxedKey, Value)>, Misfit>;

fn entries<'de>(fields: Vec<(Box<str>, Value)>) -> Entries<'de> {
    // In place: a boxed key has the size of its box.
    let fields: Vec<_> = fields.into_iter().map(|(key, value)| (BoxedKey(key), value)).collect();
    MapDeserializer::new(fields.into_iter())
}

/// A key of a map, which serde's own building blocks want as a deserializer.
struct BoxedKey(Box<str>);

impl IntoDeserializer<'_, Misfit> for BoxedKey {
    type Deserializer = de::value::StringDeserializer<Misfit>;

    fn into_deserializer(self) -> Self::Deserializer {
        String::from(self.0).into_deserializer()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "as JavaScript does with large numbers")]
        Ok(i64::try_from(number).map_or(Value::Float(number as f64), Value::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::bytes(bytes.to_vec()))
    }

    /// Our deserializer put what JSON cannot say in the slot; a plain one means null.
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(carried::take().unwrap_or(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = map.next_entry::<Box<str>, Value>()? {
            fields.push(entry);
        }
        Ok(Value::Map(fields))
    }
}
